/* All outputs of `pixels` inputs. */
static ALWAYS_INLINE void dense_rows(const dense_int8_layer *layer, const int8_t *const *rows, size_t at, size_t step,
                                     int8_t *y, const size_t pixels)
{
    const int8_t *w = layer->weights;
    size_t begin = 0;
    for (; begin + 16 <= layer->outputs; begin += 16) {
        w = dense_tile(layer, rows, at, step, w, begin, y, pixels, 4, 1);
    }
    const size_t left = layer->outputs - begin;
    if (left == 12) {
        dense_tile(layer, rows, at, step, w, begin, y, pixels, 3, 1);
    } else if (left == 8) {
        dense_tile(layer, rows, at, step, w, begin, y, pixels, 2, 1);
    } else if (left > 12) {
        dense_tile(layer, rows, at, step, w, begin, y, pixels, 4, 0);
    } else if (left > 8) {
        dense_tile(layer, rows, at, step, w, begin, y, pixels, 3, 0);
    } else if (left > 4) {
        dense_tile(layer, rows, at, step, w, begin, y, pixels, 2, 0);
    } else if (left > 0) {
        dense_tile(layer, rows, at, step, w, begin, y, pixels, 1, 0);
    }
}

static NEON_INLINE void dense_int8(const dense_int8_layer *layer, const int8_t *const *rows, size_t step, int8_t *y, size_t count)
{
    size_t at = 0;
    for (; count >= DENSE_PIXELS; count -= DENSE_PIXELS, at += DENSE_PIXELS) {
        dense_rows(layer, rows, at, step, y, DENSE_PIXELS);
    }
    if (DENSE_PIXELS > 2 && (count & 2)) {
        dense_rows(layer, rows, at, step, y, 2);
        at += 2;
    }
    if (count & 1) {
        dense_rows(layer, rows, at, step, y, 1);
    }
}
