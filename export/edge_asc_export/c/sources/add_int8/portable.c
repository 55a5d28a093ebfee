static void add_int8(const add_int8_layer *layer, const int8_t *left, const int8_t *right, int8_t *restrict y,
                     size_t count)
{
    const add_int8_layer l = *layer;
    const int32_t least = l.low - l.zero_point, most = 127 - l.zero_point;
    for (size_t i = 0; i < count; i++) {
        int32_t value = (l.bias + left[i] * l.left + right[i] * l.right) >> l.shift;
        value = value < least ? least : value;
        value = value > most ? most : value;
        y[i] = (int8_t)(value + l.zero_point);
    }
}
