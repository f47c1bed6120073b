/* A plugin for qemu's user mode: counts the instructions a program executes, by kind, and prints them at its end:
   "all sdot smmla bfmmla fmla smlal", smlal being all long products of bytes.

   cc -shared -fPIC -o count.so count_instructions.c; qemu-aarch64 -plugin count.so -d plugin PROGRAM
   Debian ships the interface without its header, so what is used of it is declared here (qemu 7.2,
   docs/devel/tcg-plugins). */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                                  void (*translated)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb));
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, enum qemu_plugin_op op,
                                                       void *counter, uint64_t add);
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*ended)(qemu_plugin_id_t id, void *data),
                                           void *data);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
extern void qemu_plugin_outs(const char *text);

int qemu_plugin_version = 1;
int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv);

enum kind { ALL, SDOT, SMMLA, BFMMLA, FMLA, SMLAL, N_KINDS };
static uint64_t count[N_KINDS];

/* Arm Architecture Reference Manual, "Advanced SIMD" encodings: by vector, by lane. */
static const struct {
    uint32_t mask, value;
    enum kind kind;
} encodings[] = {
    {0xbfe0fc00, 0x0e809400, SDOT},   {0xbfc0f400, 0x0f80e000, SDOT},  {0xffe0fc00, 0x4e80a400, SMMLA},
    {0xffe0fc00, 0x6e40ec00, BFMMLA}, {0xbfa0fc00, 0x0e20cc00, FMLA},  {0xbf80f400, 0x0f801000, FMLA},
    {0xbfe0fc00, 0x0e20c000, SMLAL},  {0xbfe0fc00, 0x0e208000, SMLAL}, /* smull, smlal of bytes */
};

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        const uint32_t word = *(const uint32_t *)qemu_plugin_insn_data(insn);
        qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64, &count[ALL], 1);
        for (size_t e = 0; e < sizeof encodings / sizeof *encodings; e++)
            if ((word & encodings[e].mask) == encodings[e].value)
                qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64, &count[encodings[e].kind],
                                                           1);
    }
}

static void ended(qemu_plugin_id_t id, void *data)
{
    (void)id;
    (void)data;
    char text[N_KINDS * 24], *at = text;
    for (int k = 0; k < N_KINDS; k++)
        at += sprintf(at, "%llu%c", (unsigned long long)count[k], k + 1 < N_KINDS ? ' ' : '\n');
    qemu_plugin_outs(text);
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info;
    (void)argc;
    (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
