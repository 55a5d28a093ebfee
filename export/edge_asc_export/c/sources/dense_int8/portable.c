static void dense_int8(const dense_int8_layer *layer, const int8_t *const *rows, size_t step, int8_t *restrict y,
                       size_t count)
{
    const dense_int8_layer l = *layer;
    const int8_t *block = l.weights;
    for (size_t begin = 0; begin < l.outputs; begin += 16) {
        const size_t left = l.outputs - begin, width = left < 16 ? left : 16, padded = (width + 3) & ~(size_t)3;
        const int32_t *bias = l.bias + begin;
        const float *scales = l.scales + begin;
        for (size_t pixel = 0; pixel < count; pixel++) {
            const int8_t *w = block;
            int8_t *out = y + pixel * l.outputs + begin;
            int32_t sums[16];
            for (size_t n = 0; n < padded; n++) {
                sums[n] = bias[n];
            }
            for (size_t segment = 0; segment < l.segments; segment++) {
                const int8_t *x = rows[segment] + pixel * step;
                for (size_t group = 0; group < l.groups; group++, x += 4, w += 4 * padded) {
                    const int32_t x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
                    for (size_t n = 0; n < padded; n++) {
                        sums[n] += x0 * w[4 * n] + x1 * w[4 * n + 1] + x2 * w[4 * n + 2] + x3 * w[4 * n + 3];
                    }
                }
            }
            for (size_t n = 0; n < width; n++) {
                out[n] = requantise(sums[n], scales[n], l.zero_point, l.low);
            }
        }
        block += l.segments * l.groups * 4 * padded;
    }
}
