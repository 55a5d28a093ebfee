/* e^x, to 2e-7 of it, without a mathematical library; x is clamped to +-87. */
static float exponential(float x)
{
    x = x < -87.0f ? -87.0f : x;
    x = x > 87.0f ? 87.0f : x;
    const int32_t power = round_even(x * 1.44269504f);
    const float n = (float)power;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f; /* x - n ln 2 */
    float y = 1.98756915e-4f;
    y = y * r + 1.39819995e-3f;
    y = y * r + 8.33345190e-3f;
    y = y * r + 4.16657962e-2f;
    y = y * r + 1.66666657e-1f;
    y = y * r + 5.00000000e-1f;
    y = y * r * r + r + 1.0f;
    const int32_t bits = (power + 127) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return y * scale;
}
