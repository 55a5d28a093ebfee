/* Products of two groups of four inputs fit 16 bits, since no weight is -128. */
static ALWAYS_INLINE void dense_pair(int32x4_t *even, int32x4_t *odd, int8x16_t w0, int8x16_t w1, int8x16_t x0,
                                     int8x16_t x1)
{
    int16x8_t low = vmull_s8(vget_low_s8(w0), vget_low_s8(x0));
    int16x8_t high = vmull_high_s8(w0, x0);
    low = vmlal_s8(low, vget_low_s8(w1), vget_low_s8(x1));
    high = vmlal_high_s8(high, w1, x1);
    *even = vpadalq_s16(*even, low);
    *odd = vpadalq_s16(*odd, high);
}

/* `pixels` outputs at once, of a block of 4 * `vectors` outputs, all of them needed if `whole`; returns the weights of
   the next block. */
static ALWAYS_INLINE const int8_t *dense_tile(const dense_int8_layer *layer, const int8_t *const *rows, size_t at,
                                              size_t step, const int8_t *w, size_t begin, int8_t *y,
                                              const size_t pixels, const size_t vectors, const int whole)
{
    const size_t row = 16 * vectors;
    int32x4_t even[2][4], odd[2][4], sums[4]; /* of two outputs each: sums of pairs of inputs */
    REPEAT_4(n, even[0][n] = even[1][n] = odd[0][n] = odd[1][n] = vdupq_n_s32(0);)
    for (size_t segment = 0; segment < layer->segments; segment++) {
        const int8_t *x0 = rows[segment] + at * step, *x1 = pixels > 1 ? x0 + step : x0;
        size_t group = layer->groups;
        for (; group >= 2; group -= 2, x0 += 8, x1 += 8, w += 2 * row) {
            const int8x16_t a0 = load_group(x0), a1 = load_group(x0 + 4);
            const int8x16_t b0 = load_group(x1), b1 = load_group(x1 + 4);
            REPEAT_4(n, if (n < vectors) {
                const int8x16_t w0 = vld1q_s8(w + 16 * n), w1 = vld1q_s8(w + row + 16 * n);
                dense_pair(&even[0][n], &odd[0][n], w0, w1, a0, a1);
                if (pixels > 1) {
                    dense_pair(&even[1][n], &odd[1][n], w0, w1, b0, b1);
                }
            })
        }
        if (group > 0) {
            const int8x16_t a = load_group(x0), b = load_group(x1), none = vdupq_n_s8(0);
            REPEAT_4(n, if (n < vectors) {
                const int8x16_t weights = vld1q_s8(w + 16 * n);
                dense_pair(&even[0][n], &odd[0][n], weights, none, a, a);
                if (pixels > 1) {
                    dense_pair(&even[1][n], &odd[1][n], weights, none, b, b);
                }
            })
            w += row;
        }
    }
    float32x4_t scales[4];
    REPEAT_4(n, if (n < vectors) {
        scales[n] = vld1q_f32(layer->scales + begin + 4 * n);
    })
    REPEAT_2(p, if (p < pixels) {
        REPEAT_4(n, if (n < vectors) {
            sums[n] = vaddq_s32(vpaddq_s32(even[p][n], odd[p][n]), vld1q_s32(layer->bias + begin + 4 * n));
        })
        store_block(layer, sums, scales, begin, y + (at + p) * layer->outputs + begin, vectors, whole);
    })
    return w;
}
