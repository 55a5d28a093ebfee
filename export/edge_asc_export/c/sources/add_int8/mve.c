static ALWAYS_INLINE int32x4_t add_four(int32x4_t left, int32x4_t right, const add_int8_layer *layer)
{
    const int32x4_t sum = vmlaq_n_s32(vmlaq_n_s32(vdupq_n_s32(layer->bias), left, layer->left), right, layer->right);
    return vshlq_r_s32(sum, -layer->shift);
}

static ALWAYS_INLINE int8_t add_one(const add_int8_layer *layer, int8_t left, int8_t right)
{
    const int32_t least = layer->low - layer->zero_point, most = 127 - layer->zero_point;
    int32_t value = (layer->bias + left * layer->left + right * layer->right) >> layer->shift;
    value = value < least ? least : value;
    value = value > most ? most : value;
    return (int8_t)(value + layer->zero_point);
}

static void add_int8(const add_int8_layer *layer, const int8_t *left, const int8_t *right, int8_t *y, size_t count)
{
    const add_int8_layer l = *layer;
    for (; count >= 16; count -= 16, left += 16, right += 16, y += 16) {
        const int8x16_t x = vldrbq_s8(left), z = vldrbq_s8(right);
        const int16x8_t x0 = vmovlbq_s8(x), x1 = vmovltq_s8(x), z0 = vmovlbq_s8(z), z1 = vmovltq_s8(z);
        const int32x4_t a = add_four(vmovlbq_s16(x0), vmovlbq_s16(z0), &l);
        const int32x4_t b = add_four(vmovlbq_s16(x1), vmovlbq_s16(z1), &l);
        const int32x4_t c = add_four(vmovltq_s16(x0), vmovltq_s16(z0), &l);
        const int32x4_t d = add_four(vmovltq_s16(x1), vmovltq_s16(z1), &l);
        vstrbq_s8(y, requantise_mve(a, b, c, d, l.zero_point, l.low));
    }
    for (; count > 0; count--, left++, right++, y++) {
        *y = add_one(&l, *left, *right);
    }
}
