/* One stream for JavaScript, which calls functions of numbers and reads tables from the memory. */
#include "prefix.h"

#define EXPORT(name) __attribute__((export_name(#name)))

/* In a step a label may end, and start anew. */
enum { EVENT_VALUES = 5, MOST_EVENTS = 2 * PREFIX_CLASSES };

static prefix_stream stream;
static int16_t samples[PREFIX_STEP];
static double events[MOST_EVENTS * EVENT_VALUES];
static int event_count;

static void add_event(void *context, const prefix_event *event)
{
    (void)context;
    double *values = events + EVENT_VALUES * event_count++;
    values[0] = event->label;
    values[1] = (double)event->start;
    values[2] = (double)event->end;
    values[3] = (double)event->peak;
    values[4] = (double)event->mean;
}

/* Start a new stream; before this call there is none. */
EXPORT(reset) void reset(void)
{
    event_count = 0;
    prefix_init(&stream, add_event, NULL);
}

/* Where `push` takes samples from: PREFIX_STEP of 16 bits. */
EXPORT(samples) int16_t *get_samples(void)
{
    return samples;
}

/* Take the first `count` samples, at most PREFIX_STEP; return the number of decisions, 0 or 1. */
EXPORT(push) int push(size_t count)
{
    event_count = 0;
    return prefix_push(&stream, samples, count < PREFIX_STEP ? count : PREFIX_STEP);
}

/* End the events that last. */
EXPORT(finish) void finish(void)
{
    event_count = 0;
    prefix_finish(&stream);
}

/* Events of the last call of `push` or `finish`: rows of label, start, end, which is 0 while the event lasts, peak and
   mean. Times are in samples. */
EXPORT(events) const double *get_events(void)
{
    return events;
}

EXPORT(event_count) int get_event_count(void)
{
    return event_count;
}

/* The newest decision; all of it is 0 before the first one. */
EXPORT(time) double get_time(void)
{
    return (double)stream.decision.time;
}

EXPORT(index) int get_index(void)
{
    return stream.decision.index;
}

EXPORT(answer) int get_answer(void)
{
    return stream.decision.answer;
}

EXPORT(is_unknown) int get_is_unknown(void)
{
    return stream.decision.is_unknown;
}

EXPORT(probabilities) const float *get_probabilities(void)
{
    return stream.decision.probabilities;
}

EXPORT(logits) const float *get_logits(void)
{
    return stream.decision.logits;
}
