/* A layer over all channels: sums over `segments` pieces of `values` inputs each. */
typedef struct {
    const float *weights; /* [block of 16 outputs][segment][value][output of the block] */
    const float *bias;
    size_t segments, values, outputs;
    float low; /* 0 after a ReLU, else the lowest float */
} dense_float_layer;

/* `count` outputs, one after another; input i of segment s begins at rows[s] + i * step. */
static void dense_float(const dense_float_layer *layer, const float *const *rows, size_t step, float *restrict y,
                        size_t count)
{
    for (size_t pixel = 0; pixel < count; pixel++, y += layer->outputs) {
        const float *w = layer->weights;
        for (size_t block = 0; block < layer->outputs; block += 16) {
            const size_t width = layer->outputs - block < 16 ? layer->outputs - block : 16;
            float sums[16] = {0};
            for (size_t segment = 0; segment < layer->segments; segment++) {
                const float *x = rows[segment] + pixel * step;
                if (width == 16) {
                    for (size_t k = 0; k < layer->values; k++, w += 16) {
                        for (size_t n = 0; n < 16; n++) {
                            sums[n] += x[k] * w[n];
                        }
                    }
                } else {
                    for (size_t k = 0; k < layer->values; k++, w += width) {
                        for (size_t n = 0; n < width; n++) {
                            sums[n] += x[k] * w[n];
                        }
                    }
                }
            }
            for (size_t n = 0; n < width; n++) {
                const float value = sums[n] + layer->bias[block + n];
                y[block + n] = value < layer->low ? layer->low : value;
            }
        }
    }
}
