/* Products of two groups of four inputs fit 16 bits, since no weight is -128. */
static ALWAYS_INLINE void dense_pair(int32x4_t *sums, int8x16_t w0, int8x16_t w1, int8x16_t x0, int8x16_t x1)
{
    int16x8_t low = vmull_s8(vget_low_s8(w0), vget_low_s8(x0));
    int16x8_t high = vmull_high_s8(w0, x0);
    low = vmlal_s8(low, vget_low_s8(w1), vget_low_s8(x1));
    high = vmlal_high_s8(high, w1, x1);
    sums[0] = vpadalq_s16(sums[0], low);
    sums[1] = vpadalq_s16(sums[1], high);
}

/* `pixels` outputs at once, of a block of 4 * `vectors` outputs; returns the weights of the next block. */
static ALWAYS_INLINE const int8_t *dense_tile(const dense_int8_layer *layer, const int8_t *const *rows, size_t at,
                                              size_t step, const int8_t *w, size_t begin, int8_t *y,
                                              const size_t pixels, const size_t vectors)
{
    const size_t row = 16 * vectors;
    int32x4_t sums[2][4][2]; /* four outputs in two: sums of pairs of inputs */
    for (size_t p = 0; p < pixels; p++) {
        for (size_t n = 0; n < vectors; n++) {
            sums[p][n][0] = sums[p][n][1] = vdupq_n_s32(0);
        }
    }
    for (size_t segment = 0; segment < layer->segments; segment++) {
        const int8_t *x = rows[segment] + at * step;
        size_t group = layer->groups;
        for (; group > 0; x += 8, w += 2 * row) {
            const int pair = group >= 2;
            int8x16_t first[2], second[2];
            for (size_t p = 0; p < pixels; p++) {
                int32_t four;
                memcpy(&four, x + p * step, 4);
                first[p] = vreinterpretq_s8_s32(vdupq_n_s32(four));
                if (pair) {
                    memcpy(&four, x + p * step + 4, 4);
                }
                second[p] = vreinterpretq_s8_s32(vdupq_n_s32(four));
            }
            if (pair) {
                for (size_t n = 0; n < vectors; n++) {
                    const int8x16_t w0 = vld1q_s8(w + 16 * n), w1 = vld1q_s8(w + row + 16 * n);
                    for (size_t p = 0; p < pixels; p++) {
                        dense_pair(sums[p][n], w0, w1, first[p], second[p]);
                    }
                }
                group -= 2;
            } else {
                for (size_t n = 0; n < vectors; n++) {
                    const int8x16_t w0 = vld1q_s8(w + 16 * n);
                    for (size_t p = 0; p < pixels; p++) {
                        dense_pair(sums[p][n], w0, vdupq_n_s8(0), first[p], second[p]);
                    }
                }
                w -= row;
                break;
            }
        }
    }
    const size_t left = layer->outputs - begin, width = left < 4 * vectors ? left : 4 * vectors;
    for (size_t p = 0; p < pixels; p++) {
        int16x4_t scaled[4] = {vdup_n_s16(0), vdup_n_s16(0), vdup_n_s16(0), vdup_n_s16(0)};
        for (size_t n = 0; n < vectors; n++) {
            const int32x4_t total = vpaddq_s32(sums[p][n][0], sums[p][n][1]);
            const int32x4_t biased = vaddq_s32(total, vld1q_s32(layer->bias + begin + 4 * n));
            scaled[n] = scale_neon(biased, vld1q_f32(layer->scales + begin + 4 * n));
        }
        const int8x8_t low = requantise_neon(scaled[0], scaled[1], layer->zero_point, layer->low);
        const int8x8_t high = requantise_neon(scaled[2], scaled[3], layer->zero_point, layer->low);
        int8_t *out = y + (at + p) * layer->outputs + begin;
        if (width == 16) {
            vst1q_s8(out, vcombine_s8(low, high));
        } else {
            int8_t result[16];
            vst1q_s8(result, vcombine_s8(low, high));
            memcpy(out, result, width);
        }
    }
    return w;
}

static ALWAYS_INLINE void dense_rows(const dense_int8_layer *layer, const int8_t *const *rows, size_t at, size_t step,
                                     int8_t *y, const size_t pixels)
{
    const int8_t *w = layer->weights;
    size_t begin = 0;
    for (; begin + 12 < layer->outputs; begin += 16) {
        w = dense_tile(layer, rows, at, step, w, begin, y, pixels, 4);
    }
    if (begin + 8 < layer->outputs) {
        dense_tile(layer, rows, at, step, w, begin, y, pixels, 3);
    } else if (begin + 4 < layer->outputs) {
        dense_tile(layer, rows, at, step, w, begin, y, pixels, 2);
    } else if (begin < layer->outputs) {
        dense_tile(layer, rows, at, step, w, begin, y, pixels, 1);
    }
}

static void dense_int8(const dense_int8_layer *layer, const int8_t *const *rows, size_t step, int8_t *y, size_t count)
{
    size_t at = 0;
    for (; at + 2 <= count; at += 2) {
        dense_rows(layer, rows, at, step, y, 2);
    }
    if (at < count) {
        dense_rows(layer, rows, at, step, y, 1);
    }
}
