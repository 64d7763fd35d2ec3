/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The worker processes from the daemon's side: order, shares, deadlines, deaths. */
#include "tests/unit/worker_fixture.h"

static void one(void **state)
{
	struct worker_job job = op_job(OP_DONE);
	struct fixture f;
	struct answer a;

	(void)state;
	open_fixture(&f, 4);
	assert_int_equal(f.started, 0); /* lazily */
	submit(&f, &job, -1, 1, LONG, &a);
	wait_for(&f, &a);
	assert_int_equal(a.result.error, 0);
	assert_int_equal(a.result.settled, 1);
	for (int i = 0; i < 100; i++) {
		submit(&f, &job, -1, 1, LONG, &a);
		wait_for(&f, &a);
	}
	assert_int_equal(f.started, 1); /* and used again */
	close_fixture(&f);
}

static void late(void **state)
{
	struct worker_job stuck = op_job(OP_STUCK), fine = op_job(OP_DONE);
	struct fixture f;
	struct answer a, b;

	(void)state;
	open_fixture(&f, 1);
	submit(&f, &stuck, -1, 1, SHORT, &a);
	submit(&f, &fine, -1, 1, LONG, &b);
	wait_for(&f, &a);
	assert_int_equal(a.result.error, -ETIMEDOUT);
	assert_true(a.result.mapped);
	assert_true(a.result.failed == UINT64_MAX);
	assert_int_equal(a.result.settled, 0);
	wait_for(&f, &b); /* in a new one */
	assert_int_equal(b.result.error, 0);
	assert_int_equal(f.started, 2);
	assert_int_equal(f.most_alive, 1);
	close_fixture(&f);
}

/* A job that waits for a worker has its deadline too. */
static void late_in_queue(void **state)
{
	struct worker_job gate = op_job(OP_GATE), fine = op_job(OP_DONE);
	struct fixture f;
	struct answer a, b, c;

	(void)state;
	open_fixture(&f, 1);
	submit(&f, &gate, -1, 1, LONG, &a);
	submit(&f, &fine, -1, 2, SHORT, &b);
	submit(&f, &fine, -1, 1, SHORT, &c);
	wait_for(&f, &b);
	wait_for(&f, &c);
	assert_int_equal(b.result.error, -ETIMEDOUT);
	assert_int_equal(c.result.error, -ETIMEDOUT);
	assert_int_equal(a.calls, 0);
	atomic_store(&shared->gate, 1);
	wait_for(&f, &a);
	assert_int_equal(a.result.error, 0);
	assert_int_equal(f.started, 1);
	close_fixture(&f);
}

static void crash(void **state)
{
	struct worker_job dies = op_job(OP_CRASH), fine = op_job(OP_DONE);
	struct fixture f;
	struct answer a, b;

	(void)state;
	open_fixture(&f, 1);
	for (int i = 0; i < 20; i++) {
		submit(&f, &dies, -1, 1, LONG, &a);
		submit(&f, &fine, -1, 1, LONG, &b);
		wait_for(&f, &a);
		assert_int_equal(a.result.error, -EIO);
		assert_true(a.result.mapped);
		wait_for(&f, &b);
		assert_int_equal(b.result.error, 0);
		/* It dies while it waits, with or without our knowing before the next job. */
		kill(f.last_pid, SIGKILL);
	}
	assert_int_equal(f.most_alive, 1);
	close_fixture(&f);
}

static void keys(void **state)
{
	struct worker_job gate = op_job(OP_GATE), fine = op_job(OP_DONE);
	struct fixture f;
	struct answer a, b[10], other;

	(void)state;
	open_fixture(&f, 4);
	submit(&f, &gate, -1, 1, LONG, &a);
	for (int i = 0; i < 10; i++)
		submit(&f, &fine, -1, 1, LONG, &b[i]);
	submit(&f, &fine, -1, 2, LONG, &other);
	wait_for(&f, &other); /* overtakes */
	for (int i = 0; i < 10; i++)
		assert_int_equal(b[i].calls, 0);
	atomic_store(&shared->gate, 1);
	wait_for(&f, &b[9]);
	assert_int_equal(other.order, 1);
	assert_int_equal(a.order, 2);
	for (int i = 0; i < 10; i++)
		assert_int_equal(b[i].order, 3 + i);
	close_fixture(&f);
}

/* A check that hangs on a file stands in the way of no other kind of job with the same key. */
static void key_kinds(void **state)
{
	struct worker_job gate = op_job(OP_GATE), fine = op_job(OP_DONE);
	struct fixture f;
	struct answer a, b;

	(void)state;
	open_fixture(&f, 4);
	gate.kind = WORKER_CHECK;
	submit(&f, &gate, STDIN_FILENO, 1, LONG, &a);
	submit(&f, &fine, -1, 1, LONG, &b);
	wait_for(&f, &b);
	assert_int_equal(a.calls, 0);
	atomic_store(&shared->gate, 1);
	wait_for(&f, &a);
	close_fixture(&f);
}

static void gate_jobs(struct fixture *f, struct answer *a, unsigned count,
		      enum worker_job_kind kind, uint32_t user, uint64_t first_key)
{
	struct worker_job job = op_job(OP_GATE);

	job.kind = kind;
	job.user = user;
	job.end = 4096;
	for (unsigned i = 0; i < count; i++)
		submit(f, &job, STDIN_FILENO, first_key + i, LONG, &a[i]);
}

static void many(void **state)
{
	static struct answer a[50];
	struct fixture f;

	(void)state;
	open_fixture(&f, 8);
	gate_jobs(&f, a, 50, WORKER_SETTLE, 0, 1);
	while (atomic_load(&shared->running) < 8)
		event_base_loop(f.base, EVLOOP_NONBLOCK);
	atomic_store(&shared->gate, 1);
	for (int i = 0; i < 50; i++)
		wait_for(&f, &a[i]);
	assert_int_equal(atomic_load(&shared->most), 8);
	assert_int_equal(f.most_alive, 8);
	while (f.alive > 2) /* the others are sent home */
		event_base_loop(f.base, EVLOOP_ONCE);
	assert_int_equal(f.alive, 2);
	close_fixture(&f);
}

/*
 * Hostile files: one user's take half of what checks may have, everybody's leave a quarter free.
 */
static void shares(void **state)
{
	struct worker_job fine = op_job(OP_DONE);
	struct answer a[8], b[8], root[8], c;
	struct fixture f;

	(void)state;
	open_fixture(&f, 8);
	gate_jobs(&f, a, 8, WORKER_CHECK, 1000, 100);
	submit(&f, &fine, -1, 300, LONG, &c);
	wait_for(&f, &c);
	assert_int_equal(f.alive, 3 + 1);
	gate_jobs(&f, b, 8, WORKER_CHECK, 1001, 200);
	gate_jobs(&f, root, 8, WORKER_CHECK, 0, 400);
	while (atomic_load(&shared->running) < 6)
		event_base_loop(f.base, EVLOOP_NONBLOCK);
	submit(&f, &fine, -1, 300, LONG, &c);
	wait_for(&f, &c);
	assert_true(f.alive <= 6 + 2); /* of which two have no job */
	for (int i = 0; i < 20; i++) { /* there is room for what is no check, and only for that */
		submit(&f, &fine, -1, 300, LONG, &c);
		wait_for(&f, &c);
	}
	assert_int_equal(atomic_load(&shared->most), 6);
	atomic_store(&shared->gate, 1);
	for (int i = 0; i < 8; i++) {
		wait_for(&f, &a[i]);
		wait_for(&f, &b[i]);
		wait_for(&f, &root[i]);
	}
	close_fixture(&f);
}

static void bounds(void **state)
{
	static struct answer a[WORKER_MAX_QUEUE];
	struct worker_job gate = op_job(OP_GATE);
	struct fixture f;
	uint64_t id;
	int n;

	(void)state;
	open_fixture(&f, 1);
	for (n = 0; n < WORKER_MAX_KEY; n++)
		submit(&f, &gate, -1, 1, LONG, &a[n]);
	assert_int_equal(workers_submit(f.workers, &gate, -1, 1, LONG, on_done, NULL, &id),
			 -EAGAIN);
	gate.user = 5;
	for (int i = 0; i < WORKER_MAX_USER; i++, n++)
		submit(&f, &gate, -1, 1000 + (uint64_t)i, LONG, &a[n]);
	assert_int_equal(workers_submit(f.workers, &gate, -1, 2, LONG, on_done, NULL, &id),
			 -EAGAIN);
	gate.user = 0;
	for (; n < WORKER_MAX_QUEUE; n++)
		submit(&f, &gate, -1, 2000 + (uint64_t)n, LONG, &a[n]);
	assert_int_equal(workers_submit(f.workers, &gate, -1, 3, LONG, on_done, NULL, &id),
			 -EAGAIN);
	atomic_store(&shared->gate, 1);
	for (n = 0; n < WORKER_MAX_QUEUE; n++)
		wait_for(&f, &a[n]);
	submit(&f, &gate, -1, 1, LONG, &a[0]);
	wait_for(&f, &a[0]);
	close_fixture(&f);
}

static void cancel(void **state)
{
	struct worker_job gate = op_job(OP_GATE), fine = op_job(OP_DONE), stuck = op_job(OP_STUCK);
	struct answer a, b, c;
	struct fixture f;
	uint64_t running, waiting;

	(void)state;
	open_fixture(&f, 1);
	running = submit(&f, &gate, -1, 1, LONG, &a);
	waiting = submit(&f, &fine, -1, 1, LONG, &b);
	submit(&f, &fine, -1, 1, LONG, &c);
	while (!atomic_load(&shared->running))
		event_base_loop(f.base, EVLOOP_NONBLOCK);
	workers_cancel(f.workers, waiting);
	workers_cancel(f.workers, running);
	workers_cancel(f.workers, running);
	workers_cancel(f.workers, 12345);
	workers_cancel(f.workers, 0);
	atomic_store(&shared->gate, 1);
	wait_for(&f, &c);
	assert_int_equal(a.calls, 0);
	assert_int_equal(b.calls, 0);
	assert_int_equal(f.started, 1);

	/* One that is stuck is killed at its deadline all the same. */
	running = submit(&f, &stuck, -1, 1, SHORT, &a);
	submit(&f, &fine, -1, 1, LONG, &c);
	for (int i = 0; i < 3; i++)
		event_base_loop(f.base, EVLOOP_NONBLOCK);
	workers_cancel(f.workers, running);
	wait_for(&f, &c);
	assert_int_equal(a.calls, 0);
	assert_int_equal(f.started, 2);
	close_fixture(&f);
}

static void again(void *arg, const struct worker_result *result)
{
	struct answer *a = arg;
	struct worker_job job = op_job(OP_DONE);
	uint64_t id;

	a->result = *result;
	if (++a->calls < 50) {
		assert_int_equal(workers_submit(a->f->workers, &job, -1, 1, LONG, again, a, &id),
				 0);
		if (a->calls % 2) {
			workers_cancel(a->f->workers, id);
			assert_int_equal(workers_submit(a->f->workers, &job, -1, 1, LONG, again, a,
							&id),
					 0);
		}
	}
}

static void submit_in_done(void **state)
{
	struct worker_job job = op_job(OP_DONE);
	struct fixture f;
	struct answer a = {.f = &f};
	uint64_t id;

	(void)state;
	open_fixture(&f, 2);
	assert_int_equal(workers_submit(f.workers, &job, -1, 1, LONG, again, &a, &id), 0);
	while (a.calls < 50)
		event_base_loop(f.base, EVLOOP_ONCE);
	close_fixture(&f);
}

/* Freed in the middle of everything. */
static void free_early(void **state)
{
	static struct answer a[20];
	struct worker_job job = op_job(OP_STUCK);
	struct fixture f;
	int fd = memfd_create("x", MFD_CLOEXEC);

	(void)state;
	open_fixture(&f, 3);
	for (int i = 0; i < 20; i++)
		submit(&f, &job, fd, (uint64_t)i, LONG, &a[i]);
	while (f.alive < 3)
		event_base_loop(f.base, EVLOOP_NONBLOCK);
	close(fd);
	close_fixture(&f);
	for (int i = 0; i < 20; i++)
		assert_int_equal(a[i].calls, 0);
	/* All were killed; on a busy machine some of them die later than workers_free() waits. */
	while (waitpid(-1, NULL, 0) > 0)
		continue;
	assert_int_equal(errno, ECHILD);
	open_fixture(&f, 3);
	close_fixture(&f);
	workers_free(NULL);
}

static void no_workers(void **state)
{
	struct event_base *base = event_base_new();

	(void)state;
	assert_null(workers_new(base, 0, NULL, NULL));
	assert_int_equal(errno, EINVAL);
	event_base_free(base);
}

/* No descriptor of ours is left over: of jobs, sockets, pidfds. */
static void leaks(void **state)
{
	uint64_t before = open_fds();

	late(state);
	crash(state);
	cancel(state);
	free_early(state);
	assert_true(open_fds() == before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one),
		cmocka_unit_test(late),
		cmocka_unit_test(late_in_queue),
		cmocka_unit_test(crash),
		cmocka_unit_test(keys),
		cmocka_unit_test(key_kinds),
		cmocka_unit_test(many),
		cmocka_unit_test(shares),
		cmocka_unit_test(bounds),
		cmocka_unit_test(cancel),
		cmocka_unit_test(submit_in_done),
		cmocka_unit_test(free_early),
		cmocka_unit_test(no_workers),
		cmocka_unit_test(leaks),
	};

	return run(tests, sizeof(tests) / sizeof(tests[0]));
}
