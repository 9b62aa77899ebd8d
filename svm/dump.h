/* SPDX-License-Identifier: MIT */
/* A VMCB as others print it: Linux KVM's dump_vmcb() in the kernel log (5.x, 6.x), Xen's svm_vmcb_dump(), and
 * the JSON of our own reports. The input is hostile: bounded work, no assumption about its bytes. */
#ifndef UV_SVM_DUMP_H
#define UV_SVM_DUMP_H

#include "svm/explain.h"

enum svm_dump_format { SVM_DUMP_KVM, SVM_DUMP_XEN, SVM_DUMP_JSON };

struct svm_dump {
    uint64_t f[VMCB_FIELDS];
    uint64_t have[VMCB_FIELDS]; /* the bits of each field that have a value */
    uint32_t fields;            /* how many have all of them */
    uint32_t structures;        /* VMCBs in the whole input */
    uint8_t format;             /* enum svm_dump_format */
    bool host_paging;           /* CR0.PG of the host; hypervisors that print dumps run with paging */
};

/* The number-th VMCB (from 0) of a text or JSON file. False: `message` is one sentence that says why. */
bool svm_dump_parse(const char *text, size_t size, unsigned number, struct svm_dump *dump, char *message,
                    size_t message_size);
const char *svm_dump_format_name(const struct svm_dump *dump); /* "linux-kvm", "xen", "json" */

#endif
