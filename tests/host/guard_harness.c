/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/host/guard_harness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct bench bench = {.dir_fd = -1, .old_fd = -1};

static struct breaker *breakers; /* shared memory */
static pid_t nursery_pid;
static int nursery = -1; /* the forking process's socket */

/* What is waited for comes in microseconds. Without protection it does not come, and nobody needs
 * to wait long. */
static int64_t patience_ms(void)
{
	return bench.allow_all ? 500 : 10000;
}

static void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(2);
}

static void pause_briefly(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 200 * 1000}, NULL);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool wait_until(bool (*condition)(const void *), const void *argument)
{
	const int64_t end = now_ms() + patience_ms();

	while (!condition(argument)) {
		if (now_ms() > end)
			return false;
		pause_briefly();
	}
	return true;
}

/* --- breakers
 * ---------------------------------------------------------------------------------------- */

static void *act(void *argument)
{
	struct breaker *breaker = argument;

	if (breaker->flags & BREAKER_NOBODY && syscall(SYS_setresuid, -1, 65534, -1) < 0)
		_exit(3);
	breaker->tid = gettid();
	while (atomic_load(&breaker->state) != BREAKER_GO)
		pause_briefly();
	atomic_store(&breaker->state, BREAKER_RUNS);
	errno = 0;
	breaker->ret = breaker->act(breaker);
	breaker->error = breaker->ret < 0 ? errno : 0;
	atomic_store(&breaker->state, BREAKER_DONE);
	return NULL;
}

static void run_breaker(struct breaker *breaker)
{
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "breaker");
	signal(SIGCHLD, SIG_DFL);
	if (breaker->prepare && breaker->prepare(breaker) < 0)
		_exit(3);
	breaker->pid = getpid();
	atomic_store(&breaker->state, BREAKER_READY);
	if (!(breaker->flags & BREAKER_THREAD))
		act(breaker);
	else if (pthread_create(&thread, NULL, act, breaker) || pthread_join(thread, NULL))
		_exit(3);
	_exit(0);
}

static void run_nursery(int commands)
{
	uint32_t index;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_IGN); /* they are reaped as they end */
	while (read(commands, &index, sizeof(index)) == (ssize_t)sizeof(index)) {
		if (fork() == 0) {
			close(commands);
			run_breaker(&breakers[index]);
		}
	}
	/* those of failed tests */
	for (index = 0; index < MAX_BREAKERS; index++) {
		if (breakers[index].pid > 0 && breakers[index].prepare)
			kill(breakers[index].pid, SIGKILL);
	}
	while (wait(NULL) > 0 || errno == EINTR)
		continue;
	_exit(0);
}

void breakers_start(void)
{
	int ends[2];

	breakers = mmap(NULL, MAX_BREAKERS * sizeof(*breakers), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (breakers == MAP_FAILED ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		die("breakers_start");
	nursery_pid = fork();
	if (nursery_pid < 0)
		die("fork");
	if (nursery_pid == 0) {
		close(ends[0]);
		run_nursery(ends[1]);
	}
	close(ends[1]);
	nursery = ends[0];
}

void breakers_stop(void)
{
	close(nursery);
	waitpid(nursery_pid, NULL, 0);
}

static bool is_ready(const void *argument)
{
	const struct breaker *breaker = argument;

	return atomic_load(&breaker->state) >= BREAKER_READY && breaker->tid > 0;
}

struct breaker *breaker_new(long (*prepare)(struct breaker *), long (*what)(struct breaker *),
			    const char *path, const char *other, int flags)
{
	uint32_t index = 0;
	struct breaker *breaker;

	while (index < MAX_BREAKERS && breakers[index].prepare)
		index++;
	if (index == MAX_BREAKERS)
		die("too many breakers");
	breaker = &breakers[index];
	memset(breaker, 0, sizeof(*breaker));
	breaker->prepare = prepare;
	breaker->act = what;
	breaker->flags = flags;
	breaker->fd = breaker->other_fd = -1;
	snprintf(breaker->path, sizeof(breaker->path), "%s", path);
	snprintf(breaker->other, sizeof(breaker->other), "%s", other ? other : "");
	if (write(nursery, &index, sizeof(index)) != (ssize_t)sizeof(index))
		die("nursery");
	if (!wait_until(is_ready, breaker))
		die("breaker does not start");
	return breaker;
}

void breaker_go(struct breaker *breaker)
{
	atomic_store(&breaker->state, BREAKER_GO);
}

bool breaker_done(const struct breaker *breaker)
{
	return atomic_load(&breaker->state) == BREAKER_DONE;
}

static bool is_done(const void *argument)
{
	return breaker_done(argument);
}

bool breaker_wait_done(const struct breaker *breaker)
{
	return wait_until(is_done, breaker);
}

static bool is_gone(const void *argument)
{
	const struct breaker *breaker = argument;

	return kill(breaker->pid, 0) < 0 && errno == ESRCH;
}

void breaker_end(struct breaker *breaker)
{
	struct guard_attempt attempt;

	kill(breaker->pid, SIGKILL);
	if (!wait_until(is_gone, breaker))
		die("breaker does not die");
	memset(breaker, 0, sizeof(*breaker));
	/* what it left */
	while (bench.guard && bench.guard->ops->next(bench.guard, &attempt)) {
		if (!attempt.answered)
			bench.guard->ops->answer(bench.guard, attempt.slot, 0);
	}
}

long prepare_open(struct breaker *breaker)
{
	int flags = breaker->flags & BREAKER_READ ? O_RDONLY : O_RDWR;

	breaker->fd = open(breaker->path, flags | (breaker->flags & BREAKER_APPEND ? O_APPEND : 0));
	if (breaker->other[0])
		breaker->other_fd = open(breaker->other, O_RDWR);
	return breaker->fd < 0 || (breaker->other[0] && breaker->other_fd < 0) ? -1 : 0;
}

/* --- files and attempts
 * ------------------------------------------------------------------------------ */

int make_file(const char *name, char path[256], uint64_t *ino)
{
	static char bytes[FILE_BYTES];
	struct stat st;
	int fd;

	snprintf(path, 256, "%s/%s", bench.dir, name);
	memset(bytes, 'a', sizeof(bytes));
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0777);
	if (fd < 0 || write(fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes) || fsync(fd) < 0 ||
	    close(fd) < 0)
		die(path);
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		die(path);
	*ino = st.st_ino;
	return fd;
}

bool wait_attempt(const struct breaker *breaker, struct guard_attempt *attempt)
{
	const int64_t end = now_ms() + patience_ms();
	struct pollfd readable = {.fd = bench.guard->event_fd, .events = POLLIN};

	while (now_ms() < end) {
		bool done = breaker && breaker_done(breaker);

		if (bench.guard->ops->next(bench.guard, attempt))
			return true;
		if (done)
			return false;
		poll(&readable, 1, 1);
	}
	return false;
}

void report(bool ok, const char *name, const char *why)
{
	bench.tests++;
	if (!ok)
		bench.failures++;
	if (ok)
		printf("ok %d - %s\n", bench.tests, name);
	else
		printf("not ok %d - %s: %s\n", bench.tests, name, why);
	fflush(stdout);
}
