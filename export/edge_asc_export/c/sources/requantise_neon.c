/* Four sums, scaled and rounded. */
static ALWAYS_INLINE int32x4_t scale_neon(int32x4_t sums, float32x4_t scales)
{
    return vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums), scales));
}

/* Sixteen int8 of scaled sums, as requantise(); `narrow` if all of them fit 16 bits. */
static ALWAYS_INLINE int8x16_t requantise_neon(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d, int32_t zero_point,
                                               int32_t low, int32_t narrow)
{
    const int16x8_t wide_first = vqmovn_high_s32(vqmovn_s32(a), b), wide_second = vqmovn_high_s32(vqmovn_s32(c), d);
    const int16x8_t narrow_first = vuzp1q_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
    const int16x8_t narrow_second = vuzp1q_s16(vreinterpretq_s16_s32(c), vreinterpretq_s16_s32(d));
    const int16x8_t first = narrow ? narrow_first : wide_first, second = narrow ? narrow_second : wide_second;
    if (zero_point == -128) { /* from 0 to 255, and the sign turned */
        const uint8x16_t bytes = vqmovun_high_s16(vqmovun_s16(first), second);
        return vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(128)));
    }
    const int16x8_t zero = vdupq_n_s16((int16_t)zero_point);
    const int8x16_t bytes = vqmovn_high_s16(vqmovn_s16(vqaddq_s16(first, zero)), vqaddq_s16(second, zero));
    return low > -128 ? vmaxq_s8(bytes, vdupq_n_s8((int8_t)low)) : bytes;
}
