/* SPDX-License-Identifier: MIT */
/* Printed VMCSs and, with FUZZ_VMCB, VMCBs: any bytes give a report or one sentence that says why not. */
#include <stdlib.h>
#include <string.h>

#include "include/undervisor.h"
#include "tests/fuzz/fuzz.h"

#ifdef FUZZ_VMCB
static const char kind[] = "vmcb", model[] = "epyc-rome";
#else
static const char kind[] = "vmcs", model[] = "skylake-server";
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned runs;
    char message[160];
    uv_dump *dump;
    memset(message, 'x', sizeof(message));
    enum uv_status s =
        uv_dump_create(kind, size & 1 ? model : NULL, 0, data, size, &dump, message, sizeof(message));
    FUZZ_CHECK(memchr(message, 0, sizeof(message)) != NULL);
    if (s != UV_OK) {
        FUZZ_CHECK(dump == NULL && message[0] != 0 && strchr(message, '\n') == NULL);
        return 0;
    }
    FUZZ_CHECK(uv_dump_count(dump, UV_DUMP_FIELDS) > 0 && uv_dump_count(dump, UV_DUMP_STRUCTURES) > 0);
    if (runs++ % 16 == 0) { /* judging is the same code whatever was read */
        size_t n = uv_dump_report(dump, size & 2 ? 1 : 0, NULL, 0);
        char *text = malloc(n + 1);
        if (text) FUZZ_CHECK(uv_dump_report(dump, size & 2 ? 1 : 0, text, n + 1) == n && strlen(text) == n);
        free(text);
    }
    uv_dump_destroy(dump);
    return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *out)
{
    static const char *const seeds[] = {
#ifdef FUZZ_VMCB
        "[ 4711.2] SVM: VMCB 00000000a4006788, last attempted VMRUN on CPU 81\n[ 4711.2] SVM: VMCB Control "
        "Area:\ncr_read:            0010\nintercepts:         bc4c8027 0000624f\npause filter "
        "threshold:128\nasid:               27\nint_ctl:            03000200\nexit_code:          "
        "ffffffff\nnested_ctl:         -1\nevent_inj:          80000302\nVMCB State Save Area:\ncs:   s: "
        "0010 a: 0a9b l: ffffffff b: 0000000000000000\ncpl:            0                efer:         "
        "0000000000000d01\ncr0:            0000000080050033 cr2:          0000000000000000\n",
        "VMCB Control Area:\nintercepts:         0000624fbc4c8027\nnested_ctl:         5\n"
        "VMCB State Save Area:\nefer:         0000000000001d01\n",
        "(XEN) Dumping guest's current state at svm_vmexit_handler...\n(XEN) Size of VMCB = 4096, paddr = "
        "000000083f6f5000\n(XEN) general1_intercepts = 0xbd4c8003 general2_intercepts = 0x6e6f\n(XEN) "
        "event_inj 000000008000030e, valid? 1\n(XEN) np_ctrl = 0x1 guest_asid = 0x1b\n(XEN)   CS: 0033 0afb "
        "ffffffff 0000000000000000\n(XEN) DR6 = 0x00000000ffff0ff0, DR7 = 0x0000000000000400\n",
        "{\"fields\":{\"CR0\":\"0x80000031\",\"0x058\":2,\"EVENTINJ\":\"2147483696\"},\"host_paging\":"
        "false,\"failure\":{\"exit_code\":\"0xffffffffffffffff\"}}\n{\"fields\":{\"CR3\":[]}}",
#else
        "[   12.3] kvm_intel: *** Guest State ***\n[   12.3] kvm_intel: CR0: actual=0x0000000080050033, "
        "shadow=0x0000000080050033, gh_mask=fffffffffffefff7\n[   12.3] kvm_intel: RFLAGS=0x00000046         "
        "DR7 = "
        "0x0000000000000400\n[   12.3] kvm_intel: CS:   sel=0x0010, attr=0x0a09b, limit=0xffffffff, "
        "base=0x0000000000000000\n[   12.3] kvm_intel: *** Host State ***\nCS=0010 SS=0018 DS=0000 ES=0000 "
        "FS=0000 "
        "GS=0000 TR=0040\n*** Control State ***\nPinBased=0x0000007f EntryControls=0000d3ff "
        "ExitControls=002befff\n        reason=80000021 qualification=0000000000000000\n",
        "(XEN) d12v0 vmentry failure (reason 0x80000021): Invalid guest state (0)\n(XEN) *** Guest State "
        "***\n(XEN)   "
        "CS: 0010 0a09b ffffffff 0000000000000000\n(XEN) EFER(VMCS) = 0x0000000000000500  PAT = "
        "0x0000050100070406\n",
        "{\"fields\":{\"GUEST_CR0\":\"0x80000031\",\"0x6820\":2,\"ENTRY_INTR_INFO\":\"2147483696\"},"
        "\"failure\":"
        "{\"exit_reason\":\"0x80000021\"}}\n{\"fields\":{\"GUEST_CR3\":[]}}",
#endif
        "nothing"};
    if (n >= sizeof(seeds) / sizeof(seeds[0])) return 0;
    memcpy(out, seeds[n], strlen(seeds[n]));
    return strlen(seeds[n]);
}
