/* A count that the compiler does not know, so that it does not unroll the loop. */
#define KEEP_LOOP(count) __asm__("" : "+r"(count))
/* Dot products are added in place. With intrinsics, compilers copy sums to and fro: an eighth of all instructions. */
#define DOT(sum, weights, x) __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(weights), "w"(x))
#define DOT_LANE(sum, weights, x, lane)                                                                                \
    __asm__("sdot %0.4s, %1.16b, %2.4b[%3]" : "+w"(sum) : "w"(weights), "w"(x), "i"(lane))
#define DOT_EIGHT(lane, offset)                                                                                        \
    "ldp %q[p], %q[q], [%[w], #" offset "]\n"                                                                          \
    "sdot %[a0].4s, %[p].16b, %[x0].4b[" lane "]\n"                                                                    \
    "sdot %[b0].4s, %[p].16b, %[x1].4b[" lane "]\n"                                                                    \
    "sdot %[c0].4s, %[p].16b, %[x2].4b[" lane "]\n"                                                                    \
    "sdot %[d0].4s, %[p].16b, %[x3].4b[" lane "]\n"                                                                    \
    "sdot %[a1].4s, %[q].16b, %[x0].4b[" lane "]\n"                                                                    \
    "sdot %[b1].4s, %[q].16b, %[x1].4b[" lane "]\n"                                                                    \
    "sdot %[c1].4s, %[q].16b, %[x2].4b[" lane "]\n"                                                                    \
    "sdot %[d1].4s, %[q].16b, %[x3].4b[" lane "]\n"

/* Sixteen inputs of four pixels to eight of sixteen outputs, from vector `n` on. */
static ALWAYS_INLINE void dot_sixteen(int32x4_t sums[4][4], const int8x16_t *x, const int8_t *w, const size_t n)
{
    int8x16_t p, q;
    __asm__(DOT_EIGHT("0", "0") DOT_EIGHT("1", "64") DOT_EIGHT("2", "128") DOT_EIGHT("3", "192")
            : [a0] "+w"(sums[0][n]), [b0] "+w"(sums[1][n]), [c0] "+w"(sums[2][n]), [d0] "+w"(sums[3][n]),
              [a1] "+w"(sums[0][n + 1]), [b1] "+w"(sums[1][n + 1]), [c1] "+w"(sums[2][n + 1]),
              [d1] "+w"(sums[3][n + 1]), [p] "=&w"(p), [q] "=&w"(q)
            : [x0] "w"(x[0]), [x1] "w"(x[1]), [x2] "w"(x[2]), [x3] "w"(x[3]), [w] "r"(w + 16 * n),
              "m"(*(const int8_t(*)[256])w));
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
        const int8_t *inputs[4];
        REPEAT_4(p, if (p < pixels) { inputs[p] = rows[segment] + (at + p) * step; })
        size_t i = 0, whole_loads = layer->groups / 4;
        KEEP_LOOP(whole_loads);
        for (; whole_loads > 0; whole_loads--, i += 16, w += 64 * vectors) {
            int8x16_t x[4];
            REPEAT_4(p, if (p < pixels) { x[p] = vld1q_s8(inputs[p] + i); })
            if (pixels == 4 && vectors == 4) {
                dot_sixteen(sums, x, w, 0);
                dot_sixteen(sums, x, w, 2);
            } else {
                REPEAT_4(lane, REPEAT_4(n, if (n < vectors) {
                    const int8x16_t weights = vld1q_s8(w + 16 * (lane * vectors + n));
                    REPEAT_4(p, if (p < pixels) { DOT_LANE(sums[p][n], weights, x[p], lane); })
                }))
            }
        }
        if (layer->groups & 2) {
            int8x8_t x[4];
            REPEAT_4(p, if (p < pixels) { x[p] = vld1_s8(inputs[p] + i); })
            REPEAT_2(lane, REPEAT_4(n, if (n < vectors) {
                const int8x16_t weights = vld1q_s8(w + 16 * (lane * vectors + n));
                REPEAT_4(p, if (p < pixels) { DOT_LANE(sums[p][n], weights, x[p], lane); })
            }))
            i += 8, w += 32 * vectors;
        }
        if (layer->groups & 1) {
            int8x16_t x[4];
            REPEAT_4(p, if (p < pixels) { x[p] = load_group(inputs[p] + i); })
            REPEAT_4(n, if (n < vectors) {
                const int8x16_t weights = vld1q_s8(w + 16 * n);
                REPEAT_4(p, if (p < pixels) { DOT(sums[p][n], weights, x[p]); })
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
