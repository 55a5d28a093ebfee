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
