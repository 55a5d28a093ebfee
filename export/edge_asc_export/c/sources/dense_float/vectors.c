/* Sixteen floats, which the compiler spreads over the vectors that the processor has. */
typedef float sixteen_floats __attribute__((vector_size(64)));

/* Up to four outputs of 16 channels at once. */
static ALWAYS_INLINE void dense_tile_float(const dense_float_layer *layer, const float *const *rows, size_t at,
                                           size_t step, float *y, const size_t pixels)
{
    const float *w = layer->weights;
    for (size_t begin = 0; begin < layer->outputs; begin += 16) {
        sixteen_floats sums[4], weights;
        memcpy(&sums[0], layer->bias + begin, sizeof sums[0]);
        sums[1] = sums[2] = sums[3] = sums[0];
        for (size_t segment = 0; segment < layer->segments; segment++) {
            const float *x = rows[segment] + at * step;
            for (size_t k = 0; k < layer->values; k++, w += 16) {
                memcpy(&weights, w, sizeof weights);
                REPEAT_4(p, if (p < pixels) {
                    sums[p] += x[p * step + k] * weights;
                })
            }
        }
        const size_t left = layer->outputs - begin, width = left < 16 ? left : 16;
        REPEAT_4(p, if (p < pixels) {
            float *out = y + (at + p) * layer->outputs + begin;
            float values[16];
            memcpy(values, &sums[p], sizeof values);
            for (size_t n = 0; n < width; n++) {
                out[n] = values[n] < layer->low ? layer->low : values[n];
            }
        })
    }
}

/* `count` outputs, one after another; input i of segment s begins at rows[s] + i * step. */
static void dense_float(const dense_float_layer *layer, const float *const *rows, size_t step, float *y, size_t count)
{
    size_t at = 0;
    for (; count >= 4; count -= 4, at += 4) {
        dense_tile_float(layer, rows, at, step, y, 4);
    }
    if (count & 2) {
        dense_tile_float(layer, rows, at, step, y, 2);
        at += 2;
    }
    if (count & 1) {
        dense_tile_float(layer, rows, at, step, y, 1);
    }
}
