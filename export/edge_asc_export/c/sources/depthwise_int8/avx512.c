static ALWAYS_INLINE void depthwise_block(const depthwise_int8_layer *layer, const int8_t *const *taps, size_t step,
                                          int8_t *y, size_t count, size_t c, __mmask16 mask, const size_t fixed)
{
    const __m512i bias = _mm512_maskz_loadu_epi32(mask, layer->bias + c);
    const __m512 scales = _mm512_maskz_loadu_ps(mask, layer->scales + c);
    __m512i weights[3];
    for (size_t tap = 0; tap < fixed; tap++) {
        weights[tap] = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, layer->weights + tap * layer->channels + c));
    }
    for (size_t pixel = 0; pixel < count; pixel++) {
        __m512i sums = bias;
        for (size_t tap = 0; tap < (fixed ? fixed : layer->taps); tap++) {
            const __m512i x = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, taps[tap] + pixel * step + c));
            const __m512i w = fixed ? weights[tap]
                                    : _mm512_cvtepi8_epi32(
                                          _mm_maskz_loadu_epi8(mask, layer->weights + tap * layer->channels + c));
            sums = _mm512_add_epi32(sums, _mm512_mullo_epi32(x, w));
        }
        requantise_avx512(sums, scales, layer->zero_point, layer->low, y + pixel * layer->channels + c, mask);
    }
}

static void depthwise_int8(const depthwise_int8_layer *layer, const int8_t *const *taps, size_t step, int8_t *y,
                           size_t count)
{
    for (size_t c = 0; c < layer->channels; c += 16) {
        const size_t left = layer->channels - c;
        const __mmask16 mask = (__mmask16)((1u << (left < 16 ? left : 16)) - 1);
        if (layer->taps == 3) {
            depthwise_block(layer, taps, step, y, count, c, mask, 3);
        } else {
            depthwise_block(layer, taps, step, y, count, c, mask, 0);
        }
    }
}
