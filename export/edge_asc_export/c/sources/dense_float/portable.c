/* `count` outputs, one after another; input i of segment s begins at rows[s] + i * step. */
static void dense_float(const dense_float_layer *layer, const float *const *rows, size_t step, float *restrict y,
                        size_t count)
{
    for (size_t pixel = 0; pixel < count; pixel++, y += layer->outputs) {
        const float *w = layer->weights;
        for (size_t begin = 0; begin < layer->outputs; begin += 16) {
            const size_t left = layer->outputs - begin, width = left < 16 ? left : 16;
            float sums[16];
            memcpy(sums, layer->bias + begin, sizeof sums);
            for (size_t segment = 0; segment < layer->segments; segment++) {
                const float *x = rows[segment] + pixel * step;
                for (size_t k = 0; k < layer->values; k++, w += 16) {
                    for (size_t n = 0; n < 16; n++) {
                        sums[n] += x[k] * w[n];
                    }
                }
            }
            for (size_t n = 0; n < width; n++) {
                y[begin + n] = sums[n] < layer->low ? layer->low : sums[n];
            }
        }
    }
}
