/* SPDX-License-Identifier: MIT */
/* 4-level paging as an operating system relies on it: accessed and dirty bits, stale translations and what
 * ends them, global pages, PCID, INVPCID, write protection, SMEP, SMAP, NX, 1 GiB pages, self-modifying code
 * through an alias. SDM 3A ch. 4. */
#include "guest.h"

static uint64_t pt[512] __attribute__((aligned(4096)));
static uint8_t frame[3][4096] __attribute__((aligned(4096)));
static const uint64_t VA = 0x40000000;
enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };

static bool has(uint32_t leaf, int reg, int bitno)
{
    uint32_t r[4];
    cpuid(leaf, 0, r);
    return r[reg] >> bitno & 1;
}
static void invlpg(uint64_t a) { __asm__ volatile("invlpg (%0)" ::"r"(a) : "memory"); }
static uint8_t load(uint64_t a) { return *(volatile uint8_t *)a; }
static void map(int i, const void *to, uint64_t bits)
{
    pt[i] = (uintptr_t)to | bits;
    invlpg(VA + (uint64_t)i * 4096);
}

static void accessed_dirty(void)
{
    map(0, frame[0], P | W);
    CHECK_EQ(pt[0] & (A | D), 0);
    (void)load(VA);
    CHECK_EQ(pt[0] & (A | D), A);
    *(volatile uint8_t *)VA = 1;
    CHECK_EQ(pt[0] & (A | D), A | D);
    map(0, frame[0], P);
    CATCH("movb $1, (%0)" ::"r"(VA));
    CHECK_EQ(caught.vector, 14);
    CHECK_EQ(pt[0] & D, 0); /* a faulting write leaves D alone */
    /* a store that crosses into a page that faults changes nothing in the first */
    map(0, frame[0], P | W);
    map(1, frame[1], P);
    frame[0][4095] = 7;
    CATCH("movw $0x1111, (%0)" ::"r"(VA + 4095));
    CHECK_EQ(caught.vector, 14);
    CHECK_EQ(caught.cr2, VA + 4096);
    CHECK_EQ(frame[0][4095], 7);
}

static void translations(void)
{
    frame[0][0] = 10;
    frame[1][0] = 11;
    map(0, frame[0], P | W);
    CHECK_EQ(load(VA), 10);
    pt[0] = (uintptr_t)frame[1] | P | W;
    invlpg(VA);
    CHECK_EQ(load(VA), 11);
    pt[0] = (uintptr_t)frame[0] | P | W;
    WRITE_CR(3, READ_CR(3));
    CHECK_EQ(load(VA), 10);
    /* global pages survive a CR3 load and end with CR4.PGE */
    WRITE_CR(4, READ_CR(4) | 0x80);
    map(0, frame[0], P | W | G);
    CHECK_EQ(load(VA), 10);
    pt[0] = (uintptr_t)frame[1] | P | W | G;
    WRITE_CR(4, READ_CR(4) & ~UINT64_C(0x80));
    CHECK_EQ(load(VA), 11);
    /* code through an alias: the new bytes run */
    static const uint8_t code1[] = {0xb8, 1, 0, 0, 0, 0xc3}, code2[] = {0xb8, 2, 0, 0, 0, 0xc3};
    memcpy(frame[2], code1, sizeof code1);
    map(2, frame[2], P | W);
    int (*fn)(void) = (int (*)(void))(VA + 2 * 4096);
    CHECK_EQ(fn(), 1);
    memcpy(frame[2], code2, sizeof code2);
    CHECK_EQ(fn(), 2);
    *(volatile uint8_t *)(VA + 2 * 4096 + 1) = 3;
    CHECK_EQ(fn(), 3);
}

static void pcid(void)
{
    if (!has(1, 2, 17)) return;
    uint64_t cr3 = READ_CR(3);
    WRITE_CR(4, READ_CR(4) | 1 << 17);
    map(0, frame[0], P | W);
    WRITE_CR(3, cr3 | 5);
    CHECK_EQ(load(VA), frame[0][0]);
    CHECK_EQ(READ_CR(3), cr3 | 5);
    WRITE_CR(3, cr3 | 6 | UINT64_C(1) << 63);
    CHECK_EQ(READ_CR(3), cr3 | 6); /* bit 63 is not stored */
    pt[0] = (uintptr_t)frame[1] | P | W;
    WRITE_CR(3, cr3 | 5); /* flushes PCID 5 */
    CHECK_EQ(load(VA), frame[1][0]);
    if (has(7, 1, 10)) {
        struct {
            uint64_t pcid, address;
        } d = {5, VA};
        pt[0] = (uintptr_t)frame[0] | P | W;
        __asm__ volatile("invpcid %0, %1" ::"m"(d), "r"(UINT64_C(0)) : "memory");
        CHECK_EQ(load(VA), frame[0][0]);
        pt[0] = (uintptr_t)frame[1] | P | W;
        __asm__ volatile("invpcid %0, %1" ::"m"(d), "r"(UINT64_C(2)) : "memory");
        CHECK_EQ(load(VA), frame[1][0]);
        CATCH("invpcid %0, %1" ::"m"(d), "r"(UINT64_C(4)));
        CHECK_EQ(caught.vector, 13);
        d.pcid = 0x1000;
        CATCH("invpcid %0, %1" ::"m"(d), "r"(UINT64_C(1)));
        CHECK_EQ(caught.vector, 13);
    }
    CATCH("mov %0, %%cr4" ::"r"(READ_CR(4) & ~UINT64_C(0x20000)));
    CHECK_EQ(caught.vector, -1);
    WRITE_CR(3, cr3);
    CATCH("mov %0, %%cr0" ::"r"(READ_CR(0) & ~UINT64_C(0x80000000))); /* PG = 0 in 64-bit mode */
    CHECK_EQ(caught.vector, 13);
}

static void protection(void)
{
    frame[2][0] = 0xc3;
    map(2, frame[2], P | W | UINT64_C(1) << 63);
    CATCH("call *%0" ::"r"(VA + 2 * 4096));
    CHECK_EQ(caught.vector, 14);
    CHECK_EQ(caught.error, 0x11);
    uint64_t cr0 = READ_CR(0), cr4 = READ_CR(4);
    map(0, frame[0], P);
    WRITE_CR(0, cr0 & ~UINT64_C(0x10000)); /* WP = 0: a supervisor may write */
    CATCH("movb $9, (%0)" ::"r"(VA));
    CHECK_EQ(caught.vector, -1);
    CHECK_EQ(frame[0][0], 9);
    WRITE_CR(0, cr0);
    map(0, frame[0], P | W | U);
    for (int i = 0; i < 2048; i++) /* our own code and data: supervisor pages */
        if (i != 512) boot_pd[i] &= ~(uint64_t)U;
    WRITE_CR(3, READ_CR(3));
    if (has(7, 1, 20)) {
        WRITE_CR(4, cr4 | 1 << 21);
        CATCH("mov (%0), %%al" ::"r"(VA) : "rax");
        CHECK_EQ(caught.vector, 14);
        CHECK_EQ(caught.error, 1);
        CATCH("stac; mov (%0), %%al; clac" ::"r"(VA) : "rax");
        CHECK_EQ(caught.vector, -1);
        WRITE_CR(4, cr4);
    }
    if (has(7, 1, 7)) {
        frame[2][0] = 0xc3;
        map(2, frame[2], P | W | U);
        WRITE_CR(4, cr4 | 1 << 20);
        CATCH("call *%0" ::"r"(VA + 2 * 4096));
        CHECK_EQ(caught.vector, 14);
        CHECK_EQ(caught.error, 0x11);
        WRITE_CR(4, cr4);
    }
}

static void large_pages(void)
{
    if (!has(0x80000001, 3, 26)) return;
    static uint64_t pdpt_entry;
    pdpt_entry = boot_pdpt[2];
    boot_pdpt[2] = P | W | PS; /* 2 GiB maps to 0 by one 1 GiB page */
    WRITE_CR(3, READ_CR(3));
    CHECK_EQ(load(0x80000000 + (uintptr_t)frame[1]), frame[1][0]);
    CHECK_EQ(boot_pdpt[2] & (A | D), A);
    boot_pdpt[2] = P | W | PS | 1 << 13; /* reserved address bit */
    WRITE_CR(3, READ_CR(3));
    CATCH("mov (%0), %%al" ::"r"(UINT64_C(0x80000000)) : "rax");
    CHECK_EQ(caught.vector, 14);
    CHECK_EQ(caught.error, 9);
    boot_pdpt[2] = pdpt_entry;
    WRITE_CR(3, READ_CR(3));
}

/* Memory that nobody claims reads all ones; writes are dropped. */
static void unclaimed(void)
{
    CHECK_EQ(mmio_read32(0xfd000000), 0xffffffff);
    mmio_write32(0xfd000000, 5);
    CHECK_EQ(mmio_read32(0xfd000000), 0xffffffff);
}

int guest_main(void)
{
    uint64_t old = boot_pd[512];
    boot_pd[512] = (uintptr_t)pt | P | W | U;
    WRITE_CR(3, READ_CR(3));
    accessed_dirty();
    translations();
    pcid();
    protection();
    boot_pd[512] = old;
    WRITE_CR(3, READ_CR(3));
    large_pages();
    unclaimed();
    return checks_result("paging");
}
