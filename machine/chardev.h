/* SPDX-License-Identifier: MIT */
/* Where bytes of a serial port or debug console go to, and where typed bytes come from. Output is
 * written when the guest sends it. Input is never read by a device: whoever runs the machine polls a
 * backend between two calls of machine_run() and hands the bytes to machine_input(), which stamps them
 * with a cycle; that is the only way in, and it is what a replay feeds again. */
#ifndef UV_MACHINE_CHARDEV_H
#define UV_MACHINE_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chardev;

/* NULL on failure with errno set. Files are created or truncated. A pipe is NAME.in and NAME.out when
 * both exist, else NAME for both directions. */
struct chardev *chardev_null(void);
struct chardev *chardev_stdio(void);
struct chardev *chardev_file(const char *path);
struct chardev *chardev_pipe(const char *path);
/* Keeps the last `limit` bytes of output in memory. */
struct chardev *chardev_memory(size_t limit);
/* Calls back for each run of bytes. */
struct chardev *chardev_callback(void (*write)(void *opaque, const uint8_t *data, size_t n), void *opaque);
void chardev_destroy(struct chardev *d); /* flushes; NULL is allowed */

void chardev_write(struct chardev *d, uint8_t byte);
void chardev_flush(struct chardev *d);
/* Typed bytes that are there now, without waiting: count, 0 for none, -1 when no more can ever come. */
int chardev_poll(struct chardev *d, uint8_t *data, size_t n);
/* True when bytes may still be typed: a machine whose processors all sleep then waits instead of
 * counting as hung. */
bool chardev_has_input(const struct chardev *d);
/* Waits up to `milliseconds` of host time for input; the machine itself never calls this. */
void chardev_wait(struct chardev *d, int milliseconds);
/* Memory backend: what was written; not terminated. */
const uint8_t *chardev_memory_data(const struct chardev *d, size_t *n);

#endif
