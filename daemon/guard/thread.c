/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/guard/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/guard/fanotify_abi.h"
#include "daemon/guard/proc.h"

int thread_syscall(int32_t tid, struct syscall_line *line)
{
	char text[256];
	ssize_t length;

	*line = (struct syscall_line){.number = -1};
	if (tid <= 0)
		return -ENOENT;
	length = proc_read(tid, "syscall", text, sizeof(text));
	if (length < 0)
		return (int)length;
	decode_line(text, (size_t)length, line);
	return line->hash ? 0 : -EAGAIN;
}

int thread_syscall_soon(int32_t tid, struct syscall_line *line)
{
	enum { AT_ONCE = 64, YIELDING = 96 };
	int ret = -EAGAIN;

	/* The thread woke us on its way to sleep. It can only be a few instructions away, or off
	 * its processor: then somebody else needs ours less than it does. */
	for (int i = 0; i < YIELDING; i++) {
		ret = thread_syscall(tid, line);
		if (ret != -EAGAIN)
			break;
		if (i >= AT_ONCE)
			sched_yield();
	}
	return ret;
}

enum thread_kind thread_kind(int32_t tid)
{
	char text[512], *at;
	unsigned long flags;
	ssize_t length = proc_read(tid, "stat", text, sizeof(text));

	if (length == -ESRCH)
		return THREAD_GONE;
	/* the name, in parentheses, may contain anything: what follows its last one counts */
	at = length > 0 ? strrchr(text, ')') : NULL;
	if (!at)
		return THREAD_UNREADABLE;
	at++;
	for (int field = 3; field < 9; field++) { /* ") S ppid pgrp session tty tpgid flags" */
		at = strchr(at, ' ');
		if (!at)
			return THREAD_UNREADABLE;
		at++;
	}
	at = strchr(at, ' ');
	if (!at)
		return THREAD_UNREADABLE;
	errno = 0;
	flags = strtoul(at + 1, NULL, 10);
	if (errno || flags == 0)
		return THREAD_UNREADABLE;
	if (flags & GUARD_PF_EXITING)
		return THREAD_GONE;
	if (flags & GUARD_PF_KTHREAD)
		return THREAD_KERNEL;
	return flags & GUARD_PF_IO_WORKER ? THREAD_IO_WORKER : THREAD_USER;
}

/*
 * The number /proc/TID/syscall shows is that of the call the thread made. It need not be what it
 * does now: on the way out of any call, and when a signal is looked for in the middle of a blocking
 * one, the kernel runs task work, and io_uring starts its delayed requests there. A write linked
 * behind a poll is so done by a thread that shows read(2) of a pipe, with honest registers. Only
 * the kernel's stack tells them apart, and for a thread that waits for our answer it cannot change.
 * One frame of task work or of io_uring is enough not to believe the number; so is a stack that is
 * not of a waiting breaker at all.
 */
static enum decode_context stack_context(int32_t tid)
{
	char text[8192], *line, *rest = NULL;
	bool waits = false, uring = false;
	ssize_t length = proc_read(tid, "stack", text, sizeof(text));

	/* full: its beginning, where it entered the kernel, is missing */
	if (length <= 0 || (size_t)length == sizeof(text) - 1)
		return DECODE_CONTEXT_UNKNOWN;
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		const char *symbol = strchr(line, ' '); /* "[<0>] symbol+0x1/0x2 [module]" */

		if (!symbol)
			continue;
		symbol++;
		if (strstr(symbol, "fanotify_") || strstr(symbol, "fsnotify") || strstr(symbol, "__break_lease"))
			waits = true;
		if (!strncmp(symbol, "io_submit_one+",
			     14)) /* io_submit(2), which shows as itself */
			continue;
		if (!strncmp(symbol, "do_exit+", 8))
			return DECODE_CONTEXT_UNKNOWN;
		if (strstr(symbol, "task_work") || !strncmp(symbol, "io_", 3) ||
		    !strncmp(symbol, "__io_", 5))
			uring = true;
	}
	if (!waits)
		return DECODE_CONTEXT_UNKNOWN;
	return uring ? DECODE_CONTEXT_TASK_WORK : DECODE_CONTEXT_CALL;
}

enum decode_context thread_context(int32_t tid)
{
	enum decode_context context;

	if (tid <= 0)
		return DECODE_CONTEXT_UNKNOWN;
	/* A user's thread remains one, and whether it is in do_exit() its stack says, too. */
	if (proc_noted(tid) == THREAD_USER) {
		context = stack_context(tid);
		if (proc_noted(tid) == THREAD_USER)
			return context;
	}
	switch (thread_kind(tid)) {
	case THREAD_USER:
		break;
	case THREAD_IO_WORKER:
		return DECODE_CONTEXT_IO_WORKER;
	case THREAD_GONE:
	case THREAD_KERNEL:
	case THREAD_UNREADABLE:
		return DECODE_CONTEXT_UNKNOWN;
	}
	proc_note(tid, THREAD_USER);
	return stack_context(tid);
}

bool thread_stacks_readable(void)
{
	char text[256];

	return proc_read((int32_t)gettid(), "stack", text, sizeof(text)) > 0;
}

bool thread_worker_idle(int32_t tid)
{
	/* The innermost function outside the scheduler. They sleep in these only between two
	 * requests; inside one another function is the innermost. io_uring's two, and nfsd's. */
	static const char *const idle[] = {"io_wq_worker", "io_sq_thread", "svc_recv"};
	char text[128];

	if (proc_read(tid, "wchan", text, sizeof(text)) <= 0)
		return false;
	for (size_t i = 0; i < sizeof(idle) / sizeof(idle[0]); i++) {
		if (!strcmp(text, idle[i]))
			return true;
	}
	return false;
}

/* The number `nth` (from 0) behind "\nKEY:" in a status or fdinfo file. */
static bool find_number(const char *text, const char *key, int nth, int base, uint64_t *value)
{
	const size_t length = strlen(key);
	const char *at = text;

	while (at && strncmp(at, key, length) != 0) {
		at = strchr(at, '\n');
		at = at ? at + 1 : NULL;
	}
	if (!at)
		return false;
	at += length;
	for (int i = 0; i <= nth; i++) {
		char *stop;

		errno = 0;
		*value = strtoull(at, &stop, base);
		if (errno || stop == at)
			return false;
		at = stop;
	}
	return true;
}

int thread_identity(int32_t tid, int32_t *tgid, uint32_t *uid)
{
	char text[4096];
	uint64_t group, effective;
	ssize_t length;

	*tgid = 0;
	*uid = UINT32_MAX;
	if (tid <= 0)
		return -ESRCH;
	length = proc_read(tid, "status", text, sizeof(text));
	if (length < 0)
		return (int)length;
	if (!find_number(text, "Tgid:", 0, 10, &group) || group > INT32_MAX ||
	    !find_number(text, "Uid:", 1, 10, &effective) || effective > UINT32_MAX)
		return -EIO;
	*tgid = (int32_t)group;
	*uid = (uint32_t)effective;
	return 0;
}

bool thread_dying(int32_t tid)
{
	const uint64_t sigkill = 1u << (SIGKILL - 1);
	uint64_t own = 0, shared = 0;
	char text[4096];
	ssize_t length;

	if (tid <= 0)
		return false;
	length = proc_read(tid, "status", text, sizeof(text));
	if (length < 0)
		return length == -ENOENT || length == -ESRCH;
	if (!find_number(text, "SigPnd:", 0, 16, &own) ||
	    !find_number(text, "ShdPnd:", 0, 16, &shared))
		return false;
	/* taken, it is not pending any more */
	return ((own | shared) & sigkill) || thread_kind(tid) == THREAD_GONE;
}

void thread_comm(int32_t tid, char comm[16])
{
	char text[64];
	ssize_t length = tid > 0 ? proc_read(tid, "comm", text, sizeof(text)) : -ESRCH;

	memset(comm, 0, 16);
	if (length <= 0)
		return;
	if (text[length - 1] == '\n')
		length--;
	memcpy(comm, text, length < 15 ? (size_t)length : 15);
}

enum decode_append thread_append(int32_t tid, uint64_t fd, uint64_t ino)
{
	char name[32], text[1024];
	uint64_t flags, inode;

	if (tid <= 0 || fd > INT_MAX)
		return DECODE_APPEND_UNKNOWN;
	snprintf(name, sizeof(name), "fdinfo/%d", (int)fd);
	if (proc_read(tid, name, text, sizeof(text)) <= 0 ||
	    !find_number(text, "flags:", 0, 8, &flags) ||
	    !find_number(text, "ino:", 0, 10, &inode) || inode != ino)
		return DECODE_APPEND_UNKNOWN;
	return flags & O_APPEND ? DECODE_APPEND_YES : DECODE_APPEND_NO;
}
