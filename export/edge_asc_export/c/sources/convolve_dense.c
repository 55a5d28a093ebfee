/* A convolution of `mels` rows of `channels` values, zeros before and after them. */
typedef struct {
    dense_${suffix}_layer layer;
    size_t channels, mels, kernel, stride, before, outputs;
    $type zero;
} convolve_dense_${suffix}_layer;

/* One column of outputs; rows[s] is the column of inputs of time tap s. `edge` holds a window with padding. */
static void convolve_dense_$suffix(const convolve_dense_${suffix}_layer *conv, const $type *const *rows, $type *edge,
                              $type *y)
{
    const size_t window = conv->kernel * conv->channels, step = conv->stride * conv->channels;
    const $type *inner[MOST_TAPS];
    size_t mel = 0;
    while (mel < conv->outputs) {
        const size_t begin = mel * conv->stride; /* in rows that begin `before` rows of padding */
        size_t count = 1;
        if (begin < conv->before || begin + conv->kernel > conv->before + conv->mels) {
            for (size_t segment = 0; segment < conv->layer.segments; segment++) {
                $type *piece = edge + segment * (window + 4);
                for (size_t k = 0; k < conv->kernel; k++) {
                    const int inside = begin + k >= conv->before && begin + k < conv->before + conv->mels;
                    for (size_t c = 0; c < conv->channels; c++) {
                        piece[k * conv->channels + c] =
                            inside ? rows[segment][(begin + k - conv->before) * conv->channels + c] : conv->zero;
                    }
                }
                inner[segment] = piece;
            }
        } else {
            const size_t last = (conv->before + conv->mels - conv->kernel) / conv->stride;
            count = (last < conv->outputs - 1 ? last : conv->outputs - 1) - mel + 1;
            for (size_t segment = 0; segment < conv->layer.segments; segment++) {
                inner[segment] = rows[segment] + (begin - conv->before) * conv->channels;
            }
        }
        dense_$suffix(&conv->layer, inner, step, y + mel * conv->layer.outputs, count);
        mel += count;
    }
}
