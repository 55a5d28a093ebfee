/* What a decision rule remembers of a stream. */
typedef struct {
    double values[PREFIX_CLASSES]; /* weighted sum of logits; of a sticky rule: probabilities */
    double weight;                 /* sum of the weights */
} prefix_belief;

/* A sound event: the probability of a label reached its threshold. */
typedef struct {
    int label;      /* index in prefix_labels */
    bool has_ended; /* false: it has just been confirmed, and lasts */
    uint64_t start; /* samples from the reset */
    uint64_t end;   /* the same; 0 while the event lasts */
    float peak;     /* highest probability of the label since the start */
    float mean;     /* mean probability of the label since the start */
} prefix_event;

/* Receives the start and the end of each event, from within prefix_push and prefix_finish. */
typedef void (*prefix_event_handler)(void *context, const prefix_event *event);

/* A label whose probability is above its threshold. */
typedef struct {
    bool is_active;
    bool is_confirmed; /* it has lasted for the shortest time of an event */
    uint64_t start;    /* samples from the reset */
    double peak;
    double total;   /* sum of its probabilities */
    uint32_t count; /* number of its probabilities */
} prefix_run;

/* The events of a stream, and who receives them. */
typedef struct {
    prefix_run runs[PREFIX_CLASSES];
    prefix_event_handler handler;
    void *context;
} prefix_detector;
