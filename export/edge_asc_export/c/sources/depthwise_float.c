/* A layer on each channel by itself: a sum over `taps` inputs. */
typedef struct {
    const float *weights; /* [tap][channel] */
    const float *bias;
    size_t taps, channels;
    float low; /* 0 after a ReLU, else the lowest float */
} depthwise_float_layer;

/* `count` outputs, one after another; tap t of output i begins at taps[t] + i * step. */
static void depthwise_float(const depthwise_float_layer *layer, const float *const *taps, size_t step, float *y,
                            size_t count)
{
    for (size_t pixel = 0; pixel < count; pixel++, y += layer->channels) {
        for (size_t c = 0; c < layer->channels; c++) {
            float sum = layer->bias[c];
            for (size_t tap = 0; tap < layer->taps; tap++) {
                sum += taps[tap][pixel * step + c] * layer->weights[tap * layer->channels + c];
            }
            y[c] = sum < layer->low ? layer->low : sum;
        }
    }
}
