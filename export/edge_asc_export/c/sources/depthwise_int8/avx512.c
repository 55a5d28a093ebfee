static ALWAYS_INLINE __m512i load_sixteen(const int8_t *x, __mmask16 mask)
{
    return _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, x));
}

/* Sixteen channels of all outputs where the number of taps, at most nine, is known: their weights stay in registers. */
static ALWAYS_INLINE void depthwise_known(const depthwise_int8_layer *layer, const int8_t *const *taps, size_t step,
                                          int8_t *y, size_t count, size_t c, __mmask16 mask, size_t known)
{
    const __m512i bias = _mm512_maskz_loadu_epi32(mask, layer->bias + c);
    const __m512 scales = _mm512_maskz_loadu_ps(mask, layer->scales + c);
    const int8_t *x[9];
    __m512i w[9];
    for (size_t tap = 0; tap < known; tap++) {
        x[tap] = taps[tap] + c;
        w[tap] = load_sixteen(layer->weights + tap * layer->channels + c, mask);
    }
    for (size_t pixel = 0; pixel < count; pixel++) {
        __m512i sums = bias;
        for (size_t tap = 0; tap < known; tap++) {
            sums = _mm512_add_epi32(sums, _mm512_mullo_epi32(load_sixteen(x[tap] + pixel * step, mask), w[tap]));
        }
        requantise_avx512(sums, scales, layer->zero_point, layer->low, y + pixel * layer->channels + c, mask);
    }
}

static ALWAYS_INLINE void depthwise_block(const depthwise_int8_layer *layer, const int8_t *const *taps, size_t step,
                                          int8_t *y, size_t count, size_t c, __mmask16 mask)
{
    const __m512i bias = _mm512_maskz_loadu_epi32(mask, layer->bias + c);
    const __m512 scales = _mm512_maskz_loadu_ps(mask, layer->scales + c);
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
        if (layer->taps == 3) {
            depthwise_known(layer, taps, step, y, count, c, mask, 3);
        } else if (layer->taps == 9) {
            depthwise_known(layer, taps, step, y, count, c, mask, 9);
        } else {
            depthwise_block(layer, taps, step, y, count, c, mask);
        }
    }
}
