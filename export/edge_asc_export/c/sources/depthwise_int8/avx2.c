static ALWAYS_INLINE __m256i load_eight(const int8_t *x)
{
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)x));
}

static void depthwise_int8(const depthwise_int8_layer *layer, const int8_t *const *taps, size_t step, int8_t *y,
                           size_t count)
{
    const size_t channels = layer->channels;
    if (channels < 8) {
        depthwise_few(layer, taps, step, y, count);
        return;
    }
    for (size_t pixel = 0; pixel < count; pixel++, y += channels) {
        for (size_t next = 0; next < channels; next += 8) {
            const size_t c = next + 8 <= channels ? next : channels - 8; /* the last eight may overlap */
            __m256i sums = _mm256_loadu_si256((const __m256i *)(const void *)(layer->bias + c));
            for (size_t tap = 0; tap < layer->taps; tap++) {
                const __m256i x = load_eight(taps[tap] + pixel * step + c);
                const __m256i w = load_eight(layer->weights + tap * channels + c);
                sums = _mm256_add_epi32(sums, _mm256_mullo_epi32(x, w));
            }
            const __m256 scales = _mm256_loadu_ps(layer->scales + c);
            _mm_storel_epi64((__m128i *)(void *)(y + c), requantise_avx2(sums, scales, layer->zero_point, layer->low));
        }
    }
}
