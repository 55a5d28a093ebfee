/* A layer on each channel by itself: a sum over `taps` inputs. */
typedef struct {
    const int8_t *weights; /* [tap][channel] */
    const int32_t *bias;   /* with what the zero point of the inputs adds */
    const float *scales;   /* of sums, over that of the output */
    size_t taps, channels;
    int32_t zero_point, low; /* of the output; low is the least value: the zero point after a ReLU */
    int32_t narrow;          /* whether all sums fit 16 bits when they are scaled */
} depthwise_int8_layer;

/* `count` outputs, one after another; tap t of output i begins at taps[t] + i * step. */
