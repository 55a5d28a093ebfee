static ALWAYS_INLINE int8x16_t load_group(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

/* The first 4 * `vectors` values. */
static ALWAYS_INLINE void store_vectors(int8_t *y, int8x16_t values, const size_t vectors)
{
    const int32x4_t words = vreinterpretq_s32_s8(values);
    if (vectors == 4) {
        vst1q_s8(y, values);
        return;
    }
    if (vectors >= 2) {
        vst1_s8(y, vget_low_s8(values));
    }
    if (vectors != 2) {
        const int32_t last = vectors == 3 ? vgetq_lane_s32(words, 2) : vgetq_lane_s32(words, 0);
        memcpy(y + 4 * (vectors - 1), &last, 4);
    }
}

/* The outputs of a block, of sums with their bias. */
static ALWAYS_INLINE void store_block(const dense_int8_layer *layer, const int32x4_t *sums, const float32x4_t *scales,
                                      size_t begin, int8_t *y, const size_t vectors, const int whole)
{
    const int32x4_t none = vdupq_n_s32(0), first = scale_neon(sums[0], scales[0]);
    const int32x4_t second = vectors > 1 ? scale_neon(sums[1], scales[1]) : none;
    const int32x4_t third = vectors > 2 ? scale_neon(sums[2], scales[2]) : none;
    const int32x4_t fourth = vectors > 3 ? scale_neon(sums[3], scales[3]) : none;
    const int8x16_t result = requantise_neon(first, second, third, fourth, layer->zero_point, layer->low,
                                             layer->narrow);
    if (whole) {
        store_vectors(y, result, vectors);
    } else {
        int8_t bytes[16];
        vst1q_s8(bytes, result);
        memcpy(y, bytes, layer->outputs - begin);
    }
}
