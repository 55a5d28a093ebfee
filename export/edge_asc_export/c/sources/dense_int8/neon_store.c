static ALWAYS_INLINE int8x16_t load_group(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

/* The outputs of a block, of sums with their bias. */
static ALWAYS_INLINE void store_block(const dense_int8_layer *layer, const int32x4_t *sums, size_t begin, int8_t *y,
                                      const size_t vectors)
{
    const float *scales = layer->scales + begin;
    const size_t left = layer->outputs - begin;
    const int16x4_t none = vdup_n_s16(0), first = scale_neon(sums[0], vld1q_f32(scales));
    const int16x4_t second = vectors > 1 ? scale_neon(sums[1], vld1q_f32(scales + 4)) : none;
    const int16x4_t third = vectors > 2 ? scale_neon(sums[2], vld1q_f32(scales + 8)) : none;
    const int16x4_t fourth = vectors > 3 ? scale_neon(sums[3], vld1q_f32(scales + 12)) : none;
    const int8x8_t low = requantise_neon(first, second, layer->zero_point, layer->low);
    const int8x8_t high = requantise_neon(third, fourth, layer->zero_point, layer->low);
    if (left >= 16) {
        vst1q_s8(y, vcombine_s8(low, high));
    } else {
        int8_t result[16];
        vst1q_s8(result, vcombine_s8(low, high));
        memcpy(y, result, left);
    }
}
