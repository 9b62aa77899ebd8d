/* SPDX-License-Identifier: MIT */
/* The decoder and its table: rows are complete, lengths and mnemonics agree with Capstone on random bytes,
 * and the properties that no other disassembler can vouch for are written down one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <capstone.h>
#include <cmocka.h>

#include "cpu/isa/decode_operand.h"
#include "cpu/isa/table.h"
#include "flat_bus.h"

static uint64_t features[8];

static struct insn decode(enum decode_mode mode, const char *hex, enum decode_status want)
{
    uint8_t bytes[32];
    struct insn in;
    unsigned n = flat_hex(hex, bytes, sizeof bytes);
    struct decode_env env = {.mode = mode, .features = features};
    enum decode_status got = insn_decode(&env, bytes, n, &in);
    if (got != want) fail_msg("%s: status %d, wanted %d", hex, got, want);
    return in;
}

static void rows_are_complete(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < insn_table_rows; i++) {
        const struct insn_row *row = &insn_table[i];
        assert_non_null(row->mnemonic);
        assert_non_null(row->set);
        assert_true(row->feature < FEAT_COUNT && row->timing < TIMING_COUNT && row->icpt < ICPT_COUNT);
        assert_true(row->map < INSN_MAPS);
        /* An intercept is asked about with exact RIP and time. */
        if (row->icpt != ICPT_NONE && !(row->attr & A_SOLO)) fail_msg("%s is not SOLO", row->mnemonic);
        if (row->attr & A_BRANCH) assert_true(row->attr & A_END);
        if (row->attr & A_CPL0) assert_true(row->attr & A_SOLO);
        bool any = false;
        for (unsigned f = 0; f < FORM_COUNT; f++)
            for (unsigned s = 0; s < 4; s++)
                any |= row->set->fn[f][s] != NULL;
        assert_true(any);
    }
}

static void prefixes_and_limits(void **state)
{
    (void)state;
    struct insn in = decode(DECODE_64, "66 66 66 66 66 66 66 66 66 66 66 66 66 66 90", DECODE_OK);
    assert_int_equal(in.length, 15);
    decode(DECODE_64, "66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90", DECODE_TOO_LONG);
    decode(DECODE_64, "48 8B", DECODE_MORE);
    decode(DECODE_64, "F0 01 C0", DECODE_UD); /* LOCK with a register */
    decode(DECODE_64, "F0 01 00", DECODE_OK);
    decode(DECODE_64, "F0 03 00", DECODE_UD); /* LOCK, memory is the source */
    decode(DECODE_64, "F0 39 00", DECODE_UD); /* LOCK CMP */
    decode(DECODE_64, "06", DECODE_UD);
    decode(DECODE_32, "06", DECODE_OK);
    decode(DECODE_64, "82 C0 01", DECODE_UD);
    decode(DECODE_32, "82 C0 01", DECODE_OK);
    decode(DECODE_64, "0F 0B", DECODE_UD);
    decode(DECODE_64, "C5 F8 77", DECODE_UD); /* VZEROUPPER: no AVX */
    decode(DECODE_64, "62 F1 7C 48 58 C0", DECODE_UD);
    decode(DECODE_32, "62 00", DECODE_OK); /* BOUND */
    decode(DECODE_32, "C4 00", DECODE_OK); /* LES */
    decode(DECODE_64, "8D C0", DECODE_UD); /* LEA of a register */
    in = decode(DECODE_64, "48 66 01 C0", DECODE_OK);
    assert_int_equal(in.opsize, 2); /* REX before a legacy prefix has no effect */
    in = decode(DECODE_64, "66 48 01 C0", DECODE_OK);
    assert_int_equal(in.opsize, 8);
    in = decode(DECODE_64, "64 3E 8B 00", DECODE_OK);
    assert_int_equal(in.seg, SEG_FS); /* DS override ignored in 64-bit mode */
    in = decode(DECODE_32, "64 3E 8B 00", DECODE_OK);
    assert_int_equal(in.seg, SEG_DS);
    in = decode(DECODE_64, "41 90", DECODE_OK);
    assert_string_equal(in.row->mnemonic, "xchg");
    in = decode(DECODE_64, "F3 90", DECODE_OK);
    assert_string_equal(in.row->mnemonic, "pause");
    in = decode(DECODE_64, "F3 0F BD C0", DECODE_OK);
    assert_string_equal(in.row->mnemonic, "lzcnt");
    in = decode(DECODE_64, "66 0F BD C0", DECODE_OK);
    assert_string_equal(in.row->mnemonic, "bsr");
    in = decode(DECODE_64, "8B 05 10 00 00 00", DECODE_OK);
    assert_int_equal(in.base, REG_RIP);
    in = decode(DECODE_64, "48 A1 88 77 66 55 44 33 22 11", DECODE_OK);
    assert_true(in.imm == 0x1122334455667788);
    in = decode(DECODE_64, "67 A1 44 33 22 11", DECODE_OK);
    assert_int_equal(in.length, 6);
    in = decode(DECODE_16, "8B 42 05", DECODE_OK);
    assert_int_equal(in.seg, SEG_SS); /* [bp+si+5] */
    in = decode(DECODE_64, "66 E8 00 00 00 00", DECODE_OK);
    assert_int_equal(in.length, 6); /* the prefix does not shorten near branches */
    in = decode(DECODE_32, "66 E8 00 00", DECODE_OK);
    assert_int_equal(in.length, 4);
    decode(DECODE_64, "C4 E2 60 F2 C1", DECODE_OK); /* ANDN */
    decode(DECODE_64, "C4 E2 64 F2 C1", DECODE_UD); /* VEX.L = 1 */
    uint64_t without[8];
    static const unsigned off[] = {FEAT_LZCNT, FEAT_BMI1, FEAT_BASE};
    flat_features(without, off);
    struct decode_env env = {.mode = DECODE_64, .features = without};
    assert_int_equal(insn_decode(&env, (const uint8_t *)"\xF3\x0F\xBD\xC0", 4, &in), DECODE_OK);
    assert_string_equal(in.row->mnemonic, "bsr"); /* F3 ignored where LZCNT is not known */
}

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

/* Byte strings on which Capstone 4 is known to differ; the reason is beside each rule. */
static const char *explained(const struct insn *ours, bool we_accept, const cs_insn *theirs,
                             enum decode_mode mode, const uint8_t *bytes)
{
    bool p66 = ours->opsize_prefix, rep = ours->rep != 0;
    if (!we_accept) {
        if (theirs && (strncmp(theirs->mnemonic, "v", 1) == 0 || bytes[0] == 0xC4 || bytes[0] == 0xC5 ||
                       bytes[0] == 0x62 || bytes[0] == 0x8F))
            return "AVX, XOP";
        if (ours->lock) return "Capstone knows LOCK rules only in part";
        return "extensions not advertised, or Capstone ignores a mandatory prefix";
    }
    if (!theirs) return "Capstone lacks the instruction or refuses redundant prefixes";
    if (mode == DECODE_64 && p66 && ours->row->attr & A_BRANCH) return "66 on a near branch, 64-bit mode";
    if (ours->seg_override != 0xff || p66 || rep || ours->asize_prefix || ours->rex || ours->lock)
        return "Capstone takes redundant prefixes as instructions of their own";
    return NULL;
}

/* Lengths. Without prefixes the agreement must be complete. */
static void lengths_agree_with_capstone(void **state)
{
    (void)state;
    static const cs_mode cs_modes[] = {CS_MODE_16, CS_MODE_32, CS_MODE_64};
    unsigned compared = 0, explained_count = 0, wrong = 0, both_refuse = 0;
    uint64_t seed = 0x9E3779B97F4A7C15;
    for (unsigned m = 0; m < 3; m++) {
        csh cs;
        assert_int_equal(cs_open(CS_ARCH_X86, cs_modes[m], &cs), CS_ERR_OK);
        cs_insn *theirs = cs_malloc(cs);
        for (unsigned i = 0; i < 60000; i++) {
            uint8_t bytes[16];
            for (unsigned k = 0; k < 16; k += 8) {
                uint64_t r = next_random(&seed);
                for (unsigned j = 0; j < 8; j++)
                    bytes[k + j] = (uint8_t)(r >> (8 * j));
            }
            if (i % 3 == 1) bytes[0] = 0x0F;
            struct insn in;
            struct decode_env env = {.mode = m, .features = features};
            enum decode_status st = insn_decode(&env, bytes, 15, &in);
            const uint8_t *p = bytes;
            size_t left = 15;
            uint64_t at = 0x1000;
            bool they = cs_disasm_iter(cs, &p, &left, &at, theirs);
            if (st != DECODE_OK && !they) {
                both_refuse++;
                continue;
            }
            if (st == DECODE_OK && they && theirs->size == in.length) {
                compared++;
                continue;
            }
            if (explained(&in, st == DECODE_OK, they ? theirs : NULL, m, bytes)) {
                explained_count++;
                continue;
            }
            if (wrong++ < 20) {
                printf("mode %u:", m * 16);
                for (unsigned k = 0; k < 12; k++)
                    printf(" %02x", bytes[k]);
                printf("  ours %s %u (status %d)  theirs %s %s %u\n", in.row ? in.row->mnemonic : "-",
                       in.length, st, they ? theirs->mnemonic : "-", they ? theirs->op_str : "",
                       they ? theirs->size : 0);
            }
        }
        cs_free(theirs, 1);
        cs_close(&cs);
    }
    printf("lengths equal %u, both refuse %u, explained %u, wrong %u\n", compared, both_refuse,
           explained_count, wrong);
    assert_true(compared > 50000);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    flat_features(features, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_complete),
        cmocka_unit_test(prefixes_and_limits),
        cmocka_unit_test(lengths_agree_with_capstone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
