/* Computes the steps in the file VECTORS, and prints how many logits and bytes of states are others than there.

   Logits are sums in float, whose order is free: they may differ by TOLERANCE.

   A step of the file is 1 where a recording begins, else 0; features, logits, and states as prefix_states has them. */
#include <math.h>
#include <stdio.h>
#include "prefix.h"

#define TOLERANCE 1e-5f

static prefix_states states;
static float features[PREFIX_FRAMES * PREFIX_MELS], logits[PREFIX_CLASSES], expected[PREFIX_CLASSES];
static unsigned char expected_states[STATE_BYTES];

int main(void)
{
    long compared = 0, wrong = 0;
    int32_t begins;
    FILE *file = fopen(VECTORS, "rb");
    if (file == NULL) {
        return 1;
    }
    while (fread(&begins, sizeof begins, 1, file) == 1) {
        if (fread(features, sizeof features, 1, file) != 1 || fread(expected, sizeof expected, 1, file) != 1
            || fread(expected_states, sizeof expected_states, 1, file) != 1) {
            return 1;
        }
        if (begins) {
            prefix_reset_states(&states);
        }
        prefix_step(&states, features, logits);
        for (size_t i = 0; i < PREFIX_CLASSES; i++) {
            wrong += !(fabsf(logits[i] - expected[i]) <= TOLERANCE);
        }
        for (size_t i = 0; i < STATE_BYTES; i++) {
            wrong += ((const unsigned char *)&states)[i] != expected_states[i];
        }
        compared += PREFIX_CLASSES + STATE_BYTES;
    }
    printf("%ld of %ld\n", wrong, compared);
    return 0;
}
