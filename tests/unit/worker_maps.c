/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Does a process still map a file? The parser in pieces of every size, and real processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/guard/guard.h"
#include "daemon/worker_jobs.h"

int guard_op_settle(int32_t tid, uint64_t syscall_hash, uint64_t limit_ns)
{
	(void)tid;
	(void)syscall_hash;
	(void)limit_ns;
	return 1;
}

static const char text[] =
	"55d0c0a00000-55d0c0a02000 r--p 00000000 fe:01 131                        /usr/bin/cat\n"
	"7f0e00000000-7f0e00200000 rw-s 00000000 103:1f 18446744073709551615      /mnt/a\\012b "
	"fe:01 99 (deleted)\n"
	"7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0 \n"
	"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";

static bool parse(const char *maps, size_t piece, uint64_t dev, uint64_t ino, uint64_t *lines)
{
	struct worker_job job = { .kind = WORKER_MAPS, .items = 2 };
	struct worker_maps_parser parser = { 0 };
	size_t size = strlen(maps);

	job.file[0].dev = 1;
	job.file[1].dev = dev;
	job.file[1].ino = ino;
	for (size_t at = 0; at < size; at += piece)
		worker_maps_feed(&parser, &job, maps + at, piece < size - at ? piece : size - at);
	*lines = parser.lines;
	return parser.found;
}

static void pieces(void **state)
{
	uint64_t lines;

	(void)state;
	for (size_t piece = 1; piece <= sizeof(text); piece++) {
		assert_true(parse(text, piece, makedev(0x103, 0x1f), UINT64_MAX, &lines));
		assert_int_equal(lines, 4);
		assert_false(parse(text, piece, makedev(0x103, 0x1f), 131, &lines));
		assert_false(parse(text, piece, makedev(0xfe, 1), 131, &lines)); /* private */
		assert_false(parse(text, piece, makedev(0xfe, 1), 99, &lines));	 /* in the name */
		assert_false(parse(text, piece, 0, 0, &lines));			 /* anonymous */
	}
}

/* What cannot be read counts as mapped. */
static void broken(void **state)
{
	uint64_t lines;

	(void)state;
	assert_true(parse("garbage\n", 3, 1, 1, &lines));
	assert_true(parse("1-2 r--s 0 zz:01 1 x\n", 3, 5, 5, &lines));
	assert_true(parse("1-2 r--s 0 01:01 1x x\n", 3, 5, 5, &lines));
	assert_true(parse("1-2 r--s 0 01:01 99999999999999999999999 x\n", 3, 5, 5, &lines));
	assert_false(parse("", 3, 5, 5, &lines));
	assert_int_equal(lines, 0);
}

struct child {
	pid_t pid;
	int ready[2], go[2];
};

static void child_says(const struct child *c)
{
	if (write(c->ready[1], "x", 1) != 1)
		_exit(9);
}

static void await(const struct child *c)
{
	char x;

	assert_int_equal(read(c->ready[0], &x, 1), 1);
}

static pthread_t leader;

static void *last_thread(void *arg)
{
	struct child *c = arg;
	char x;

	if (pthread_join(leader, NULL))
		_exit(9);
	child_says(c);
	if (read(c->go[0], &x, 1) < 0)
		_exit(9);
	_exit(0);
}

enum how { SHARED, PRIVATE, NOTHING, LEADER_GONE };

static void start(struct child *c, int fd, enum how how)
{
	assert_int_equal(pipe(c->ready), 0);
	assert_int_equal(pipe(c->go), 0);
	c->pid = fork();
	assert_true(c->pid >= 0);
	if (c->pid == 0) {
		char x;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (how != NOTHING &&
		    mmap(NULL, 4096, PROT_READ, how == PRIVATE ? MAP_PRIVATE : MAP_SHARED, fd, 0) ==
			    MAP_FAILED)
			_exit(9);
		close(fd);
		if (how == LEADER_GONE) {
			static struct child copy; /* outlives this thread's stack */
			pthread_t thread;

			copy = *c;
			leader = pthread_self();
			if (pthread_create(&thread, NULL, last_thread, &copy))
				_exit(9);
			pthread_exit(NULL);
		}
		child_says(c);
		if (read(c->go[0], &x, 1) < 0)
			_exit(9);
		_exit(0);
	}
	await(c);
}

static void stop(struct child *c)
{
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	for (int i = 0; i < 2; i++) {
		close(c->ready[i]);
		close(c->go[i]);
	}
}

static void processes(void **state)
{
	int fd = memfd_create("maps", MFD_CLOEXEC);
	struct worker_job job = { .kind = WORKER_MAPS, .items = 1 };
	struct child c;
	struct stat st;

	(void)state;
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(fstat(fd, &st), 0);
	job.file[0].dev = st.st_dev;
	job.file[0].ino = st.st_ino;
	start(&c, fd, SHARED);
	assert_int_equal(worker_maps(c.pid, &job, NULL), 1);
	job.file[0].ino++;
	assert_int_equal(worker_maps(c.pid, &job, NULL), 0);
	job.file[0].ino--;
	stop(&c);
	assert_int_equal(worker_maps(c.pid, &job, NULL), 0); /* gone */
	start(&c, fd, PRIVATE);
	assert_int_equal(worker_maps(c.pid, &job, NULL), 0);
	stop(&c);
	start(&c, fd, NOTHING);
	assert_int_equal(worker_maps(c.pid, &job, NULL), 0);
	kill(c.pid, SIGKILL); /* a zombie */
	waitid(P_PID, (id_t)c.pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT);
	assert_int_equal(worker_maps(c.pid, &job, NULL), 0);
	stop(&c);
	start(&c, fd, LEADER_GONE);
	assert_int_equal(worker_maps(c.pid, &job, NULL), 1);
	stop(&c);
	assert_true(worker_maps(0, &job, NULL) < 0);
	assert_true(worker_maps(-1, &job, NULL) < 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces),
		cmocka_unit_test(broken),
		cmocka_unit_test(processes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
