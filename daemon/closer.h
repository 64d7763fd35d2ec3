/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAXLEASE_CLOSER_H
#define DAXLEASE_CLOSER_H

#include <stdbool.h>
#include <stdint.h>

int closer_start(void); /* 0 or -errno */
/* Takes over fd (-1: nothing to do), which came from a program of this user (0: or is our own), and closes it soon,
 * on a thread that may block. */
void closer_close(int fd, uint32_t uid);
/* So many of this user's descriptors wait to be closed that no more should be taken. */
bool closer_is_behind(uint32_t uid);
unsigned closer_pending(void); /* descriptors that are not closed yet */
void closer_stop(void); /* closes what is left, as far as that takes no time */

#endif
