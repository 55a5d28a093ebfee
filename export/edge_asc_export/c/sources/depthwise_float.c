/* A layer on each channel by itself: a sum over `taps` inputs. */
typedef struct {
    const float *weights; /* [tap][channel] */
    const float *bias;
    size_t taps, channels;
    float low; /* 0 after a ReLU, else the lowest float */
} depthwise_float_layer;

/* `count` outputs, one after another; tap t of output i begins at taps[t] + i * step. */
static void depthwise_float(const depthwise_float_layer *layer, const float *const *taps, size_t step,
                            float *restrict y, size_t count)
{
    const size_t channels = layer->channels;
    for (size_t pixel = 0; pixel < count; pixel++, y += channels) {
        for (size_t c = 0; c < channels; c++) {
            y[c] = layer->bias[c];
        }
        for (size_t tap = 0; tap < layer->taps; tap++) {
            const float *x = taps[tap] + pixel * step, *w = layer->weights + tap * channels;
            for (size_t c = 0; c < channels; c++) {
                y[c] += x[c] * w[c];
            }
        }
        for (size_t c = 0; c < channels; c++) {
            y[c] = y[c] < layer->low ? layer->low : y[c];
        }
    }
}
