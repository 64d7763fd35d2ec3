/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a stopped thread is about to change: a pure function of what the event and /proc/TID showed.
 * No I/O. May include: libc, proto/protocol.h.
 */
#ifndef DAXLEASE_GUARD_DECODE_H
#define DAXLEASE_GUARD_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/protocol.h"

enum decode_event {
	DECODE_PRE_ACCESS = 1u << 0, /* about to read, write, map or change the size */
	DECODE_OPEN_PERM = 1u << 1,  /* about to open, perhaps to truncate */
};

/* /proc/TID/syscall, proc(5). Registers cannot change while the thread waits. */
struct syscall_line {
	bool known;  /* a number was shown; false: "running", unreadable, or not in a system call */
	bool kernel; /* stack and instruction pointer are 0: the thread has no user side (an
		      * io_uring worker, nfsd), and number and registers are remains of whoever
		      * created it */
	long number;
	uint64_t arg[6];
	uint64_t hash; /* of the whole line; never 0 when a line was read, 0 else */
};

/* Whether the line belongs to the operation that waits. */
enum decode_context {
	DECODE_CONTEXT_CALL,	  /* proven: the system call shown does it */
	DECODE_CONTEXT_IO_WORKER, /* an io_uring worker or submission thread */
	DECODE_CONTEXT_TASK_WORK, /* work the kernel runs on the way out of the call shown: io_uring
				   */
	DECODE_CONTEXT_UNKNOWN,	  /* a kernel thread, or it could not be found out */
};

enum decode_append { DECODE_APPEND_UNKNOWN = 0, DECODE_APPEND_NO, DECODE_APPEND_YES };

struct decode_in {
	enum decode_event event;
	enum decode_context context;
	const struct syscall_line *line;
	bool range_known; /* the event had a range record */
	uint64_t offset, count;
	enum decode_append append; /* looked up only for calls decode_wants_append() names */
	bool size_known;
	uint64_t size; /* of the file now */
	uint64_t page; /* bytes, a power of two */
	/* This kernel's io_uring has operations we do not know: they might share extents. */
	bool io_uring_shares;
};

struct decode_out {
	bool harmless;	/* cannot change the block map or the size; the rest is then 0 */
	uint32_t cause; /* enum dlp_cause */
	uint64_t start, end;
	bool maps;     /* changes the block map even inside allocated blocks */
	bool opaque;   /* what it does and whose it is, is not proven: everything is assumed */
	bool two_file; /* may share extents with another file of the file system */
};

/* Reads a line of /proc/TID/syscall (with or without the newline). What is not as the kernel writes
 * it is not known. */
void decode_line(const char *text, size_t length, struct syscall_line *line);

/* The call takes the written descriptor in its first register, and O_APPEND would move the range.
 */
bool decode_wants_append(const struct syscall_line *line);

void decode(const struct decode_in *in, struct decode_out *out);

/* For the tests: is this number let through for this event, or decoded in any way? */
bool decode_number_harmless(enum decode_event event, long number);
bool decode_number_known(long number);

#endif
