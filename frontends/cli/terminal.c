/* SPDX-License-Identifier: MIT */
/* The terminal while a guest owns it: characters one by one, no echo, output unchanged. Signals of the
 * keyboard stay alive, so that Ctrl-C ends the run. */
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "frontends/cli/cli.h"

static struct termios before;
static volatile int changed;

void terminal_restore(void)
{
    if (changed) tcsetattr(STDIN_FILENO, TCSANOW, &before);
    changed = 0;
}

void terminal_raw(void)
{
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before) != 0) return;
    struct termios t = before;
    t.c_iflag &= (tcflag_t) ~(ICRNL | INLCR | IGNCR | IXON | ISTRIP);
    t.c_lflag &= (tcflag_t) ~(ECHO | ICANON | IEXTEN);
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSANOW, &t) != 0) return;
    changed = 1;
    atexit(terminal_restore);
}
