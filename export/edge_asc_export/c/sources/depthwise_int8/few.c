/* All channels of `count` outputs, where they are fewer than a vector takes. */
static void depthwise_few(const depthwise_int8_layer *layer, const int8_t *const *taps, size_t step, int8_t *y,
                          size_t count)
{
    const size_t channels = layer->channels;
    for (size_t i = 0; i < count * channels; i++) {
        const size_t pixel = i / channels, c = i % channels;
        int32_t sum = layer->bias[c];
        for (size_t tap = 0; tap < layer->taps; tap++) {
            sum += taps[tap][pixel * step + c] * layer->weights[tap * channels + c];
        }
        y[i] = requantise(sum, layer->scales[c], layer->zero_point, layer->low);
    }
}
