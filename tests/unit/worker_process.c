/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The worker processes from the inside: what they have of the daemon, and what each kind of job
 * answers.
 */
#include "tests/unit/worker_fixture.h"

static void settling(void **state)
{
	struct worker_job job = { .kind = WORKER_SETTLE, .items = 64 };
	struct fixture f;
	struct answer a;

	(void)state;
	open_fixture(&f, 4);
	for (unsigned i = 0; i < 64; i++)
		job.op[i].tid = OP_DONE;
	submit(&f, &job, -1, 1, LONG, &a);
	wait_for(&f, &a);
	assert_int_equal(a.result.error, 0);
	assert_true(a.result.settled == UINT64_MAX);
	job.op[63].tid = job.op[5].tid = OP_NOT_DONE;
	submit(&f, &job, -1, 1, LONG, &a);
	wait_for(&f, &a);
	assert_int_equal(a.result.error, 0);
	assert_true(a.result.settled == (UINT64_MAX >> 1 & ~(UINT64_C(1) << 5)));

	job = op_job(OP_LIMIT); /* between half and the whole of it */
	job.op[0].syscall_hash = LONG;
	submit(&f, &job, -1, 1, LONG, &a);
	wait_for(&f, &a);
	assert_int_equal(a.result.settled, 1);
	job.items = 0;
	submit(&f, &job, -1, 1, LONG, &a);
	wait_for(&f, &a);
	assert_int_equal(a.result.error, 0);
	job.items = 65;
	assert_int_equal(workers_submit(f.workers, &job, -1, 1, LONG, on_done, &a,
					&(uint64_t){ 0 }),
			 -EINVAL);
	close_fixture(&f);
}

static void checking(void **state)
{
	char name[] = "/tmp/worker_queue.XXXXXX";
	struct worker_job job = {
		.kind = WORKER_CHECK, .start = 0, .end = 4096, .reopen_ok = true
	};
	struct fixture f;
	struct answer a;
	int fd = mkstemp(name);

	(void)state;
	open_fixture(&f, 4);
	assert_int_equal(pwrite(fd, "x", 1, 0), 1);
	submit(&f, &job, fd, 1, LONG, &a);
	wait_for(&f, &a);
	assert_int_equal(a.result.error, 0);
	assert_string_equal(a.result.path, name);

	/* The caller may close its own at once, and the worker closes what it got. */
	for (int i = 0; i < 70; i++) {
		int other = dup(fd);

		submit(&f, &job, other, 1, LONG, &a);
		close(other);
		wait_for(&f, &a);
		assert_int_equal(a.result.error, 0);
	}
	job.items = 1;
	job.op[0].tid = OP_ENVIRONMENT;
	submit(&f, &job, fd, 1, LONG, &a); /* 0, 1, 2, the socket, and the file: one too many */
	wait_for(&f, &a);
	assert_int_equal(a.result.error, -EAGAIN);
	assert_int_equal(a.result.refusal.reason, DLP_REASON_BREAKING);
	assert_string_equal(a.result.path, name);
	job.items = 0;

	unlink(name);
	job.end = 8192;
	submit(&f, &job, fd, 1, LONG, &a);
	wait_for(&f, &a);
	assert_int_equal(a.result.error, -ENODATA);
	assert_int_equal(a.result.refusal.reason, DLP_REASON_BEYOND_EOF);
	assert_int_equal(a.result.refusal.offset, 4096);
	assert_non_null(strstr(a.result.path, " (deleted)"));

	submit(&f, &job, -1, 1, LONG, &a);
	wait_for(&f, &a);
	assert_int_equal(a.result.error, -EBADF);
	assert_int_equal(workers_submit(f.workers, &job, 9999, 1, LONG, on_done, &a,
					&(uint64_t){ 0 }),
			 -EBADF);
	close(fd);
	close_fixture(&f);
}

static void destroying(void **state)
{
	struct worker_job job = { .kind = WORKER_DESTROY, .items = 3 };
	struct fixture f;
	struct answer a;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC), other = memfd_create("x", MFD_CLOEXEC);

	(void)state;
	open_fixture(&f, 4);
	submit(&f, &job, fd, 1, LONG, &a);
	wait_for(&f, &a);
	assert_int_equal(a.result.error, -ENOTTY);
	assert_int_equal(a.result.failed, 7);
	submit(&f, &job, other, 1, LONG, &a);
	wait_for(&f, &a);
	assert_int_equal(a.result.error, -ENOTTY);
	assert_int_equal(a.result.failed, 7);
	close(fd);
	close(other);
	close_fixture(&f);
}

static void maps(void **state)
{
	struct worker_job job = { .kind = WORKER_MAPS, .items = 1, .pid = getpid() };
	struct fixture f;
	struct answer a;
	struct stat st;
	int fd = memfd_create("x", MFD_CLOEXEC);
	void *at;

	(void)state;
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(fstat(fd, &st), 0);
	job.file[0].dev = st.st_dev;
	job.file[0].ino = st.st_ino;
	at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	open_fixture(&f, 4);
	submit(&f, &job, -1, 1, LONG, &a);
	wait_for(&f, &a);
	assert_int_equal(a.result.error, 0);
	assert_true(a.result.mapped);
	munmap(at, 4096);
	submit(&f, &job, -1, 1, LONG, &a);
	wait_for(&f, &a);
	assert_false(a.result.mapped);
	close(fd);
	close_fixture(&f);
}

static void handler(int sig)
{
	(void)sig;
}

/*
 * The child has nothing of ours, though we had descriptors, handlers and blocked signals when it
 * was forked.
 */
static void environment(void **state)
{
	struct worker_job job = op_job(OP_ENVIRONMENT);
	sigset_t usr2;
	struct fixture f;
	struct answer a;
	int more = memfd_create("x", 0);

	(void)state;
	signal(SIGUSR1, handler);
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	sigprocmask(SIG_BLOCK, &usr2, NULL);
	open_fixture(&f, 4);
	submit(&f, &job, -1, 1, LONG, &a);
	wait_for(&f, &a);
	assert_int_equal(a.result.settled, 1);
	sigprocmask(SIG_SETMASK, NULL, &usr2);
	assert_int_equal(sigismember(&usr2, SIGUSR1), 0);
	assert_int_equal(sigismember(&usr2, SIGUSR2), 1);
	sigprocmask(SIG_UNBLOCK, &usr2, NULL);
	signal(SIGUSR1, SIG_DFL);
	close(more);
	close_fixture(&f);
}

/* SIGTERM to the whole group is not the end of a fence. */
static void term(void **state)
{
	struct worker_job job = op_job(OP_GATE);
	struct fixture f;
	struct answer a;

	(void)state;
	open_fixture(&f, 4);
	submit(&f, &job, -1, 1, LONG, &a);
	while (!atomic_load(&shared->running))
		event_base_loop(f.base, EVLOOP_NONBLOCK);
	kill(f.last_pid, SIGTERM);
	kill(f.last_pid, SIGINT);
	atomic_store(&shared->gate, 1);
	wait_for(&f, &a);
	assert_int_equal(a.result.error, 0);
	close_fixture(&f);
}

static void *busy(void *arg)
{
	atomic_bool *stop = arg;

	while (!atomic_load(stop)) {
		void *memory = malloc(100);

		free(memory);
	}
	return NULL;
}

/* Forked while another thread allocates: the child must not wait for a lock that thread held. */
static void threads(void **state)
{
	struct worker_job dies = op_job(OP_CRASH), check = { .kind = WORKER_CHECK, .end = 4096 };
	atomic_bool stop = false;
	pthread_t thread;
	struct fixture f;
	struct answer a, b;
	int fd = memfd_create("x", MFD_CLOEXEC);

	(void)state;
	check.reopen_ok = true;
	assert_int_equal(pwrite(fd, "x", 1, 0), 1);
	assert_int_equal(pthread_create(&thread, NULL, busy, &stop), 0);
	open_fixture(&f, 1);
	for (int i = 0; i < 100; i++) {
		submit(&f, &check, fd, 1, LONG, &a);
		submit(&f, &dies, -1, 1, LONG, &b);
		wait_for(&f, &b);
		assert_int_equal(a.result.error, 0);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	close(fd);
	close_fixture(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settling),    cmocka_unit_test(checking),
		cmocka_unit_test(destroying),  cmocka_unit_test(maps),
		cmocka_unit_test(environment), cmocka_unit_test(term),
		cmocka_unit_test(threads),
	};

	return run(tests, sizeof(tests) / sizeof(tests[0]));
}
