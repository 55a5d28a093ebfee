/* Listens to a recording in flash as firmware listens to a microphone, and prints events. */
#include "board.h"
#include "fuse-int8.h"

/* Samples that a microphone gives at once, such as half of a DMA buffer: 10 ms. */
#define BLOCK ((size_t)160)

extern const int16_t recording[];
extern const uint32_t recording_samples;

/* Everything that the classifier remembers. */
static fuse_int8_stream stream;

static void print_time(uint64_t samples)
{
    const uint32_t milliseconds = (uint32_t)(samples * 1000u / FUSE_INT8_SAMPLE_RATE);
    print_number(milliseconds / 1000u, 1);
    print(".");
    print_number(milliseconds % 1000u, 3);
    print(" s");
}

static void print_event(void *context, const fuse_int8_event *event)
{
    (void)context;
    print_time(event->has_ended ? event->end : event->start);
    print(event->has_ended ? ": end of " : ": start of ");
    print(fuse_int8_labels[event->label]);
    print(", ");
    print_number((uint32_t)(event->peak * 100.0f + 0.5f), 1);
    print(" %\n");
}

int main(void)
{
    uint32_t longest = 0;
    fuse_int8_init(&stream, print_event, NULL);
    for (size_t done = 0; done < recording_samples; done += BLOCK) {
        const size_t left = recording_samples - done;
        start_clock();
        (void)fuse_int8_push(&stream, recording + done, left < BLOCK ? left : BLOCK);
        const uint32_t ticks = read_clock();
        longest = ticks > longest ? ticks : longest;
    }
    fuse_int8_finish(&stream);

    const fuse_int8_decision *decision = fuse_int8_newest(&stream);
    if (decision == NULL) {
        print("The recording is too short for a decision.\n");
        return 1;
    }
    print("decision: ");
    print(fuse_int8_labels[decision->answer]);
    print(", ");
    print_number((uint32_t)(decision->confidence * 100.0f + 0.5f), 1);
    print(" %\nmemory of a stream: ");
    print_number((uint32_t)FUSE_INT8_MEMORY, 1);
    print(" bytes\nlongest push: ");
    print_number(longest, 1);
    print(" ticks\n");
    return 0;
}
