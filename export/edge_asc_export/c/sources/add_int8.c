/* A sum of two tensors of other scales, in fixed point; halves are rounded up. */
typedef struct {
    int32_t left, right; /* multipliers, at most 2^21 */
    int32_t bias;        /* the zero points of both, and half a unit */
    int32_t shift;
    int32_t zero_point, low;
    int32_t narrow; /* whether all sums fit 16 bits when they are shifted */
} add_int8_layer;
