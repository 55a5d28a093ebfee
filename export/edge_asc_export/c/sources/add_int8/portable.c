static void add_int8(const add_int8_layer *layer, const int8_t *left, const int8_t *right, int8_t *y, size_t count)
{
    const int32_t least = layer->low - layer->zero_point, most = 127 - layer->zero_point;
    for (size_t i = 0; i < count; i++) {
        int32_t value = (layer->bias + left[i] * layer->left + right[i] * layer->right) >> layer->shift;
        value = value < least ? least : value;
        value = value > most ? most : value;
        y[i] = (int8_t)(value + layer->zero_point);
    }
}
