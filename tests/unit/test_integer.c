/* SPDX-License-Identifier: MIT */
/* General-purpose instructions, one line a fact of the manual. Random streams against processors are the
 * business of tests/oracle; here stand the corners that have a name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cpu/event.h"
#include "flat_bus.h"

#define IN(...)                                    \
    {                                              \
        __VA_ARGS__ __VA_OPT__(, ) { F_END, 0, 0 } \
    }
#define OUT IN
#define T(name, code, in, out) {name, code, in, out},
#define g(reg, v)     \
    {                 \
        F_GPR, reg, v \
    }
#define m8(at, v)     \
    {                 \
        F_MEM8, at, v \
    }
#define m16(at, v)     \
    {                  \
        F_MEM16, at, v \
    }
#define m32(at, v)     \
    {                  \
        F_MEM32, at, v \
    }
#define m64(at, v)     \
    {                  \
        F_MEM64, at, v \
    }
#define fl(v)         \
    {                 \
        F_FLAGS, 0, v \
    }
#define flags(mask, v)   \
    {                    \
        F_FLAGS, mask, v \
    }
#define raises(v)      \
    {                  \
        F_VECTOR, 0, v \
    }

/* clang-format off */
static const struct flat_case long_mode[] = {
T("adc r8, CF in", "10 D8", IN(g(RAX, 0xff), fl(FL_CF)), OUT(g(RAX, 0), flags(FL_OSZAPC, FL_CF | FL_ZF | FL_PF | FL_AF)))
T("sbb to itself", "19 C0", IN(g(RAX, 5), fl(FL_CF)), OUT(g(RAX, 0xffffffff), flags(FL_CF | FL_ZF, FL_CF)))
T("add r32 clears the upper half", "01 D8", IN(g(RAX, 0xffffffff00000001), g(RBX, 1)), OUT(g(RAX, 2)))
T("add r16 keeps it", "66 01 D8", IN(g(RAX, 0xffffffff0000ffff), g(RBX, 1)), OUT(g(RAX, 0xffffffff00000000), flags(FL_CF | FL_ZF, FL_CF | FL_ZF)))
T("add overflow", "01 D8", IN(g(RAX, 0x7fffffff), g(RBX, 1)), OUT(g(RAX, 0x80000000), flags(FL_OF | FL_SF | FL_CF, FL_OF | FL_SF)))
T("ah and sp are different with REX", "88 E0", IN(g(RAX, 0x1200), g(RSP, 0x34)), OUT(g(RAX, 0x1212)))
T("spl", "40 88 E0", IN(g(RAX, 0x1200), g(RSP, 0x34)), OUT(g(RAX, 0x1234)))
T("inc keeps CF", "FF C0", IN(g(RAX, 0xffffffff), fl(FL_CF)), OUT(g(RAX, 0), flags(FL_CF | FL_ZF, FL_CF | FL_ZF)))
T("neg 0", "F7 D8", IN(g(RAX, 0)), OUT(g(RAX, 0), flags(FL_CF | FL_ZF, FL_ZF)))
T("neg most negative", "48 F7 D8", IN(g(RAX, UINT64_C(1) << 63)), OUT(g(RAX, UINT64_C(1) << 63), flags(FL_CF | FL_OF, FL_CF | FL_OF)))
T("shl by 0 keeps flags, clears the upper half", "D3 E0", IN(g(RAX, 0xffffffff00000001), g(RCX, 32), fl(FL_CF | FL_OF | FL_ZF)), OUT(g(RAX, 1), flags(FL_OSZAPC, FL_CF | FL_OF | FL_ZF)))
T("shl r8 by 8", "C0 E0 08", IN(g(RAX, 0x01)), OUT(g(RAX, 0), flags(FL_CF, FL_CF)))
T("sar r8 by 31", "C0 F8 1F", IN(g(RAX, 0x80)), OUT(g(RAX, 0xff), flags(FL_CF, FL_CF)))
T("rcl r8 by 9 is by 0", "C0 D0 09", IN(g(RAX, 0x81), fl(FL_CF)), OUT(g(RAX, 0x81), flags(FL_CF, FL_CF)))
T("rcr r32, 1", "D1 D8", IN(g(RAX, 1)), OUT(g(RAX, 0), flags(FL_CF | FL_OF, FL_CF)))
T("shld", "0F A4 D8 08", IN(g(RAX, 0x12345678), g(RBX, 0xAB000000)), OUT(g(RAX, 0x345678AB)))
T("mul 64", "48 F7 E3", IN(g(RAX, ~UINT64_C(0)), g(RBX, 2)), OUT(g(RAX, ~UINT64_C(1)), g(RDX, 1), flags(FL_CF | FL_OF, FL_CF | FL_OF)))
T("imul fits", "0F AF C3", IN(g(RAX, 0xffffffff), g(RBX, 5)), OUT(g(RAX, 0xfffffffb), flags(FL_CF | FL_OF, 0)))
T("div by zero", "F7 F3", IN(g(RAX, 1), g(RDX, 7)), OUT(g(RAX, 1), g(RDX, 7), raises(VEC_DE)))
T("div overflow", "F7 F3", IN(g(RAX, 0), g(RDX, 1), g(RBX, 1)), OUT(raises(VEC_DE)))
T("idiv most negative by -1", "48 F7 FB", IN(g(RAX, UINT64_C(1) << 63), g(RDX, ~UINT64_C(0)), g(RBX, ~UINT64_C(0))), OUT(raises(VEC_DE)))
T("idiv", "F7 FB", IN(g(RAX, 0xfffffff9), g(RDX, 0xffffffff), g(RBX, 2)), OUT(g(RAX, 0xfffffffd), g(RDX, 0xffffffff)))
T("idiv 128 by 64", "48 F7 FB", IN(g(RAX, 0), g(RDX, 1), g(RBX, 4)), OUT(g(RAX, UINT64_C(1) << 62), g(RDX, 0)))
T("bt with a register offset beyond the operand", "0F A3 07", IN(g(RDI, 0x2000), g(RAX, 35), m8(0x2004, 8)), OUT(flags(FL_CF, FL_CF)))
T("bts with a negative offset", "48 0F AB 07", IN(g(RDI, 0x2008), g(RAX, ~UINT64_C(0)), m64(0x2000, 0)), OUT(m64(0x2000, UINT64_C(1) << 63), flags(FL_CF, 0)))
T("bsf of 0 keeps the destination", "48 0F BC C3", IN(g(RAX, 77), g(RBX, 0)), OUT(g(RAX, 77), flags(FL_ZF, FL_ZF)))
T("tzcnt of 0", "F3 48 0F BC C3", IN(g(RAX, 77), g(RBX, 0)), OUT(g(RAX, 64), flags(FL_CF | FL_ZF, FL_CF)))
T("lzcnt 16", "66 F3 0F BD C3", IN(g(RAX, 0), g(RBX, 1)), OUT(g(RAX, 15)))
T("popcnt", "F3 0F B8 C3", IN(g(RBX, 0xF0F0)), OUT(g(RAX, 8), flags(FL_OSZAPC, 0)))
T("crc32 of a byte", "F2 0F 38 F0 C3", IN(g(RAX, 0), g(RBX, 1)), OUT(g(RAX, 0xF26B8303)))
T("pdep", "C4 E2 63 F5 C1", IN(g(RBX, 5), g(RCX, 0xF0)), OUT(g(RAX, 0x50)))
T("pext", "C4 E2 62 F5 C1", IN(g(RBX, 0x50), g(RCX, 0xF0)), OUT(g(RAX, 5)))
T("mulx into one register keeps the high half", "C4 E2 FB F6 C3", IN(g(RDX, ~UINT64_C(0)), g(RBX, 16)), OUT(g(RAX, 15)))
T("adox uses and writes OF only", "F3 0F 38 F6 C3", IN(g(RAX, 0xffffffff), g(RBX, 0), fl(FL_OF | FL_CF)), OUT(g(RAX, 0), flags(FL_OF | FL_CF, FL_OF | FL_CF)))
T("cmpxchg equal", "0F B1 1F", IN(g(RAX, 5), g(RBX, 9), g(RDI, 0x2000), m32(0x2000, 5)), OUT(m32(0x2000, 9), flags(FL_ZF, FL_ZF)))
T("cmpxchg unequal", "0F B1 1F", IN(g(RAX, 0x100000005), g(RBX, 9), g(RDI, 0x2000), m32(0x2000, 6)), OUT(g(RAX, 6), m32(0x2000, 6), flags(FL_ZF, 0)))
T("cmpxchg8b", "0F C7 0F", IN(g(RAX, 1), g(RDX, 2), g(RBX, 3), g(RCX, 4), g(RDI, 0x2000), m64(0x2000, 0x200000001)), OUT(m64(0x2000, 0x400000003), flags(FL_ZF, FL_ZF)))
T("cmpxchg16b unaligned", "48 0F C7 0F", IN(g(RDI, 0x2008)), OUT(raises(VEC_GP)))
T("xadd", "0F C1 1F", IN(g(RBX, 9), g(RDI, 0x2000), m32(0x2000, 5)), OUT(g(RBX, 5), m32(0x2000, 14)))
T("movsxd", "48 63 C3", IN(g(RBX, 0x80000000)), OUT(g(RAX, 0xffffffff80000000)))
T("cmov false clears the upper half", "0F 44 C3", IN(g(RAX, 0xffffffff00000007), g(RBX, 3)), OUT(g(RAX, 7)))
T("movbe", "0F 38 F0 07", IN(g(RDI, 0x2000), m32(0x2000, 0x11223344)), OUT(g(RAX, 0x44332211)))
T("lea with a 32-bit address", "67 8D 44 5B 10", IN(g(RBX, 0xfffffff0)), OUT(g(RAX, 0xffffffe0)))
T("push rsp stores the old value", "54", IN(g(RSP, 0x3000)), OUT(g(RSP, 0x2ff8), m64(0x2ff8, 0x3000)))
T("pop rsp", "5C", IN(g(RSP, 0x3000), m64(0x3000, 0x1234)), OUT(g(RSP, 0x1234)))
T("pop [rsp] uses the new rsp", "8F 04 24", IN(g(RSP, 0x3000), m64(0x3000, 0x77)), OUT(g(RSP, 0x3008), m64(0x3008, 0x77)))
T("push imm8 sign-extends", "6A FF", IN(g(RSP, 0x3000)), OUT(m64(0x2ff8, ~UINT64_C(0))))
T("enter 16, 0", "C8 10 00 00", IN(g(RSP, 0x3000), g(RBP, 0x55)), OUT(g(RSP, 0x2fe8), g(RBP, 0x2ff8), m64(0x2ff8, 0x55)))
T("leave", "C9", IN(g(RSP, 0x100), g(RBP, 0x3000), m64(0x3000, 0x55)), OUT(g(RSP, 0x3008), g(RBP, 0x55)))
T("ret imm16", "C2 08 00", IN(g(RSP, 0x3000), m64(0x3000, 0x123456)), OUT(g(RSP, 0x3010), g(REG_RIP, 0x123456)))
T("ret to a non-canonical address", "C3", IN(g(RSP, 0x3000), m64(0x3000, UINT64_C(1) << 48)), OUT(g(RSP, 0x3000), raises(VEC_GP)))
T("call of a non-canonical address pushes nothing", "FF D0", IN(g(RSP, 0x3000), g(RAX, UINT64_C(1) << 60), m64(0x2ff8, 9)), OUT(g(RSP, 0x3000), m64(0x2ff8, 9), raises(VEC_GP)))
T("loop with ecx", "67 E2 02", IN(g(RCX, 0x100000001)), OUT(g(RCX, 0), g(REG_RIP, 0x100003)))
T("jrcxz", "E3 10", IN(g(RCX, 0)), OUT(g(REG_RIP, 0x100012)))
T("xchg r8d, eax is not nop", "41 90", IN(g(RAX, 1), g(R8, 2)), OUT(g(RAX, 2), g(R8, 1)))
T("ud2", "0F 0B", IN(), OUT(raises(VEC_UD)))
T("lock of a register", "F0 01 C0", IN(), OUT(raises(VEC_UD)))
T("rip-relative at the far end", "8B 05 FF FF FF 7F", IN(), OUT(raises(VEC_PF)))
};
static const struct flat_case prot32[] = {
T("daa", "27", IN(g(RAX, 0x9a)), OUT(g(RAX, 0), flags(FL_CF | FL_AF, FL_CF | FL_AF)))
T("das", "2F", IN(g(RAX, 0x00), fl(FL_AF)), OUT(g(RAX, 0xfa), flags(FL_CF | FL_AF, FL_CF | FL_AF)))
T("aaa", "37", IN(g(RAX, 0x000a)), OUT(g(RAX, 0x100), flags(FL_CF | FL_AF, FL_CF | FL_AF)))
T("aam 0", "D4 00", IN(), OUT(raises(VEC_DE)))
T("aam", "D4 0A", IN(g(RAX, 37)), OUT(g(RAX, 0x307)))
T("aad", "D5 0A", IN(g(RAX, 0x307)), OUT(g(RAX, 37)))
T("salc", "D6", IN(fl(FL_CF)), OUT(g(RAX, 0xff)))
T("pusha", "60", IN(g(RSP, 0x3000), g(RAX, 0x11), g(RDI, 0x22)), OUT(g(RSP, 0x2fe0), m32(0x2ffc, 0x11), m32(0x2fec, 0x3000), m32(0x2fe0, 0x22)))
T("popa skips esp", "61", IN(g(RSP, 0x2fe0), m32(0x2ffc, 0x11), m32(0x2fec, 0x999)), OUT(g(RSP, 0x3000), g(RAX, 0x11)))
T("inc by one byte", "40", IN(g(RAX, 1)), OUT(g(RAX, 2)))
T("16-bit address wraps", "67 8B 40 02", IN(g(RBX, 0xffff), g(RSI, 0), m32(0x0001, 0x12345678)), OUT(g(RAX, 0x12345678)))
T("jmp with a 16-bit operand", "66 EB 00", IN(), OUT(g(REG_RIP, 3)))
T("moffs", "A1 00 20 00 00", IN(m32(0x2000, 0xabcdef01)), OUT(g(RAX, 0xabcdef01)))
T("xlat", "D7", IN(g(RBX, 0x2000), g(RAX, 0x05), m8(0x2005, 0x77)), OUT(g(RAX, 0x77)))
};
static const struct flat_case real_mode[] = {
T("push at sp 0 wraps", "50", IN(g(RSP, 0), g(RAX, 0x1234)), OUT(g(RSP, 0xfffe), m16(0xfffe, 0x1234)))
T("word at offset ffff", "A1 FF FF", IN(), OUT(raises(VEC_GP)))
T("32-bit operand", "66 B8 78 56 34 12", IN(), OUT(g(RAX, 0x12345678)))
T("ip wraps", "E9 00 F0", IN(), OUT(g(REG_RIP, 0x0003)))
T("arpl is not there", "63 C0", IN(), OUT(raises(VEC_UD)))
};
/* clang-format on */

static void run(enum flat_mode mode, const struct flat_case *t, size_t n)
{
    bool ok = true;
    struct flat_board *b = flat_board_create(4 << 20, 1, NULL);
    for (size_t i = 0; i < n; i++)
        ok &= flat_check(b, mode, &t[i]);
    flat_board_destroy(b);
    assert_true(ok);
}
#define RUN(name, mode)                                \
    static void name##_cases(void **state)             \
    {                                                  \
        (void)state;                                   \
        run(mode, name, sizeof name / sizeof name[0]); \
    }
RUN(long_mode, FLAT_LONG64)
RUN(prot32, FLAT_PROT32)
RUN(real_mode, FLAT_REAL)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_mode_cases),
        cmocka_unit_test(prot32_cases),
        cmocka_unit_test(real_mode_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
