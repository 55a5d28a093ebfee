/* The stream: samples to decisions and events. */

/* Make room for the samples of the next frame. */
static void shift_samples(int16_t *samples)
{
    for (size_t i = PREFIX_HOP; i < PREFIX_WINDOW; i += PREFIX_HOP) {
        const size_t count = PREFIX_WINDOW - i < PREFIX_HOP ? PREFIX_WINDOW - i : PREFIX_HOP;
        memcpy(samples + i - PREFIX_HOP, samples + i, count * sizeof *samples);
    }
}

static uint64_t measure_loudness(const int16_t *samples)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < PREFIX_HOP; i++) {
        sum += (uint32_t)((int32_t)samples[i] * samples[i]);
    }
    return sum;
}

/* Decide on the features of a step, and follow its events. */
static void decide(prefix_stream *stream)
{
    prefix_decision *decision = &stream->decision;
    double probabilities[PREFIX_CLASSES];

    prefix_network(stream->features, &stream->states, decision->logits);
    stream->time += PREFIX_STEP;

    update_belief(&decision_rule, &stream->decision_belief, decision->logits, probabilities);
    decision->time = stream->time;
    decision->index = find_most_probable(probabilities, -1);
    decision->answer = choose_answer(probabilities, &decision->is_unknown);
    decision->confidence = (float)probabilities[decision->answer];
    for (size_t i = 0; i < PREFIX_CLASSES; i++) {
        decision->probabilities[i] = (float)probabilities[i];
    }

    update_belief(&event_rule, &stream->event_belief, decision->logits, probabilities);
    const bool is_silent = stream->loudness <= PREFIX_SILENCE;
    for (size_t i = 0; i < PREFIX_CLASSES; i++) {
        const double probability = is_silent ? 0.0 : probabilities[i];
        follow_label(&stream->detector, i, probability, stream->time);
    }
}

void prefix_init(prefix_stream *stream, prefix_event_handler handler, void *context)
{
    memset(stream, 0, sizeof *stream);
    stream->detector.handler = handler;
    stream->detector.context = context;
    prefix_reset(stream);
}

void prefix_reset(prefix_stream *stream)
{
    memset(stream->audio, 0, sizeof stream->audio);
    prefix_reset_states(&stream->states);
    reset_belief(&decision_rule, &stream->decision_belief);
    reset_belief(&event_rule, &stream->event_belief);
    for (size_t i = 0; i < PREFIX_CLASSES; i++) {
        stream->detector.runs[i].is_active = false;
    }
    stream->time = 0;
    stream->loudness = 0;
    stream->filled = 0;
    stream->frames = 0;
}

int prefix_push(prefix_stream *stream, const int16_t *samples, size_t count)
{
    int16_t *hop = stream->audio + (PREFIX_WINDOW - PREFIX_HOP);
    int decisions = 0;
    while (count > 0) {
        const size_t missing = PREFIX_HOP - stream->filled;
        const size_t part = count < missing ? count : missing;
        memcpy(hop + stream->filled, samples, part * sizeof *samples);
        samples += part;
        count -= part;
        stream->filled += part;
        if (stream->filled == PREFIX_HOP) {
            stream->filled = 0;
            stream->loudness += measure_loudness(hop);
            prefix_frame(stream->audio, stream->features + stream->frames * PREFIX_MELS);
            shift_samples(stream->audio);
            stream->frames++;
        }
        if (stream->frames == PREFIX_FRAMES) {
            decide(stream);
            stream->frames = 0;
            stream->loudness = 0;
            decisions++;
        }
    }
    return decisions;
}

const prefix_decision *prefix_newest(const prefix_stream *stream)
{
    return stream->time > 0 ? &stream->decision : NULL;
}

void prefix_finish(prefix_stream *stream)
{
    finish_runs(&stream->detector, stream->time);
}
