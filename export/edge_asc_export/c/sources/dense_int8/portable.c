static void dense_int8(const dense_int8_layer *layer, const int8_t *const *rows, size_t step, int8_t *y, size_t count)
{
    const int8_t *block = layer->weights;
    for (size_t begin = 0; begin < layer->outputs; begin += 16) {
        const size_t left = layer->outputs - begin, width = left < 16 ? left : 16, padded = (width + 3) & ~(size_t)3;
        for (size_t pixel = 0; pixel < count; pixel++) {
            const int8_t *w = block;
            int32_t sums[16];
            for (size_t n = 0; n < padded; n++) {
                sums[n] = layer->bias[begin + n];
            }
            for (size_t segment = 0; segment < layer->segments; segment++) {
                const int8_t *x = rows[segment] + pixel * step;
                for (size_t group = 0; group < layer->groups; group++, x += 4, w += 4 * padded) {
                    const int32_t x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
                    for (size_t n = 0; n < padded; n++) {
                        sums[n] += x0 * w[4 * n] + x1 * w[4 * n + 1] + x2 * w[4 * n + 2] + x3 * w[4 * n + 3];
                    }
                }
            }
            int8_t *out = y + pixel * layer->outputs + begin;
            for (size_t n = 0; n < width; n++) {
                out[n] = requantise(sums[n], layer->scales[begin + n], layer->zero_point, layer->low);
            }
        }
        block += layer->segments * layer->groups * 4 * padded;
    }
}
