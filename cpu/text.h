/* SPDX-License-Identifier: MIT */
/* Text into a buffer of fixed size; the length counts on past its end, as with snprintf. */
#ifndef UV_CPU_TEXT_H
#define UV_CPU_TEXT_H

#include <stddef.h>

struct text {
    char *buf;
    size_t size, length;
};

__attribute__((format(printf, 2, 3))) void text_put(struct text *t, const char *format, ...);

#endif
