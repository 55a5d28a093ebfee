/* A layer on each channel by itself: a sum over `taps` inputs. */
typedef struct {
    const int8_t *weights; /* [tap][channel] */
    const int32_t *bias;   /* with what the zero point of the inputs adds */
    const float *scales;   /* of sums, over that of the output */
    size_t taps, channels;
    int32_t zero_point, low; /* of the output; low is the least value: the zero point after a ReLU */
} depthwise_int8_layer;

/* `count` outputs, one after another; tap t of output i begins at taps[t] + i * step. */
static void depthwise_int8(const depthwise_int8_layer *layer, const int8_t *const *taps, size_t step, int8_t *y,
                           size_t count)
{
    for (size_t pixel = 0; pixel < count; pixel++, y += layer->channels) {
        for (size_t c = 0; c < layer->channels; c++) {
            int32_t sum = layer->bias[c];
            for (size_t tap = 0; tap < layer->taps; tap++) {
                sum += taps[tap][pixel * step + c] * layer->weights[tap * layer->channels + c];
            }
            y[c] = requantise(sum, layer->scales[c], layer->zero_point, layer->low);
        }
    }
}
