static ALWAYS_INLINE __m512i broadcast_group(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, 4);
    return _mm512_set1_epi32(four);
}

/* Add products of inputs and unsigned weights, which are 128 more than the weights; lanes of `ones` add inputs. */
static ALWAYS_INLINE void dense_accumulate(const dense_int8_layer *layer, const int8_t *const *rows, size_t at,
                                           size_t step, const int8_t *w, size_t padded, __mmask16 ones, __m512i *sums,
                                           const size_t pixels)
{
    const __m512i sign = _mm512_set1_epi8(-128), one = _mm512_set1_epi8(1);
    const __mmask16 loaded = (__mmask16)((1u << padded) - 1);
    for (size_t segment = 0; segment < layer->segments; segment++) {
        const int8_t *x = rows[segment] + at * step;
        for (size_t group = 0; group < layer->groups; group++, x += 4, w += 4 * padded) {
            const __m512i plain = _mm512_xor_si512(_mm512_maskz_loadu_epi32(loaded, w), sign);
            const __m512i weights = _mm512_mask_mov_epi32(plain, ones, one);
            REPEAT_8(p, if (p < pixels) {
                sums[p] = _mm512_dpbusd_epi32(sums[p], weights, broadcast_group(x + p * step));
            })
        }
    }
}

static ALWAYS_INLINE void dense_store(const dense_int8_layer *layer, size_t begin, size_t width, const __m512i *sums,
                                      const __m512i *extra, int8_t *y, const size_t pixels)
{
    const __mmask16 stored = (__mmask16)((1u << width) - 1);
    const __m512i bias = _mm512_maskz_loadu_epi32(stored, layer->bias + begin);
    const __m512 scales = _mm512_maskz_loadu_ps(stored, layer->scales + begin);
    REPEAT_8(p, if (p < pixels) {
        const __m512i exact = _mm512_add_epi32(_mm512_sub_epi32(sums[p], extra[p]), bias);
        requantise_avx512(exact, scales, layer->zero_point, layer->low, y + p * layer->outputs + begin, stored);
    })
}

/* `pixels` outputs at once. 128 times the sum of inputs is taken off again; the last lane of a block that has no output
   there computes that sum, else it takes a pass of its own. */
static ALWAYS_INLINE void dense_tile(const dense_int8_layer *layer, const int8_t *const *rows, size_t at, size_t step,
                                     int8_t *y, const size_t pixels)
{
    const size_t width = layer->outputs % 16, whole = layer->outputs - width;
    const size_t values = 4 * layer->segments * layer->groups;
    __m512i extra[8], sums[8];
    REPEAT_8(p, sums[p] = _mm512_setzero_si512();)
    y += at * layer->outputs;
    if (width > 0) {
        const int8_t *w = layer->weights + whole * values;
        const __m512i last = _mm512_set1_epi32(15);
        dense_accumulate(layer, rows, at, step, w, (width + 3) & ~(size_t)3, 1u << 15, sums, pixels);
        REPEAT_8(p, extra[p] = _mm512_slli_epi32(_mm512_permutexvar_epi32(last, sums[p]), 7);)
        dense_store(layer, whole, width, sums, extra, y, pixels);
    } else {
        const __m512i sign = _mm512_set1_epi8(-128);
        for (size_t segment = 0; segment < layer->segments; segment++) {
            const int8_t *x = rows[segment] + at * step;
            for (size_t group = 0; group < layer->groups; group++, x += 4) {
                REPEAT_8(p, if (p < pixels) {
                    sums[p] = _mm512_dpbusd_epi32(sums[p], sign, broadcast_group(x + p * step));
                })
            }
        }
        REPEAT_8(p, extra[p] = sums[p];)
    }
    for (size_t begin = 0; begin < whole; begin += 16) {
        REPEAT_8(p, sums[p] = _mm512_setzero_si512();)
        dense_accumulate(layer, rows, at, step, layer->weights + begin * values, 16, 0, sums, pixels);
        dense_store(layer, begin, 16, sums, extra, y, pixels);
    }
}

static void dense_int8(const dense_int8_layer *layer, const int8_t *const *rows, size_t step, int8_t *y, size_t count)
{
    size_t at = 0;
    for (; count >= 8; count -= 8, at += 8) {
        dense_tile(layer, rows, at, step, y, 8);
    }
    if (count & 4) {
        dense_tile(layer, rows, at, step, y, 4);
        at += 4;
    }
    if (count & 2) {
        dense_tile(layer, rows, at, step, y, 2);
        at += 2;
    }
    if (count & 1) {
        dense_tile(layer, rows, at, step, y, 1);
    }
}
