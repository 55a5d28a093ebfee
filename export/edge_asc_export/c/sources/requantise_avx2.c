/* Eight int8 of sums, as requantise(). */
static ALWAYS_INLINE __m128i requantise_avx2(__m256i sums, __m256 scales, int32_t zero_point, int32_t low)
{
    __m256 values = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), scales);
    values = _mm256_max_ps(values, _mm256_set1_ps((float)(low - zero_point)));
    values = _mm256_min_ps(values, _mm256_set1_ps((float)(127 - zero_point)));
    const __m256i result = _mm256_add_epi32(_mm256_cvtps_epi32(values), _mm256_set1_epi32(zero_point));
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(result), _mm256_extracti128_si256(result, 1));
    return _mm_packs_epi16(words, words);
}
