/* SPDX-License-Identifier: MIT */
/* Nested paging: the walk of the nested tables in the format of the host's paging mode, accessed and dirty
 * flags, and the nested page fault. Every access is a user access, and one to a guest paging structure is a
 * write. APM 2 15.25 "Nested Paging". */
#include "cpu/event.h"
#include "cpu/mem.h"
#include "svm/svm.h"

enum npt_bit { NPT_P = 1, NPT_W = 2, NPT_U = 4, NPT_A = 0x20, NPT_D = 0x40, NPT_PS = 0x80 };
#define NPT_NX (UINT64_C(1) << 63)
#define NPT_ADDRESS UINT64_C(0xffffffffff000)
enum { ERR_P = 1, ERR_W = 2, ERR_U = 4, ERR_RSVD = 8, ERR_I = 16 };

static bool refuse(struct cpu *c, const struct gpa_query *q, uint64_t error)
{
    const struct svm_state *x = svm_of(c);
    if (q->flags & GPA_DEBUG) return false;
    bool walk = (q->flags & GPA_WALK) != 0;
    error |= ERR_U | (walk ? NPF_WALK : NPF_FINAL);
    if (walk || (q->flags & GPA_WRITE)) error |= ERR_W;
    if (!walk && (q->flags & GPA_EXEC) && x->nested_fetch) error |= ERR_I;
    c->fault.kind = FAULT_SECOND_STAGE;
    c->fault.gpa = *q;
    c->fault.virt_info = error;
    return false;
}

/* Reserved bits of a present entry. level 1 is the page table. */
static bool reserved(const struct cpu *c, uint64_t e, unsigned level, bool leaf)
{
    const struct svm_state *x = svm_of(c);
    uint64_t high = UINT64_C(0xfffffffffffff) & ~((UINT64_C(1) << x->cap.phys_bits) - 1);
    unsigned shift = 12 + 9 * (level - 1);
    if (x->nested_levels == 3) {
        high |= UINT64_C(0x7ff0000000000000);
        if (level == 3) return (e & (high | NPT_NX | 0x1e6)) != 0;
    }
    if (!x->nested_nx) high |= NPT_NX;
    if (e & high) return true;
    if (level >= 4 && (e & NPT_PS)) return true;
    if (level == 3 && (e & NPT_PS) && !svm_cap_has(&x->cap, FEAT_PDPE1GB)) return true;
    /* Bit 12 of a large page is its PAT bit. */
    return leaf && level > 1 && (e & ((UINT64_C(1) << shift) - 1) & ~UINT64_C(0x1fff)) != 0;
}

struct nested_walk {
    uint64_t at[5], entry[5];
    uint64_t frame; /* host-physical address of the page */
    uint32_t perms; /* NPT_W, NPT_U, NX shown as NPT_P */
    unsigned n, shift, entry_size;
};
enum { PERM_NX = 1 };

/* 64-bit entries. False: refused. */
static bool walk_64(struct cpu *c, const struct gpa_query *q, struct nested_walk *w)
{
    const struct svm_state *x = svm_of(c);
    uint64_t table = x->f[VMCB_N_CR3] & (x->nested_levels == 3 ? UINT64_C(0xffffffe0) : NPT_ADDRESS);
    w->entry_size = 8;
    for (unsigned level = x->nested_levels;; level--) {
        unsigned shift = 12 + 9 * (level - 1);
        uint64_t e;
        w->at[w->n] = table + (q->gpa >> shift & 511) * 8;
        e = w->entry[w->n] = phys_read(c, w->at[w->n], 8);
        if (!(e & NPT_P)) return refuse(c, q, 0);
        bool pointer = x->nested_levels == 3 && level == 3; /* PAE directory pointer: no rights, no A */
        bool leaf = level == 1 || (!pointer && level <= 3 && (e & NPT_PS));
        if (reserved(c, e, level, leaf)) return refuse(c, q, ERR_P | ERR_RSVD);
        if (!pointer) {
            w->perms &= (uint32_t)(e & (NPT_W | NPT_U)) | PERM_NX;
            if (e & NPT_NX) w->perms |= PERM_NX;
            w->n++;
        }
        if (leaf) {
            w->shift = shift;
            w->frame = e & NPT_ADDRESS & ~((UINT64_C(1) << shift) - 1);
            return true;
        }
        table = e & NPT_ADDRESS;
    }
}

/* 32-bit entries, 4-MByte pages when the host has CR4.PSE. */
static bool walk_32(struct cpu *c, const struct gpa_query *q, struct nested_walk *w)
{
    const struct svm_state *x = svm_of(c);
    uint64_t table = x->f[VMCB_N_CR3] & 0xfffff000;
    w->entry_size = 4;
    for (unsigned level = 2;; level--) {
        w->shift = level == 2 ? 22 : 12;
        w->at[w->n] = table + (q->gpa >> w->shift & 1023) * 4;
        uint64_t e = w->entry[w->n] = phys_read(c, w->at[w->n], 4);
        if (!(e & NPT_P)) return refuse(c, q, 0);
        w->perms &= (uint32_t)(e & (NPT_W | NPT_U)) | PERM_NX;
        w->n++;
        if (level == 2 && (e & NPT_PS) && (x->host.cr4 & CR4_PSE)) {
            if (e & (1u << 21)) return refuse(c, q, ERR_P | ERR_RSVD);
            w->frame = (e & 0xffc00000) | (e >> 13 & 0xff) << 32;
            return true;
        }
        if (level == 1) {
            w->frame = e & 0xfffff000;
            return true;
        }
        table = e & 0xfffff000;
    }
}

static unsigned gpa_width(const struct svm_state *x)
{
    return x->nested_levels == 5 ? 57 : x->nested_levels == 4 ? 48 : 32;
}

bool svm_npt_translate(struct cpu *c, const struct gpa_query *q, struct gpa_result *r)
{
    const struct svm_state *x = svm_of(c);
    bool debug = (q->flags & GPA_DEBUG) != 0;
    bool write = (q->flags & (GPA_WRITE | GPA_WALK)) != 0 && !debug;
    struct nested_walk w = {.perms = NPT_W | NPT_U};
    if (q->gpa >> gpa_width(x)) return refuse(c, q, 0);
    if (!(x->nested_levels == 2 ? walk_32(c, q, &w) : walk_64(c, q, &w))) return false;
    if (!(w.perms & NPT_U) || (write && !(w.perms & NPT_W)) || ((q->flags & GPA_EXEC) && (w.perms & PERM_NX)))
        return refuse(c, q, ERR_P);

    bool dirty = (w.entry[w.n - 1] & NPT_D) != 0;
    for (unsigned i = 0; i < w.n && !debug; i++) {
        uint64_t want = w.entry[i] | NPT_A | (write && i == w.n - 1 ? NPT_D : 0);
        if (want != w.entry[i]) phys_write(c, w.at[i], w.entry_size, want);
    }
    uint64_t offset = (UINT64_C(1) << w.shift) - 1;
    r->hpa = w.frame | (q->gpa & offset);
    r->page_shift = (uint8_t)(w.shift == 22 ? 21 : w.shift);
    r->perms = GPA_READ;
    if ((w.perms & NPT_W) && (dirty || write)) r->perms |= GPA_WRITE;
    if (!(w.perms & PERM_NX)) r->perms |= GPA_EXEC;
    r->user_exec = r->perms & GPA_EXEC;
    r->flags = 0;
    return true;
}

enum virt_verdict svm_second_stage_fault(struct cpu *c)
{
    const struct fault f = c->fault;
    struct svm_exit e = {.code = SVM_EXIT_NPF, .info1 = f.virt_info, .info2 = f.gpa.gpa};
    /* No bytes for a fetch; a walk on behalf of a fetch is told by the address it translates. */
    uint64_t rip = c->s.gpr[REG_RIP];
    uint64_t fetched = in_64bit(c) ? rip : (uint32_t)(c->s.seg[SEG_CS].base + rip);
    bool fetch = (f.gpa.flags & GPA_EXEC) || ((f.gpa.flags & GPA_WALK) && f.gpa.linear - fetched < 15);
    e.bytes = !fetch;
    return svm_exit(c, &e);
}
