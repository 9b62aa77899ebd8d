/* SPDX-License-Identifier: MIT */
/* `undervisor list TABLE`, and the help forms of -cpu and -device in the layout that scripts expect. */
#include <string.h>

#include "frontends/cli/cli.h"

int cli_list(int argc, char **argv)
{
    const char *names[UV_TABLE_COUNT];
    struct uv_row row;
    if (argc < 2) {
        puts("usage: undervisor list TABLE, where TABLE is");
        for (unsigned t = 0; t < UV_TABLE_COUNT; t++)
            printf("  %-10s %s\n", uv_table_name((enum uv_table)t), uv_table_text((enum uv_table)t));
        return 0;
    }
    for (unsigned t = 0; t < UV_TABLE_COUNT; t++) {
        names[t] = uv_table_name((enum uv_table)t);
        if (strcmp(argv[1], names[t]) != 0) continue;
        for (uint32_t i = 0; uv_table_row((enum uv_table)t, i, &row) == UV_OK; i++)
            printf("%-20s %-12s %s\n", row.name, row.group, row.text);
        return 0;
    }
    const char *near = uv_nearest(argv[1], names, UV_TABLE_COUNT);
    return cli_fail(CLI_USAGE, "no table '%s'%s%s%s", argv[1], near ? ", did you mean '" : "",
                    near ? near : "", near ? "'?" : " (undervisor list names them)");
}

void cli_list_cpus(FILE *out)
{
    struct uv_row row;
    unsigned column = 0;
    fputs("Available CPUs:\n", out);
    for (uint32_t i = 0; uv_table_row(UV_TABLE_CPUS, i, &row) == UV_OK; i++)
        fprintf(out, "x86 %-20s %s%s%s\n", row.name, row.group[0] ? "(" : "", row.text,
                row.group[0] ? ")" : "");
    fputs("\nRecognized CPUID flags:", out);
    for (uint32_t i = 0; uv_table_row(UV_TABLE_FEATURES, i, &row) == UV_OK; i++) {
        if (!row.name[0]) continue;
        if (column == 0 || column + strlen(row.name) + 1 > 78) {
            fputs("\n ", out);
            column = 1;
        }
        column += (unsigned)fprintf(out, " %s", row.name);
    }
    fputc('\n', out);
}

void cli_list_devices(FILE *out)
{
    struct uv_row row;
    for (uint32_t i = 0; uv_table_row(UV_TABLE_DEVICES, i, &row) == UV_OK; i++)
        fprintf(out, "name \"%s\", desc \"%s\"%s%s\n", row.name, row.text,
                row.group[0] ? ", properties " : "", row.group);
    fputs("name \"loader\", desc \"puts a file or a value at an address\", properties "
          "file,addr,cpu-num,data,data-len\n",
          out);
}
