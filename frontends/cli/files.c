/* SPDX-License-Identifier: MIT */
/* Whole files into memory, with one clear line when that fails; gzip-compressed kernels are unpacked, as
 * boot loaders do. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#ifdef UV_HAVE_ZLIB
#include <zlib.h>
#endif

#include "frontends/cli/cli.h"

enum { GZIP_FACTOR = 64 }; /* largest sensible ratio of kernels */
#define FILE_MAX (UINT64_C(4) << 30)

#ifdef UV_HAVE_ZLIB
static int unpack(const char *path, struct cli_file *f)
{
    uint64_t room = f->size * 4, limit = f->size * GZIP_FACTOR;
    uint8_t *out = NULL;
    z_stream z = {.next_in = f->data, .avail_in = (uInt)f->size};
    if (f->size > UINT32_MAX / GZIP_FACTOR || inflateInit2(&z, 15 + 16) != Z_OK)
        return cli_fail(CLI_BAD_IMAGE, "%s: gzip file too large", path);
    int r = Z_OK;
    while (r == Z_OK) {
        if (z.total_out == room || !out) {
            room = out ? room * 2 : room;
            uint8_t *more = room <= limit ? realloc(out, room) : NULL;
            if (!more) break;
            out = more;
        }
        z.next_out = out + z.total_out;
        z.avail_out = (uInt)(room - z.total_out);
        r = inflate(&z, Z_NO_FLUSH);
    }
    uint64_t size = z.total_out;
    inflateEnd(&z);
    if (r != Z_STREAM_END) {
        free(out);
        return cli_fail(CLI_BAD_IMAGE, "%s: damaged gzip data after 0x%llx bytes", path,
                        (unsigned long long)size);
    }
    free(f->data);
    *f = (struct cli_file){out, size};
    return 0;
}
#endif

int cli_read_file(const char *path, bool decompress, struct cli_file *f)
{
    struct stat st;
    FILE *in = fopen(path, "rb");
    *f = (struct cli_file){0};
    if (!in) return cli_fail(CLI_NO_FILE, "%s: %s", path, strerror(errno));
    if (fstat(fileno(in), &st) != 0 || S_ISDIR(st.st_mode)) {
        fclose(in);
        return cli_fail(CLI_NO_FILE, "%s: not a file that can be read", path);
    }
    uint64_t room = S_ISREG(st.st_mode) ? (uint64_t)st.st_size + 1 : 65536, n;
    int status = 0;
    do {
        uint8_t *more = room <= FILE_MAX ? realloc(f->data, room) : NULL;
        if (!more) {
            status = cli_fail(CLI_HOST, "%s: too large for host memory", path);
            break;
        }
        f->data = more;
        n = fread(f->data + f->size, 1, room - f->size, in);
        f->size += n;
        if (f->size == room) room *= 2;
    } while (n != 0);
    if (!status && ferror(in)) status = cli_fail(CLI_NO_FILE, "%s: %s", path, strerror(errno));
    fclose(in);
    if (!status && decompress && f->size > 18 && f->data[0] == 0x1f && f->data[1] == 0x8b) {
#ifdef UV_HAVE_ZLIB
        status = unpack(path, f);
#else
        status =
            cli_fail(CLI_BAD_IMAGE, "%s: gzip-compressed, and this build has no zlib; gunzip it first", path);
#endif
    }
    if (status) {
        free(f->data);
        *f = (struct cli_file){0};
    }
    return status;
}

static int read_module(const char *text, struct uv_image *image)
{
    char *arguments = strdup(text), *name = strdup(text);
    struct cli_file f;
    if (!arguments || !name) {
        free(arguments);
        free(name);
        return cli_fail(CLI_HOST, "host memory exhausted");
    }
    struct stat st;
    if (stat(name, &st) != 0) name[strcspn(name, " ")] = 0; /* "file args", unless the name has blanks */
    int status = cli_read_file(name, false, &f);
    if (status) {
        free(arguments);
        free(name);
        return status;
    }
    *image = (struct uv_image){name, f.data, f.size, arguments};
    return 0;
}

int cli_read_modules(const char *list, struct uv_image *images, uint32_t *count)
{
    struct stat st;
    char word[4096];
    *count = 0;
    if (stat(list, &st) == 0) { /* the whole text is the name of one file */
        *count = 1;
        return read_module(list, &images[0]);
    }
    for (const char *p = list; *p;) {
        size_t n = 0;
        for (; *p && !(p[0] == ',' && p[1] != ','); p++) {
            if (*p == ',') p++;
            if (n + 1 < sizeof(word)) word[n++] = *p;
        }
        word[n] = 0;
        if (*p) p++;
        if (*count == CLI_LIST_MAX) return cli_fail(CLI_USAGE, "more than %d modules", CLI_LIST_MAX);
        int status = read_module(word, &images[*count]);
        if (status) return status;
        ++*count;
    }
    return 0;
}
