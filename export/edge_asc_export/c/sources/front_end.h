/* State of the front end: the newest window of samples, and memory to transform it in. */
typedef struct {
    int16_t samples[PREFIX_WINDOW];
    float work[PREFIX_WINDOW];
} prefix_audio;
