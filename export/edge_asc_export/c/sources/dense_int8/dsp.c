/* Two outputs of two pixels at once, with two products of 16 bits in an instruction. */
static ALWAYS_INLINE int32_t load_four(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, 4);
    return four;
}

static void dense_int8(const dense_int8_layer *layer, const int8_t *const *rows, size_t step, int8_t *y, size_t count)
{
    const int8_t *block = layer->weights;
    for (size_t begin = 0; begin < layer->outputs; begin += 16) {
        const size_t left = layer->outputs - begin, width = left < 16 ? left : 16, padded = (width + 3) & ~(size_t)3;
        for (size_t pixel = 0; pixel < count; pixel += 2) {
            const size_t next = pixel + 1 < count ? step : 0; /* the last pixel is computed twice where it is alone */
            for (size_t n = 0; n < padded; n += 2) {
                const int8_t *w = block + 4 * n;
                int32_t a0 = layer->bias[begin + n], a1 = layer->bias[begin + n + 1], b0 = a0, b1 = a1;
                for (size_t segment = 0; segment < layer->segments; segment++) {
                    const int8_t *x = rows[segment] + pixel * step;
                    for (size_t group = 0; group < layer->groups; group++, x += 4, w += 4 * padded) {
                        const uint32_t xa = (uint32_t)load_four(x), xb = (uint32_t)load_four(x + next);
                        const uint32_t w0 = (uint32_t)load_four(w), w1 = (uint32_t)load_four(w + 4);
                        const int16x2_t xa0 = __sxtb16((int8x4_t)xa), xa1 = __sxtb16((int8x4_t)(xa >> 8));
                        const int16x2_t xb0 = __sxtb16((int8x4_t)xb), xb1 = __sxtb16((int8x4_t)(xb >> 8));
                        const int16x2_t w00 = __sxtb16((int8x4_t)w0), w01 = __sxtb16((int8x4_t)(w0 >> 8));
                        const int16x2_t w10 = __sxtb16((int8x4_t)w1), w11 = __sxtb16((int8x4_t)(w1 >> 8));
                        a0 = __smlad(xa1, w01, __smlad(xa0, w00, a0));
                        a1 = __smlad(xa1, w11, __smlad(xa0, w10, a1));
                        b0 = __smlad(xb1, w01, __smlad(xb0, w00, b0));
                        b1 = __smlad(xb1, w11, __smlad(xb0, w10, b1));
                    }
                }
                int8_t *out = y + pixel * layer->outputs + begin + n;
                const float *scales = layer->scales + begin + n;
                if (n < width) {
                    out[0] = requantise(a0, scales[0], layer->zero_point, layer->low);
                    if (next) {
                        out[layer->outputs] = requantise(b0, scales[0], layer->zero_point, layer->low);
                    }
                }
                if (n + 1 < width) {
                    out[1] = requantise(a1, scales[1], layer->zero_point, layer->low);
                    if (next) {
                        out[layer->outputs + 1] = requantise(b1, scales[1], layer->zero_point, layer->low);
                    }
                }
            }
        }
        block += layer->segments * layer->groups * 4 * padded;
    }
}
