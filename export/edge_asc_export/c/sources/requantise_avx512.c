/* Sixteen int8 of sums, as requantise(). */
static ALWAYS_INLINE void requantise_avx512(__m512i sums, __m512 scales, int32_t zero_point, int32_t low, int8_t *y,
                                            __mmask16 mask)
{
    __m512 values = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), scales);
    values = _mm512_max_ps(values, _mm512_set1_ps((float)(low - zero_point)));
    values = _mm512_min_ps(values, _mm512_set1_ps((float)(127 - zero_point)));
    const __m512i result = _mm512_add_epi32(_mm512_cvtps_epi32(values), _mm512_set1_epi32(zero_point));
    _mm512_mask_cvtepi32_storeu_epi8(y, mask, result);
}
