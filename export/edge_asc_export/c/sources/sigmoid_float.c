/* The logistic function. */
static void sigmoid_float(const float *x, float *restrict y, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        y[i] = 1.0f / (1.0f + exponential(-x[i]));
    }
}
