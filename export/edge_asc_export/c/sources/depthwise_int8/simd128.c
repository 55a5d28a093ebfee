/* Products of eight channels at tap `tap`. */
static ALWAYS_INLINE v128_t depthwise_products(const depthwise_int8_layer *layer, const int8_t *x, size_t tap, size_t c)
{
    return wasm_i16x8_mul(wasm_i16x8_load8x8(x + c), wasm_i16x8_load8x8(layer->weights + tap * layer->channels + c));
}

/* Eight channels at once; products of two taps fit 16 bits, since no weight is -128. */
static void depthwise_int8(const depthwise_int8_layer *layer, const int8_t *const *taps, size_t step, int8_t *y,
                           size_t count)
{
    const size_t channels = layer->channels;
    if (channels < 8) {
        depthwise_few(layer, taps, step, y, count);
        return;
    }
    for (size_t next = 0; next < channels; next += 8) {
        const size_t c = next + 8 <= channels ? next : channels - 8; /* the last eight may overlap */
        for (size_t pixel = 0; pixel < count; pixel++) {
            v128_t first = wasm_v128_load(layer->bias + c), second = wasm_v128_load(layer->bias + c + 4);
            for (size_t tap = 0; tap < layer->taps; tap += 2) {
                v128_t products = depthwise_products(layer, taps[tap] + pixel * step, tap, c);
                if (tap + 1 < layer->taps) {
                    const int8_t *x = taps[tap + 1] + pixel * step;
                    products = wasm_i16x8_add(products, depthwise_products(layer, x, tap + 1, c));
                }
                first = wasm_i32x4_add(first, wasm_i32x4_extend_low_i16x8(products));
                second = wasm_i32x4_add(second, wasm_i32x4_extend_high_i16x8(products));
            }
            const v128_t result = requantise_simd128(first, second, layer->scales + c, layer->zero_point, layer->low);
            wasm_v128_store64_lane(y + pixel * channels + c, result, 0);
        }
    }
}
