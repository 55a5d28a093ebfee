/* Weights of sixteen inputs of one output: four groups, which lie `offsets` apart. */
static ALWAYS_INLINE int8x16_t load_weights(const int8_t *w, uint32x4_t offsets)
{
    return vreinterpretq_s8_s32(vldrwq_gather_offset_s32((const int32_t *)(const void *)w, offsets));
}

static ALWAYS_INLINE int8x16_t load_some_weights(const int8_t *w, uint32x4_t offsets, mve_pred16_t groups)
{
    return vreinterpretq_s8_s32(vldrwq_gather_offset_z_s32((const int32_t *)(const void *)w, offsets, groups));
}

/* Two outputs of two pixels, `next` apart, with sixteen products in an instruction. */
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
    first[1] = a1;
    second[0] = b0;
    second[1] = b1;
}

/* At most four outputs, of sums with their bias. */
static ALWAYS_INLINE void store_four(const dense_int8_layer *layer, const int32_t *sums, const float *scales, int8_t *y,
                                     size_t count)
{
    const int32x4_t values = scale_mve(vldrwq_s32(sums), vldrwq_f32(scales));
    const int32x4_t bounded = vmaxq_s32(values, vdupq_n_s32(layer->low - layer->zero_point));
    const int32x4_t result = vminq_s32(bounded, vdupq_n_s32(127 - layer->zero_point));
    vstrbq_p_s32(y, vaddq_n_s32(result, layer->zero_point), vctp32q(count));
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
            int32_t first[16], second[16];
            for (size_t n = 0; n < padded; n += 2) {
                const int32_t *bias = l.bias + begin + n;
                dense_four(&l, rows, pixel * step, next, block + 4 * n, 4 * padded, offsets, bias, first + n, second + n);
            }
            for (size_t n = 0; n < width; n += 4) {
                int8_t *out = y + pixel * l.outputs + begin + n;
                store_four(&l, first + n, l.scales + begin + n, out, width - n);
                if (next) {
                    store_four(&l, second + n, l.scales + begin + n, out + l.outputs, width - n);
                }
            }
        }
        block += l.segments * l.groups * 4 * padded;
    }
}
