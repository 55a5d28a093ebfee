/* Pushes what bytes describe into two streams, divided in two ways, and aborts where one of them is wrong. The generated
   source of a small model stands before this text. */
#include <stdlib.h>

enum { MOST_SAMPLES = 5000 };

typedef struct {
    toy_stream stream;
    uint64_t pushed; /* samples since the reset */
    bool lasts[TOY_CLASSES];
    uint32_t digest;
} follower;

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void receive(void *context, const toy_event *event)
{
    follower *f = context;
    require(event->label >= 0 && event->label < TOY_CLASSES);
    require(f->lasts[event->label] == event->has_ended);
    require(event->start % TOY_STEP == 0 && event->end % TOY_STEP == 0);
    require(event->has_ended ? event->end > event->start && event->end <= f->pushed : event->end == 0);
    require(event->mean > 0.0f && event->mean <= event->peak && event->peak <= 1.0f);
    f->lasts[event->label] = !event->has_ended;
    f->digest = f->digest * 31u + (uint32_t)event->start + (uint32_t)event->end * 7u + (uint32_t)event->label;
}

static void check(follower *f)
{
    const toy_decision *decision = toy_newest(&f->stream);
    require((decision == NULL) == (f->pushed < TOY_STEP));
    if (decision != NULL) {
        float sum = 0.0f;
        for (size_t i = 0; i < TOY_CLASSES; i++) {
            require(decision->probabilities[i] >= 0.0f && decision->probabilities[i] <= 1.0f);
            sum += decision->probabilities[i];
        }
        require(sum > 0.9999f && sum < 1.0001f);
        require(decision->time == f->pushed / TOY_STEP * TOY_STEP);
        require(decision->answer >= 0 && decision->answer < TOY_CLASSES);
        f->digest = f->digest * 31u + (uint32_t)decision->index;
    }
}

static void push(follower *f, const int16_t *samples, size_t count)
{
    const uint64_t decisions = (f->pushed % TOY_STEP + count) / TOY_STEP;
    f->pushed += count;
    require((uint64_t)toy_push(&f->stream, samples, count) == decisions);
}

static void restart(follower *f)
{
    toy_reset(&f->stream);
    memset(f->lasts, 0, sizeof f->lasts);
    f->pushed = 0;
}

/* Samples of a kind. */
static void fill(int16_t *samples, size_t count, uint32_t kind, uint32_t seed)
{
    uint32_t random = seed;
    for (size_t i = 0; i < count; i++) {
        random = random * 1664525u + 1013904223u;
        const int32_t noise = (int32_t)(random >> 16) - 32768;
        const int32_t values[] = {noise, noise >> (seed & 15u), (i & 1u) != 0u ? 32767 : -32768,
                                  (int32_t)(seed * 257u) - 32768, (int32_t)(i * seed % 65536u) - 32768, 0};
        samples[i] = (int16_t)values[kind % (sizeof values / sizeof values[0])];
    }
}

/* Records of four bytes: number of samples in two of them, kind and seed. Return a number that depends on all results. */
uint32_t toy_fuzz(const uint8_t *data, size_t size);
uint32_t toy_fuzz(const uint8_t *data, size_t size)
{
    follower *one = malloc(sizeof *one), *other = malloc(sizeof *other);
    require(one != NULL && other != NULL);
    memset(one, 0xA5, sizeof *one);
    memset(other, 0x5A, sizeof *other);
    toy_init(&one->stream, receive, one);
    toy_init(&other->stream, receive, other);
    restart(one);
    restart(other);
    one->digest = other->digest = 0;
    for (; size >= 4; data += 4, size -= 4) {
        const size_t count = (data[0] + 256u * data[1]) % (MOST_SAMPLES + 1u);
        if (data[2] >= 250) {
            restart(one);
            restart(other);
        } else if (data[2] >= 240) {
            toy_finish(&one->stream);
            toy_finish(&other->stream);
        }
        /* Memory that ends behind the last sample, so that a sanitizer sees the next one. */
        int16_t *samples = malloc(count * sizeof *samples + (count == 0));
        require(samples != NULL);
        fill(samples, count, data[2], data[3]);
        push(one, samples, count);
        for (size_t done = 0, part = data[3]; done < count; done += part) {
            part = part % 97u * 13u + 1u;
            part = part < count - done ? part : count - done;
            push(other, samples + done, part);
        }
        free(samples);
        check(one);
        check(other);
        require(one->digest == other->digest);
        require(one->pushed < TOY_STEP || memcmp(toy_newest(&one->stream)->logits, toy_newest(&other->stream)->logits,
                                                 sizeof one->stream.decision.logits) == 0);
    }
    const uint32_t digest = one->digest;
    free(one);
    free(other);
    return digest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)toy_fuzz(data, size);
    return 0;
}
