/* State of the front end: the newest window of samples. */
typedef struct {
    int16_t samples[PREFIX_WINDOW];
} prefix_audio;
