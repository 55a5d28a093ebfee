/* Eight channels of all outputs from channel c on; products of two taps fit 16 bits, since no weight is -128. */
static ALWAYS_INLINE void depthwise_eight(const depthwise_int8_layer *layer, const int8_t *const *taps, size_t step,
                                          int8_t *y, size_t count, size_t c)
{
    const size_t channels = layer->channels;
    const int32x4_t bias_low = vld1q_s32(layer->bias + c), bias_high = vld1q_s32(layer->bias + c + 4);
    const float32x4_t scale_low = vld1q_f32(layer->scales + c), scale_high = vld1q_f32(layer->scales + c + 4);
    if (layer->taps == 3) {
        const int8x8_t w0 = vld1_s8(layer->weights + c), w1 = vld1_s8(layer->weights + channels + c);
        const int8x8_t w2 = vld1_s8(layer->weights + 2 * channels + c);
        const int8_t *x0 = taps[0] + c, *x1 = taps[1] + c, *x2 = taps[2] + c;
        int8_t *out = y + c;
        for (size_t pixel = 0; pixel < count; pixel++, x0 += step, x1 += step, x2 += step, out += channels) {
            const int16x8_t pair = vmlal_s8(vmull_s8(vld1_s8(x0), w0), vld1_s8(x1), w1);
            const int16x8_t last = vmull_s8(vld1_s8(x2), w2);
            int32x4_t low = vaddw_s16(bias_low, vget_low_s16(pair)), high = vaddw_high_s16(bias_high, pair);
            low = vaddw_s16(low, vget_low_s16(last));
            high = vaddw_high_s16(high, last);
            vst1_s8(out, requantise_neon(scale_neon(low, scale_low), scale_neon(high, scale_high), layer->zero_point,
                                         layer->low));
        }
        return;
    }
    for (size_t pixel = 0; pixel < count; pixel++) {
        int32x4_t low = bias_low, high = bias_high;
        for (size_t tap = 0; tap < layer->taps; tap++) {
            const int16x8_t product =
                vmull_s8(vld1_s8(taps[tap] + pixel * step + c), vld1_s8(layer->weights + tap * channels + c));
            low = vaddw_s16(low, vget_low_s16(product));
            high = vaddw_high_s16(high, product);
        }
        vst1_s8(y + pixel * channels + c, requantise_neon(scale_neon(low, scale_low), scale_neon(high, scale_high),
                                                          layer->zero_point, layer->low));
    }
}

static void depthwise_int8(const depthwise_int8_layer *layer, const int8_t *const *taps, size_t step, int8_t *y,
                           size_t count)
{
    const size_t channels = layer->channels;
    for (size_t next = 0; next < channels && channels >= 8; next += 8) {
        depthwise_eight(layer, taps, step, y, count, next + 8 <= channels ? next : channels - 8);
    }
    for (size_t i = 0; i < count * channels && channels < 8; i++) {
        const size_t pixel = i / channels, c = i % channels;
        int32_t sum = layer->bias[c];
        for (size_t tap = 0; tap < layer->taps; tap++) {
            sum += taps[tap][pixel * step + c] * layer->weights[tap * channels + c];
        }
        y[i] = requantise(sum, layer->scales[c], layer->zero_point, layer->low);
    }
}
