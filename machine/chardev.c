/* SPDX-License-Identifier: MIT */
/* Character backends: null, standard streams, file, pipe, memory, callback. Host I/O only; the machine
 * sees none of its timing (chardev.h). */
#include "machine/chardev.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER = 4096 };

struct chardev {
    int out, in; /* host descriptors; -1 none */
    bool owned;  /* close them */
    bool ended;  /* no more input */
    bool to_memory;
    void (*callback)(void *opaque, const uint8_t *data, size_t n);
    void *opaque;
    size_t used;
    uint8_t buffer[BUFFER];
    uint8_t *memory; /* ring of `limit` bytes, unrolled when read */
    size_t limit, length;
};

static struct chardev *create(int out, int in, bool owned)
{
    struct chardev *d = calloc(1, sizeof *d);
    if (!d) {
        if (owned && out >= 0) close(out);
        if (owned && in >= 0 && in != out) close(in);
        return NULL;
    }
    d->out = out;
    d->in = in;
    d->owned = owned;
    return d;
}

struct chardev *chardev_null(void) { return create(-1, -1, false); }
struct chardev *chardev_stdio(void) { return create(STDOUT_FILENO, STDIN_FILENO, false); }

struct chardev *chardev_file(const char *path)
{
    int out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return out < 0 ? NULL : create(out, -1, true);
}

struct chardev *chardev_pipe(const char *path)
{
    char name[4096];
    int in = -1, out = -1;
    if (snprintf(name, sizeof name, "%s.in", path) < (int)sizeof name) in = open(name, O_RDWR | O_CLOEXEC);
    if (in >= 0 && snprintf(name, sizeof name, "%s.out", path) < (int)sizeof name)
        out = open(name, O_RDWR | O_CLOEXEC);
    if (in >= 0 && out >= 0) return create(out, in, true);
    if (in >= 0) close(in);
    in = open(path, O_RDWR | O_CLOEXEC);
    return in < 0 ? NULL : create(in, in, true);
}

struct chardev *chardev_memory(size_t limit)
{
    struct chardev *d = create(-1, -1, false);
    if (!d) return NULL;
    d->to_memory = true;
    d->limit = limit ? limit : 1;
    d->memory = malloc(d->limit * 2);
    if (!d->memory) {
        free(d);
        return NULL;
    }
    return d;
}

struct chardev *chardev_callback(void (*write)(void *, const uint8_t *, size_t), void *opaque)
{
    struct chardev *d = create(-1, -1, false);
    if (!d) return NULL;
    d->callback = write;
    d->opaque = opaque;
    return d;
}

void chardev_destroy(struct chardev *d)
{
    if (!d) return;
    chardev_flush(d);
    if (d->owned && d->out >= 0) close(d->out);
    if (d->owned && d->in >= 0 && d->in != d->out) close(d->in);
    free(d->memory);
    free(d);
}

/* Keeps at least the last `limit` bytes in a buffer of twice that. */
static void remember(struct chardev *d, const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (d->length == d->limit * 2) {
            memmove(d->memory, d->memory + d->limit, d->limit);
            d->length = d->limit;
        }
        d->memory[d->length++] = data[i];
    }
}

static void write_all(int fd, const uint8_t *data, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, data, n);
        if (done < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            if (poll(&p, 1, -1) < 0 && errno != EINTR) return;
            continue;
        }
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return; /* the reader is gone: output is dropped */
        data += done;
        n -= (size_t)done;
    }
}

void chardev_flush(struct chardev *d)
{
    if (!d || !d->used) return;
    size_t n = d->used;
    d->used = 0;
    if (d->callback)
        d->callback(d->opaque, d->buffer, n);
    else if (d->to_memory)
        remember(d, d->buffer, n);
    else if (d->out >= 0)
        write_all(d->out, d->buffer, n);
}

void chardev_write(struct chardev *d, uint8_t byte)
{
    d->buffer[d->used++] = byte;
    if (d->used == BUFFER || byte == '\n') chardev_flush(d);
}

int chardev_poll(struct chardev *d, uint8_t *data, size_t n)
{
    if (!chardev_has_input(d)) return -1;
    struct pollfd p = {.fd = d->in, .events = POLLIN};
    if (n == 0 || poll(&p, 1, 0) <= 0) return 0;
    if (p.revents & POLLNVAL) {
        d->ended = true;
        return -1;
    }
    ssize_t got = read(d->in, data, n);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (got <= 0) {
        d->ended = true;
        return -1;
    }
    return (int)got;
}

bool chardev_has_input(const struct chardev *d) { return d && d->in >= 0 && !d->ended; }

void chardev_wait(struct chardev *d, int milliseconds)
{
    if (!chardev_has_input(d)) return;
    struct pollfd p = {.fd = d->in, .events = POLLIN};
    poll(&p, 1, milliseconds);
}

const uint8_t *chardev_memory_data(const struct chardev *d, size_t *n)
{
    size_t kept = d->length < d->limit ? d->length : d->limit;
    /* What has not been flushed yet belongs to it too. */
    struct chardev *writable = (struct chardev *)(uintptr_t)d;
    if (d->used) {
        chardev_flush(writable);
        kept = d->length < d->limit ? d->length : d->limit;
    }
    *n = kept;
    return d->memory ? d->memory + (d->length - kept) : NULL;
}
