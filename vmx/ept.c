/* SPDX-License-Identifier: MIT */
/* Extended page tables: the walk with its misconfigurations and violations, accessed and dirty flags, the
 * page-modification log, and the exits they cause. SDM 3C 29.3 "The Extended Page Table Mechanism". */
#include "cpu/event.h"
#include "cpu/mem.h"
#include "vmx/vmx.h"

enum ept_bit {
    EPT_R = 1,
    EPT_W = 2,
    EPT_X = 4,
    EPT_RWX = 7,
    EPT_LEAF = 1 << 7,
    EPT_A = 1 << 8,
    EPT_D = 1 << 9,
    EPT_USER_X = 1 << 10
};
#define EPT_VERIFY_PAGING (UINT64_C(1) << 57)
#define EPT_PAGING_WRITE (UINT64_C(1) << 58)

/* Exit qualification, SDM 3C table 28-7. */
enum violation_bit {
    QUAL_READ = 1,
    QUAL_WRITE = 2,
    QUAL_EXEC = 4,
    QUAL_PERM_SHIFT = 3,
    QUAL_PERM_USER_X = 1 << 6,
    QUAL_LINEAR_VALID = 1 << 7,
    QUAL_FINAL = 1 << 8,
    QUAL_USER = 1 << 9,
    QUAL_LEAF_WRITE = 1 << 10,
    QUAL_LEAF_NX = 1 << 11,
    QUAL_NMI_UNBLOCK = 1 << 12,
    QUAL_PAGING_VERIFY = 1 << 15
};

/* In fault.virt_info beside the qualification: the entry does not suppress #VE. */
#define CONVERTIBLE (UINT64_C(1) << 63)

static bool refuse(struct cpu *c, const struct gpa_query *q, uint32_t reason, uint64_t qualification)
{
    if (q->flags & GPA_DEBUG) return false;
    c->fault.kind = FAULT_SECOND_STAGE;
    c->fault.gpa = *q;
    c->fault.virt_reason = reason;
    c->fault.virt_info = qualification;
    return false;
}

static uint64_t qualification(struct cpu *c, const struct gpa_query *q, uint32_t access, uint64_t perms)
{
    uint64_t v = access | (perms & EPT_RWX) << QUAL_PERM_SHIFT;
    if (perms & EPT_USER_X) v |= QUAL_PERM_USER_X;
    if (!(q->flags & GPA_LIN_VALID)) return v;
    v |= QUAL_LINEAR_VALID;
    if (q->flags & GPA_WALK) return v;
    v |= QUAL_FINAL;
    if (!(c->s.cr0 & CR0_PG)) return v | QUAL_USER | QUAL_LEAF_WRITE;
    if (q->flags & GPA_LEAF_USER) v |= QUAL_USER;
    if (q->flags & GPA_LEAF_WRITE) v |= QUAL_LEAF_WRITE;
    if (q->flags & GPA_LEAF_NX) v |= QUAL_LEAF_NX;
    return v;
}

/* A present entry that no setting of the tables allows. SDM 3C 29.3.3.1 */
static bool misconfigured(const struct vmx_cap *cap, uint64_t entry, unsigned level, bool leaf, bool mbec)
{
    bool execute_only = (vmx_cap_msr(cap, 0x48c) & 1) != 0;
    if (!(entry & EPT_R)) {
        if (entry & EPT_W) return true;
        if (!execute_only) return true; /* present without R: X or user X is set */
    }
    if (entry & UINT64_C(0xfffffffffffff) & ~((UINT64_C(1) << cap->phys_bits) - 1)) return true;
    if (!leaf) return (entry & (level >= 4 ? 0xf8 : 0x78)) != 0;
    unsigned type = entry >> 3 & 7;
    if (type == 2 || type == 3 || type == 7) return true;
    if (level == 3) return !(vmx_cap_msr(cap, 0x48c) >> 17 & 1) || (entry & 0x3ffff000);
    if (level == 2) return !(vmx_cap_msr(cap, 0x48c) >> 16 & 1) || (entry & 0x1ff000);
    (void)mbec;
    return false;
}

/* Appends the page to the log; false: the log is full. SDM 3C 29.3.6 */
static bool pml_has_room(const struct vmx_state *x) { return x->vmcs.f[F_PML_INDEX] <= 511; }
static void pml_append(struct cpu *c, uint64_t gpa)
{
    struct vmx_state *x = vmx_of(c);
    uint64_t index = x->vmcs.f[F_PML_INDEX];
    phys_write(c, x->vmcs.f[F_PML_ADDR] + 8 * index, 8, gpa & ~UINT64_C(0xfff));
    vmcs_set(x, F_PML_INDEX, (index - 1) & 0xffff);
}

enum { EPT_SPP_SHIFT = 61, QUAL_SPP_MISS = 1 << 11 };
enum spp_answer { SPP_DENIED, SPP_ALLOWED, SPP_MISS, SPP_MISCONFIG };

/* Sub-page write permission of a 128-byte block: four levels of tables, then a vector whose even bits are the
 * permissions. SDM 3C 29.3.4 */
static enum spp_answer spp_lookup(struct cpu *c, uint64_t gpa)
{
    const struct vmx_state *x = vmx_of(c);
    uint64_t table = x->vmcs.f[F_SPPTP];
    for (unsigned shift = 39; shift > 12; shift -= 9) {
        uint64_t entry = phys_read(c, table + (gpa >> shift & 511) * 8, 8);
        if (!(entry & 1)) return SPP_MISS;
        if ((entry & 0xffe) || !vmx_width_ok(&x->cap, entry)) return SPP_MISCONFIG;
        table = entry & ~UINT64_C(0xfff);
    }
    uint64_t vector = phys_read(c, table + (gpa >> 12 & 511) * 8, 8);
    if (vector & UINT64_C(0xaaaaaaaaaaaaaaaa)) return SPP_MISCONFIG;
    return vector >> (2 * (gpa >> 7 & 31)) & 1 ? SPP_ALLOWED : SPP_DENIED;
}

bool vmx_ept_translate(struct cpu *c, const struct gpa_query *q, struct gpa_result *r)
{
    struct vmx_state *x = vmx_of(c);
    uint64_t eptp = x->vmcs.f[F_EPTP];
    bool paging_write = (x->eff.ter & TER_PAGING_WRITE) != 0;
    bool ad = (eptp & 0x40) != 0, mbec = (x->eff.sec & SEC_MBEC) != 0;
    unsigned levels = (unsigned)(eptp >> 3 & 7) + 1;
    uint32_t access = q->flags & (QUAL_READ | QUAL_WRITE | QUAL_EXEC); /* GPA_READ, GPA_WRITE, GPA_EXEC */
    bool walk_write = (q->flags & GPA_WALK) && ad && (q->flags & GPA_LIN_VALID);
    if (walk_write) access |= QUAL_WRITE; /* SDM 3C 29.3.3.2: a guest paging structure is written */

    if (q->gpa >> (12 + 9 * levels))
        return refuse(c, q, REASON_EPT_VIOLATION, qualification(c, q, access, 0));

    uint64_t at[5], entry[5], perms = EPT_RWX | (mbec ? EPT_USER_X : 0);
    uint64_t table = vmx_ept_root(eptp);
    unsigned n = 0, level = levels, shift;
    for (;; level--) {
        shift = 12 + 9 * (level - 1);
        at[n] = table + (q->gpa >> shift & 511) * 8;
        uint64_t e = entry[n] = phys_read(c, at[n], 8);
        n++;
        if (!(e & EPT_RWX) && !(mbec && (e & EPT_USER_X)))
            return refuse(c, q, REASON_EPT_VIOLATION, qualification(c, q, access, 0) | (~e & CONVERTIBLE));
        bool leaf = level == 1 || (level <= 3 && (e & EPT_LEAF));
        if (misconfigured(&x->cap, e, level, leaf, mbec)) return refuse(c, q, REASON_EPT_MISCONFIG, 0);
        if (leaf && paging_write && (e & EPT_PAGING_WRITE)) {
            /* The processor may write its paging structures here whatever W says. SDM 3C 29.3.3.2 */
            if (!(e & EPT_R)) return refuse(c, q, REASON_EPT_MISCONFIG, 0);
            if (q->flags & GPA_WALK) e |= EPT_W;
        }
        perms &= e;
        if (leaf) break;
        table = vmx_ept_root(e);
    }

    bool user = !(c->s.cr0 & CR0_PG) || (q->flags & GPA_LEAF_USER);
    uint64_t exec_bit = mbec && user ? EPT_USER_X : EPT_X;
    if (((access & QUAL_READ) && !(perms & EPT_R)) || ((access & QUAL_WRITE) && !(perms & EPT_W)) ||
        ((access & QUAL_EXEC) && !(perms & exec_bit))) {
        /* Reading a guest entry comes before writing its A or D. */
        if ((q->flags & GPA_WALK) && !ad && !(perms & EPT_R)) access = QUAL_READ;
        bool only_write =
            (access & QUAL_WRITE) && !(access & QUAL_EXEC) && (perms & EPT_R) && !(q->flags & GPA_WALK);
        enum spp_answer spp = SPP_DENIED;
        if (only_write && (x->eff.sec & SEC_SPP) && level == 1 && (entry[n - 1] >> EPT_SPP_SHIFT & 1))
            spp = spp_lookup(c, q->gpa);
        if (spp == SPP_MISS || spp == SPP_MISCONFIG)
            return refuse(c, q, REASON_SPP, spp == SPP_MISS ? QUAL_SPP_MISS : 0);
        if (spp == SPP_DENIED)
            return refuse(c, q, REASON_EPT_VIOLATION,
                          qualification(c, q, access, perms) | (~entry[n - 1] & CONVERTIBLE));
    }

    /* Guest-paging verification of the final access. SDM 3C 29.3.3.2 */
    if ((x->eff.ter & TER_GUEST_PAGING_VERIFY) && (entry[n - 1] & EPT_VERIFY_PAGING) &&
        !(q->flags & (GPA_WALK | GPA_DEBUG | GPA_TRUSTED)))
        return refuse(c, q, REASON_EPT_VIOLATION,
                      qualification(c, q, access, perms) | QUAL_PAGING_VERIFY |
                          (~entry[n - 1] & CONVERTIBLE));

    bool dirty = !ad || (entry[n - 1] & EPT_D);
    if (ad && !(q->flags & GPA_DEBUG)) {
        bool set_d = (access & QUAL_WRITE) && !dirty, set_a = false;
        for (unsigned i = 0; i < n; i++)
            set_a |= !(entry[i] & EPT_A);
        bool log = (x->eff.sec & SEC_PML) != 0;
        if ((set_a || set_d) && log && !pml_has_room(x)) return refuse(c, q, REASON_PML_FULL, 0);
        for (unsigned i = 0; i < n; i++) {
            uint64_t want = entry[i] | EPT_A | (set_d && i == n - 1 ? EPT_D : 0);
            if (want != entry[i]) phys_write(c, at[i], 8, want);
        }
        if (set_d) {
            dirty = true;
            if (log) pml_append(c, q->gpa);
        }
    }

    uint64_t offset = (UINT64_C(1) << shift) - 1;
    r->hpa = (entry[n - 1] & UINT64_C(0xffffffffff000) & ~offset) | (q->gpa & offset);
    if ((q->flags & (GPA_WALK | GPA_DEBUG)) == GPA_WALK &&
        (r->hpa & ~UINT64_C(0xfff)) == c->apic_access_page) {
        /* A guest-physical access to the APIC-access page is never virtualized. SDM 3C 30.4.6 */
        c->fault.kind = FAULT_VIRT;
        c->fault.virt_reason = REASON_APIC_ACCESS;
        c->fault.virt_info = c->s.delivering.valid ? 10u << 12 : 15u << 12;
        return false;
    }
    r->page_shift = (uint8_t)shift;
    r->perms = (uint8_t)((perms & EPT_R ? GPA_READ : 0) | (perms & EPT_W && dirty ? GPA_WRITE : 0) |
                         (perms & EPT_X ? GPA_EXEC : 0));
    r->user_exec = mbec ? (perms & EPT_USER_X ? GPA_EXEC : 0) : (r->perms & GPA_EXEC);
    r->flags = entry[n - 1] & EPT_PAGING_WRITE ? GPA_R_TRUSTED : 0;
    return true;
}

/* Virtualization exceptions instead of EPT violations, SDM 3C 26.5.7. */
static bool becomes_ve(struct cpu *c, const struct fault *f)
{
    const struct vmx_state *x = vmx_of(c);
    return f->virt_reason == REASON_EPT_VIOLATION && (f->virt_info & CONVERTIBLE) &&
           (x->eff.sec & SEC_EPT_VE) && (c->s.cr0 & CR0_PE) && !c->s.delivering.valid &&
           (uint32_t)phys_read(c, x->vmcs.f[F_VE_INFO_ADDR] + 4, 4) == 0;
}

static enum virt_verdict deliver_ve(struct cpu *c, const struct fault *f)
{
    const struct vmx_state *x = vmx_of(c);
    uint64_t at = x->vmcs.f[F_VE_INFO_ADDR];
    phys_write(c, at, 4, REASON_EPT_VIOLATION);
    phys_write(c, at + 4, 4, 0xffffffff);
    phys_write(c, at + 8, 8, f->virt_info & ~CONVERTIBLE);
    phys_write(c, at + 16, 8, f->gpa.flags & GPA_LIN_VALID ? f->gpa.linear : 0);
    phys_write(c, at + 24, 8, f->gpa.gpa);
    phys_write(c, at + 32, 2, x->vmcs.f[F_EPTP_INDEX]);
    const struct event ev = {.valid = 1, .vector = VEC_VE, .type = EVENT_HW_EXCEPTION};
    return cpu_deliver(c, &ev);
}

enum virt_verdict vmx_second_stage_fault(struct cpu *c)
{
    const struct fault f = c->fault;
    /* A violation invalidates what is cached for the address (SDM 3C 29.4.3.1). */
    if (f.gpa.flags & GPA_LIN_VALID) tlb_flush_page(c, c->tlb_tag, f.gpa.linear, -1);
    if (becomes_ve(c, &f)) return deliver_ve(c, &f);

    struct vmx_exit e = {.reason = f.virt_reason, .qualification = f.virt_info & ~CONVERTIBLE, .rf = RF_SET};
    if (c->s.delivering.valid && !event_is_fault(&c->s.delivering)) e.rf = RF_KEEP;
    if (e.reason != REASON_PML_FULL) e.gpa = f.gpa.gpa;
    if (f.gpa.flags & GPA_LIN_VALID) e.linear = f.gpa.linear;
    if (e.reason != REASON_EPT_MISCONFIG && vmx_iret_unblocked(c)) e.qualification |= QUAL_NMI_UNBLOCK;
    return vmx_exit(c, &e);
}
