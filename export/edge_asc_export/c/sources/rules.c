/* Decision rules: logits to probabilities. They compute in double precision, in the order of the Python package. */

/* How the logits of all steps become probabilities. */
typedef struct {
    bool is_sticky;                   /* a hidden Markov filter over the labels; otherwise a weighted mean of logits */
    double keep;                      /* share of the past that a step keeps */
    double temperature;               /* divisor of the logits */
    double evidence;                  /* factor on the logits of a sticky rule */
    double log_odds[PREFIX_CLASSES];  /* added to the logits, times the temperature */
} belief_rule;

/* e^x for x up to zero, to 1e-15 of it: x = n ln 2 + r, and a power series for e^r. Less than -700 and NaN give 0. */
static double exponential_below_one(double x)
{
    if (!(x > -700.0)) {
        return 0.0;
    }
    const int32_t n = (int32_t)(x * 1.4426950408889634 - 0.5);
    const double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    static const double inverse[] = {1.0,     1.0 / 2, 1.0 / 3, 1.0 / 4,  1.0 / 5,  1.0 / 6,  1.0 / 7,
                                     1.0 / 8, 1.0 / 9, 1.0 / 10, 1.0 / 11, 1.0 / 12, 1.0 / 13};
    double sum = 1.0;
    for (size_t i = sizeof inverse / sizeof inverse[0]; i > 0; i--) {
        sum = 1.0 + sum * (r * inverse[i - 1]);
    }
    const uint64_t bits = (uint64_t)(n + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return sum * power;
}

/* The natural logarithm of a normal number above zero, to 1e-15: see natural_log. */
static double natural_log_double(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits += UINT64_C(0x3FF0000000000000) - UINT64_C(0x3FE6A09E667F3BCD); /* 1 less sqrt(1/2) */
    const double n = (double)((int32_t)(bits >> 52) - 1023);
    bits = (bits & UINT64_C(0x000FFFFFFFFFFFFF)) + UINT64_C(0x3FE6A09E667F3BCD);
    double m;
    memcpy(&m, &bits, sizeof m);
    const double s = (m - 1.0) / (m + 1.0), square = s * s;
    static const double inverse[] = {1.0,      1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9, 1.0 / 11,
                                     1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21};
    double sum = 0.0;
    for (size_t i = sizeof inverse / sizeof inverse[0]; i > 0; i--) {
        sum = sum * square + inverse[i - 1];
    }
    return n * 0.69314718055994531 + 2.0 * s * sum;
}

/* The softmax of scores, divided by a temperature, in place. */
static void compute_softmax(double *scores, double temperature)
{
    double highest = scores[0];
    for (size_t i = 1; i < PREFIX_CLASSES; i++) {
        highest = scores[i] > highest ? scores[i] : highest;
    }
    double sum = 0.0;
    for (size_t i = 0; i < PREFIX_CLASSES; i++) {
        scores[i] = exponential_below_one((scores[i] - highest) / temperature);
        sum += scores[i];
    }
    for (size_t i = 0; i < PREFIX_CLASSES; i++) {
        scores[i] /= sum;
    }
}

static void reset_belief(const belief_rule *rule, prefix_belief *belief)
{
    for (size_t i = 0; i < PREFIX_CLASSES; i++) {
        belief->values[i] = rule->is_sticky ? 1.0 / PREFIX_CLASSES : 0.0;
    }
    belief->weight = 0.0;
}

/* Take the logits of a step; give the probabilities after it. */
static void update_belief(const belief_rule *rule, prefix_belief *belief, const float *logits, double *probabilities)
{
    if (rule->is_sticky) {
        for (size_t i = 0; i < PREFIX_CLASSES; i++) {
            const double expected = rule->keep * belief->values[i] + (1.0 - rule->keep) / PREFIX_CLASSES;
            const double logit = (double)logits[i] + rule->log_odds[i];
            probabilities[i] = natural_log_double(expected) + logit * rule->evidence;
        }
        compute_softmax(probabilities, 1.0);
        memcpy(belief->values, probabilities, sizeof belief->values);
    } else {
        belief->weight = rule->keep * belief->weight + 1.0;
        for (size_t i = 0; i < PREFIX_CLASSES; i++) {
            belief->values[i] = rule->keep * belief->values[i] + ((double)logits[i] + rule->log_odds[i]);
            probabilities[i] = belief->values[i] / belief->weight;
        }
        compute_softmax(probabilities, rule->temperature);
    }
}

/* The most probable label but `without`; -1 for none. */
static int find_most_probable(const double *probabilities, int without)
{
    int best = -1;
    for (int i = 0; i < PREFIX_CLASSES; i++) {
        if (i != without && (best < 0 || probabilities[i] > probabilities[best])) {
            best = i;
        }
    }
    return best;
}

/* The label to report, and whether the sound is none of the known ones. */
static int choose_answer(const double *probabilities, bool *is_unknown)
{
#if PREFIX_OTHER >= 0
    *is_unknown = probabilities[PREFIX_OTHER] >= PREFIX_OTHER_THRESHOLD;
#else
    *is_unknown = false;
#endif
    return *is_unknown ? PREFIX_OTHER : find_most_probable(probabilities, PREFIX_OTHER);
}

/* Events: the start and the end of a label's probability above its threshold. */

static double seconds_of(uint64_t samples)
{
    return (double)samples / PREFIX_SAMPLE_RATE;
}

/* Seconds from a start to the end of a step, rounded as in the Python package: a start is the end of its first step
   less the length of a step. */
static double measure_duration(uint64_t start, uint64_t now)
{
    return seconds_of(now) - (seconds_of(start + PREFIX_STEP) - seconds_of(PREFIX_STEP));
}

/* Report a run: one that lasts where `end` is 0. */
static void report_event(const prefix_detector *detector, size_t label, uint64_t end)
{
    if (detector->handler != NULL) {
        const prefix_run *run = &detector->runs[label];
        const prefix_event event = {
            .label = (int)label,
            .has_ended = end > 0,
            .start = run->start,
            .end = end,
            .peak = (float)run->peak,
            .mean = (float)(run->total / run->count),
        };
        detector->handler(detector->context, &event);
    }
}

static void end_run(prefix_detector *detector, size_t label, uint64_t end)
{
    detector->runs[label].is_active = false;
    if (detector->runs[label].is_confirmed) {
        report_event(detector, label, end);
    }
}

/* Take the probability of a label after the step that ends at `now`, samples from the reset. */
static void follow_label(prefix_detector *detector, size_t label, double probability, uint64_t now)
{
    prefix_run *run = &detector->runs[label];
    const double threshold = event_thresholds[label];
    const uint64_t begin = now - PREFIX_STEP;
    if (run->is_active && probability < threshold * PREFIX_RELEASE) {
        end_run(detector, label, begin);
        return;
    }
    if (run->is_active && PREFIX_LONGEST_EVENT > 0.0 && measure_duration(run->start, now) > PREFIX_LONGEST_EVENT) {
        end_run(detector, label, begin);
    }
    if (!run->is_active) {
        if (probability < threshold) {
            return;
        }
        *run = (prefix_run){.is_active = true, .start = begin};
    }
    run->peak = probability > run->peak ? probability : run->peak;
    run->total += probability;
    run->count++;
    if (!run->is_confirmed && measure_duration(run->start, now) >= PREFIX_SHORTEST_EVENT) {
        run->is_confirmed = true;
        report_event(detector, label, 0);
    }
}

/* End all events that last, the first to start first. */
static void finish_runs(prefix_detector *detector, uint64_t now)
{
    for (;;) {
        size_t first = PREFIX_CLASSES;
        for (size_t i = 0; i < PREFIX_CLASSES; i++) {
            const prefix_run *run = &detector->runs[i];
            if (run->is_active && (first == PREFIX_CLASSES || run->start < detector->runs[first].start)) {
                first = i;
            }
        }
        if (first == PREFIX_CLASSES) {
            return;
        }
        end_run(detector, first, now);
    }
}
