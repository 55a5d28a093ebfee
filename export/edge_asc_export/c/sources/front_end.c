/* Front end: samples to normalised log-mel features.

   A window of N real samples is N / 2 complex numbers: even samples are real parts, odd ones imaginary parts. Their
   Fourier transform goes from one half of its memory to the other, stage after stage, each of radix 4, and sorts itself
   (Stockham; Swarztrauber, 1987). Each half holds all real parts, then all imaginary parts. All arithmetic is IEEE
   single precision in the order that is written here. */

#define HALF (PREFIX_WINDOW / 2) /* complex numbers, and floats from a real part to its imaginary part */
#define QUARTER (HALF / 4)
/* Where the transform is inlined, gcc 12 forgets that its arguments do not overlap, and uses no vectors. */
#if defined(__GNUC__)
#define NOT_INLINE __attribute__((noinline))
#else
#define NOT_INLINE
#endif

/* The butterfly of four numbers: a + b + c + d, and three more that twiddle factors turn. */
#define BUTTERFLY                                                                                                      \
    const float ac_re = a_re + c_re, ac_im = a_im + c_im, bd_re = b_re + d_re, bd_im = b_im + d_im;                    \
    const float less_ac_re = a_re - c_re, less_ac_im = a_im - c_im;                                                    \
    const float less_bd_re = b_re - d_re, less_bd_im = b_im - d_im;                                                    \
    const float one_re = less_ac_re + less_bd_im, one_im = less_ac_im - less_bd_re;                                    \
    const float two_re = ac_re - bd_re, two_im = ac_im - bd_im;                                                        \
    const float three_re = less_ac_re - less_bd_im, three_im = less_ac_im + less_bd_re;

/* The first stage, on samples times the window. `twiddles` holds cosines and -sines of x, 2 x and 3 x, QUARTER of each. */
static void transform_samples(const int16_t *restrict samples, const float *restrict twiddles, float *restrict y)
{
    const int16_t *second = samples + 2 * QUARTER, *third = samples + 4 * QUARTER, *fourth = samples + 6 * QUARTER;
    for (size_t i = 0; i < QUARTER; i++) {
        const float a_re = (float)samples[2 * i] * hann_even[i];
        const float a_im = (float)samples[2 * i + 1] * hann_odd[i];
        const float b_re = (float)second[2 * i] * hann_even[i + QUARTER];
        const float b_im = (float)second[2 * i + 1] * hann_odd[i + QUARTER];
        const float c_re = (float)third[2 * i] * hann_even[i + 2 * QUARTER];
        const float c_im = (float)third[2 * i + 1] * hann_odd[i + 2 * QUARTER];
        const float d_re = (float)fourth[2 * i] * hann_even[i + 3 * QUARTER];
        const float d_im = (float)fourth[2 * i + 1] * hann_odd[i + 3 * QUARTER];
        BUTTERFLY
        const float cos1 = twiddles[i], sin1 = twiddles[QUARTER + i];
        const float cos2 = twiddles[2 * QUARTER + i], sin2 = twiddles[3 * QUARTER + i];
        const float cos3 = twiddles[4 * QUARTER + i], sin3 = twiddles[5 * QUARTER + i];
        y[4 * i] = ac_re + bd_re;
        y[4 * i + 1] = one_re * cos1 - one_im * sin1;
        y[4 * i + 2] = two_re * cos2 - two_im * sin2;
        y[4 * i + 3] = three_re * cos3 - three_im * sin3;
        y[HALF + 4 * i] = ac_im + bd_im;
        y[HALF + 4 * i + 1] = one_re * sin1 + one_im * cos1;
        y[HALF + 4 * i + 2] = two_re * sin2 + two_im * cos2;
        y[HALF + 4 * i + 3] = three_re * sin3 + three_im * cos3;
    }
}

/* `count` neighbouring numbers of a later stage, all with the same six `twiddles`, to the begins of four runs. */
static inline void transform_run(const float *restrict x, const float *restrict twiddles, float *restrict first,
                                 float *restrict second, float *restrict third, float *restrict fourth,
                                 const size_t count)
{
    const float cos1 = twiddles[0], sin1 = twiddles[1], cos2 = twiddles[2], sin2 = twiddles[3];
    const float cos3 = twiddles[4], sin3 = twiddles[5];
    for (size_t i = 0; i < count; i++) {
        const float a_re = x[i], b_re = x[i + QUARTER], c_re = x[i + 2 * QUARTER], d_re = x[i + 3 * QUARTER];
        const float a_im = x[HALF + i], b_im = x[HALF + i + QUARTER];
        const float c_im = x[HALF + i + 2 * QUARTER], d_im = x[HALF + i + 3 * QUARTER];
        BUTTERFLY
        first[i] = ac_re + bd_re;
        second[i] = one_re * cos1 - one_im * sin1;
        third[i] = two_re * cos2 - two_im * sin2;
        fourth[i] = three_re * cos3 - three_im * sin3;
        first[HALF + i] = ac_im + bd_im;
        second[HALF + i] = one_re * sin1 + one_im * cos1;
        third[HALF + i] = two_re * sin2 + two_im * cos2;
        fourth[HALF + i] = three_re * sin3 + three_im * cos3;
    }
}

/* A later stage, of runs of `count` numbers; returns the twiddle factors of the next one. */
static inline const float *transform_runs(const float *x, const float *twiddles, float *y, const size_t count)
{
    for (size_t i = 0; i < QUARTER; i += count, twiddles += 6) {
        float *const first = y + 4 * i;
        transform_run(x + i, twiddles, first, first + count, first + 2 * count, first + 3 * count, count);
    }
    return twiddles;
}

/* The last stage where four runs are left; all twiddle factors are one. */
static void transform_fours(const float *restrict x, float *restrict y)
{
    for (size_t i = 0; i < QUARTER; i++) {
        const float a_re = x[i], b_re = x[i + QUARTER], c_re = x[i + 2 * QUARTER], d_re = x[i + 3 * QUARTER];
        const float a_im = x[HALF + i], b_im = x[HALF + i + QUARTER];
        const float c_im = x[HALF + i + 2 * QUARTER], d_im = x[HALF + i + 3 * QUARTER];
        BUTTERFLY
        y[i] = ac_re + bd_re;
        y[i + QUARTER] = one_re;
        y[i + 2 * QUARTER] = two_re;
        y[i + 3 * QUARTER] = three_re;
        y[HALF + i] = ac_im + bd_im;
        y[HALF + i + QUARTER] = one_im;
        y[HALF + i + 2 * QUARTER] = two_im;
        y[HALF + i + 3 * QUARTER] = three_im;
    }
}

/* The last stage where two runs are left. */
static void transform_twos(const float *restrict x, float *restrict y)
{
    for (size_t i = 0; i < HALF / 2; i++) {
        y[i] = x[i] + x[i + HALF / 2];
        y[i + HALF / 2] = x[i] - x[i + HALF / 2];
        y[HALF + i] = x[HALF + i] + x[HALF + i + HALF / 2];
        y[HALF + i + HALF / 2] = x[HALF + i] - x[HALF + i + HALF / 2];
    }
}

/* The Fourier transform of the HALF complex numbers of a window. Returns where it is: in `work` or behind it. */
static NOT_INLINE float *transform(const int16_t *samples, float *work)
{
    float *x = work, *y = work + PREFIX_WINDOW;
    const float *twiddles = stage_twiddles + 6 * QUARTER;
    transform_samples(samples, stage_twiddles, x);
    size_t run = 4;
    for (; 4 * run < HALF; run *= 4) {
        twiddles = run == 4 ? transform_runs(x, twiddles, y, 4) : transform_runs(x, twiddles, y, run);
        float *const next = x;
        x = y;
        y = next;
    }
    if (4 * run == HALF) {
        transform_fours(x, y);
    } else {
        transform_twos(x, y);
    }
    return y;
}

/* Separate the spectra of even and odd samples, and join them to that of all samples: bins k and HALF - k come from the
   same two numbers. `shares` becomes a pair for each bin: four times its power, and how much of that is in the filter that
   rises there. Bins to HALF / 2 are in order; behind them are those from HALF - 1 on, downwards. No filter reads the
   first and the last bin. */
static void compute_shares(const float *restrict re, const float *restrict im, float *restrict shares)
{
    const float middle = 4.0f * (re[HALF / 2] * re[HALF / 2] + im[HALF / 2] * im[HALF / 2]);
    float *restrict downwards = shares + HALF;
    for (size_t k = 1; k < HALF / 2; k++) {
        const float even_re = re[k] + re[HALF - k], even_im = im[k] - im[HALF - k];
        const float odd_re = im[k] + im[HALF - k], odd_im = re[HALF - k] - re[k];
        const float turned_re = odd_re * split_cosines[k] + odd_im * split_sines[k];
        const float turned_im = odd_im * split_cosines[k] - odd_re * split_sines[k];
        const float sum_re = even_re + turned_re, sum_im = even_im + turned_im;
        const float less_re = even_re - turned_re, less_im = even_im - turned_im;
        const float power = sum_re * sum_re + sum_im * sum_im, other = less_re * less_re + less_im * less_im;
        shares[2 * k] = power;
        shares[2 * k + 1] = power * rising[k];
        downwards[2 * k] = other;
        downwards[2 * k + 1] = other * rising[HALF / 2 + k];
    }
    shares[HALF] = middle;
    shares[HALF + 1] = middle * rising[HALF / 2];
}

/* A sum of pairs. */
typedef struct {
    float all, rises;
} shares_sum;

/* Add `bins` pairs, each `step` floats from the one before, in two sums that become one. */
static inline shares_sum add_shares(shares_sum sum, const float *share, size_t bins, const ptrdiff_t step)
{
    float even[2] = {sum.all, sum.rises}, odd[2] = {0.0f, 0.0f};
    for (; bins >= 2; bins -= 2, share += 2 * step) {
        even[0] += share[0];
        even[1] += share[1];
        odd[0] += share[step];
        odd[1] += share[step + 1];
    }
    if (bins > 0) {
        even[0] += share[0];
        even[1] += share[1];
    }
    return (shares_sum){even[0] + odd[0], even[1] + odd[1]};
}

/* Sum power over triangular mel filters. Each bin lies between two neighbouring edges of filters: there one filter
   rises, and the one before it falls by as much. */
static void sum_filters(const float *shares, float *mel)
{
    const shares_sum none = {0.0f, 0.0f};
    const float *const downwards = shares + 3 * HALF; /* 2 k floats before it are those of bin k */
    size_t bin = FIRST_BIN;
    float risen = 0.0f;
    for (size_t edge = 0; edge <= PREFIX_MELS; edge++) {
        const size_t bins = (size_t)bins_between_edges[edge], end = bin + bins;
        shares_sum sum;
        if (end <= HALF / 2 + 1) {
            sum = add_shares(none, shares + 2 * bin, bins, 2);
        } else if (bin > HALF / 2) {
            sum = add_shares(none, downwards - 2 * bin, bins, -2);
        } else {
            sum = add_shares(none, shares + 2 * bin, HALF / 2 + 1 - bin, 2);
            sum = add_shares(sum, downwards - (HALF + 2), end - (HALF / 2 + 1), -2);
        }
        bin = end;
        if (edge > 0) {
            mel[edge - 1] = risen + (sum.all - sum.rises);
        }
        risen = sum.rises;
    }
}

/* The natural logarithm of a normal number above zero, to 2e-7 of it: x = 2^n m with m from sqrt(1/2) to sqrt(2), and
   ln m = 2 artanh((m - 1) / (m + 1)). */
static inline float natural_log(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits += 0x3F800000u - 0x3F3504F3u; /* 1 less sqrt(1/2) */
    const float n = (float)((int32_t)(bits >> 23) - 127);
    bits = (bits & 0x007FFFFFu) + 0x3F3504F3u;
    float m;
    memcpy(&m, &bits, sizeof m);
    const float s = (m - 1.0f) / (m + 1.0f), square = s * s;
    float y = square * (2.0f / 9.0f) + 2.0f / 7.0f;
    y = y * square + 2.0f / 5.0f;
    y = y * square + 2.0f / 3.0f;
    return n * 0.693147181f + (s * square * y + 2.0f * s);
}

/* Mel power to features, in place. */
static void normalise_features(float *restrict features)
{
    for (size_t i = 0; i < PREFIX_MELS; i++) {
        const float log_mel = natural_log(features[i] * filter_scales[i] + PREFIX_FLOOR);
        float value = (log_mel - feature_means[i]) * feature_scales[i];
        value = value < -PREFIX_CLIP ? -PREFIX_CLIP : value;
        features[i] = value > PREFIX_CLIP ? PREFIX_CLIP : value;
    }
}

/* Compute the features of a window of samples, PREFIX_MELS floats. */
static void prefix_frame(const int16_t *samples, float *features)
{
    float *const spectrum = transform(samples, scratch);
    float *const shares = spectrum == scratch ? scratch + PREFIX_WINDOW : scratch;
    compute_shares(spectrum, spectrum + HALF, shares);
    sum_filters(shares, features);
    normalise_features(features);
}
