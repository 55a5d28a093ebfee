/* A QEMU TCG plugin that counts the instructions that a program executes, on aarch64 and on Cortex-M.
 *
 * Built with: gcc -shared -fPIC -O2 icount.c -o icount.so
 * Loaded with: qemu-aarch64 -plugin icount.so,out=FILE, or qemu-system-arm
 *
 * A line with the counts so far is appended to FILE when a program on aarch64 calls getpriority(0xEA5C, tag), which
 * fails and does nothing else, and when one on Cortex-M executes the hint "dbg #tag", which does nothing at all.
 * Products are counted on aarch64 alone. The interface is QEMU's plugin interface, version 1 (QEMU 4.2 to 8.1). The parts in use are declared
 * here, since Debian has no package with its header.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t plugin_id;
typedef struct {
    const char *target; /* more follows */
} info;
typedef struct block block;
typedef struct instruction instruction;
enum operation { ADD_U64 };
enum flags { NO_REGISTERS };

extern size_t qemu_plugin_tb_n_insns(const block *);
extern instruction *qemu_plugin_tb_get_insn(const block *, size_t);
extern const void *qemu_plugin_insn_data(const instruction *);
extern size_t qemu_plugin_insn_size(const instruction *);
extern void qemu_plugin_register_vcpu_insn_exec_cb(instruction *, void (*)(unsigned, void *), enum flags, void *);
extern void qemu_plugin_register_vcpu_insn_exec_inline(instruction *, enum operation, void *, uint64_t);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, block *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(block *, enum operation, void *, uint64_t);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t,
    uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { GETPRIORITY = 141, MARK = 0xEA5C };

static uint64_t all, dot_products, matrix_products;
static FILE *output;
static int is_aarch64;

/* SDOT and UDOT, of vectors and by element. */
static int is_dot_product(uint32_t word)
{
    return (word & 0x9f20fc00) == 0x0e009400 || (word & 0x9f00f400) == 0x0f00e000;
}

/* SMMLA, UMMLA and USMMLA. */
static int is_matrix_product(uint32_t word)
{
    return (word & 0xdf20f400) == 0x4e00a400;
}

static void add(block *translated, uint64_t *counter, uint64_t count)
{
    if (count)
        qemu_plugin_register_vcpu_tb_exec_inline(translated, ADD_U64, counter, count);
}

static void write_counts(unsigned long tag)
{
    fprintf(output, "%lu %lu %lu %lu\n", tag, (unsigned long)all, (unsigned long)dot_products,
            (unsigned long)matrix_products);
    fflush(output);
}

static void on_hint(unsigned cpu, void *tag)
{
    write_counts((unsigned long)(uintptr_t)tag);
}

/* The tag of "dbg", a Thumb instruction of two halfwords; -1 for all others. Before the end of a page, QEMU appends
 * the halfword that follows. */
static int find_tag(const instruction *each)
{
    uint16_t halves[2] = {0, 0};
    if (qemu_plugin_insn_size(each) >= sizeof halves)
        memcpy(halves, qemu_plugin_insn_data(each), sizeof halves);
    return halves[0] == 0xf3af && (halves[1] & 0xfff0) == 0x80f0 ? halves[1] & 0xf : -1;
}

static void on_cortex_m(block *translated)
{
    size_t count = qemu_plugin_tb_n_insns(translated), hints = 0;
    for (size_t i = 0; i < count; i++)
        hints += find_tag(qemu_plugin_tb_get_insn(translated, i)) >= 0;
    if (!hints) {
        add(translated, &all, count);
        return;
    }
    /* Blocks are counted at their begin: around a hint, one instruction after the other. */
    for (size_t i = 0; i < count; i++) {
        instruction *each = qemu_plugin_tb_get_insn(translated, i);
        int tag = find_tag(each);
        qemu_plugin_register_vcpu_insn_exec_inline(each, ADD_U64, &all, 1);
        if (tag >= 0)
            qemu_plugin_register_vcpu_insn_exec_cb(each, on_hint, NO_REGISTERS, (void *)(uintptr_t)tag);
    }
}

static void on_aarch64(block *translated)
{
    size_t count = qemu_plugin_tb_n_insns(translated), dots = 0, matrices = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(translated, i)), sizeof word);
        dots += is_dot_product(word);
        matrices += is_matrix_product(word);
    }
    add(translated, &all, count);
    add(translated, &dot_products, dots);
    add(translated, &matrix_products, matrices);
}

static void on_translation(plugin_id id, block *translated)
{
    if (is_aarch64)
        on_aarch64(translated);
    else
        on_cortex_m(translated);
}

static void on_system_call(plugin_id id, unsigned cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                           uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    if (number == GETPRIORITY && a == MARK)
        write_counts((unsigned long)b);
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const info *about, int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "out=", 4))
            output = fopen(argv[i] + 4, "a");
    if (!output)
        return -1;
    is_aarch64 = !strcmp(about->target, "aarch64");
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    if (is_aarch64)
        qemu_plugin_register_vcpu_syscall_cb(id, on_system_call);
    return 0;
}
