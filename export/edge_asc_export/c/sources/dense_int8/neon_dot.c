/* `pixels` outputs at once, of a block of 4 * `vectors` outputs; returns the weights of the next block. */
static ALWAYS_INLINE const int8_t *dense_tile(const dense_int8_layer *layer, const int8_t *const *rows, size_t at,
                                              size_t step, const int8_t *w, size_t begin, int8_t *y,
                                              const size_t pixels, const size_t vectors)
{
    int32x4_t sums[4][4];
    for (size_t n = 0; n < vectors; n++) {
        const int32x4_t bias = vld1q_s32(layer->bias + begin + 4 * n);
        for (size_t p = 0; p < pixels; p++) {
            sums[p][n] = bias;
        }
    }
    for (size_t segment = 0; segment < layer->segments; segment++) {
        const int8_t *x = rows[segment] + at * step;
        size_t group = layer->groups;
        for (; group >= 4; group -= 4, x += 16) {
            int8x16_t inputs[4];
            for (size_t p = 0; p < pixels; p++) {
                inputs[p] = vld1q_s8(x + p * step);
            }
#define DOT_LANE(lane)                                                                                                 \
    for (size_t n = 0; n < vectors; n++, w += 16) {                                                                    \
        const int8x16_t weights = vld1q_s8(w);                                                                         \
        for (size_t p = 0; p < pixels; p++) {                                                                          \
            sums[p][n] = vdotq_laneq_s32(sums[p][n], weights, inputs[p], lane);                                        \
        }                                                                                                              \
    }
            DOT_LANE(0)
            DOT_LANE(1)
            DOT_LANE(2)
            DOT_LANE(3)
        }
#undef DOT_LANE
        for (; group > 0; group--, x += 4) {
            int8x16_t inputs[4];
            for (size_t p = 0; p < pixels; p++) {
                int32_t four;
                memcpy(&four, x + p * step, 4);
                inputs[p] = vreinterpretq_s8_s32(vdupq_n_s32(four));
            }
            for (size_t n = 0; n < vectors; n++, w += 16) {
                const int8x16_t weights = vld1q_s8(w);
                for (size_t p = 0; p < pixels; p++) {
                    sums[p][n] = vdotq_s32(sums[p][n], weights, inputs[p]);
                }
            }
        }
    }
    const size_t left = layer->outputs - begin, width = left < 4 * vectors ? left : 4 * vectors;
    for (size_t p = 0; p < pixels; p++) {
        int16x4_t scaled[4] = {vdup_n_s16(0), vdup_n_s16(0), vdup_n_s16(0), vdup_n_s16(0)};
        for (size_t n = 0; n < vectors; n++) {
            scaled[n] = scale_neon(sums[p][n], vld1q_f32(layer->scales + begin + 4 * n));
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
    for (; at + 4 <= count; at += 4) {
        dense_rows(layer, rows, at, step, y, 4);
    }
    for (; at < count; at++) {
        dense_rows(layer, rows, at, step, y, 1);
    }
}
