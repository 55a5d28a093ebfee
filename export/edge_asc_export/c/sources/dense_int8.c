/* A layer over all channels: sums over `segments` pieces of inputs, in groups of four. */
typedef struct {
    const int8_t *weights; /* [block of 16 outputs][segment][group][output of the block][4], |weight| <= 127 */
    const int32_t *bias;   /* with what the zero point of the inputs adds */
    const float *scales;   /* of sums, over that of the output */
    size_t segments, groups, outputs;
    int32_t zero_point, low; /* of the output; low is the least value: the zero point after a ReLU */
    int32_t narrow;          /* whether all sums fit 16 bits when they are scaled */
} dense_int8_layer;

/* `count` outputs, one after another; input i of segment s begins at rows[s] + i * step. The last group may reach up
   to three values beyond a piece, where weights are zero; outputs of a block are padded to a multiple of four. */
