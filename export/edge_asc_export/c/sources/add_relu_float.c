/* A sum of two tensors; what is negative becomes 0. */
static void add_relu_float(const float *left, const float *right, float *restrict y, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const float value = left[i] + right[i];
        y[i] = value < 0.0f ? 0.0f : value;
    }
}
