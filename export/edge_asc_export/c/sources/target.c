/* The kernels that this processor has; all compute the same. Define EDGE_ASC_PORTABLE to have those of plain C. */
#if defined(EDGE_ASC_PORTABLE)
#elif defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define EDGE_ASC_AVX512 1
#elif defined(__AVX2__)
#define EDGE_ASC_AVX2 1
#elif defined(__aarch64__) && defined(__ARM_NEON) && defined(__ARM_FEATURE_DOTPROD)
#define EDGE_ASC_NEON_DOT 1
#elif defined(__aarch64__) && defined(__ARM_NEON)
#define EDGE_ASC_NEON 1
#elif defined(__ARM_FEATURE_SIMD32) && defined(__ARMEL__)
#define EDGE_ASC_DSP 1
#endif
#if defined(EDGE_ASC_AVX512) || defined(EDGE_ASC_AVX2)
#include <immintrin.h>
#elif defined(EDGE_ASC_NEON_DOT) || defined(EDGE_ASC_NEON)
#include <arm_neon.h>
#elif defined(EDGE_ASC_DSP)
#include <arm_acle.h>
#endif
#if defined(__GNUC__)
#define ALWAYS_INLINE inline __attribute__((always_inline, unused))
#else
#define ALWAYS_INLINE inline
#endif
