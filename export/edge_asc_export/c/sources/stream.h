/* One result. */
typedef struct {
    uint64_t time;                       /* samples from the reset that it is based on */
    int index;                           /* the most probable label, in prefix_labels */
    int answer;                          /* the label to report: see is_unknown */
    bool is_unknown;                     /* the sound is none of the known ones; the answer is then the label for these */
    float confidence;                    /* probability of the answer */
    float probabilities[PREFIX_CLASSES]; /* of all labels */
    float logits[PREFIX_CLASSES];        /* of the last step, as the network gives them */
} prefix_decision;

/* One stream of audio. The caller provides its memory, PREFIX_MEMORY bytes: a static variable, for example. All members
   are private to the functions below. */
typedef struct {
    int16_t audio[PREFIX_WINDOW]; /* the newest window of samples */
    prefix_states states;
    prefix_belief decision_belief;
    prefix_belief event_belief;
    prefix_detector detector;
    float features[PREFIX_FRAMES * PREFIX_MELS];
    prefix_decision decision;
    uint64_t time;     /* samples from the reset, at the end of the last step */
    uint64_t loudness; /* sum of the squared samples of the frames of this step */
    size_t filled;     /* new samples of the next frame */
    size_t frames;     /* frames of the next step */
} prefix_stream;

#define PREFIX_MEMORY sizeof(prefix_stream)

#ifdef __cplusplus
extern "C" {
#endif

/* The labels, in the order of the probabilities. */
extern const char *const prefix_labels[PREFIX_CLASSES];

/* Start a stream. `handler` receives events, with `context` as it is here; NULL for none. */
void prefix_init(prefix_stream *stream, prefix_event_handler handler, void *context);

/* Forget all audio: what follows equals a new stream. Call it after a gap in the audio; events that last get no end
   unless prefix_finish is called before. */
void prefix_reset(prefix_stream *stream);

/* Take `count` new samples, one channel of 16 bits at PREFIX_SAMPLE_RATE. Any count is allowed, also 0, and any division
   of the audio into calls gives the same decisions and events. Return the number of decisions that these samples
   completed: one for each PREFIX_STEP samples. prefix_newest has the last of them, so that a program that looks at every
   decision passes at most PREFIX_STEP samples at once. The call that completes a step takes longest. */
int prefix_push(prefix_stream *stream, const int16_t *samples, size_t count);

/* Return the newest decision, or NULL before the first one. The next call of prefix_push overwrites it. */
const prefix_decision *prefix_newest(const prefix_stream *stream);

/* End the events that still last, at the end of the last step. */
void prefix_finish(prefix_stream *stream);

#ifdef __cplusplus
}
#endif
