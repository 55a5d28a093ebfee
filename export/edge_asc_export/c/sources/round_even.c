/* The nearest integer, ties to even, of a value within +-2^22: adding 1.5 * 2^23 leaves it in the lowest bits. */
static ALWAYS_INLINE int32_t round_even(float value)
{
    float shifted = value + 12582912.0f;
    int32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    return bits - 0x4B400000;
}
