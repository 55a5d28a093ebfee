/* Eight int8 of sums, as requantise(); adding 1.5 * 2^23 rounds as in round_even(). */
static ALWAYS_INLINE v128_t scale_simd128(v128_t sums, v128_t scales, int32_t zero_point, int32_t low)
{
    v128_t values = wasm_f32x4_mul(wasm_f32x4_convert_i32x4(sums), scales);
    values = wasm_f32x4_pmax(values, wasm_f32x4_splat((float)(low - zero_point)));
    values = wasm_f32x4_pmin(values, wasm_f32x4_splat((float)(127 - zero_point)));
    return wasm_i32x4_sub(wasm_f32x4_add(values, wasm_f32x4_splat(12582912.0f)), wasm_i32x4_splat(0x4B400000 - zero_point));
}

static ALWAYS_INLINE v128_t requantise_simd128(v128_t first, v128_t second, const float *scales, int32_t zero_point,
                                               int32_t low)
{
    const v128_t a = scale_simd128(first, wasm_v128_load(scales), zero_point, low);
    const v128_t b = scale_simd128(second, wasm_v128_load(scales + 4), zero_point, low);
    const v128_t words = wasm_i16x8_narrow_i32x4(a, b);
    return wasm_i8x16_narrow_i16x8(words, words);
}
