/* A group of four inputs, twice, as words. */
static ALWAYS_INLINE v128_t broadcast_group(const int8_t *x)
{
    return wasm_i16x8_extend_low_i8x16(wasm_v128_load32_splat(x));
}

/* Outputs of 4 * `vectors` channels from `begin` + `n` on, of `pixels` inputs. Each vector of sums is of two channels. */
static ALWAYS_INLINE void dense_tile(const dense_int8_layer *layer, const int8_t *const *rows, size_t at, size_t step,
                                     const int8_t *w, size_t padded, size_t begin, int8_t *y, const size_t pixels,
                                     const size_t vectors)
{
    const v128_t none = wasm_i32x4_splat(0);
    v128_t sums[2][4];
    REPEAT_4(h, sums[0][h] = sums[1][h] = none;)
    for (size_t segment = 0; segment < layer->segments; segment++) {
        const int8_t *x = rows[segment] + at * step;
        for (size_t group = 0; group < layer->groups; group++, x += 4, w += 4 * padded) {
            const v128_t first = broadcast_group(x), second = pixels > 1 ? broadcast_group(x + step) : none;
            REPEAT_4(h, if (h < 2 * vectors) {
                const v128_t weights = wasm_i16x8_load8x8(w + 8 * h);
                sums[0][h] = wasm_i32x4_add(sums[0][h], wasm_i32x4_dot_i16x8(weights, first));
                if (pixels > 1) {
                    sums[1][h] = wasm_i32x4_add(sums[1][h], wasm_i32x4_dot_i16x8(weights, second));
                }
            })
        }
    }
    int32_t bias[8] = {0};
    float scales[8] = {0};
    memcpy(bias, layer->bias + begin, 16 * vectors);
    memcpy(scales, layer->scales + begin, 16 * vectors);
    const size_t left = layer->outputs - begin;
    REPEAT_2(p, if (p < pixels) {
        v128_t four[2];
        REPEAT_2(n, {
            const v128_t even = wasm_i32x4_shuffle(sums[p][2 * n], sums[p][2 * n + 1], 0, 2, 4, 6);
            const v128_t odd = wasm_i32x4_shuffle(sums[p][2 * n], sums[p][2 * n + 1], 1, 3, 5, 7);
            four[n] = wasm_i32x4_add(wasm_i32x4_add(even, odd), wasm_v128_load(bias + 4 * n));
        })
        const v128_t result = requantise_simd128(four[0], four[1], scales, layer->zero_point, layer->low);
        int8_t *out = y + (at + p) * layer->outputs + begin;
        if (left >= 4 * vectors && vectors == 2) {
            wasm_v128_store64_lane(out, result, 0);
        } else if (left >= 4 * vectors) {
            wasm_v128_store32_lane(out, result, 0);
        } else {
            int8_t bytes[16];
            wasm_v128_store(bytes, result);
            for (size_t n = 0; n < left; n++) {
                out[n] = bytes[n];
            }
        }
    })
}

/* All outputs of `pixels` inputs. */
static ALWAYS_INLINE void dense_rows(const dense_int8_layer *layer, const int8_t *const *rows, size_t at, size_t step,
                                     int8_t *y, const size_t pixels)
{
    const int8_t *block = layer->weights;
    for (size_t begin = 0; begin < layer->outputs; begin += 16) {
        const size_t left = layer->outputs - begin, width = left < 16 ? left : 16, padded = (width + 3) & ~(size_t)3;
        size_t n = 0;
        for (; n + 8 <= padded; n += 8) {
            dense_tile(layer, rows, at, step, block + 4 * n, padded, begin + n, y, pixels, 2);
        }
        if (n < padded) {
            dense_tile(layer, rows, at, step, block + 4 * n, padded, begin + n, y, pixels, 1);
        }
        block += layer->segments * layer->groups * 4 * padded;
    }
}

static void dense_int8(const dense_int8_layer *layer, const int8_t *const *rows, size_t step, int8_t *y, size_t count)
{
    size_t at = 0;
    for (; count >= 2; count -= 2, at += 2) {
        dense_rows(layer, rows, at, step, y, 2);
    }
    if (count > 0) {
        dense_rows(layer, rows, at, step, y, 1);
    }
}
