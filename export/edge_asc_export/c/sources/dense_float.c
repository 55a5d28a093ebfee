/* A layer over all channels: sums over `segments` pieces of `values` inputs each. */
typedef struct {
    const float *weights; /* [block of 16 outputs][segment][value][16], zeros beyond the last output */
    const float *bias;    /* as many as there are outputs in all blocks */
    size_t segments, values, outputs;
    float low; /* 0 after a ReLU, else the lowest float */
} dense_float_layer;
