/* A product of two tensors. */
typedef struct {
    int32_t left, right; /* zero points */
    float scale;
    int32_t zero_point;
} multiply_int8_layer;

static void multiply_int8(const multiply_int8_layer *layer, const int8_t *left, const int8_t *right,
                          int8_t *restrict y, size_t count)
{
    const multiply_int8_layer l = *layer;
    for (size_t i = 0; i < count; i++) {
        const int32_t product = (left[i] - l.left) * (right[i] - l.right);
        y[i] = requantise(product, l.scale, l.zero_point, -128);
    }
}
