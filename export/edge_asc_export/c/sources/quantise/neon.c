static void quantise(const float *x, float inverse, int32_t zero_point, int8_t *y, size_t count)
{
    const int16x8_t zero = vdupq_n_s16((int16_t)zero_point);
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i), inverse));
        const int32x4_t b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i + 4), inverse));
        vst1_s8(y + i, vqmovn_s16(vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), zero)));
    }
    for (; i < count; i++) {
        const float32x4_t value = vdupq_n_f32(x[i] * inverse);
        const int16x4_t word = vqadd_s16(vqmovn_s32(vcvtnq_s32_f32(value)), vget_low_s16(zero));
        y[i] = vget_lane_s8(vqmovn_s16(vcombine_s16(word, word)), 0);
    }
}
