/* A QEMU TCG plugin that counts the aarch64 instructions that a program executes.
 *
 * Built with: gcc -shared -fPIC -O2 icount.c -o icount.so
 * Loaded with: qemu-aarch64 -plugin icount.so,out=FILE
 *
 * When the program calls getpriority(0xEA5C, tag), which fails and does nothing else, a line with the counts so far is
 * appended to FILE. The interface is QEMU's plugin interface, version 1 (QEMU 4.2 to 8.1). The parts in use are declared
 * here, since Debian has no package with its header.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t plugin_id;
typedef struct info info;
typedef struct block block;
typedef struct instruction instruction;
enum operation { ADD_U64 };

extern size_t qemu_plugin_tb_n_insns(const block *);
extern instruction *qemu_plugin_tb_get_insn(const block *, size_t);
extern const void *qemu_plugin_insn_data(const instruction *);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, block *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(block *, enum operation, void *, uint64_t);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t,
    uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { GETPRIORITY = 141, MARK = 0xEA5C };

static uint64_t all, dot_products, matrix_products;
static FILE *output;

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

static void on_translation(plugin_id id, block *translated)
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

static void on_system_call(plugin_id id, unsigned cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                           uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    if (number == GETPRIORITY && a == MARK) {
        fprintf(output, "%lu %lu %lu %lu\n", (unsigned long)b, (unsigned long)all, (unsigned long)dot_products,
                (unsigned long)matrix_products);
        fflush(output);
    }
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const info *about, int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "out=", 4))
            output = fopen(argv[i] + 4, "a");
    if (!output)
        return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_system_call);
    return 0;
}
