static void quantise(const float *x, float inverse, int32_t zero_point, int8_t *y, size_t count)
{
    const int16x8_t zero = vdupq_n_s16((int16_t)zero_point);
    for (; count >= 8; count -= 8, x += 8, y += 8) {
        const int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), inverse));
        const int32x4_t b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), inverse));
        vst1_s8(y, vqmovn_s16(vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), zero)));
    }
    for (; count > 0; count--, x++, y++) {
        const float32x4_t value = vdupq_n_f32(*x * inverse);
        const int16x4_t word = vqadd_s16(vqmovn_s32(vcvtnq_s32_f32(value)), vget_low_s16(zero));
        *y = vget_lane_s8(vqmovn_s16(vcombine_s16(word, word)), 0);
    }
}
