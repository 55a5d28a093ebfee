/* Four channels: the bias, and products of taps in 16 bits. */
typedef struct {
    int32x4_t a, b, c, d;
} depthwise_sums;

static ALWAYS_INLINE void depthwise_accumulate(depthwise_sums *sums, int16x8_t low, int16x8_t high)
{
    sums->a = vaddw_s16(sums->a, vget_low_s16(low));
    sums->b = vaddw_high_s16(sums->b, low);
    sums->c = vaddw_s16(sums->c, vget_low_s16(high));
    sums->d = vaddw_high_s16(sums->d, high);
}

/* Sixteen channels of all outputs from channel c on; products of two taps fit 16 bits, since no weight is -128. */
static ALWAYS_INLINE void depthwise_sixteen(const depthwise_int8_layer *layer, const int8_t *const *taps, size_t step,
                                            int8_t *y, size_t count, size_t c)
{
    const size_t channels = layer->channels;
    const int32_t *bias = layer->bias + c;
    const float *scales = layer->scales + c;
    const depthwise_sums start = {vld1q_s32(bias), vld1q_s32(bias + 4), vld1q_s32(bias + 8), vld1q_s32(bias + 12)};
    const float32x4_t s0 = vld1q_f32(scales), s1 = vld1q_f32(scales + 4);
    const float32x4_t s2 = vld1q_f32(scales + 8), s3 = vld1q_f32(scales + 12);
    const int8_t *w = layer->weights + c;
    for (size_t pixel = 0; pixel < count; pixel++, y += channels) {
        depthwise_sums sums = start;
        size_t tap = 0;
        for (; tap + 2 <= layer->taps; tap += 2) {
            const int8x16_t x0 = vld1q_s8(taps[tap] + pixel * step + c), w0 = vld1q_s8(w + tap * channels);
            const int8x16_t x1 = vld1q_s8(taps[tap + 1] + pixel * step + c), w1 = vld1q_s8(w + (tap + 1) * channels);
            const int16x8_t low = vmull_s8(vget_low_s8(x0), vget_low_s8(w0)), high = vmull_high_s8(x0, w0);
            depthwise_accumulate(&sums, vmlal_s8(low, vget_low_s8(x1), vget_low_s8(w1)), vmlal_high_s8(high, x1, w1));
        }
        if (tap < layer->taps) {
            const int8x16_t x0 = vld1q_s8(taps[tap] + pixel * step + c), w0 = vld1q_s8(w + tap * channels);
            depthwise_accumulate(&sums, vmull_s8(vget_low_s8(x0), vget_low_s8(w0)), vmull_high_s8(x0, w0));
        }
        vst1q_s8(y + c, requantise_neon(scale_neon(sums.a, s0), scale_neon(sums.b, s1), scale_neon(sums.c, s2),
                                        scale_neon(sums.d, s3), layer->zero_point, layer->low, layer->narrow));
    }
}

/* The same where the number of taps, at most nine and odd, is known: their weights stay in registers. */
static ALWAYS_INLINE void depthwise_known(const depthwise_int8_layer *layer, const int8_t *const *taps, size_t step,
                                          int8_t *y, size_t count, size_t c, size_t known)
{
    const size_t channels = layer->channels;
    const int32_t *bias = layer->bias + c;
    const float *scales = layer->scales + c;
    const depthwise_sums start = {vld1q_s32(bias), vld1q_s32(bias + 4), vld1q_s32(bias + 8), vld1q_s32(bias + 12)};
    const float32x4_t s0 = vld1q_f32(scales), s1 = vld1q_f32(scales + 4);
    const float32x4_t s2 = vld1q_f32(scales + 8), s3 = vld1q_f32(scales + 12);
    const int32_t zero_point = layer->zero_point, least = layer->low, narrow = layer->narrow;
    const int8_t *x[9];
    int8x16_t w[9];
    int8_t *out = y + c;
    for (size_t tap = 0; tap < known; tap++) {
        x[tap] = taps[tap] + c;
        w[tap] = vld1q_s8(layer->weights + c + tap * channels);
    }
    for (size_t at = 0; at < count * step; at += step, out += channels) {
        depthwise_sums sums = start;
        for (size_t tap = 0; tap + 2 <= known; tap += 2) {
            const int8x16_t x0 = vld1q_s8(x[tap] + at), x1 = vld1q_s8(x[tap + 1] + at);
            const int16x8_t low = vmull_s8(vget_low_s8(x0), vget_low_s8(w[tap])), high = vmull_high_s8(x0, w[tap]);
            depthwise_accumulate(&sums, vmlal_s8(low, vget_low_s8(x1), vget_low_s8(w[tap + 1])),
                                 vmlal_high_s8(high, x1, w[tap + 1]));
        }
        const int8x16_t x0 = vld1q_s8(x[known - 1] + at), w0 = w[known - 1];
        depthwise_accumulate(&sums, vmull_s8(vget_low_s8(x0), vget_low_s8(w0)), vmull_high_s8(x0, w0));
        vst1q_s8(out, requantise_neon(scale_neon(sums.a, s0), scale_neon(sums.b, s1), scale_neon(sums.c, s2),
                                      scale_neon(sums.d, s3), zero_point, least, narrow));
    }
}

static NEON_INLINE void depthwise_int8(const depthwise_int8_layer *layer, const int8_t *const *taps, size_t step, int8_t *y,
                           size_t count)
{
    const size_t channels = layer->channels;
    if (channels < 16) {
        depthwise_few(layer, taps, step, y, count);
        return;
    }
    for (size_t next = 0; next < channels; next += 16) {
        const size_t c = next + 16 <= channels ? next : channels - 16; /* the last sixteen may overlap */
        if (layer->taps == 3) {
            depthwise_known(layer, taps, step, y, count, c, 3);
        } else if (layer->taps == 9) {
            depthwise_known(layer, taps, step, y, count, c, 9);
        } else {
            depthwise_sixteen(layer, taps, step, y, count, c);
        }
    }
}
