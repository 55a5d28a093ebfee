/* What the example needs of a board. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

/* Print text, through the debugger or the emulator (semihosting). */
void print(const char *text);

/* Print a number with at least so many digits, at most 10. */
void print_number(uint32_t number, unsigned digits);

/* Count ticks of the processor's clock, at most 2^24. */
void start_clock(void);
uint32_t read_clock(void);

#endif
