static ALWAYS_INLINE __m512i broadcast_group(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, 4);
    return _mm512_set1_epi32(four);
}

/* `pixels` outputs at once. Weights are made unsigned by adding 128, and 128 times the sum of inputs is taken off. */
static ALWAYS_INLINE void dense_tile(const dense_int8_layer *layer, const int8_t *const *rows, size_t at, size_t step,
                                     int8_t *y, const size_t pixels)
{
    const __m512i sign = _mm512_set1_epi8(-128);
    const int8_t *w = layer->weights;
    __m512i extra[8], sums[8];
    REPEAT_8(p, extra[p] = _mm512_setzero_si512();)
    for (size_t segment = 0; segment < layer->segments; segment++) {
        const int8_t *x = rows[segment] + at * step;
        for (size_t group = 0; group < layer->groups; group++, x += 4) {
            REPEAT_8(p, if (p < pixels) {
                extra[p] = _mm512_dpbusd_epi32(extra[p], sign, broadcast_group(x + p * step));
            })
        }
    }
    for (size_t begin = 0; begin < layer->outputs; begin += 16) {
        const size_t left = layer->outputs - begin, width = left < 16 ? left : 16, padded = (width + 3) & ~(size_t)3;
        const __mmask16 stored = (__mmask16)((1u << width) - 1), loaded = (__mmask16)((1u << padded) - 1);
        const __m512i bias = _mm512_maskz_loadu_epi32(loaded, layer->bias + begin);
        const __m512 scales = _mm512_maskz_loadu_ps(loaded, layer->scales + begin);
        REPEAT_8(p, sums[p] = _mm512_sub_epi32(bias, extra[p]);)
        for (size_t segment = 0; segment < layer->segments; segment++) {
            const int8_t *x = rows[segment] + at * step;
            for (size_t group = 0; group < layer->groups; group++, x += 4, w += 4 * padded) {
                const __m512i weights = _mm512_xor_si512(_mm512_maskz_loadu_epi32(loaded, w), sign);
                REPEAT_8(p, if (p < pixels) {
                    sums[p] = _mm512_dpbusd_epi32(sums[p], weights, broadcast_group(x + p * step));
                })
            }
        }
        REPEAT_8(p, if (p < pixels) {
            requantise_avx512(sums[p], scales, layer->zero_point, layer->low, y + (at + p) * layer->outputs + begin,
                              stored);
        })
    }
}

static void dense_int8(const dense_int8_layer *layer, const int8_t *const *rows, size_t step, int8_t *y, size_t count)
{
    size_t at = 0;
    for (; count >= 8; count -= 8, at += 8) {
        dense_tile(layer, rows, at, step, y, 8);
    }
    for (; count >= 2; count -= 2, at += 2) {
        dense_tile(layer, rows, at, step, y, 2);
    }
    if (count > 0) {
        dense_tile(layer, rows, at, step, y, 1);
    }
}
