/* Start-up code, clock and output of a Cortex-M with an FPU. */
#include "board.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYSTICK_CONTROL REGISTER(0xE000E010u)
#define SYSTICK_RELOAD REGISTER(0xE000E014u)
#define SYSTICK_VALUE REGISTER(0xE000E018u)
#define COPROCESSORS REGISTER(0xE000ED88u)

/* Operations of semihosting. */
enum { WRITE_TEXT = 0x04, EXIT = 0x20 };

/* Places that the linker script defines. */
extern uint32_t stack_top, data_source, data_begin, data_end, bss_begin, bss_end;

int main(void);
void reset(void);

static void call_host(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

static void leave(uint32_t status)
{
    const uint32_t arguments[] = {0x20026u, status}; /* the program ended by itself */
    call_host(EXIT, arguments);
    for (;;) {
    }
}

static void fail(void)
{
    print("fault\n");
    leave(1);
}

void reset(void)
{
    COPROCESSORS |= 0xFu << 20; /* the FPU */
    __asm__ volatile("dsb\n\tisb");
    const uint32_t *source = &data_source;
    for (uint32_t *word = &data_begin; word < &data_end; word++) {
        *word = *source++;
    }
    for (uint32_t *word = &bss_begin; word < &bss_end; word++) {
        *word = 0;
    }
    leave((uint32_t)main());
}

/* The first entries of the vector table; the example enables no interrupt. */
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} vectors = {&stack_top, {reset, fail, fail, fail, fail, fail, 0, 0, 0, 0, fail, fail, 0, fail, fail}};

void print(const char *text)
{
    call_host(WRITE_TEXT, text);
}

void print_number(uint32_t number, unsigned digits)
{
    char text[11];
    char *first = &text[10];
    *first = '\0';
    for (unsigned count = 0; number > 0 || count < digits; count++) {
        first--;
        *first = (char)('0' + number % 10u);
        number /= 10u;
    }
    print(first);
}

void start_clock(void)
{
    SYSTICK_RELOAD = 0xFFFFFFu;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 5; /* on, from the processor's clock */
}

uint32_t read_clock(void)
{
    return 0xFFFFFFu - SYSTICK_VALUE;
}
