#define DOT(n, weights)                                                                                                \
    sums[0][n] = vdotq_s32(sums[0][n], weights, a);                                                                    \
    if (pixels > 1) {                                                                                                  \
        sums[1][n] = vdotq_s32(sums[1][n], weights, b);                                                                \
        sums[2][n] = vdotq_s32(sums[2][n], weights, c);                                                                \
        sums[3][n] = vdotq_s32(sums[3][n], weights, d);                                                                \
    }
#define DOT_LANE(dot, n, weights, lane)                                                                                \
    sums[0][n] = dot(sums[0][n], weights, a, lane);                                                                    \
    if (pixels > 1) {                                                                                                  \
        sums[1][n] = dot(sums[1][n], weights, b, lane);                                                                \
        sums[2][n] = dot(sums[2][n], weights, c, lane);                                                                \
        sums[3][n] = dot(sums[3][n], weights, d, lane);                                                                \
    }

/* `pixels` outputs at once, of a block of 4 * `vectors` outputs, all of them needed if `whole`; returns the weights of
   the next block. */
static ALWAYS_INLINE const int8_t *dense_tile(const dense_int8_layer *layer, const int8_t *const *rows, size_t at,
                                              size_t step, const int8_t *w, size_t begin, int8_t *y,
                                              const size_t pixels, const size_t vectors, const int whole)
{
    int32x4_t sums[4][4];
    REPEAT_4(n, if (n < vectors) {
        const int32x4_t bias = vld1q_s32(layer->bias + begin + 4 * n);
        sums[0][n] = sums[1][n] = sums[2][n] = sums[3][n] = bias;
    })
    for (size_t segment = 0; segment < layer->segments; segment++) {
        const int8_t *x0 = rows[segment] + at * step;
        const int8_t *x1 = pixels > 1 ? x0 + step : x0, *x2 = pixels > 2 ? x1 + step : x0;
        const int8_t *x3 = pixels > 3 ? x2 + step : x0;
        size_t group = layer->groups;
        for (; group >= 4; group -= 4, x0 += 16, x1 += 16, x2 += 16, x3 += 16, w += 64 * vectors) {
            const int8x16_t a = vld1q_s8(x0), b = vld1q_s8(x1), c = vld1q_s8(x2), d = vld1q_s8(x3);
            REPEAT_4(lane, REPEAT_4(n, if (n < vectors) {
                const int8x16_t weights = vld1q_s8(w + 16 * (lane * vectors + n));
                DOT_LANE(vdotq_laneq_s32, n, weights, lane)
            }))
        }
        if (group >= 2) {
            const int8x8_t a = vld1_s8(x0), b = vld1_s8(x1), c = vld1_s8(x2), d = vld1_s8(x3);
            REPEAT_2(lane, REPEAT_4(n, if (n < vectors) {
                const int8x16_t weights = vld1q_s8(w + 16 * (lane * vectors + n));
                DOT_LANE(vdotq_lane_s32, n, weights, lane)
            }))
            group -= 2, x0 += 8, x1 += 8, x2 += 8, x3 += 8, w += 32 * vectors;
        }
        if (group > 0) {
            const int8x16_t a = load_group(x0), b = load_group(x1), c = load_group(x2), d = load_group(x3);
            REPEAT_4(n, if (n < vectors) {
                const int8x16_t weights = vld1q_s8(w + 16 * n);
                DOT(n, weights)
            })
            w += 16 * vectors;
        }
    }
    float32x4_t scales[4];
    REPEAT_4(n, if (n < vectors) {
        scales[n] = vld1q_f32(layer->scales + begin + 4 * n);
    })
    REPEAT_4(p, if (p < pixels) {
        store_block(layer, sums[p], scales, begin, y + (at + p) * layer->outputs + begin, vectors, whole);
    })
    return w;
}
