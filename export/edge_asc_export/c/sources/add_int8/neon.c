static ALWAYS_INLINE int32x4_t add_four(int16x4_t left, int16x4_t right, int32x4_t bias, int32x4_t l, int32x4_t r,
                                        int32x4_t shift)
{
    return vshlq_s32(vmlaq_s32(vmlaq_s32(bias, vmovl_s16(left), l), vmovl_s16(right), r), shift);
}

static ALWAYS_INLINE int8_t add_one(const add_int8_layer *layer, int8_t left, int8_t right)
{
    const int32_t least = layer->low - layer->zero_point, most = 127 - layer->zero_point;
    int32_t value = (layer->bias + left * layer->left + right * layer->right) >> layer->shift;
    value = value < least ? least : value;
    value = value > most ? most : value;
    return (int8_t)(value + layer->zero_point);
}

static NEON_INLINE void add_int8(const add_int8_layer *layer, const int8_t *left, const int8_t *right, int8_t *y, size_t count)
{
    const int32x4_t bias = vdupq_n_s32(layer->bias), shift = vdupq_n_s32(-layer->shift);
    const int32x4_t l = vdupq_n_s32(layer->left), r = vdupq_n_s32(layer->right);
    for (; count >= 16; count -= 16, left += 16, right += 16, y += 16) {
        const int8x16_t x = vld1q_s8(left), z = vld1q_s8(right);
        const int16x8_t x0 = vmovl_s8(vget_low_s8(x)), x1 = vmovl_high_s8(x);
        const int16x8_t z0 = vmovl_s8(vget_low_s8(z)), z1 = vmovl_high_s8(z);
        const int32x4_t a = add_four(vget_low_s16(x0), vget_low_s16(z0), bias, l, r, shift);
        const int32x4_t b = add_four(vget_high_s16(x0), vget_high_s16(z0), bias, l, r, shift);
        const int32x4_t c = add_four(vget_low_s16(x1), vget_low_s16(z1), bias, l, r, shift);
        const int32x4_t d = add_four(vget_high_s16(x1), vget_high_s16(z1), bias, l, r, shift);
        vst1q_s8(y, requantise_neon(a, b, c, d, layer->zero_point, layer->low, layer->narrow));
    }
    for (; count > 0; count--, left++, right++, y++) {
        *y = add_one(layer, *left, *right);
    }
}
