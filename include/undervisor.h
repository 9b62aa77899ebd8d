/* SPDX-License-Identifier: MIT */
/* Undervisor: a software x86 machine whose processor implements Intel VMX and AMD SVM. The public
 * interface: opaque handles, plain C types, no global state; usable from C++ and through an FFI.
 *
 * Conventions
 *  - Every call that can fail returns enum uv_status (0 or a negative number); one sentence about the
 *    failure is kept in the handle: uv_config_message(), uv_machine_message().
 *  - Addresses and sizes are bytes; time is cycles of the machine. One cycle is one nanosecond of the
 *    machine's clocks (TSC, timers); in the default timing model an instruction costs one cycle.
 *  - A run is a function of configuration, images and input schedule: equal ones give equal states on
 *    every host. Nothing here reads host time, randomness or the environment.
 *  - A handle is used by one thread at a time; different handles are independent. Only
 *    uv_machine_request_stop() may be called from another thread or a signal handler.
 *  - Names of processors, registers, events and exit reasons are those of the Intel SDM and AMD APM.
 *  - Structures with a member `struct_size` are filled by the caller with sizeof; later versions add
 *    members at the end.
 */
#ifndef UNDERVISOR_H
#define UNDERVISOR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define UV_VERSION_MAJOR 0
#define UV_VERSION_MINOR 1
#define UV_VERSION_PATCH 0

typedef struct uv_config uv_config;
typedef struct uv_machine uv_machine;

enum uv_status {
    UV_OK = 0,
    UV_E_ARGUMENT = -1, /* a pointer, index or combination that makes no sense */
    UV_E_MEMORY = -2,   /* host memory exhausted */
    UV_E_NAME = -3,     /* unknown setting, device, CPU model, register ... */
    UV_E_VALUE = -4,    /* a setting's value is out of range or malformed */
    UV_E_IMAGE = -5,    /* an image is not what it claims to be */
    UV_E_SPACE = -6,    /* an image does not fit into guest memory */
    UV_E_RANGE = -7,    /* address range is not memory; end of a table */
    UV_E_HOST = -8      /* a host file or stream failed */
};

const char *uv_status_name(enum uv_status status); /* "UV_E_IMAGE"; never NULL */
const char *uv_version(void);                      /* "0.1.0" */
/* The candidate that `word` was most probably meant to be, or NULL: for messages about unknown names. */
const char *uv_nearest(const char *word, const char *const *candidates, size_t count);

/* ---- Configuration -------------------------------------------------------------------------------
 * Settings are strings, so that command lines, files and other languages need no further interface.
 * uv_table_row(UV_TABLE_SETTINGS, ...) lists them with their meaning. Most used:
 *   "cpu"        model and features: "skylake-server,+vmx,-smap"      "memory"  "256M", "4G" (default 128M)
 *   "cpus"       logical processors, 1 to 64                          "serial0" "stdio", "file:PATH",
 * "pipe:PATH", "rtc"        seconds since 1970 at cycle 0                                  "null", "none"
 *   "quantum"    cycles a processor runs before the next one's turn   "debugcon" like serial0 */
enum uv_status uv_config_create(uv_config **config);
void uv_config_destroy(uv_config *config); /* NULL is allowed */
enum uv_status uv_config_set(uv_config *config, const char *name, const char *value);
/* "isa-debug-exit,iobase=0xf4,iosize=0x4", "pc-testdev", ...; rows of UV_TABLE_DEVICES. */
enum uv_status uv_config_add_device(uv_config *config, const char *device);
/* Output bytes of serial port 0-3 go to a function. */
typedef void uv_output_fn(void *opaque, const uint8_t *data, size_t size);
enum uv_status uv_config_serial_callback(uv_config *config, uint32_t port, uv_output_fn *fn, void *opaque);
const char *uv_config_message(const uv_config *config); /* of the last failure; "" at first */

/* ---- Machine ------------------------------------------------------------------------------------- */
/* The configuration may be destroyed or reused afterwards. On failure the message is in the config. */
enum uv_status uv_machine_create(uv_config *config, uv_machine **machine);
void uv_machine_destroy(uv_machine *machine); /* NULL is allowed */
const char *uv_machine_message(const uv_machine *machine);

struct uv_image {
    const char *name; /* for messages; first word of a Multiboot command line */
    const void *data;
    uint64_t size;
    const char *arguments; /* of a module; may be NULL */
};

enum uv_boot_protocol {
    UV_BOOT_AUTO, /* Linux setup header, else Multiboot header, else PVH note, else ELF */
    UV_BOOT_LINUX,
    UV_BOOT_MULTIBOOT,
    UV_BOOT_PVH,
    UV_BOOT_ELF,
    UV_BOOT_RAW
};
enum uv_raw_mode { UV_RAW_REAL, UV_RAW_PROTECTED, UV_RAW_LONG };

struct uv_boot {
    size_t struct_size;
    enum uv_boot_protocol protocol;
    struct uv_image kernel;
    const char *command_line; /* may be NULL */
    const struct uv_image *modules;
    uint32_t module_count;
    uint64_t raw_address, raw_entry; /* UV_BOOT_RAW: where the image goes, where it starts */
    enum uv_raw_mode raw_mode;       /* in which processor mode (flat; long mode with an identity map) */
    uint32_t borrow;                 /* 1: image bytes stay valid until the machine is destroyed; 0: copied */
};

/* Loads a kernel with its modules and firmware tables, and puts processor 0 at its entry. Done again by
 * uv_machine_reset(). */
enum uv_status uv_machine_boot(uv_machine *machine, const struct uv_boot *boot);
/* One more image put at an address at each reset (copied). */
enum uv_status uv_machine_load(uv_machine *machine, const struct uv_image *image, uint64_t address);
/* Processor 0 starts at `entry` in the given mode, with nothing else loaded; for images put in place by
 * uv_machine_load(). */
enum uv_status uv_machine_entry(uv_machine *machine, uint64_t entry, enum uv_raw_mode mode);
/* Name of the protocol that uv_machine_boot() used: "linux", "multiboot", ... */
const char *uv_machine_protocol(const uv_machine *machine);
/* Power-on state, then the images again; time starts at 0. */
enum uv_status uv_machine_reset(uv_machine *machine);

enum uv_stop_reason {
    UV_STOP_CYCLE,      /* reached the cycle asked for */
    UV_STOP_HANG,       /* every processor sleeps and nothing can ever wake one */
    UV_STOP_INPUT,      /* the same, but typed input could: uv_machine_poll_input() and run again */
    UV_STOP_SHUTDOWN,   /* triple fault outside any guest */
    UV_STOP_RESET,      /* reset asked for by software */
    UV_STOP_POWER_OFF,  /* ACPI S5 or the Bochs shutdown port */
    UV_STOP_DEBUG_EXIT, /* isa-debug-exit: code is the value written */
    UV_STOP_DEBUG,      /* breakpoint */
    UV_STOP_REQUEST     /* uv_machine_request_stop() */
};

struct uv_stop {
    enum uv_stop_reason reason;
    uint32_t code;  /* UV_STOP_DEBUG_EXIT */
    int32_t cpu;    /* processor concerned, -1: none in particular */
    uint64_t cycle; /* machine time */
};

/* Runs until the given cycle (UINT64_MAX: without limit) or an earlier stop; can be called again. With
 * several processors the first to reach the cycle ends the call, the others may be up to a quantum behind.
 * How a run is cut into calls changes nothing in it. */
enum uv_status uv_machine_run(uv_machine *machine, uint64_t until, struct uv_stop *stop);
/* Runs until processor `cpu` has retired one more instruction (others run in their turn). */
enum uv_status uv_machine_step(uv_machine *machine, uint32_t cpu, struct uv_stop *stop);
void uv_machine_request_stop(uv_machine *machine);
const char *uv_stop_name(enum uv_stop_reason reason); /* "triple fault" ... */

uint64_t uv_machine_now(const uv_machine *machine);          /* cycles */
uint64_t uv_machine_instructions(const uv_machine *machine); /* retired, all processors */
uint32_t uv_machine_cpus(const uv_machine *machine);
uint64_t uv_machine_memory_size(const uv_machine *machine); /* bytes of RAM */
/* Hash of all architectural and device state and RAM; equal on every host for equal runs. */
uint64_t uv_machine_hash(uv_machine *machine);

/* ---- Input schedule ------------------------------------------------------------------------------
 * Bytes typed into serial port 0-3, offered at line speed from `cycle` on (in the past: now). */
enum uv_status uv_machine_input(uv_machine *machine, uint32_t port, uint64_t cycle, const void *data,
                                size_t size);
/* Takes what has been typed at stdio and pipe ends so far and enters it with the present cycle; waits up
 * to `wait_ms` of host time for it. *taken (may be NULL) becomes the number of bytes, -1 when no more can
 * come. */
enum uv_status uv_machine_poll_input(uv_machine *machine, int wait_ms, int64_t *taken);

/* ---- Inspection ---------------------------------------------------------------------------------- */
/* Registers are numbered 0 .. uv_register_count()-1 and named: "rax", "rip", "rflags", "cr0", "efer",
 * "cs", "cs.base", "cs.limit", "cs.rights" (VMCS format), "gdtr.base", ... */
uint32_t uv_register_count(void);
const char *uv_register_name(uint32_t id); /* NULL past the end */
enum uv_status uv_register_find(const char *name, uint32_t *id);
enum uv_status uv_register_read(uv_machine *machine, uint32_t cpu, uint32_t id, uint64_t *value);
/* No check of the value is made that an instruction would make. */
enum uv_status uv_register_write(uv_machine *machine, uint32_t cpu, uint32_t id, uint64_t value);
enum uv_status uv_msr_read(uv_machine *machine, uint32_t cpu, uint32_t index, uint64_t *value);
enum uv_status uv_msr_write(uv_machine *machine, uint32_t cpu, uint32_t index, uint64_t value);
/* Vector register n as two quadwords in value order (the low 128 bits). */
enum uv_status uv_vector_read(uv_machine *machine, uint32_t cpu, uint32_t n, uint64_t value[2]);
enum uv_status uv_vector_write(uv_machine *machine, uint32_t cpu, uint32_t n, const uint64_t value[2]);

enum uv_code_mode { UV_CODE_16 = 16, UV_CODE_32 = 32, UV_CODE_64 = 64 };
struct uv_cpu_info {
    uint64_t rip;
    uint64_t linear_rip; /* CS base added */
    uint64_t instructions;
    enum uv_code_mode code_mode;
    uint32_t cpl;
    uint32_t in_guest; /* 1: VMX non-root operation or an SVM guest */
    uint32_t activity; /* 0 active, 1 HLT, 2 shutdown, 3 wait-for-SIPI, 4 MWAIT (SDM 3C 25.4.2) */
};
enum uv_status uv_cpu_inspect(uv_machine *machine, uint32_t cpu, struct uv_cpu_info *info);

/* Host-physical memory of the machine: RAM and ROM. UV_E_RANGE when a byte is neither. */
enum uv_status uv_memory_read(uv_machine *machine, uint64_t address, void *data, size_t size);
enum uv_status uv_memory_write(uv_machine *machine, uint64_t address, const void *data, size_t size);
/* Linear addresses of a processor through its present paging, second stage included; no side effects.
 * *done (may be NULL) becomes the number of bytes moved before the first unmapped one. */
enum uv_status uv_linear_read(uv_machine *machine, uint32_t cpu, uint64_t linear, void *data, size_t size,
                              size_t *done);
enum uv_status uv_linear_write(uv_machine *machine, uint32_t cpu, uint64_t linear, const void *data,
                               size_t size, size_t *done);
/* Linear to guest-physical and to the machine's physical address; either may be NULL. */
enum uv_status uv_translate(uv_machine *machine, uint32_t cpu, uint64_t linear, uint64_t *guest_physical,
                            uint64_t *physical);

enum uv_injection { UV_INJECT_NMI, UV_INJECT_SMI, UV_INJECT_INIT, UV_INJECT_SIPI };
/* Signals an event to a processor now; `vector` is used by SIPI. */
enum uv_status uv_inject(uv_machine *machine, uint32_t cpu, enum uv_injection event, uint8_t vector);

/* ---- Probes --------------------------------------------------------------------------------------
 * Points are numbered 0-63 and named by UV_TABLE_PROBES; categories group them ("exits", "events"). */
struct uv_event {
    uint32_t point;
    int32_t cpu; /* -1: none in particular */
    uint64_t cycle;
    uint64_t a, b; /* meaning: UV_TABLE_PROBES */
    uint64_t rip;
    uint64_t linear_rip;
    uint32_t in_guest; /* mode in which the event happened */
    enum uv_code_mode code_mode;
};
/* Called while the machine runs: may read, must not change anything nor run. */
typedef void uv_event_fn(void *opaque, uv_machine *machine, const struct uv_event *event);
enum uv_status uv_subscribe(uv_machine *machine, uint64_t mask, uv_event_fn *fn, void *opaque);
enum uv_status uv_unsubscribe(uv_machine *machine, uv_event_fn *fn, void *opaque);
/* "exits,events", "vmcs", "all", a point's own name: the mask. Unknown names: UV_E_NAME and the nearest
 * match in `message`. */
enum uv_status uv_probe_mask(const char *names, uint64_t *mask, char *message, size_t message_size);
const char *uv_probe_name(uint32_t point);
/* The event in words: "VM exit: CPUID, qualification 0x0". Returns the length, as snprintf does. */
int uv_event_text(const uv_machine *machine, const struct uv_event *event, char *text, size_t size);
/* Inside the callback of a VM_ENTRY_FAIL event: the index-th broken rule (0, 1, ...) with the manual's
 * section, the fields it reads and their values, as a line or as a JSON object. Returns the length, as
 * snprintf does; 0: no more, or the failure has another cause than a rule. */
size_t uv_explain_entry(uv_machine *machine, const struct uv_event *event, uint32_t index, int json,
                        char *text, size_t size);
/* Inside the same callback: the whole explanation, as text of several lines or as one JSON object on a line:
 * every broken rule with section, fields, encodings, values, allowed values, nearest allowed values. Returns
 * the length, as snprintf does; 0: the failure is none of rules (VM-instruction errors 7 and 8, exit reasons
 * 33 and 34). */
size_t uv_explain_report(uv_machine *machine, const struct uv_event *event, int json, char *text,
                         size_t size);

/* Warnings about uses of a control structure that hardware lets pass: reads of exit information that the exit
 * left undefined, accesses to fields that do not exist, entries with fields that were never written. Each is
 * given once, at the instruction concerned; nothing about the run changes. One subscription a machine; fn
 * NULL ends it. */
typedef void uv_warning_fn(void *opaque, uv_machine *machine, const struct uv_event *event,
                           const char *warning);
enum uv_status uv_strict(uv_machine *machine, uv_warning_fn *fn, void *opaque);

/* ---- Control structures from elsewhere -----------------------------------------------------------------
 * A control structure that was printed by a hypervisor on real hardware, judged by every rule of VM entry.
 * Kinds: "vmcs" (VMX) and "vmcb" (SVM): Linux KVM's and Xen's dumps in a kernel log (with whatever stands
 * around them), our own JSON. */
typedef struct uv_dump uv_dump;
/* Reads the number-th (0, 1, ...) structure in `data`. cpu: model and features whose capabilities bind it, as
 * the setting "cpu" has them; NULL: rules that hold on every processor. On failure one sentence is in
 * `message`: UV_E_IMAGE no such structure, UV_E_RANGE not so many, UV_E_NAME unknown kind or CPU model. */
enum uv_status uv_dump_create(const char *kind, const char *cpu, uint32_t number, const void *data,
                              size_t size, uv_dump **dump, char *message, size_t message_size);
void uv_dump_destroy(uv_dump *dump); /* NULL is allowed */
enum uv_dump_count { UV_DUMP_BROKEN, UV_DUMP_UNJUDGED, UV_DUMP_FIELDS, UV_DUMP_STRUCTURES };
/* Broken rules; rules that missing fields leave open; fields that have a value; structures in the data. */
uint32_t uv_dump_count(const uv_dump *dump, enum uv_dump_count what);
/* As uv_explain_report(). */
size_t uv_dump_report(const uv_dump *dump, int json, char *text, size_t size);

/* ---- Statistics ----------------------------------------------------------------------------------- */
enum uv_status uv_stats_enable(uv_machine *machine); /* counting begins */

struct uv_exit_stat {
    uint32_t reason; /* basic exit reason or EXITCODE */
    const char *name;
    uint64_t count;
    uint64_t cycles; /* from the exit to the next entry on the same processor */
};
struct uv_stats {
    size_t struct_size;
    uint64_t cycles, instructions;
    uint64_t entries, failed_entries, exits;
    uint64_t events_delivered, events_injected, exceptions, interrupts;
    uint64_t guest_cycles; /* between an entry and its exit, all processors */
    uint64_t guest_instructions;
};
enum uv_status uv_stats_read(const uv_machine *machine, struct uv_stats *stats);
/* Rows in order of falling count; UV_E_RANGE past the end. */
enum uv_status uv_stats_exit(const uv_machine *machine, uint32_t index, struct uv_exit_stat *row);
const char *uv_exit_reason_name(const uv_machine *machine, uint32_t reason); /* "CPUID"; never NULL */

/* ---- Tables ---------------------------------------------------------------------------------------
 * What the machine is made of, from the tables it is built from. */
enum uv_table {
    UV_TABLE_SETTINGS,
    UV_TABLE_DEVICES,
    UV_TABLE_CPUS,
    UV_TABLE_FEATURES,
    UV_TABLE_INSNS,
    UV_TABLE_PROBES,
    UV_TABLE_EXITS,
    UV_TABLE_REGISTERS,
    UV_TABLE_COUNT
};
struct uv_row {
    const char *name;
    const char *group; /* category, feature, ...; may be "" */
    const char *text;
};
const char *uv_table_name(enum uv_table table); /* "cpus"; NULL past the end */
const char *uv_table_text(enum uv_table table); /* one line about it */
enum uv_status uv_table_row(enum uv_table table, uint32_t index,
                            struct uv_row *row); /* UV_E_RANGE past the end */

#ifdef __cplusplus
}
#endif

#endif
