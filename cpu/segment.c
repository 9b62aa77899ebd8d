/* SPDX-License-Identifier: MIT */
/* Descriptor fetch, segment-register loads and stack accesses of far transfers and event delivery.
 * SDM 3A ch. 3 and 5; APM 2 4.7-4.12. */
#include "cpu/segment.h"

#include "cpu/engine.h"
#include "cpu/event.h"
#include "cpu/mem.h"
#include "cpu/quirk.h"

uint32_t desc_limit(const struct desc *d)
{
    uint32_t limit = (d->lo & 0xffff) | (d->hi & 0xf0000);
    return d->hi >> 23 & 1 ? limit << 12 | 0xfff : limit;
}

uint64_t desc_base(const struct desc *d)
{
    return d->lo >> 16 | (d->hi & 0xff) << 16 | (d->hi & 0xff000000) | (d->ext & 0xffffffff) << 32;
}

uint32_t event_ext_bit(const struct cpu *c)
{
    const struct event *ev = &c->s.delivering;
    if (!ev->valid) return 0;
    switch (ev->type) {
    case EVENT_EXTINT:
    case EVENT_NMI: return 1;
    case EVENT_HW_EXCEPTION:
    case EVENT_PRIV_SW_EXC: return cpu_quirk(c, QUIRK_EXT_ONLY_EXTERNAL) ? 0 : 1;
    default: return 0;
    }
}

bool raise_selector(struct cpu *c, uint8_t vector, uint16_t sel)
{
    return cpu_raise_error(c, vector, (sel & 0xfffcu) | event_ext_bit(c));
}

static uint64_t table_address(const struct cpu *c, uint64_t base, uint64_t off)
{
    uint64_t lin = base + off;
    return in_long_mode(c) ? lin : (uint32_t)lin;
}

/* Finds the table of a selector. */
static bool desc_locate(struct cpu *c, uint16_t sel, uint32_t n, uint64_t *lin)
{
    uint64_t base = c->s.gdtr.base;
    uint32_t limit = c->s.gdtr.limit;
    if (sel & 4) {
        const struct seg_reg *ldt = &c->s.seg[SEG_LDTR];
        if (ldt->ar & AR_UNUSABLE) return false;
        base = ldt->base;
        limit = ldt->limit;
    }
    if ((sel & ~7u) + n - 1 > limit) return false;
    *lin = table_address(c, base, sel & ~7u);
    return true;
}

static bool desc_read(struct cpu *c, struct desc *d)
{
    uint64_t v;
    if (!lin_read(c, d->lin, 8, true, &v)) return false;
    d->lo = (uint32_t)v;
    d->hi = (uint32_t)(v >> 32);
    d->ext = 0;
    return true;
}

bool desc_fetch(struct cpu *c, uint16_t sel, uint8_t vector, struct desc *d)
{
    if (!desc_locate(c, sel, 8, &d->lin)) return raise_selector(c, vector, sel);
    return desc_read(c, d);
}

bool desc_probe(struct cpu *c, uint16_t sel, struct desc *d, bool *found)
{
    *found = !sel_null(sel) && desc_locate(c, sel, 8, &d->lin);
    return !*found || desc_read(c, d);
}

bool desc_fetch_upper(struct cpu *c, uint16_t sel, uint8_t vector, struct desc *d)
{
    uint64_t lin;
    if (!in_long_mode(c)) return true;
    if (!desc_locate(c, sel, 16, &lin)) return raise_selector(c, vector, sel);
    if (!lin_read(c, table_address(c, d->lin, 8), 8, true, &d->ext)) return false;
    /* Bits 12:8 of the fourth doubleword would be a type: 0 marks it as no descriptor of its own. */
    if (d->ext >> 32 & 0x1f00) return raise_selector(c, vector, sel);
    return true;
}

static bool desc_write_type(struct cpu *c, struct desc *d, uint32_t hi)
{
    uint64_t v;
    uint64_t at = table_address(c, d->lin, 5);
    if (!lin_probe_write(c, at, 1, true)) return false;
    if (!lin_read(c, at, 1, true, &v)) return false;
    v = (v & ~(uint64_t)0x0f) | (hi >> 8 & 0x0f);
    if (!lin_write(c, at, 1, true, v)) return false;
    d->hi = hi;
    return true;
}

bool desc_set_accessed(struct cpu *c, struct desc *d)
{
    if (d->hi & TYPE_ACCESSED << 8) return true;
    return desc_write_type(c, d, d->hi | TYPE_ACCESSED << 8);
}

bool desc_set_busy(struct cpu *c, struct desc *d, bool busy)
{
    return desc_write_type(c, d, busy ? d->hi | 2 << 8 : d->hi & ~(2u << 8));
}

void desc_to_seg(const struct desc *d, uint16_t sel, struct seg_reg *out)
{
    *out = (struct seg_reg){
        .base = desc_base(d), .limit = desc_limit(d), .ar = d->hi >> 8 & 0xf0ff, .selector = sel};
}

struct seg_reg seg_null(const struct cpu *c, unsigned seg, uint16_t sel)
{
    struct seg_reg s = {.selector = sel, .ar = AR_UNUSABLE};
    /* The stack segment keeps the privilege level as its DPL even when null (64-bit mode). */
    if (seg == SEG_SS) s.ar |= (uint32_t)sel_rpl(sel) << AR_DPL_SHIFT;
    if (cpu_quirk(c, QUIRK_NULL_KEEPS_BASE)) {
        s.base = c->s.seg[seg].base;
        s.limit = c->s.seg[seg].limit;
    }
    return s;
}

struct seg_reg seg_v86(uint16_t sel)
{
    return (struct seg_reg){.base = (uint64_t)sel << 4, .limit = 0xffff, .ar = 0xf3, .selector = sel};
}

struct seg_reg seg_real(const struct cpu *c, unsigned seg, uint16_t sel)
{
    struct seg_reg s = c->s.seg[seg];
    if (s.ar & AR_UNUSABLE) {
        s.ar = seg == SEG_CS ? 0x9b : 0x93;
        s.limit = 0xffff;
    }
    s.ar = (s.ar & ~(uint32_t)AR_DPL) | AR_P | AR_S;
    s.base = (uint64_t)sel << 4;
    s.selector = sel;
    return s;
}

void seg_set(struct cpu *c, unsigned seg, const struct seg_reg *value)
{
    c->s.seg[seg] = *value;
    mem_update_window(c, seg);
}

void seg_code_changed(struct cpu *c, bool was_64bit)
{
    if (!was_64bit || !in_64bit(c)) {
        cpu_mode_changed(c);
        return;
    }
    engine_update_mode(c);
    mmu_update_rights(c);
    cpu_update_attention(c);
}

void cpu_load_segment(struct cpu *c, enum seg_id seg, const struct seg_reg *value) { seg_set(c, seg, value); }

bool seg_check_stack(struct cpu *c, uint16_t sel, unsigned cpl, uint8_t bad, struct seg_reg *out)
{
    struct desc d;
    if (sel_null(sel)) return raise_selector(c, bad, 0);
    if (!desc_fetch(c, sel, bad, &d)) return false;
    if (sel_rpl(sel) != cpl || !desc_writable_data(&d) || desc_dpl(&d) != cpl)
        return raise_selector(c, bad, sel);
    if (!desc_present(&d)) return raise_selector(c, VEC_SS, sel);
    if (!desc_set_accessed(c, &d)) return false;
    desc_to_seg(&d, sel, out);
    return true;
}

bool seg_check_data(struct cpu *c, unsigned seg, uint16_t sel, unsigned cpl, uint8_t bad, struct seg_reg *out)
{
    struct desc d;
    if (sel_null(sel)) {
        *out = seg_null(c, seg, sel);
        return true;
    }
    if (!desc_fetch(c, sel, bad, &d)) return false;
    bool code = desc_is_code(&d);
    if (!desc_is_segment(&d) || (code && !(desc_type(&d) & TYPE_READABLE)))
        return raise_selector(c, bad, sel);
    if (!(code && desc_conforming(&d)) && (sel_rpl(sel) > desc_dpl(&d) || cpl > desc_dpl(&d)))
        return raise_selector(c, bad, sel);
    if (!desc_present(&d)) return raise_selector(c, VEC_NP, sel);
    if (!desc_set_accessed(c, &d)) return false;
    desc_to_seg(&d, sel, out);
    return true;
}

bool seg_load(struct cpu *c, unsigned seg, uint16_t sel)
{
    struct seg_reg s;
    if (in_real(c)) {
        s = seg_real(c, seg, sel);
    } else if (in_v86(c)) {
        s = seg_v86(sel);
    } else if (seg == SEG_SS) {
        if (sel_null(sel)) {
            /* A null SS exists in 64-bit mode inside the kernel only. SDM 3A 5.4.1.1 */
            if (!in_64bit(c) || c->s.cpl == 3 || sel_rpl(sel) != c->s.cpl)
                return cpu_raise_error(c, VEC_GP, 0);
            s = seg_null(c, seg, sel);
        } else if (!seg_check_stack(c, sel, c->s.cpl, VEC_GP, &s)) {
            return false;
        }
    } else if (!seg_check_data(c, seg, sel, c->s.cpl, VEC_GP, &s)) {
        return false;
    }
    seg_set(c, seg, &s);
    if (seg == SEG_SS) seg_code_changed(c, in_64bit(c)); /* stack size */
    return true;
}

bool seg_load_ldtr(struct cpu *c, uint16_t sel, uint8_t bad)
{
    struct desc d;
    struct seg_reg s;
    if (sel_null(sel)) {
        s = (struct seg_reg){.selector = sel, .ar = AR_UNUSABLE | AR_P | SYS_LDT};
        seg_set(c, SEG_LDTR, &s);
        return true;
    }
    if (sel & 4) return raise_selector(c, bad, sel);
    if (!desc_fetch(c, sel, bad, &d)) return false;
    if (desc_is_segment(&d) || desc_type(&d) != SYS_LDT) return raise_selector(c, bad, sel);
    if (!desc_present(&d)) return raise_selector(c, bad == VEC_TS ? VEC_TS : VEC_NP, sel);
    if (!desc_fetch_upper(c, sel, bad, &d)) return false;
    desc_to_seg(&d, sel, &s);
    if (in_long_mode(c) && !lin_canonical(c, s.base)) return raise_selector(c, bad, sel);
    seg_set(c, SEG_LDTR, &s);
    return true;
}

bool seg_load_tr(struct cpu *c, uint16_t sel)
{
    struct desc d;
    struct seg_reg s;
    if (sel_null(sel)) return cpu_raise_error(c, VEC_GP, 0);
    if (sel & 4) return raise_selector(c, VEC_GP, sel);
    if (!desc_fetch(c, sel, VEC_GP, &d)) return false;
    unsigned type = desc_type(&d);
    if (desc_is_segment(&d) || !(type == SYS_TSS32 || (type == SYS_TSS16 && !in_long_mode(c))))
        return raise_selector(c, VEC_GP, sel);
    if (!desc_present(&d)) return raise_selector(c, VEC_NP, sel);
    if (!desc_fetch_upper(c, sel, VEC_GP, &d)) return false;
    if (in_long_mode(c) && !lin_canonical(c, desc_base(&d))) return raise_selector(c, VEC_GP, sel);
    if (!desc_set_busy(c, &d, true)) return false;
    desc_to_seg(&d, sel, &s);
    seg_set(c, SEG_TR, &s);
    return true;
}

bool seg_inside(const struct seg_reg *s, uint64_t off, uint32_t n)
{
    uint64_t last = off + n - 1;
    if ((s->ar & (TYPE_CODE | TYPE_EXPAND_DOWN)) == TYPE_EXPAND_DOWN) {
        uint64_t top = s->ar & AR_DB ? 0xffffffff : 0xffff;
        return off > s->limit && last <= top && last >= off;
    }
    return last <= s->limit && last >= off;
}

struct stack stack_new(const struct cpu *c, const struct seg_reg *ss, uint64_t sp, unsigned cpl, bool code64)
{
    (void)c;
    struct stack st = {.ss = *ss, .sp = sp, .cpl = (uint8_t)cpl};
    st.mask = code64 ? ~UINT64_C(0) : ss->ar & AR_DB ? 0xffffffff : 0xffff;
    return st;
}

struct stack stack_current(const struct cpu *c)
{
    return stack_new(c, &c->s.seg[SEG_SS], c->s.gpr[RSP], c->s.cpl, in_64bit(c));
}

/* Linear address of n bytes at offset off of the stack; #SS when they are outside. */
static bool stack_linear(struct cpu *c, const struct stack *st, uint64_t off, uint32_t n, uint64_t *lin)
{
    if (st->mask == ~UINT64_C(0)) {
        if (!lin_canonical(c, off) || !lin_canonical(c, off + n - 1))
            return cpu_raise_error(c, VEC_SS, st->error | event_ext_bit(c));
        *lin = off;
        return true;
    }
    if ((st->ss.ar & AR_UNUSABLE) || !seg_inside(&st->ss, off, n))
        return cpu_raise_error(c, VEC_SS, st->error | event_ext_bit(c));
    *lin = (uint32_t)(st->ss.base + off);
    return true;
}

bool stack_push(struct cpu *c, struct stack *st, uint32_t size, uint64_t v)
{
    uint64_t lin, sp = (st->sp & ~st->mask) | ((st->sp - size) & st->mask);
    if (!stack_linear(c, st, sp & st->mask, size, &lin)) return false;
    if (!lin_write_cpl(c, lin, size, st->cpl, v)) return false;
    st->sp = sp;
    return true;
}

bool stack_pop(struct cpu *c, struct stack *st, uint32_t size, uint64_t *v)
{
    uint64_t lin;
    if (!stack_linear(c, st, st->sp & st->mask, size, &lin)) return false;
    if (!lin_read_cpl(c, lin, size, st->cpl, v)) return false;
    st->sp = (st->sp & ~st->mask) | ((st->sp + size) & st->mask);
    return true;
}

void stack_commit(struct cpu *c, const struct stack *st)
{
    uint64_t *rsp = &c->s.gpr[RSP];
    if (st->mask == 0xffff)
        *rsp = (*rsp & ~UINT64_C(0xffff)) | (st->sp & 0xffff);
    else
        *rsp = st->sp & st->mask;
}

bool code_check_direct(struct cpu *c, uint16_t sel, struct desc *d)
{
    if (!desc_is_code(d)) return raise_selector(c, VEC_GP, sel);
    if (in_long_mode(c) && desc_long(d) && desc_big(d)) return raise_selector(c, VEC_GP, sel);
    if (desc_conforming(d)) {
        if (desc_dpl(d) > c->s.cpl) return raise_selector(c, VEC_GP, sel);
    } else if (sel_rpl(sel) > c->s.cpl || desc_dpl(d) != c->s.cpl) {
        return raise_selector(c, VEC_GP, sel);
    }
    if (!desc_present(d)) return raise_selector(c, VEC_NP, sel);
    return true;
}

bool code_check_offset(struct cpu *c, const struct seg_reg *cs, uint64_t off)
{
    if (seg_is_code64(c, cs) ? lin_canonical(c, off) : off <= cs->limit) return true;
    return cpu_raise_error(c, VEC_GP, event_ext_bit(c));
}
