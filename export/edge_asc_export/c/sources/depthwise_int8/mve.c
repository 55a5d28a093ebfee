/* Sixteen channels of an output from channel c on; products of two taps fit 16 bits, since no weight is -128. Lanes are
   those of channels 0, 4, 8 and 12, then of 1, 5, 9 and 13, and so on. */
static ALWAYS_INLINE void depthwise_sixteen(const depthwise_int8_layer *layer, const int8_t *const *taps, size_t at,
                                            int8_t *y, size_t c)
{
    const size_t channels = layer->channels;
    const int8_t *w = layer->weights + c;
    const int32x4x4_t bias = vld4q_s32(layer->bias + c);
    int32x4_t s0 = bias.val[0], s1 = bias.val[1], s2 = bias.val[2], s3 = bias.val[3];
    for (size_t tap = 0; tap < layer->taps; tap += 2, w += 2 * channels) {
        const int8x16_t x0 = vldrbq_s8(taps[tap] + at + c), w0 = vldrbq_s8(w);
        int16x8_t even = vmullbq_int_s8(x0, w0), odd = vmulltq_int_s8(x0, w0);
        if (tap + 1 < layer->taps) {
            const int8x16_t x1 = vldrbq_s8(taps[tap + 1] + at + c), w1 = vldrbq_s8(w + channels);
            even = vaddq_s16(even, vmullbq_int_s8(x1, w1));
            odd = vaddq_s16(odd, vmulltq_int_s8(x1, w1));
        }
        s0 = vaddq_s32(s0, vmovlbq_s16(even));
        s1 = vaddq_s32(s1, vmovlbq_s16(odd));
        s2 = vaddq_s32(s2, vmovltq_s16(even));
        s3 = vaddq_s32(s3, vmovltq_s16(odd));
    }
    const float32x4x4_t scales = vld4q_f32(layer->scales + c);
    vstrbq_s8(y + c, requantise_mve(scale_mve(s0, scales.val[0]), scale_mve(s1, scales.val[1]),
                                    scale_mve(s2, scales.val[2]), scale_mve(s3, scales.val[3]), layer->zero_point,
                                    layer->low));
}

static void depthwise_int8(const depthwise_int8_layer *layer, const int8_t *const *taps, size_t step, int8_t *y,
                           size_t count)
{
    const size_t channels = layer->channels;
    if (channels < 16) {
        depthwise_few(layer, taps, step, y, count);
        return;
    }
    for (size_t pixel = 0; pixel < count; pixel++, y += channels) {
        for (size_t next = 0; next < channels; next += 16) {
            /* The last sixteen may overlap. */
            depthwise_sixteen(layer, taps, pixel * step, y, next + 16 <= channels ? next : channels - 16);
        }
    }
}
