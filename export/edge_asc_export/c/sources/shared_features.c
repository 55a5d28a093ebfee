/* Names that do not depend on the model, for edge-asc itself. */
size_t edge_asc_state_bytes(void);
void edge_asc_step(void *states, const void *features, float *logits);

size_t edge_asc_state_bytes(void)
{
    return sizeof(prefix_states);
}

void edge_asc_step(void *states, const void *features, float *logits)
{
    prefix_step(states, features, logits);
}
