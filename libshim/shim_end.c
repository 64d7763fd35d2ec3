// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libshim/shim_end.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "libshim/shim_hook.h"

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL /* include/uapi/linux/pidfd.h, Linux 6.9 */
#endif

/* The other threads are looked at again after so long at the latest: a new one may have come. */
#define LOOK_MS 1000
#define LOOK_OLD_KERNEL_MS 100

static atomic_bool main_gone, listening, watching;
static atomic_int listener; /* its thread id while it runs */
static sigset_t main_mask;  /* what exit handlers run with; written before main_gone */

/* As the kernel fills it; getdents64(2). opendir() would allocate. */
struct entry {
	uint64_t ino;
	int64_t off;
	unsigned short size;
	unsigned char type;
	char name[];
};

/* A thread of the process besides the first and ours: its id, 0: none, -1: cannot be told. */
static pid_t next_of(int tasks)
{
	union {
		struct entry first;
		char bytes[2048];
	} buffer;
	pid_t us = gettid(), first = getpid();
	long got;

	while ((got = syscall(SYS_getdents64, tasks, buffer.bytes, sizeof(buffer.bytes))) > 0) {
		for (long at = 0; at < got;) {
			const struct entry *entry =
				(const struct entry *)(const void *)(buffer.bytes + at);
			pid_t tid = (pid_t)strtol(entry->name, NULL, 10);

			at += entry->size;
			if (tid > 0 && tid != us && tid != first && tid != atomic_load(&listener))
				return tid;
		}
	}
	return got < 0 ? -1 : 0;
}

static pid_t other_thread(void)
{
	int tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pid_t tid = tasks < 0 ? -1 : next_of(tasks);

	if (tasks >= 0)
		close(tasks);
	return tid;
}

/* The first thread's own way to its end is not cut short: it may have destructors to run. */
static bool first_thread_ended(void)
{
	char path[48], text[512], *state;
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)getpid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	got = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[got > 0 ? got : 0] = '\0';
	state = strrchr(text, ')');
	return state && (strncmp(state, ") Z", 3) == 0 || strncmp(state, ") X", 3) == 0);
}

static void wait_for(pid_t tid)
{
	struct pollfd end = {.fd = -1, .events = POLLIN};

	if (tid > 0)
		end.fd = (int)syscall(SYS_pidfd_open, tid, PIDFD_THREAD);
	if (end.fd < 0) {
		poll(NULL, 0, tid > 0 ? LOOK_OLD_KERNEL_MS : 10);
		return;
	}
	poll(&end, 1, LOOK_MS);
	close(end.fd);
}

static void *watch(void *unused)
{
	pid_t tid;

	(void)unused;
	shim_inside = 1;
	prctl(PR_SET_NAME, "daxlease-end");
	while ((tid = other_thread()) > 0 || (tid == 0 && !first_thread_ended()))
		wait_for(tid);
	if (tid < 0) {
		say("process %d: its threads cannot be looked at (/proc): as long as it has leases "
		    "it "
		    "does not end by itself",
		    (int)getpid());
		return NULL;
	}
	shim_inside = 0;
	pthread_sigmask(SIG_SETMASK, &main_mask, NULL);
	exit(0); /* as the C library does behind the last thread */
}

static void start_watching(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	struct hook hook;

	if (!atomic_load(&main_gone) || !atomic_load(&listening) ||
	    atomic_exchange(&watching, true))
		return;
	hook_enter(&hook); /* all signals blocked: the thread inherits that */
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, watch, NULL) != 0)
		say("process %d: no thread to watch for its end: it does not end by itself",
		    (int)getpid());
	pthread_attr_destroy(&attr);
	hook_leave(&hook);
}

/* A destructor of thread-specific data: it runs when the thread leaves by pthread_exit(3) or is
 * cancelled, not when main() returns. */
static void main_leaves(void *unused)
{
	(void)unused;
	if (gettid() != getpid())
		return;
	pthread_sigmask(SIG_SETMASK, NULL, &main_mask);
	atomic_store(&main_gone, true);
	start_watching();
}

void end_follow(void)
{
	static pthread_key_t key;
	static bool made;

	atomic_store(&main_gone, false);
	atomic_store(&listening, false);
	atomic_store(&watching, false);
	atomic_store(&listener, 0);
	if (!made)
		made = pthread_key_create(&key, main_leaves) == 0;
	if (made && gettid() == getpid())
		(void)pthread_setspecific(key, &key);
}

void end_listener_runs(void)
{
	atomic_store(&listener, gettid());
	atomic_store(&listening, true);
	start_watching();
}

void end_listener_ends(void)
{
	/* its number may be a program's thread's next */
	atomic_store(&listener, 0);
}
