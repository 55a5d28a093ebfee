/* A depthwise convolution of `mels` rows of channels, zeros before and after them. */
typedef struct {
    depthwise_${suffix}_layer layer;
    size_t mels, kernel, times, stride, before, outputs;
} convolve_depthwise_${suffix}_layer;

/* One column of outputs; rows[s] is the column of inputs of time tap s, `zeros` a row of padding. */
static void convolve_depthwise_$suffix(const convolve_depthwise_${suffix}_layer *conv, const $type *const *rows,
                                  const $type *zeros, $type *y)
{
    const size_t channels = conv->layer.channels;
    const $type *taps[MOST_TAPS];
    size_t mel = 0;
    while (mel < conv->outputs) {
        const size_t begin = mel * conv->stride; /* in rows that begin `before` rows of padding */
        const int whole = begin >= conv->before && begin + conv->kernel <= conv->before + conv->mels;
        size_t count = 1, tap = 0;
        for (size_t time = 0; time < conv->times; time++) {
            for (size_t k = begin; k < begin + conv->kernel; k++) {
                const int inside = k >= conv->before && k < conv->before + conv->mels;
                taps[tap++] = inside ? rows[time] + (k - conv->before) * channels : zeros;
            }
        }
        if (whole) {
            const size_t last = (conv->before + conv->mels - conv->kernel) / conv->stride;
            count = (last < conv->outputs - 1 ? last : conv->outputs - 1) - mel + 1;
        }
        depthwise_$suffix(&conv->layer, taps, conv->stride * channels, y + mel * channels, count);
        mel += count;
    }
}
