/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What /proc tells about a thread that waits. Nothing here waits for the thread, its file system or
 * its memory map: only files that are made from the task itself are read (not cmdline, environ,
 * maps). May include: libc, guard/decode.h.
 */
#ifndef DAXLEASE_GUARD_THREAD_H
#define DAXLEASE_GUARD_THREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/guard/decode.h"

/* One look at /proc/TID/syscall. 0; -EAGAIN: "running", it says nothing now; -ESRCH: no such
 * thread; else -errno. line is always set. */
int thread_syscall(int32_t tid, struct syscall_line *line);

/* The same for a thread that is about to fall asleep: looks again, a bounded number of times (some
 * 100 µs), while it is running. */
int thread_syscall_soon(int32_t tid, struct syscall_line *line);

enum thread_kind {
	THREAD_GONE, /* or on its way: in do_exit() */
	THREAD_USER,
	THREAD_IO_WORKER, /* made by io_uring: worker or submission thread */
	THREAD_KERNEL,
	THREAD_UNREADABLE,
};
enum thread_kind thread_kind(int32_t tid);

/* Does the waiting operation belong to the system call the thread shows? From its flags and kernel
 * stack. */
enum decode_context thread_context(int32_t tid);

/* The kernel lets us read stacks (CONFIG_STACKTRACE and CAP_SYS_ADMIN). */
bool thread_stacks_readable(void);

/* The io_uring or nfsd thread `tid` sleeps between two pieces of work. */
bool thread_worker_idle(int32_t tid);

/* 0 or -errno, *tgid 0 and *uid UINT32_MAX then. uid: the effective one. */
int thread_identity(int32_t tid, int32_t *tgid, uint32_t *uid);
/* It is gone, or SIGKILL is pending and nothing takes that back: what it waits for will not be done. */
bool thread_dying(int32_t tid);
void thread_comm(int32_t tid, char comm[16]);

/* O_APPEND of descriptor `fd` of the thread, if it is inode `ino` (else unknown). */
enum decode_append thread_append(int32_t tid, uint64_t fd, uint64_t ino);

#endif
