/* An int8 of a sum: scaled, clamped from `low` to 127, rounded to the nearest, ties to even. */
static ALWAYS_INLINE int8_t requantise(int32_t sum, float scale, int32_t zero_point, int32_t low)
{
    const float least = (float)(low - zero_point), most = (float)(127 - zero_point);
    float value = (float)sum * scale;
    value = value < least ? least : value;
    value = value > most ? most : value;
    return (int8_t)(round_even(value) + zero_point);
}
