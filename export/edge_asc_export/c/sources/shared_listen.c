int edge_asc_listen(const int16_t *samples, size_t count, float *logits);

/* The logits of the last of some samples, from a new stream; returns the number of decisions. */
int edge_asc_listen(const int16_t *samples, size_t count, float *logits)
{
    static prefix_stream stream;
    prefix_init(&stream, NULL, NULL);
    const int decisions = prefix_push(&stream, samples, count);
    if (decisions > 0) {
        memcpy(logits, prefix_newest(&stream)->logits, sizeof stream.decision.logits);
    }
    return decisions;
}
