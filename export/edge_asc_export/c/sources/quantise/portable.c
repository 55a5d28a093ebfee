static void quantise(const float *x, float inverse, int32_t zero_point, int8_t *restrict y, size_t count)
{
    const float least = (float)(-128 - zero_point), most = (float)(127 - zero_point);
    for (size_t i = 0; i < count; i++) {
        float value = x[i] * inverse;
        value = value < least ? least : value;
        value = value > most ? most : value;
        y[i] = (int8_t)(round_even(value) + zero_point);
    }
}
