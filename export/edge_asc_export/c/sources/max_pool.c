/* The largest of 2 x 2 values: two columns of time, and pairs of mel rows. */
static void max_pool_$suffix(const $type *first, const $type *second, size_t channels,
                            $type *restrict y, size_t count)
{
    for (size_t mel = 0; mel < count; mel++) {
        const $type *a = first + 2 * mel * channels, *b = second + 2 * mel * channels;
        for (size_t c = 0; c < channels; c++) {
            const $type above = a[c] > a[c + channels] ? a[c] : a[c + channels];
            const $type below = b[c] > b[c + channels] ? b[c] : b[c + channels];
            y[mel * channels + c] = above > below ? above : below;
        }
    }
}
