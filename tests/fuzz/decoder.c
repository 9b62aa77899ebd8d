/* SPDX-License-Identifier: MIT */
/* The instruction decoder on any bytes. Input: mode byte, then up to 15 instruction bytes. Properties: the
 * length is at most 15 and what was offered; a decode with exactly that many bytes says the same; fewer
 * bytes never give a longer instruction. */
#include <string.h>

#include "cpu/insn.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t features[8];
    struct insn a, b;
    if (size < 1) return 0;
    memset(features, data[0] & 8 ? 0 : 0xff, sizeof(features));
    struct decode_env env = {.mode = (data[0] & 3u) % 3,
                             .real_or_v86 = (data[0] & 4) && data[0] % 3 != DECODE_64,
                             .features = features};
    const uint8_t *bytes = data + 1;
    uint32_t avail = (uint32_t)(size - 1 > 15 ? 15 : size - 1);
    if (avail == 0) return 0;
    memset(&a, 0, sizeof(a));
    enum decode_status s = insn_decode(&env, bytes, avail, &a);
    if (s != DECODE_OK) return 0;
    FUZZ_CHECK(a.length >= 1 && a.length <= avail && a.row);
    memset(&b, 0, sizeof(b));
    FUZZ_CHECK(insn_decode(&env, bytes, a.length, &b) == DECODE_OK);
    FUZZ_CHECK(b.length == a.length && b.row == a.row && b.imm == a.imm && b.disp == a.disp);
    for (uint32_t n = 1; n < a.length; n++)
        FUZZ_CHECK(insn_decode(&env, bytes, n, &b) == DECODE_MORE);
    return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *out)
{
    static const uint8_t seeds[][16] = {
        {2, 0x48, 0x8b, 0x84, 0xc8, 1, 2, 3, 4},             /* mov rax, [rax+rcx*8+disp32] */
        {2, 0xf0, 0x48, 0x0f, 0xb1, 0x0c, 0x25, 0, 0, 0, 0}, /* lock cmpxchg [abs], rcx */
        {1, 0x66, 0x67, 0xc7, 0x86, 0x34, 0x12, 0x78, 0x56}, /* mov word [bp+disp16], imm16 */
        {0, 0x66, 0x0f, 0x3a, 0x0f, 0xc1, 8},                /* palignr */
        {2, 0x0f, 0x01, 0xc1},                               /* VMX instructions share this opcode */
        {2, 0xc4, 0xe2, 0xf9, 0xf7, 0xc3},                   /* BMI2 */
        {0, 0x9a, 1, 2, 3, 4, 5, 6},                         /* far call */
        {2, 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8},             /* mov rax, imm64 */
        {1, 0xf3, 0xf2, 0x66, 0x67, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0xf0, 0x90},
    };
    if (n >= sizeof(seeds) / sizeof(seeds[0])) return 0;
    memcpy(out, seeds[n], sizeof(seeds[n]));
    return sizeof(seeds[n]);
}
