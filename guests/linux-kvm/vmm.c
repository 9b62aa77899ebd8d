/* SPDX-License-Identifier: MIT */
/* A small KVM program, run inside the Linux that runs on the emulated machine: one virtual processor,
 * 2 MiB of memory, no interrupt controller. It plays the board for guest.S: console, ports, MMIO and
 * one injected interrupt, and reports how often the guest came out and why. Linux: Documentation/virt/
 * kvm/api.rst. Exit status 0 when the guest's own checks and ours hold. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MEMORY_BYTES = 2 << 20, ENTRY = 0x1000, VECTOR = 0x30, CPUID_ENTRIES = 100, MAX_EXITS = 100000 };
static const uint64_t mmio_base = 0xd0000000;

extern const unsigned char guest_image[], guest_image_end[];
__asm__(".section .rodata\n"
        ".globl guest_image, guest_image_end\n"
        "guest_image: .incbin \"" GUEST_BIN "\"\n"
        "guest_image_end:\n"
        ".previous\n");

static void die(const char *what)
{
    printf("vmm: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int must(int result, const char *what)
{
    if (result < 0) die(what);
    return result;
}

static uint8_t mmio[64];

static void mmio_access(struct kvm_run *run)
{
    uint64_t off = run->mmio.phys_addr - mmio_base;
    if (off + run->mmio.len > sizeof mmio) {
        printf("vmm: stray MMIO at %llx\n", (unsigned long long)run->mmio.phys_addr);
        exit(1);
    }
    for (uint32_t i = 0; i < run->mmio.len; i++) {
        if (run->mmio.is_write)
            mmio[off + i] = run->mmio.data[i];
        else
            run->mmio.data[i] = (uint8_t)~mmio[off + i];
    }
}

/* Returns the guest's verdict, or -1 to go on. */
static int port_access(struct kvm_run *run)
{
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    static char line[128];
    static size_t length;
    if (run->io.direction == KVM_EXIT_IO_IN && run->io.port == 0x10) {
        uint32_t answer = run->io.size == 1 ? 0x5a : run->io.size == 2 ? 0xbeef : 0xcafef00d;
        memcpy(data, &answer, run->io.size);
        return -1;
    }
    if (run->io.port == 0xe9) {
        if (*data == '\n' || length == sizeof line - 1) {
            printf("  guest: %.*s\n", (int)length, line);
            length = 0;
        } else {
            line[length++] = (char)*data;
        }
        return -1;
    }
    if (run->io.port == 0xf4) return *data;
    printf("vmm: stray port %x\n", run->io.port);
    exit(1);
}

static void set_cpuid(int kvm, int vcpu)
{
    struct kvm_cpuid2 *id = calloc(1, sizeof *id + CPUID_ENTRIES * sizeof id->entries[0]);
    if (!id) die("calloc");
    id->nent = CPUID_ENTRIES;
    must(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, id), "KVM_GET_SUPPORTED_CPUID");
    must(ioctl(vcpu, KVM_SET_CPUID2, id), "KVM_SET_CPUID2");
    free(id);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    int kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
    printf("vmm: KVM API version %d\n", ioctl(kvm, KVM_GET_API_VERSION, 0));
    int vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000);
    uint8_t *memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) die("mmap");
    memcpy(memory + ENTRY, guest_image, (size_t)(guest_image_end - guest_image));
    struct kvm_userspace_memory_region region = {.memory_size = MEMORY_BYTES,
                                                 .userspace_addr = (uintptr_t)memory};
    must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
    int vcpu = must(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
    set_cpuid(kvm, vcpu);
    int run_size = must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
    struct kvm_run *run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (run == MAP_FAILED) die("mmap vcpu");

    struct kvm_sregs sregs;
    must(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    must(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
    struct kvm_regs regs = {.rip = ENTRY, .rflags = 2, .rsp = 0xf000};
    must(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");

    unsigned exits[4] = {0}; /* io, mmio, hlt, others */
    int verdict = -1;
    for (unsigned n = 0; verdict < 0; n++) {
        if (n == MAX_EXITS) {
            printf("vmm: no verdict after %u exits\n", n);
            return 1;
        }
        if (ioctl(vcpu, KVM_RUN, 0) < 0) {
            if (errno == EINTR || errno == EAGAIN) continue;
            die("KVM_RUN");
        }
        switch (run->exit_reason) {
        case KVM_EXIT_IO:
            exits[0]++;
            verdict = port_access(run);
            break;
        case KVM_EXIT_MMIO:
            exits[1]++;
            mmio_access(run);
            break;
        case KVM_EXIT_HLT: {
            exits[2]++;
            struct kvm_interrupt irq = {.irq = VECTOR};
            must(ioctl(vcpu, KVM_INTERRUPT, &irq), "KVM_INTERRUPT");
            break;
        }
        default:
            exits[3]++;
            printf("vmm: exit %u", run->exit_reason);
            if (run->exit_reason == KVM_EXIT_FAIL_ENTRY)
                printf(" (entry failed, hardware reason %llx)",
                       (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
            if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
                printf(" (internal error %u)", run->internal.suberror);
            printf("\n");
            if (!ioctl(vcpu, KVM_GET_REGS, &regs))
                printf("vmm: rip %llx rflags %llx\n", (unsigned long long)regs.rip,
                       (unsigned long long)regs.rflags);
            return 1;
        }
    }
    printf("vmm: verdict %d; exits to the VMM: %u port, %u MMIO, %u HLT\n", verdict, exits[0], exits[1],
           exits[2]);
    return verdict != 0;
}
