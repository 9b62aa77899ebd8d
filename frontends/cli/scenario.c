/* SPDX-License-Identifier: MIT */
/* `undervisor scenario NAME`: runs one of the bundled scenarios (scenario.def) and tells its story: the lines
 * of the guest between the VM entries, exits and events of the processor, and at the end which rules held and
 * which a variant broke. A scenario's guest says "== variant NAME", "rule held: TEXT", "rule broken: TEXT"
 * and leaves through isa-debug-exit: 0 when everything was as it must be. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frontends/cli/cli.h"

struct row {
    const char *name, *image, *cpu, *points, *text; /* image NULL: a variant of the row before it */
};
static const struct row rows[] = {
#define SCENARIO(name, image, cpu, points, text) {name, image, cpu, points, text},
#define VARIANT(name, text) {name, NULL, NULL, NULL, text},
#include "frontends/cli/scenario.def"
#undef SCENARIO
#undef VARIANT
};
enum { ROWS = sizeof rows / sizeof rows[0], LINE_MAX_BYTES = 512, SUMMARY_MAX = 8192 };

/* A run of a scenario that does not end by itself is wrong. */
#define CYCLES_MAX UINT64_C(20000000000)

struct story {
    bool quiet;
    bool skipped;
    char line[LINE_MAX_BYTES]; /* of the guest, until its newline */
    size_t used;
    char summary[SUMMARY_MAX];
    size_t summary_used;
};

static void add_summary(struct story *s, const char *prefix, const char *text)
{
    int n = snprintf(s->summary + s->summary_used, SUMMARY_MAX - s->summary_used, "%s%s\n", prefix, text);
    if (n > 0 && (size_t)n < SUMMARY_MAX - s->summary_used) s->summary_used += (size_t)n;
    s->summary[s->summary_used] = 0;
}

static void guest_line(struct story *s)
{
    static const struct {
        const char *start, *prefix;
    } kept[] = {{"== ", ""},
                {"rule held: ", "  held    "},
                {"rule broken: ", "  BROKEN  "},
                {"FAIL ", "  "},
                {"PASS ", ""}};
    if (!s->quiet) printf("%18s | %s\n", "", s->line);
    if (strncmp(s->line, "SKIP", 4) == 0) s->skipped = true;
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        size_t n = strlen(kept[i].start);
        if (strncmp(s->line, kept[i].start, n) != 0) continue;
        bool rule = kept[i].start[0] == 'r', mark = kept[i].start[0] == '=';
        add_summary(s, kept[i].prefix, s->line + (rule || mark ? n : 0));
    }
}

static void guest_output(void *opaque, const uint8_t *data, size_t size)
{
    struct story *s = opaque;
    for (size_t i = 0; i < size; i++) {
        if (data[i] != '\n' && s->used + 1 < sizeof(s->line)) {
            if (data[i] != '\r') s->line[s->used++] = (char)data[i];
            continue;
        }
        s->line[s->used] = 0;
        guest_line(s);
        s->used = 0;
    }
}

static void processor_event(void *opaque, uv_machine *machine, const struct uv_event *e)
{
    char words[256], reason[1024];
    (void)opaque;
    uv_event_text(machine, e, words, sizeof(words));
    printf("%12" PRIu64 " cpu%d%c %s, rip 0x%" PRIx64 "\n", e->cycle, e->cpu, e->in_guest ? '*' : ' ', words,
           e->rip);
    for (uint32_t i = 0; uv_explain_entry(machine, e, i, 0, reason, sizeof(reason)); i++)
        printf("%18s > broken rule: %s\n", "", reason);
}

/* Directory of the images: beside the program in a build, share/ of an installation. */
static bool image_path(const char *dir, const char *image, char *path, size_t size)
{
    static const char *const places[] = {"guests", "../share/undervisor/guests"};
    char self[1024];
    if (dir) return (size_t)snprintf(path, size, "%s/%s.elf", dir, image) < size;
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n <= 0) return (size_t)snprintf(path, size, "guests/%s.elf", image) < size;
    self[n] = 0;
    char *slash = strrchr(self, '/');
    if (slash) *slash = 0;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if ((size_t)snprintf(path, size, "%s/%s/%s.elf", self, places[i], image) >= size) return false;
        if (access(path, R_OK) == 0) return true;
    }
    return (size_t)snprintf(path, size, "%s/guests/%s.elf", self, image) < size;
}

static int list(void)
{
    for (unsigned i = 0; i < ROWS; i++)
        printf("%s%-16s %s\n", rows[i].image ? "" : "  --variant ", rows[i].name, rows[i].text);
    return 0;
}

/* The row of a name among the scenarios (scenario = NULL) or among one scenario's variants; NULL after a
 * message. */
static const struct row *find(const char *word, const struct row *scenario)
{
    const char *names[ROWS];
    size_t n = 0;
    for (const struct row *r = scenario ? scenario + 1 : rows; r < rows + ROWS && !(scenario && r->image);
         r++) {
        if (!scenario && !r->image) continue;
        if (strcmp(r->name, word) == 0) return r;
        names[n++] = r->name;
    }
    const char *near = uv_nearest(word, names, n);
    cli_fail(CLI_USAGE, "no %s '%s'%s%s%s", scenario ? "variant" : "scenario", word,
             near ? ", did you mean '" : "", near ? near : " (undervisor scenario list names them)",
             near ? "'?" : "");
    return NULL;
}

static int tell_end(struct story *s, uv_machine *m, const struct uv_stop *stop)
{
    printf("-- verdict\n%s", s->summary);
    fflush(stdout);
    if (stop->reason != UV_STOP_DEBUG_EXIT) {
        cli_fail(1, "the scenario did not end: %s at cycle %" PRIu64, uv_stop_name(stop->reason),
                 stop->cycle);
        cli_report_cpus(m, stderr);
        return 1;
    }
    if (s->skipped) return cli_fail(CLI_USAGE, "the CPU model lacks what the scenario needs");
    if (stop->code != 0) return cli_fail(1, "the processor did not do what the scenario asserts");
    puts("Everything as the scenario asserts.");
    return 0;
}

static int play(uv_config *config, const struct row *scenario, const char *variant, const char *path,
                bool quiet)
{
    struct story story = {.quiet = quiet};
    struct cli_file file = {0};
    uv_machine *m = NULL;
    char words[128];
    uint64_t mask = 0;
    if (uv_config_serial_callback(config, 0, guest_output, &story) != UV_OK ||
        uv_config_add_device(config, "isa-debug-exit,iobase=0xf4,iosize=4") != UV_OK)
        return cli_fail(CLI_HOST, "%s", uv_config_message(config));
    int status = cli_read_file(path, false, &file);
    if (status) return status;
    enum uv_status s = uv_machine_create(config, &m);
    if (s != UV_OK) {
        free(file.data);
        return cli_fail(cli_status(s), "%s", uv_config_message(config));
    }
    snprintf(words, sizeof(words), "%s%s", variant ? "variant=" : "", variant ? variant : "");
    const struct uv_boot boot = {.struct_size = sizeof(boot),
                                 .kernel = {.name = path, .data = file.data, .size = file.size},
                                 .command_line = words,
                                 .borrow = 1};
    struct uv_stop stop;
    s = uv_machine_boot(m, &boot);
    if (s == UV_OK && !quiet) {
        s = uv_probe_mask(scenario->points, &mask, words, sizeof(words));
        if (s == UV_OK) s = uv_subscribe(m, mask, processor_event, NULL);
    }
    if (s == UV_OK) s = uv_machine_run(m, CYCLES_MAX, &stop);
    status = s == UV_OK ? tell_end(&story, m, &stop) : cli_fail(cli_status(s), "%s", uv_machine_message(m));
    uv_machine_destroy(m);
    free(file.data);
    return status;
}

int cli_scenario(int argc, char **argv)
{
    static const char *const options[] = {"--variant", "--image", "--cpu", "--verdict"};
    const char *value[3] = {NULL, NULL, NULL}, *name = NULL;
    bool quiet = false;
    for (int i = 1; i < argc; i++) {
        unsigned o = 0;
        if (argv[i][0] != '-') {
            if (name) return cli_fail(CLI_USAGE, "scenario: unexpected argument '%s'", argv[i]);
            name = argv[i];
            continue;
        }
        size_t skip = argv[i][1] == '-' ? 2 : 1; /* one dash or two, as everywhere */
        while (o < 4 && strcmp(argv[i] + skip, options[o] + 2) != 0)
            o++;
        if (o == 4) {
            const char *near = uv_nearest(argv[i], options, 4);
            return cli_fail(CLI_USAGE, "scenario: unknown option '%s'%s%s%s", argv[i],
                            near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
        }
        if (o == 3) {
            quiet = true;
            continue;
        }
        if (i + 1 == argc) return cli_fail(CLI_USAGE, "scenario: option '%s' needs a value", argv[i]);
        value[o] = argv[++i];
    }
    if (!name) {
        puts("usage: undervisor scenario NAME [--variant V] [--cpu MODEL] [--image DIR] [--verdict]");
        return list();
    }
    if (strcmp(name, "list") == 0) return list();
    const struct row *scenario = find(name, NULL);
    if (!scenario || (value[0] && !find(value[0], scenario))) return CLI_USAGE;
    char path[2048];
    if (!image_path(value[1], scenario->image, path, sizeof(path)))
        return cli_fail(CLI_USAGE, "scenario: path too long");
    uv_config *config = NULL;
    if (uv_config_create(&config) != UV_OK) return cli_fail(CLI_HOST, "host memory exhausted");
    enum uv_status s = uv_config_set(config, "cpu", value[2] ? value[2] : scenario->cpu);
    int status = s == UV_OK ? play(config, scenario, value[0], path, quiet)
                            : cli_fail(cli_status(s), "%s", uv_config_message(config));
    uv_config_destroy(config);
    return status;
}
