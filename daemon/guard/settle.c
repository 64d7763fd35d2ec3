/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Has an operation that was let through finished? See guard.h. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/guard/guard.h"
#include "daemon/guard/thread.h"

#define NS_PER_S 1000000000u

/* How long only to look, before a thread is disturbed by ptrace: most operations are over by then.
 */
#define LOOK_NS (20u * 1000 * 1000)

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void rest(uint64_t ns)
{
	nanosleep(&(struct timespec){.tv_sec = (time_t)(ns / NS_PER_S),
				     .tv_nsec = (long)(ns % NS_PER_S)},
		  NULL);
}

int guard_op_finished(int32_t tid, uint64_t syscall_hash)
{
	struct syscall_line line;
	int ret;

	if (tid <= 0)
		return 0;
	ret = thread_syscall(tid, &line);
	if (ret == -ESRCH)
		return 1;
	if (ret == -EAGAIN)
		return -EAGAIN;
	if (ret < 0)
		return 0;
	/* Another line than the operation's: the thread made another call, or the number is another
	 * thread's. */
	if (syscall_hash && line.hash != syscall_hash)
		return 1;
	/* A thread of the kernel shows the same line for ever, and only io_uring's and nfsd's say
	 * when they are idle. */
	if (line.kernel)
		return thread_worker_idle(tid);
	/* The operation's own line is not known, but this one is outside any call. */
	return !syscall_hash && line.number < 0 && !line.known;
}

/*
 * The helper's work: only async-signal-safe calls, since the caller may have been forked from a
 * threaded process. A tracee cannot be let go of unless it is stopped, and one that is in the
 * kernel does not stop. Therefore a process of its own: when it ends, in whatever way, the kernel
 * lets go of its tracees and takes back the request to stop (PTRACE_O_EXITKILL is not set).
 */
static int interrupt_and_wait(int32_t tid, uint64_t deadline_ns)
{
	int status;

	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0)
		return errno == ESRCH;
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0)
		return errno == ESRCH;
	for (uint64_t pause_ns = 20 * 1000;;
	     pause_ns = pause_ns < 1000 * 1000 ? pause_ns * 2 : pause_ns) {
		pid_t got = waitpid(tid, &status, __WALL | WNOHANG);

		if (got == tid)
			break;
		if (got < 0 && errno != EINTR)
			return errno == ECHILD;
		if (now_ns() >= deadline_ns)
			return 0;
		rest(pause_ns);
	}
	if (!WIFSTOPPED(status))
		return 1; /* gone */
	/* Every stop is on the way out of the kernel. If it was about to get a signal, it still
	 * gets it. */
	ptrace(PTRACE_DETACH, tid, NULL, (void *)(long)(status >> 16 ? 0 : WSTOPSIG(status)));
	return 1;
}

static int settle_by_ptrace(int32_t tid, uint64_t deadline_ns)
{
	int status;
	pid_t helper = fork();

	if (helper < 0)
		return 0;
	if (helper == 0) {
#ifdef SYS_close_range
		syscall(SYS_close_range, 3u, ~0u, 0u); /* keep nobody's descriptors alive */
#endif
		_exit(interrupt_and_wait(tid, deadline_ns));
	}
	while (waitpid(helper, &status, 0) < 0) {
		if (errno != EINTR)
			return 0;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

int guard_op_settle(int32_t tid, uint64_t syscall_hash, uint64_t limit_ns)
{
	const uint64_t start_ns = now_ns();
	const uint64_t deadline_ns = limit_ns > UINT64_MAX - start_ns ? UINT64_MAX
								      : start_ns + limit_ns;
	const uint64_t look_ns = limit_ns / 2 < LOOK_NS ? limit_ns / 2 : LOOK_NS;
	const bool user = tid > 0 && thread_kind(tid) == THREAD_USER;

	if (tid <= 0)
		return 0; /* nothing will ever prove it */
	for (uint64_t pause_ns = 20 * 1000;;
	     pause_ns = pause_ns < 1000 * 1000 ? pause_ns * 2 : pause_ns) {
		uint64_t time_ns;

		if (guard_op_finished(tid, syscall_hash) == 1)
			return 1;
		time_ns = now_ns();
		/* threads of the kernel cannot be traced: look to the end */
		if (time_ns >= deadline_ns)
			return 0;
		if (user && time_ns - start_ns >= look_ns)
			break;
		rest(pause_ns);
	}
	return settle_by_ptrace(tid, deadline_ns);
}
