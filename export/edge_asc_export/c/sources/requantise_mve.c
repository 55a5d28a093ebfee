/* No kernel has widening loads and narrowing stores: gcc 12 takes them for accesses to one byte, and moves others
   across them. It takes a predicated store for one to all lanes, and may drop others before it: such a store stands
   between barriers. */
#define KEEP_STORES() __asm volatile("" ::: "memory")

/* Four sums, scaled and rounded. */
static ALWAYS_INLINE int32x4_t scale_mve(int32x4_t sums, float32x4_t scales)
{
    return vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums), scales));
}

/* Sixteen int8 of scaled sums, as requantise(): of the outputs 0, 4, 8 and 12, of 1, 5, 9 and 13, and so on. */
static ALWAYS_INLINE int8x16_t requantise_mve(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d, int32_t zero_point,
                                              int32_t low)
{
    int16x8_t even = vqmovntq_s32(vqmovnbq_s32(vreinterpretq_s16_s32(a), a), c);
    int16x8_t odd = vqmovntq_s32(vqmovnbq_s32(vreinterpretq_s16_s32(b), b), d);
    even = vqaddq_n_s16(even, (int16_t)zero_point);
    odd = vqaddq_n_s16(odd, (int16_t)zero_point);
    const int8x16_t values = vqmovntq_s16(vqmovnbq_s16(vreinterpretq_s8_s16(even), even), odd);
    return vmaxq_s8(values, vdupq_n_s8((int8_t)low));
}
