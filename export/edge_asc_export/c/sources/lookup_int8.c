/* A function of one value, as a table of all 256; the first entry is that of -128. */
static void lookup_int8(const int8_t *table, const int8_t *x, int8_t *restrict y, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        y[i] = table[x[i] + 128];
    }
}
