static void depthwise_int8(const depthwise_int8_layer *layer, const int8_t *const *taps, size_t step,
                           int8_t *restrict y, size_t count)
{
    const depthwise_int8_layer l = *layer;
    for (size_t begin = 0; begin < l.channels; begin += 16) {
        const size_t width = l.channels - begin < 16 ? l.channels - begin : 16;
        const int32_t *bias = l.bias + begin;
        const float *scales = l.scales + begin;
        for (size_t pixel = 0; pixel < count; pixel++) {
            int8_t *out = y + pixel * l.channels + begin;
            int32_t sums[16];
            for (size_t c = 0; c < width; c++) {
                sums[c] = bias[c];
            }
            for (size_t tap = 0; tap < l.taps; tap++) {
                const int8_t *x = taps[tap] + pixel * step + begin, *w = l.weights + tap * l.channels + begin;
                for (size_t c = 0; c < width; c++) {
                    sums[c] += x[c] * w[c];
                }
            }
            for (size_t c = 0; c < width; c++) {
                out[c] = requantise(sums[c], scales[c], l.zero_point, l.low);
            }
        }
    }
}
