/* int8 to floats. */
static void dequantise(const int8_t *x, float scale, int32_t zero_point, float *restrict y, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        y[i] = (float)(x[i] - zero_point) * scale;
    }
}
