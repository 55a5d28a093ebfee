static ALWAYS_INLINE __m256i broadcast_group(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, 4);
    return _mm256_broadcastq_epi64(_mm_cvtepi8_epi16(_mm_cvtsi32_si128(four)));
}

/* `pixels` outputs at once, with products of 16 bits: those of unsigned and signed bytes would saturate. */
static ALWAYS_INLINE void dense_tile(const dense_int8_layer *layer, const int8_t *const *rows, size_t at, size_t step,
                                     int8_t *y, const size_t pixels)
{
    const int8_t *w = layer->weights;
    for (size_t begin = 0; begin < layer->outputs; begin += 16) {
        const size_t left = layer->outputs - begin, width = left < 16 ? left : 16, padded = (width + 3) & ~(size_t)3;
        /* Four outputs in each: the sums of even and of odd pairs of inputs. */
        __m256i sums[2][4];
        REPEAT_4(n, sums[0][n] = sums[1][n] = _mm256_setzero_si256();)
        for (size_t segment = 0; segment < layer->segments; segment++) {
            const int8_t *x = rows[segment] + at * step;
            for (size_t group = 0; group < layer->groups; group++, x += 4, w += 4 * padded) {
                const __m256i first = broadcast_group(x), second = broadcast_group(pixels > 1 ? x + step : x);
                REPEAT_4(n, if (4 * n < padded) {
                    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(w + 16 * n));
                    const __m256i weights = _mm256_cvtepi8_epi16(bytes);
                    sums[0][n] = _mm256_add_epi32(sums[0][n], _mm256_madd_epi16(weights, first));
                    if (pixels > 1) {
                        sums[1][n] = _mm256_add_epi32(sums[1][n], _mm256_madd_epi16(weights, second));
                    }
                })
            }
        }
        int32_t bias[16] = {0};
        float scales[16] = {0};
        memcpy(bias, layer->bias + begin, padded * sizeof *bias);
        memcpy(scales, layer->scales + begin, padded * sizeof *scales);
        REPEAT_2(p, if (p < pixels) {
            int8_t result[16];
            REPEAT_2(half, {
                const __m256i pairs = _mm256_hadd_epi32(sums[p][2 * half], sums[p][2 * half + 1]);
                const __m256i eight = _mm256_permute4x64_epi64(pairs, 0xD8);
                const __m256i more = _mm256_loadu_si256((const __m256i *)(const void *)(bias + 8 * half));
                const __m128i bytes = requantise_avx2(_mm256_add_epi32(eight, more), _mm256_loadu_ps(scales + 8 * half),
                                                      layer->zero_point, layer->low);
                _mm_storel_epi64((__m128i *)(void *)(result + 8 * half), bytes);
            })
            memcpy(y + (at + p) * layer->outputs + begin, result, width);
        })
    }
}

static void dense_int8(const dense_int8_layer *layer, const int8_t *const *rows, size_t step, int8_t *y, size_t count)
{
    size_t at = 0;
    for (; count >= 2; count -= 2, at += 2) {
        dense_tile(layer, rows, at, step, y, 2);
    }
    if (count > 0) {
        dense_tile(layer, rows, at, step, y, 1);
    }
}
