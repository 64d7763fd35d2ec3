/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files of /proc/TID. Who reads those of the same few threads again and again, as the guard's reader
 * does, keeps them open: to find one by its name takes three times as long as to read it.
 *
 * An open one belongs to the thread and not to its number: when the thread is gone it says ESRCH,
 * whoever has the number by then. May include: libc.
 */
#ifndef DAXLEASE_GUARD_PROC_H
#define DAXLEASE_GUARD_PROC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Reads the beginning of /proc/TID/NAME, terminated. Its length or -errno; -ESRCH: no such thread.
 * One read: these files are made when they are read, so two reads could be of two states. */
ssize_t proc_read(int32_t tid, const char *name, char *buffer, size_t size);

/* The calling thread keeps some open from now on: at most PROC_KEPT descriptors. */
#define PROC_KEPT 64
void proc_keep(void);
void proc_keep_no_more(void);

/* Something that is true of the thread as long as it lives, and was noted by proc_note() since the
 * first look at it; 0: nothing was, or nothing is kept. To be believed only with a successful
 * proc_read() before and another after it. */
int proc_noted(int32_t tid);
void proc_note(int32_t tid, int what);

#endif
