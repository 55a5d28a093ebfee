/* The kernels that this processor has; all compute the same. Define EDGE_ASC_PORTABLE to have those of plain C. */
#if defined(EDGE_ASC_PORTABLE)
#elif defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define EDGE_ASC_AVX512 1
#elif defined(__AVX2__)
#define EDGE_ASC_AVX2 1
#elif defined(__aarch64__) && defined(__ARM_NEON) && defined(__ARM_FEATURE_DOTPROD)
#define EDGE_ASC_NEON_DOT 1
#define DENSE_PIXELS 4
#elif defined(__aarch64__) && defined(__ARM_NEON)
#define EDGE_ASC_NEON 1
#define DENSE_PIXELS 2
#elif defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2) && defined(__ARMEL__) && defined(__GNUC__)
#define EDGE_ASC_MVE 1
#elif defined(__ARM_FEATURE_SIMD32) && defined(__ARMEL__)
#define EDGE_ASC_DSP 1
#elif defined(__wasm_simd128__)
#define EDGE_ASC_SIMD128 1
#endif
#if defined(EDGE_ASC_AVX512) || defined(EDGE_ASC_AVX2)
#include <immintrin.h>
#elif defined(EDGE_ASC_NEON_DOT) || defined(EDGE_ASC_NEON)
#include <arm_neon.h>
/* Layers are constants: what depends on them is decided when the C is compiled, if it is optimised. */
#if defined(__OPTIMIZE__)
#define NEON_INLINE ALWAYS_INLINE
#else
#define NEON_INLINE
#endif
#elif defined(EDGE_ASC_MVE)
#include <arm_mve.h>
#elif defined(EDGE_ASC_DSP)
#include <arm_acle.h>
#elif defined(EDGE_ASC_SIMD128)
#include <wasm_simd128.h>
#endif
/* Vectors of floats as gcc and clang have them on every processor. */
#if defined(__GNUC__) && !defined(EDGE_ASC_PORTABLE)
#define EDGE_ASC_VECTORS 1
#endif
#if defined(__GNUC__)
#define ALWAYS_INLINE inline __attribute__((always_inline, unused))
#define ALIGNED_4 __attribute__((aligned(4)))
#else
#define ALWAYS_INLINE inline
#define ALIGNED_4
#endif
/* Statements for i = 0, 1, 2, 3, as constants: what they index stays in registers. */
#define REPEAT_2(i, ...) {enum { i = 0 }; __VA_ARGS__} {enum { i = 1 }; __VA_ARGS__}
#define REPEAT_4(i, ...) REPEAT_2(i, __VA_ARGS__) {enum { i = 2 }; __VA_ARGS__} {enum { i = 3 }; __VA_ARGS__}
#define REPEAT_8(i, ...)                                                                                               \
    REPEAT_4(i, __VA_ARGS__)                                                                                           \
    {enum { i = 4 }; __VA_ARGS__} {enum { i = 5 }; __VA_ARGS__} {enum { i = 6 }; __VA_ARGS__} {enum { i = 7 }; __VA_ARGS__}
