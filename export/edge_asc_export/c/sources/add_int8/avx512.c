static void add_int8(const add_int8_layer *layer, const int8_t *left, const int8_t *right, int8_t *y, size_t count)
{
    const __m512i l = _mm512_set1_epi32(layer->left), r = _mm512_set1_epi32(layer->right);
    const __m512i bias = _mm512_set1_epi32(layer->bias), zero = _mm512_set1_epi32(layer->zero_point);
    const __m512i low = _mm512_set1_epi32(layer->low);
    const __m128i shift = _mm_cvtsi32_si128(layer->shift);
    for (size_t i = 0; i < count; i += 16) {
        const size_t left_over = count - i;
        const __mmask16 mask = (__mmask16)((1u << (left_over < 16 ? left_over : 16)) - 1);
        const __m512i a = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, left + i));
        const __m512i b = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, right + i));
        const __m512i sum = _mm512_add_epi32(_mm512_mullo_epi32(a, l), _mm512_mullo_epi32(b, r));
        const __m512i value = _mm512_add_epi32(_mm512_sra_epi32(_mm512_add_epi32(sum, bias), shift), zero);
        _mm512_mask_cvtsepi32_storeu_epi8(y + i, mask, _mm512_max_epi32(value, low));
    }
}
