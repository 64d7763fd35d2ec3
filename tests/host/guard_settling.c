/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Has an operation that was let through finished? C16. */
#include "tests/host/guard_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000u

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			return #condition;                                                         \
	} while (0)

static bool is_finished(const void *argument)
{
	const struct guard_attempt *attempt = argument;

	return guard_op_finished(attempt->tid, attempt->syscall_hash) == 1;
}

struct sign {
	const struct breaker *breaker;
	uint64_t was;
};

static bool lives(const void *argument)
{
	const struct sign *sign = argument;

	return sign->breaker->counter != sign->was;
}

/* It does not stand still: its counter moves on. */
static bool runs_on(const struct breaker *b)
{
	struct sign sign = {b, b->counter};

	return wait_until(lives, &sign);
}

static int start(struct breaker **b, long (*act)(struct breaker *), int flags,
		 struct guard_attempt *attempt, uint64_t *ino)
{
	char path[256];
	int fd = make_file("file", path, ino);

	*b = breaker_new(act == act_uring_worker_write ? prepare_uring : prepare_open, act, path,
			 NULL, flags);
	bench.guard->ops->arm(bench.guard, fd, bench.dev, *ino);
	breaker_go(*b);
	return wait_attempt(*b, attempt) ? fd : -1;
}

static void stop(struct breaker *b, int fd, uint64_t ino)
{
	breaker_end(b);
	bench.guard->ops->disarm(bench.guard, fd, bench.dev, ino);
	close(fd);
}

static long act_then_sleep(struct breaker *b)
{
	if (pwrite(b->fd, "x", 1, 0) != 1)
		return -1;
	for (;;)
		pause();
}

static long act_then_spin(struct breaker *b)
{
	if (pwrite(b->fd, "x", 1, 0) != 1)
		return -1;
	for (;;)
		b->counter++;
}

static const char *another_call_proves_it(void)
{
	struct guard_attempt attempt;
	struct breaker *b;
	uint64_t ino;
	int fd = start(&b, act_then_sleep, BREAKER_THREAD, &attempt, &ino);

	MUST(fd >= 0);
	MUST(guard_op_finished(attempt.tid, attempt.syscall_hash) == 0); /* it waits */
	MUST(guard_op_finished(attempt.tid, 0) == 0);
	MUST(bench.guard->ops->answer(bench.guard, attempt.slot, 0) == 0);
	MUST(wait_until(is_finished, &attempt));
	MUST(guard_op_finished(attempt.tid, 0) ==
	     0); /* which call it is in is not known to be another */
	MUST(guard_op_settle(attempt.tid, 0, 1000 * MS) == 1);
	MUST(guard_op_finished(0, attempt.syscall_hash) == 0 &&
	     guard_op_settle(0, attempt.syscall_hash, 0) == 0);
	stop(b, fd, ino);
	MUST(guard_op_finished(attempt.tid, attempt.syscall_hash) == 1); /* gone */
	MUST(guard_op_finished(attempt.tid, 0) == 1 && guard_op_settle(attempt.tid, 0, 0) == 1);
	return NULL;
}

static const char *a_spinning_thread_is_interrupted(void)
{
	struct guard_attempt attempt;
	struct breaker *b;
	uint64_t ino;
	int fd = start(&b, act_then_spin, BREAKER_THREAD, &attempt, &ino);

	MUST(fd >= 0);
	MUST(bench.guard->ops->answer(bench.guard, attempt.slot, 0) == 0);
	MUST(runs_on(b));
	/* by looking alone it cannot be told, unless it is caught off its processor by an interrupt
	 */
	MUST(guard_op_finished(attempt.tid, attempt.syscall_hash) != 0);
	MUST(guard_op_settle(attempt.tid, attempt.syscall_hash, 2000 * MS) == 1);
	MUST(guard_op_settle(attempt.tid, 0, 2000 * MS) == 1);
	MUST(runs_on(b));
	stop(b, fd, ino);
	return NULL;
}

/* A thread that still waits in the kernel does not stop: no proof in time, and it is not left to
 * stop later. */
static const char *a_waiting_thread_is_not_settled(void)
{
	struct guard_attempt attempt;
	struct breaker *b;
	uint64_t ino;
	int fd = start(&b, act_then_spin, 0, &attempt, &ino);

	MUST(fd >= 0);
	MUST(guard_op_settle(attempt.tid, attempt.syscall_hash, 100 * MS) == 0);
	MUST(guard_op_settle(attempt.tid, attempt.syscall_hash, 0) == 0);
	MUST(bench.guard->ops->answer(bench.guard, attempt.slot, 0) == 0);
	MUST(runs_on(b) && runs_on(b));
	stop(b, fd, ino);
	return NULL;
}

/* What settle builds on: a tracer that dies lets its tracee run, also one that it has stopped. */
static const char *a_dying_tracer_lets_go(void)
{
	struct guard_attempt attempt;
	struct breaker *b;
	uint64_t ino, counter;
	int fd = start(&b, act_then_spin, 0, &attempt, &ino), status, said[2];
	pid_t tracer;
	char byte;

	MUST(fd >= 0 && pipe(said) == 0);
	MUST(bench.guard->ops->answer(bench.guard, attempt.slot, 0) == 0);
	MUST(runs_on(b));
	tracer = fork();
	if (tracer == 0) {
		if (ptrace(PTRACE_SEIZE, attempt.tid, NULL, NULL) == 0 &&
		    ptrace(PTRACE_INTERRUPT, attempt.tid, NULL, NULL) == 0 &&
		    waitpid(attempt.tid, &status, __WALL) == attempt.tid && WIFSTOPPED(status))
			status = (int)write(said[1], "s", 1);
		for (;;)
			pause();
	}
	MUST(tracer > 0 && read(said[0], &byte, 1) == 1);
	counter = b->counter;
	nanosleep(&(struct timespec){.tv_nsec = 20 * MS},
		  NULL); /* time in which it would count, were it not stopped */
	MUST(b->counter == counter);
	kill(tracer, SIGKILL);
	MUST(waitpid(tracer, &status, 0) == tracer);
	MUST(runs_on(b));
	stop(b, fd, ino);
	close(said[0]);
	close(said[1]);
	return NULL;
}

static const char *a_worker_is_finished_when_idle(void)
{
	struct guard_attempt attempt;
	struct breaker *b;
	uint64_t ino;
	int fd = start(&b, act_uring_worker_write, 0, &attempt, &ino);

	MUST(fd >= 0 && attempt.tid != b->tid && attempt.syscall == -1);
	MUST(guard_op_finished(attempt.tid, attempt.syscall_hash) == 0);
	MUST(guard_op_settle(attempt.tid, attempt.syscall_hash, 50 * MS) == 0);
	MUST(bench.guard->ops->answer(bench.guard, attempt.slot, 0) == 0);
	MUST(guard_op_settle(attempt.tid, attempt.syscall_hash, 10000 * MS) == 1);
	MUST(breaker_wait_done(b));
	stop(b, fd, ino);
	return NULL;
}

struct passing {
	struct guard *guard;
	uint64_t ino;
	const struct breaker *who;
	struct guard_passed its;
};

/* Its number may have been another file's before, with threads of its own. */
static bool has_passed(const void *argument)
{
	struct passing *p = (struct passing *)argument;
	struct guard_passed all[64];
	unsigned count = p->guard->ops->passed(p->guard, bench.dev, p->ino, all, 64);

	for (unsigned i = 0; i < count; i++) {
		if (all[i].tid != p->who->tid)
			continue;
		p->its = all[i];
		return true;
	}
	return false;
}

/* It is let through on an inode that is not armed, then does another call. */
static long act_once_then_sleep(struct breaker *b)
{
	if (pwrite(b->fd, "x", 1, 0) != 1)
		return -1;
	while (!b->argument)
		nanosleep(&(struct timespec){.tv_nsec = MS}, NULL);
	if (pwrite(b->other_fd, "x", 1, 0) != 1)
		return -1;
	for (;;)
		pause();
}

static bool none_passed(const void *argument)
{
	return !has_passed(argument);
}

static const char *let_through_before_arm_is_named(void)
{
	char path[256], other[256];
	uint64_t other_ino;
	struct passing p = {.guard = bench.guard};
	int fd = make_file("file", path, &p.ino), other_fd = make_file("two", other, &other_ino);
	struct breaker *b = breaker_new(prepare_open, act_once_then_sleep, path, other, 0);

	MUST(bench.guard->ops->arm(bench.guard, fd, bench.dev, p.ino) == 0);
	MUST(bench.guard->ops->disarm(bench.guard, fd, bench.dev, p.ino) == 0);
	MUST(bench.guard->ops->arm(bench.guard, other_fd, bench.dev, other_ino) == 0);
	MUST(bench.guard->ops->disarm(bench.guard, other_fd, bench.dev, other_ino) == 0);
	p.who = b;
	breaker_go(b);
	MUST(wait_until(has_passed, &p));
	MUST(guard_op_settle(p.its.tid, p.its.syscall_hash, 2000 * MS) == 1);
	/* an event of a later call says so, too */
	b->argument = 1;
	MUST(wait_until(none_passed, &p));
	breaker_end(b);
	close(fd);
	close(other_fd);
	return NULL;
}

static bool owes_nothing(void *arg, uint32_t slot, uint64_t serial)
{
	(void)arg;
	(void)slot;
	(void)serial;
	return false;
}

/* A second guard on the same files, whose successor has its region and its group. */
static const char *a_successor_knows_who_was_let_through(void)
{
	struct guard_fanotify_params params = {.group = -1, .allow_all = bench.allow_all};
	struct passing p = {0};
	char path[256], other[256];
	uint64_t other_ino;
	int fd = make_file("file", path, &p.ino), other_fd = make_file("two", other, &other_ino);
	struct breaker *b;
	bool knows;

	params.region = mmap(NULL, guard_fanotify_bytes(), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	MUST(params.region != MAP_FAILED);
	p.guard = guard_fanotify_new(&params);
	MUST(p.guard && p.guard->ops->watch(p.guard, bench.dir_fd, bench.dev) == 0);
	MUST(p.guard->ops->start(p.guard, owes_nothing, NULL) == 0);
	b = breaker_new(prepare_open, act_once_then_sleep, path, other, 0);
	p.who = b;
	breaker_go(b);
	MUST(wait_until(has_passed, &p));
	params.group = fcntl(guard_fanotify_group(p.guard), F_DUPFD_CLOEXEC, 0);
	p.guard->ops->free(p.guard);
	/* for longer than such a thread is remembered: nobody has seen it move meanwhile */
	nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 200 * MS}, NULL);
	p.guard = guard_fanotify_new(&params);
	MUST(p.guard);
	knows = has_passed(&p);
	p.guard->ops->free(p.guard);
	munmap(params.region, guard_fanotify_bytes());
	breaker_end(b);
	close(fd);
	close(other_fd);
	MUST(knows);
	return NULL;
}

const struct test_case settle_cases[] = {
	{"C16 who was let through before the inode was armed is named",
	 let_through_before_arm_is_named, false},
	{"C24 a successor knows who was let through", a_successor_knows_who_was_let_through, false},
	{"C16 another call, or none any more, proves an operation finished", another_call_proves_it,
	 true},
	{"C16 a spinning thread is interrupted, and runs on", a_spinning_thread_is_interrupted,
	 true},
	{"C16 a waiting thread is not settled, and does not stop later",
	 a_waiting_thread_is_not_settled, true},
	{"a dying tracer lets its tracee run", a_dying_tracer_lets_go, true},
	{"C16 an io_uring worker has finished when it is idle", a_worker_is_finished_when_idle,
	 true},
	{NULL, NULL, false},
};
