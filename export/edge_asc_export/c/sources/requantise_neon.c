/* Four sums, scaled and rounded. */
static ALWAYS_INLINE int32x4_t scale_neon(int32x4_t sums, float32x4_t scales)
{
    return vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums), scales));
}

/* Sixteen int8 of scaled sums, as requantise(). */
static ALWAYS_INLINE int8x16_t requantise_neon(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d, int32_t zero_point,
                                               int32_t low)
{
    const int16x8_t zero = vdupq_n_s16((int16_t)zero_point);
    const int16x8_t first = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), zero);
    const int16x8_t second = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(c), d), zero);
    return vmaxq_s8(vqmovn_high_s16(vqmovn_s16(first), second), vdupq_n_s8((int8_t)low));
}
