static ALWAYS_INLINE __m512i load_sixteen(const int8_t *x, __mmask16 mask)
{
    return _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, x));
}

static ALWAYS_INLINE void depthwise_block(const depthwise_int8_layer *layer, const int8_t *const *taps, size_t step,
                                          int8_t *y, size_t count, size_t c, __mmask16 mask)
{
    const __m512i bias = _mm512_maskz_loadu_epi32(mask, layer->bias + c);
    const __m512 scales = _mm512_maskz_loadu_ps(mask, layer->scales + c);
    if (layer->taps == 3) {
        const int8_t *x0 = taps[0] + c, *x1 = taps[1] + c, *x2 = taps[2] + c;
        const __m512i w0 = load_sixteen(layer->weights + c, mask);
        const __m512i w1 = load_sixteen(layer->weights + layer->channels + c, mask);
        const __m512i w2 = load_sixteen(layer->weights + 2 * layer->channels + c, mask);
        for (size_t pixel = 0; pixel < count; pixel++, x0 += step, x1 += step, x2 += step) {
            __m512i sums = _mm512_add_epi32(bias, _mm512_mullo_epi32(load_sixteen(x0, mask), w0));
            sums = _mm512_add_epi32(sums, _mm512_mullo_epi32(load_sixteen(x1, mask), w1));
            sums = _mm512_add_epi32(sums, _mm512_mullo_epi32(load_sixteen(x2, mask), w2));
            requantise_avx512(sums, scales, layer->zero_point, layer->low, y + pixel * layer->channels + c, mask);
        }
        return;
    }
    for (size_t pixel = 0; pixel < count; pixel++) {
        __m512i sums = bias;
        for (size_t tap = 0; tap < layer->taps; tap++) {
            const __m512i x = load_sixteen(taps[tap] + pixel * step + c, mask);
            const __m512i w = load_sixteen(layer->weights + tap * layer->channels + c, mask);
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
        depthwise_block(layer, taps, step, y, count, c, mask);
    }
}
