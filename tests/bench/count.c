/* A plugin of qemu-user for arm64: says, at each getppid, how many instructions have run since the one before.

   Debian has the emulator but not qemu-plugin.h: what is used of it, of version 1, is declared here. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#define GETPPID 173 /* asm-generic/unistd.h */

typedef uint64_t Plugin;
struct qemu_plugin_tb;
typedef void (*Translated)(Plugin, struct qemu_plugin_tb *);
typedef void (*Called)(Plugin, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                       uint64_t);
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

void qemu_plugin_register_vcpu_tb_trans_cb(Plugin, Translated);
void qemu_plugin_register_vcpu_syscall_cb(Plugin, Called);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, enum qemu_plugin_op, void *, uint64_t);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);

int qemu_plugin_version = 1;

static uint64_t counted;

static void translated(Plugin plugin, struct qemu_plugin_tb *block)
{
    qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &counted,
                                             qemu_plugin_tb_n_insns(block));
}

static void called(Plugin plugin, unsigned processor, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                   uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    if (number != GETPPID) return;
    fprintf(stderr, "counted %" PRIu64 "\n", counted);
    counted = 0;
}

int qemu_plugin_install(Plugin plugin, const void *about, int count, char **arguments)
{
    qemu_plugin_register_vcpu_tb_trans_cb(plugin, translated);
    qemu_plugin_register_vcpu_syscall_cb(plugin, called);
    return 0;
}
