/* SPDX-License-Identifier: MIT */
/* A VMCS as others print it: Linux KVM's dump of a failed entry in the kernel log (4.x to 6.x), Xen's, and
 * the JSON of our own reports. The input is hostile: bounded work, no assumption about its bytes. */
#ifndef UV_VMX_DUMP_H
#define UV_VMX_DUMP_H

#include "vmx/explain.h"

enum vmx_dump_format { DUMP_KVM, DUMP_XEN, DUMP_JSON };

struct vmx_dump {
    uint64_t f[F_COUNT];
    uint64_t known[VMCS_DIRTY_WORDS]; /* a bit for each field that has a value */
    uint32_t fields;                  /* how many */
    uint32_t structures;              /* VMCSs in the whole input */
    uint8_t format;                   /* enum vmx_dump_format */
    bool has_code;                    /* how the entry failed is in the log: */
    uint32_t code;                    /* exit reason with bit 31, or VM-instruction error number */
};

/* The number-th VMCS (from 0) of a text or JSON file. False: `message` is one sentence that says why. */
bool vmx_dump_parse(const char *text, size_t size, unsigned number, struct vmx_dump *dump, char *message,
                    size_t message_size);
const char *vmx_dump_format_name(const struct vmx_dump *dump); /* "linux-kvm", "xen", "json" */

#endif
