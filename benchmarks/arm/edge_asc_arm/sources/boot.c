/* Starts main() of a Cortex-M with its FPU on, and ends the emulator with its result, or with 99 after a fault. */
#include <stdint.h>
#include <stdio.h>

extern uint32_t stack_top;
extern int main(void);
extern void initialise_monitor_handles(void); /* of newlib: files and output through semihosting */

static void leave(int code)
{
    uint32_t block[2] = {0x20026, (uint32_t)code};
    register uint32_t operation __asm("r0") = 0x20;
    register uint32_t *argument __asm("r1") = block;
    __asm volatile("bkpt 0xAB" ::"r"(operation), "r"(argument) : "memory");
    for (;;) {
    }
}

static void run(void)
{
    initialise_monitor_handles();
    const int code = main();
    fflush(NULL);
    leave(code);
}

static void fault(void)
{
    leave(99);
}

__attribute__((naked)) static void reset(void)
{
    __asm volatile("ldr r0, =0xE000ED88\n ldr r1, [r0]\n orr r1, r1, #0xF00000\n str r1, [r0]\n dsb\n isb\n bl %c0\n"
                   ::"i"(run));
}

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[6])(void);
} vectors = {&stack_top, {reset, fault, fault, fault, fault, fault}};
