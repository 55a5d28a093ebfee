/* Four sums, scaled, rounded and saturated to 16 bits. */
static ALWAYS_INLINE int16x4_t scale_neon(int32x4_t sums, float32x4_t scales)
{
    return vqmovn_s32(vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums), scales)));
}

/* Eight int8 of scaled sums, as requantise(). */
static ALWAYS_INLINE int8x8_t requantise_neon(int16x4_t first, int16x4_t second, int32_t zero_point, int32_t low)
{
    const int16x8_t shifted = vqaddq_s16(vcombine_s16(first, second), vdupq_n_s16((int16_t)zero_point));
    return vmax_s8(vqmovn_s16(shifted), vdup_n_s8((int8_t)low));
}
