/* Front end: samples to normalised log-mel features.

   A window of N real samples is N / 2 complex numbers: even samples are real parts, odd ones imaginary parts. Their
   Fourier transform is in place, with radix 4 (Cooley and Tukey, 1965). Memory holds all real parts, then all
   imaginary parts. All arithmetic is IEEE single precision in the order that is written here. */

#define HALF (PREFIX_WINDOW / 2) /* complex numbers, and floats from a real part to its imaginary part */

/* Samples times the Hann window, of which tables have the first half. */
static void weigh_samples(const int16_t *restrict samples, float *restrict re, float *restrict im)
{
    for (size_t i = 0; i < HALF / 2; i++) {
        re[i] = (float)samples[2 * i] * hann_even[i];
        im[i] = (float)samples[2 * i + 1] * hann_odd[i];
    }
    for (size_t i = HALF / 2; i < HALF; i++) {
        re[i] = (float)samples[2 * i];
        im[i] = (float)samples[2 * i + 1];
    }
    for (size_t i = HALF / 2; i < HALF; i++) {
        re[i] *= hann_even[HALF - i];
        im[i] *= hann_odd[HALF - 1 - i];
    }
}

/* Butterflies of the numbers in four rows of `count`. `twiddles` holds cosines and -sines of x, 2 x and 3 x, `count` of
   each. */
static inline void transform_rows(float *restrict a, float *restrict b, float *restrict c, float *restrict d,
                                  const float *restrict twiddles, const size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const float ac_re = a[i] + c[i], ac_im = a[HALF + i] + c[HALF + i];
        const float bd_re = b[i] + d[i], bd_im = b[HALF + i] + d[HALF + i];
        const float less_ac_re = a[i] - c[i], less_ac_im = a[HALF + i] - c[HALF + i];
        const float less_bd_re = b[i] - d[i], less_bd_im = b[HALF + i] - d[HALF + i];
        const float one_re = less_ac_re + less_bd_im, one_im = less_ac_im - less_bd_re;
        const float two_re = ac_re - bd_re, two_im = ac_im - bd_im;
        const float three_re = less_ac_re - less_bd_im, three_im = less_ac_im + less_bd_re;
        const float cos1 = twiddles[i], sin1 = twiddles[count + i];
        const float cos2 = twiddles[2 * count + i], sin2 = twiddles[3 * count + i];
        const float cos3 = twiddles[4 * count + i], sin3 = twiddles[5 * count + i];
        a[i] = ac_re + bd_re;
        a[HALF + i] = ac_im + bd_im;
        b[i] = two_re * cos2 - two_im * sin2;
        b[HALF + i] = two_re * sin2 + two_im * cos2;
        c[i] = one_re * cos1 - one_im * sin1;
        c[HALF + i] = one_re * sin1 + one_im * cos1;
        d[i] = three_re * cos3 - three_im * sin3;
        d[HALF + i] = three_re * sin3 + three_im * cos3;
    }
}

/* The last stage where blocks have four numbers; all twiddle factors are one. */
static inline void transform_fours(float *restrict z)
{
    for (size_t i = 0; i < HALF; i += 4) {
        const float ac_re = z[i] + z[i + 2], ac_im = z[HALF + i] + z[HALF + i + 2];
        const float bd_re = z[i + 1] + z[i + 3], bd_im = z[HALF + i + 1] + z[HALF + i + 3];
        const float less_ac_re = z[i] - z[i + 2], less_ac_im = z[HALF + i] - z[HALF + i + 2];
        const float less_bd_re = z[i + 1] - z[i + 3], less_bd_im = z[HALF + i + 1] - z[HALF + i + 3];
        z[i] = ac_re + bd_re;
        z[i + 1] = ac_re - bd_re;
        z[i + 2] = less_ac_re + less_bd_im;
        z[i + 3] = less_ac_re - less_bd_im;
        z[HALF + i] = ac_im + bd_im;
        z[HALF + i + 1] = ac_im - bd_im;
        z[HALF + i + 2] = less_ac_im - less_bd_re;
        z[HALF + i + 3] = less_ac_im + less_bd_re;
    }
}

/* The last stage where blocks have two numbers. */
static inline void transform_twos(float *restrict z)
{
    for (size_t i = 0; i < 2 * HALF; i += 2) {
        const float less = z[i] - z[i + 1];
        z[i] += z[i + 1];
        z[i + 1] = less;
    }
}

/* The Fourier transform of HALF complex numbers; bin k comes to lie where the bits of k are reversed. */
static void transform(float *z)
{
    const float *twiddles = stage_twiddles;
    size_t row = HALF / 4;
    for (; row > 1; row /= 4) {
        for (float *block = z; block < z + HALF; block += 4 * row) {
            transform_rows(block, block + row, block + 2 * row, block + 3 * row, twiddles, row);
        }
        twiddles += 6 * row;
    }
    if (row == 1) {
        transform_fours(z);
    } else {
        transform_twos(z);
    }
}

/* Separate the spectra of even and odd samples, and join them to that of all samples, in two rows of `count` bins. The
   second row is that of bins HALF - k from right to left. Each real part becomes four times the power of its bin. */
static inline void compute_rows(float *restrict re, float *restrict other_re, const float *restrict im,
                                const float *restrict other_im, const size_t count)
{
    const float *cosines = split_cosines + count, *sines = split_sines + count;
    for (size_t i = 0; i < count; i++) {
        const size_t j = count - 1 - i;
        const float even_re = re[i] + other_re[j], even_im = im[i] - other_im[j];
        const float odd_re = im[i] + other_im[j], odd_im = other_re[j] - re[i];
        const float turned_re = odd_re * cosines[i] + odd_im * sines[i];
        const float turned_im = odd_im * cosines[i] - odd_re * sines[i];
        const float sum_re = even_re + turned_re, sum_im = even_im + turned_im;
        const float less_re = even_re - turned_re, less_im = even_im - turned_im;
        re[i] = sum_re * sum_re + sum_im * sum_im;
        other_re[j] = less_re * less_re + less_im * less_im;
    }
}

/* Turn the real parts into power. With reversed bits, bins k and HALF - k lie in one block from 2^m to 2^(m + 1), as
   far from its begin as from its end. Mel filters do not read bin 0. */
static void compute_power(float *re, const float *im)
{
    re[0] = 0.0f;
    re[1] = 4.0f * (re[1] * re[1] + im[1] * im[1]);
    for (size_t count = 1; count < HALF / 2; count *= 2) {
        const size_t first = 2 * count, second = 3 * count;
        compute_rows(re + first, re + second, im + first, im + second, count);
    }
}

/* Sum power over triangular mel filters. Each bin lies between two neighbouring edges of filters: there one filter
   rises, and the one before it falls by as much. */
static void sum_filters(const float *restrict power, float *restrict mel)
{
    size_t bin = 0;
    float risen = 0.0f;
    for (size_t edge = 0; edge <= PREFIX_MELS; edge++) {
        const size_t bins = (size_t)bins_between_edges[edge], end = bin + bins;
        float all = 0.0f, rises = 0.0f;
        for (; bin < end; bin++) {
            const float here = power[reversed_bins[bin]];
            all += here;
            rises += here * rising[bin];
        }
        if (edge > 0) {
            mel[edge - 1] = risen + (all - rises);
        }
        risen = rises;
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

/* Compute the features of the newest window, PREFIX_MELS floats. */
static void prefix_frame(prefix_audio *audio, float *features)
{
    float *re = audio->work, *im = re + HALF;
    weigh_samples(audio->samples, re, im);
    transform(re);
    compute_power(re, im);
    sum_filters(re, features);
    normalise_features(features);
}
