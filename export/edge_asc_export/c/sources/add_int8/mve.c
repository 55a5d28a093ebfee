static void add_int8(const add_int8_layer *layer, const int8_t *left, const int8_t *right, int8_t *y, size_t count)
{
    const int32x4_t bias = vdupq_n_s32(layer->bias), most = vdupq_n_s32(127 - layer->zero_point);
    const int32x4_t least = vdupq_n_s32(layer->low - layer->zero_point);
    for (size_t i = 0; i < count; i += 4) {
        const mve_pred16_t some = vctp32q(count - i);
        const int32x4_t a = vldrbq_z_s32(left + i, some), b = vldrbq_z_s32(right + i, some);
        const int32x4_t sum = vmlaq_n_s32(vmlaq_n_s32(bias, a, layer->left), b, layer->right);
        const int32x4_t value = vminq_s32(vmaxq_s32(vshlq_r_s32(sum, -layer->shift), least), most);
        vstrbq_p_s32(y + i, vaddq_n_s32(value, layer->zero_point), some);
    }
}
