/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For the tests of the workers; included once by each. The operation a job settles is a fake: its
 * "thread" number says what the worker does.
 */
#ifndef DAXLEASE_TESTS_WORKER_FIXTURE_H
#define DAXLEASE_TESTS_WORKER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/guard/guard.h"
#include "daemon/worker.h"

#define MS UINT64_C(1000000)
#define LONG (60000 * MS) /* never reached unless something is broken */
#define SHORT (30 * MS)

/* Shared with the workers. */
static struct shared {
	_Atomic int running, most;
	_Atomic int gate; /* OP_GATE waits for it */
	_Atomic int settled_fds, signals;
} * shared;

enum op { OP_DONE = 1, OP_NOT_DONE, OP_STUCK, OP_CRASH, OP_GATE, OP_LIMIT, OP_ENVIRONMENT };

/* Descriptors open, 1 << n for n < 63. */
static uint64_t open_fds(void)
{
	uint64_t fds = 0;

	for (int i = 0; i < 63; i++)
		fds |= (uint64_t)(fcntl(i, F_GETFD) >= 0) << i;
	return fds;
}

static bool environment_ok(void)
{
	struct sigaction action;
	sigset_t mask;

	sigprocmask(SIG_SETMASK, NULL, &mask);
	for (int i = 1; i < NSIG; i++) {
		if (sigismember(&mask, i) == 1)
			return false;
	}
	sigaction(SIGUSR1, NULL, &action);
	return action.sa_handler == SIG_DFL && __builtin_popcountll(open_fds()) == 4;
}

int guard_op_settle(int32_t tid, uint64_t syscall_hash, uint64_t limit_ns)
{
	switch ((enum op)tid) {
	case OP_DONE:
		return 1;
	case OP_NOT_DONE:
		return 0;
	case OP_STUCK:
		for (;;)
			pause();
	case OP_CRASH:
		raise(SIGKILL);
		break;
	case OP_GATE: {
		int running = atomic_fetch_add(&shared->running, 1) + 1,
		    most = atomic_load(&shared->most);

		while (running > most &&
		       !atomic_compare_exchange_weak(&shared->most, &most, running))
			;
		while (!atomic_load(&shared->gate))
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		atomic_fetch_sub(&shared->running, 1);
		return 1;
	}
	case OP_LIMIT:
		return limit_ns >= syscall_hash / 2 && limit_ns <= syscall_hash;
	case OP_ENVIRONMENT:
		return environment_ok();
	}
	return 0;
}

struct fixture {
	struct event_base *base;
	struct workers *workers;
	unsigned alive, most_alive, started;
	int32_t last_pid;
};

struct answer {
	struct fixture *f;
	unsigned calls;
	struct worker_result result;
	uint64_t order; /* 1: the first answered */
};

static uint64_t answers;

static void on_started(void *arg, int32_t pid, bool on)
{
	struct fixture *f = arg;

	assert_int_equal(kill(pid, 0), 0); /* it exists, perhaps as a zombie */
	f->alive += on ? 1 : -1u;
	f->started += on;
	f->last_pid = pid;
	if (f->alive > f->most_alive)
		f->most_alive = f->alive;
}

static void on_done(void *arg, const struct worker_result *result)
{
	struct answer *a = arg;

	a->calls++;
	a->result = *result;
	a->order = ++answers;
}

static void open_fixture(struct fixture *f, unsigned max)
{
	*f = (struct fixture){ .base = event_base_new() };
	memset(shared, 0, sizeof(*shared));
	answers = 0;
	f->workers = workers_new(f->base, max, on_started, f);
	assert_non_null(f->workers);
}

static void close_fixture(struct fixture *f)
{
	workers_free(f->workers);
	assert_int_equal(f->alive, 0);
	event_base_free(f->base);
}

static struct worker_job op_job(enum op op)
{
	struct worker_job job = { .kind = WORKER_SETTLE, .items = 1 };

	job.op[0].tid = (int32_t)op;
	return job;
}

static uint64_t submit(struct fixture *f, const struct worker_job *job, int fd, uint64_t key,
		       uint64_t limit, struct answer *a)
{
	uint64_t id = 0;

	*a = (struct answer){ .f = f };
	assert_int_equal(workers_submit(f->workers, job, fd, key, limit, on_done, a, &id), 0);
	assert_int_not_equal(id, 0);
	assert_int_equal(a->calls, 0);
	return id;
}

static void wait_for(struct fixture *f, const struct answer *a)
{
	while (!a->calls)
		assert_int_equal(event_base_loop(f->base, EVLOOP_ONCE), 0);
	assert_int_equal(a->calls, 1);
}

static int run(const struct CMUnitTest *tests, size_t count)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		return 99;
	return _cmocka_run_group_tests("workers", tests, count, NULL, NULL);
}

#endif
