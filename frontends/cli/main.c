/* SPDX-License-Identifier: MIT */
/* Commands of the `undervisor` program. The first argument names one; without it, or when it begins with
 * a dash, the command is `run`. */
#include <stdarg.h>
#include <string.h>

#include "frontends/cli/cli.h"

static int help(int argc, char **argv);

const struct cli_command cli_commands[] = {
    {"run", "[OPTIONS]", "boot a kernel on the emulated machine (default)", cli_run},
    {"explain", "vmcs|vmcb FILE", "every broken rule of VM entry in a VMCS or VMCB that a hypervisor printed",
     cli_explain},
    {"scenario", "NAME", "one of the bundled scenarios and its story; scenario list names them",
     cli_scenario},
    {"list", "TABLE", "rows of a table the machine is built from", cli_list},
    {"help", "", "this text", help},
    {NULL, NULL, NULL, NULL},
};

static int help(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    cli_help(stdout);
    return 0;
}

int cli_fail(int status, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fflush(stdout);
    fputs("undervisor: ", stderr);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
    return status;
}

int cli_status(enum uv_status status)
{
    switch (status) {
    case UV_OK: return 0;
    case UV_E_IMAGE: return CLI_BAD_IMAGE;
    case UV_E_SPACE: return CLI_NO_SPACE;
    case UV_E_MEMORY:
    case UV_E_HOST: return CLI_HOST;
    default: return CLI_USAGE;
    }
}

int main(int argc, char **argv)
{
    const char *names[16];
    size_t n = 0;
    if (argc < 2) {
        cli_help(stderr);
        return CLI_USAGE;
    }
    if (argv[1][0] == '-') return cli_run(argc, argv);
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        if (strcmp(argv[1], c->name) == 0) return c->run(argc - 1, argv + 1);
        names[n++] = c->name;
    }
    const char *near = uv_nearest(argv[1], names, n);
    return cli_fail(CLI_USAGE, "unknown command '%s'%s%s%s", argv[1], near ? ", did you mean '" : "",
                    near ? near : " (a kernel is given with -kernel)", near ? "'?" : "");
}
