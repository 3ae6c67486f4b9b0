/*
 * A plugin for qemu-user that counts the guest's instructions between marks that the guest sets.
 *
 * The guest marks by a system call that does nothing: getpgid(0x7e570000 | mark). Marks:
 *   1  begin a region          2  end it          3  read the hooks' guest addresses from $EDGEPRUNE_HOOKS
 * A region is cut into segments: one ends where a hooked function is entered. At each end one record is appended to
 * $EDGEPRUNE_COUNTS, little-endian 64-bit numbers:
 *   1 if the region ends here, else 0; the hook that began the segment, 0 for none; the number n of blocks that ran;
 *   n pairs (guest address of the block, instructions executed in it during the segment).
 * Only one thread of the guest may run between marks: counts are not atomic.
 *
 * Distributions ship qemu without its plugin header, so what is used of it is declared here, and only what is the same
 * in all versions of the interface. PLUGIN_API is 1 for qemu 7 and 8, and 2 from qemu 9 on, which refuses the first.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_info_t;
typedef void (*translated_callback)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*executed_callback)(unsigned int vcpu, void *data);
typedef void (*syscall_callback)(qemu_plugin_id_t, unsigned int vcpu, int64_t number, uint64_t, uint64_t, uint64_t,
                                 uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, translated_callback);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, syscall_callback);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, executed_callback, enum qemu_plugin_cb_flags,
                                          void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

EXPORTED int qemu_plugin_version = PLUGIN_API;

enum { GETPGID = 155, MAGIC = 0x7e57, BEGIN = 1, END = 2, HOOKS = 3 };

struct block {
    uint64_t address;
    uint64_t size;     /* instructions */
    uint64_t executed; /* instructions, since the start */
    uint64_t seen;     /* `executed` when the segment began */
};

/* Blocks never move, since translated code holds their addresses: they come in chunks. */
enum { CHUNK = 4096, MAX_CHUNKS = 65536 };
static struct block *chunks[MAX_CHUNKS];
static size_t block_count;

static uint64_t *hooks;
static size_t hook_count;
static FILE *counts;
static int in_region;
static uint64_t segment_hook;

static void fail(const char *what) {
    fprintf(stderr, "edgeprune counter: %s\n", what);
    exit(70);
}

static struct block *block_at(size_t index) { return &chunks[index / CHUNK][index % CHUNK]; }

static struct block *new_block(void) {
    size_t chunk = block_count / CHUNK;
    if (chunk == MAX_CHUNKS)
        fail("too many translated blocks");
    if (chunks[chunk] == NULL && (chunks[chunk] = calloc(CHUNK, sizeof(struct block))) == NULL)
        fail("out of memory");
    return block_at(block_count++);
}

static void write_number(uint64_t number) {
    if (fwrite(&number, sizeof number, 1, counts) != 1)
        fail("the counts can't be written");
}

static void begin_segment(uint64_t hook) {
    segment_hook = hook;
    for (size_t index = 0; index < block_count; index++)
        block_at(index)->seen = block_at(index)->executed;
}

static void end_segment(int region_ends) {
    uint64_t ran = 0;
    for (size_t index = 0; index < block_count; index++)
        ran += block_at(index)->executed != block_at(index)->seen;
    write_number((uint64_t)region_ends);
    write_number(segment_hook);
    write_number(ran);
    for (size_t index = 0; index < block_count; index++) {
        struct block *block = block_at(index);
        if (block->executed != block->seen) {
            write_number(block->address);
            write_number(block->executed - block->seen);
        }
    }
}

static int by_address(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void read_hooks(void) {
    FILE *file = fopen(getenv("EDGEPRUNE_HOOKS"), "r");
    uint64_t address;
    size_t room = 0;
    if (file == NULL)
        fail("no hooks to read");
    for (hook_count = 0; fscanf(file, "%" SCNx64, &address) == 1; hook_count++) {
        if (hook_count == room) {
            room = room ? 2 * room : 256;
            if ((hooks = realloc(hooks, room * sizeof *hooks)) == NULL)
                fail("out of memory");
        }
        hooks[hook_count] = address;
    }
    fclose(file);
    if (hook_count)
        qsort(hooks, hook_count, sizeof *hooks, by_address);
}

static int is_hook(uint64_t address) {
    return hook_count && bsearch(&address, hooks, hook_count, sizeof *hooks, by_address) != NULL;
}

static void on_hook(unsigned int vcpu, void *data) {
    (void)vcpu;
    if (in_region) {
        end_segment(0);
        begin_segment(((struct block *)data)->address);
    }
}

static void on_executed(unsigned int vcpu, void *data) {
    struct block *block = data;
    (void)vcpu;
    block->executed += block->size;
}

static void on_translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    struct block *block = new_block();
    (void)id;
    block->address = qemu_plugin_tb_vaddr(tb);
    block->size = qemu_plugin_tb_n_insns(tb);
    if (is_hook(block->address))
        qemu_plugin_register_vcpu_tb_exec_cb(tb, on_hook, QEMU_PLUGIN_CB_NO_REGS, block);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_executed, QEMU_PLUGIN_CB_NO_REGS, block);
}

static void on_syscall(qemu_plugin_id_t id, unsigned int vcpu, int64_t number, uint64_t first, uint64_t a2, uint64_t a3,
                       uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
    (void)id, (void)vcpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number != GETPGID || (first & 0xffffffff) >> 16 != MAGIC)
        return;
    switch (first & 0xffff) {
    case BEGIN:
        in_region = 1;
        begin_segment(0);
        break;
    case END:
        if (in_region)
            end_segment(1);
        in_region = 0;
        if (fflush(counts))
            fail("the counts can't be written");
        break;
    case HOOKS:
        read_hooks();
        break;
    }
}

EXPORTED int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv) {
    const char *path = getenv("EDGEPRUNE_COUNTS");
    (void)info, (void)argc, (void)argv;
    if (path == NULL || (counts = fopen(path, "wb")) == NULL) {
        fprintf(stderr, "edgeprune counter: EDGEPRUNE_COUNTS names no file that can be written\n");
        return 1;
    }
    setvbuf(counts, NULL, _IOFBF, 1 << 20);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translated);
    qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    return 0;
}
