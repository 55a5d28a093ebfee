/* Weights of sixteen inputs of one output: four groups, which lie `offsets` apart. */
static ALWAYS_INLINE int8x16_t load_weights(const int8_t *w, uint32x4_t offsets)
{
    return vreinterpretq_s8_s32(vldrwq_gather_offset_s32((const int32_t *)(const void *)w, offsets));
}

static ALWAYS_INLINE int8x16_t load_some_weights(const int8_t *w, uint32x4_t offsets, mve_pred16_t groups)
{
    return vreinterpretq_s8_s32(vldrwq_gather_offset_z_s32((const int32_t *)(const void *)w, offsets, groups));
}

/* Two outputs of two pixels, `next` apart, with sixteen products in an instruction. The sums of a pixel lie four
   apart. */
static ALWAYS_INLINE void dense_four(const dense_int8_layer *layer, const int8_t *const *rows, size_t at, size_t next,
                                     const int8_t *w, size_t stride, uint32x4_t offsets, const int32_t *bias,
                                     int32_t *first, int32_t *second)
{
    int32_t a0 = bias[0], a1 = bias[1], b0 = a0, b1 = a1;
    for (size_t segment = 0; segment < layer->segments; segment++) {
        const int8_t *x = rows[segment] + at;
        size_t group = layer->groups;
        for (; group >= 4; group -= 4, x += 16, w += 4 * stride) {
            const int8x16_t xa = vldrbq_s8(x), xb = vldrbq_s8(x + next);
            const int8x16_t w0 = load_weights(w, offsets), w1 = load_weights(w + 4, offsets);
            a0 = vmladavaq_s8(a0, xa, w0);
            a1 = vmladavaq_s8(a1, xa, w1);
            b0 = vmladavaq_s8(b0, xb, w0);
            b1 = vmladavaq_s8(b1, xb, w1);
        }
        if (group > 0) {
            const mve_pred16_t inputs = vctp8q(4 * group), groups = vctp32q(group);
            const int8x16_t xa = vldrbq_z_s8(x, inputs), xb = vldrbq_z_s8(x + next, inputs);
            const int8x16_t w0 = load_some_weights(w, offsets, groups), w1 = load_some_weights(w + 4, offsets, groups);
            a0 = vmladavaq_s8(a0, xa, w0);
            a1 = vmladavaq_s8(a1, xa, w1);
            b0 = vmladavaq_s8(b0, xb, w0);
            b1 = vmladavaq_s8(b1, xb, w1);
            w += group * stride;
        }
    }
    first[0] = a0;
    first[4] = a1;
    second[0] = b0;
    second[4] = b1;
}

/* The outputs of a block, of sums in the order of requantise_mve(). */
static ALWAYS_INLINE void store_block(const dense_int8_layer *layer, const int32_t *sums, size_t begin, size_t padded,
                                      int8_t *y, size_t width)
{
    const uint32x4_t offsets = vidupq_n_u32(0, 4);
    const mve_pred16_t some = vctp32q(padded / 4);
    const float *scales = layer->scales + begin;
    int32x4_t values[4];
    REPEAT_4(n, {
        const float32x4_t four = vldrwq_gather_shifted_offset_z_f32(scales + n, offsets, some);
        values[n] = scale_mve(vldrwq_s32(sums + 4 * n), four);
    })
    const int8x16_t result = requantise_mve(values[0], values[1], values[2], values[3], layer->zero_point, layer->low);
    KEEP_STORES();
    vstrbq_p_s8(y, result, vctp8q(width));
    KEEP_STORES();
}

static void dense_int8(const dense_int8_layer *layer, const int8_t *const *rows, size_t step, int8_t *y, size_t count)
{
    const dense_int8_layer l = *layer;
    const int8_t *block = l.weights;
    for (size_t begin = 0; begin < l.outputs; begin += 16) {
        const size_t left = l.outputs - begin, width = left < 16 ? left : 16, padded = (width + 3) & ~(size_t)3;
        const uint32x4_t offsets = vmulq_n_u32(vidupq_n_u32(0, 4), (uint32_t)padded);
        for (size_t pixel = 0; pixel < count; pixel += 2) {
            const size_t next = pixel + 1 < count ? step : 0; /* the last pixel is computed twice where it is alone */
            int8_t *out = y + pixel * l.outputs + begin;
            int32_t first[16], second[16];
            for (size_t n = 0; n < padded; n += 2) {
                const size_t at = n / 4 + 4 * (n & 3);
                dense_four(&l, rows, pixel * step, next, block + 4 * n, 4 * padded, offsets, l.bias + begin + n,
                           first + at, second + at);
            }
            store_block(&l, first, begin, padded, out, width);
            if (next) {
                store_block(&l, second, begin, padded, out + l.outputs, width);
            }
        }
        block += l.segments * l.groups * 4 * padded;
    }
}
