/* Names that do not depend on the model, for edge-asc itself. */
typedef struct {
    int16_t history[PREFIX_WINDOW - PREFIX_HOP]; /* the samples before those of the step */
    prefix_states states;
} prefix_listener;

size_t edge_asc_state_bytes(void);
void edge_asc_step(void *states, const void *samples, float *logits);

size_t edge_asc_state_bytes(void)
{
    return sizeof(prefix_listener);
}

void edge_asc_step(void *states, const void *samples, float *logits)
{
    static int16_t audio[PREFIX_WINDOW - PREFIX_HOP + PREFIX_STEP];
    static float features[PREFIX_FRAMES * PREFIX_MELS];
    prefix_listener *const listener = states;
    memcpy(audio, listener->history, sizeof listener->history);
    memcpy(audio + (PREFIX_WINDOW - PREFIX_HOP), samples, PREFIX_STEP * sizeof audio[0]);
    memcpy(listener->history, audio + PREFIX_STEP, sizeof listener->history);
    for (size_t frame = 0; frame < PREFIX_FRAMES; frame++) {
        prefix_frame(audio + frame * PREFIX_HOP, features + frame * PREFIX_MELS);
    }
    prefix_network(features, &listener->states, logits);
}
