/* The hyperbolic tangent. */
static void tanh_float(const float *x, float *restrict y, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        y[i] = 1.0f - 2.0f / (1.0f + exponential(2.0f * x[i]));
    }
}
