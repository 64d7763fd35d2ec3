/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAXLEASE_CLOSER_H
#define DAXLEASE_CLOSER_H

int closer_start(void); /* 0 or -errno */
/* Takes over fd (-1: nothing to do) and closes it soon, on a thread that may block. */
void closer_close(int fd);
void closer_stop(void); /* closes what is left first */

#endif
