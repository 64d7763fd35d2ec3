// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Closing descriptors that came from clients. close(2) can block for as long as a hostile client likes (a FUSE
 * server that does not answer FLUSH), or do a lot of work (the last one of an unlinked file frees its blocks,
 * that of an RDMA device destroys what is on it): so threads of its own do it, and the loop does not wait.
 * One user's descriptors occupy few of the threads: the others' are closed meanwhile.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "daemon/closer.h"

#define THREADS_MAX 32
#define THREADS_USER 2 /* of these at one user's descriptors; root has no limit */
#define BEHIND 256     /* descriptors of one user */
/* Where there was one there is often another soon: so long the thread that closed it stays awake, unless there are
 * so many. To wake one for each costs more than to close it. */
#define LINGER_NS (1000 * 1000)
#define TOGETHER 64
#define STACK_SIZE 65536
#define STOP_WAIT_S 1

struct item {
	TAILQ_ENTRY(item) entry;
	int fd;
	uint32_t uid;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more, many, done;
	bool running;
	bool lingers; /* one of the threads, at most */
	bool called;  /* one that was idle is on its way */
	unsigned threads, idle, count;
	uint32_t busy[THREADS_MAX]; /* whose descriptor each of the threads that are not idle is at */
	unsigned busy_count;
	TAILQ_HEAD(, item) queue;
} closer = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.more = PTHREAD_COND_INITIALIZER,
	.many = PTHREAD_COND_INITIALIZER,
	.done = PTHREAD_COND_INITIALIZER,
	.queue = TAILQ_HEAD_INITIALIZER(closer.queue),
};

static int start_thread(void);

static bool may_start(const struct item *item)
{
	unsigned same = 0;

	for (unsigned i = 0; i < closer.busy_count; i++)
		same += closer.busy[i] == item->uid;
	return item->uid == 0 || same < THREADS_USER;
}

/* With the lock held: somebody to take what is in the queue. */
static void call_another(void)
{
	if (closer.called)
		return;
	if (closer.idle) {
		closer.called = true;
		pthread_cond_signal(&closer.more);
	} else if (closer.threads < THREADS_MAX) {
		closer.called = start_thread() == 0;
	}
}

static struct item *take(void)
{
	struct item *item;

	TAILQ_FOREACH(item, &closer.queue, entry) {
		if (may_start(item))
			break;
	}
	if (item) {
		TAILQ_REMOVE(&closer.queue, item, entry);
		closer.count--;
	}
	return item;
}

static void close_item(struct item *item)
{
	unsigned i = 0;

	closer.busy[closer.busy_count++] = item->uid;
	/* This one may not come back: somebody must be there for the rest. */
	if (closer.count)
		call_another();
	pthread_mutex_unlock(&closer.lock);
	close(item->fd);
	pthread_mutex_lock(&closer.lock);
	while (closer.busy[i] != item->uid)
		i++;
	closer.busy[i] = closer.busy[--closer.busy_count];
	free(item);
}

/* With the lock held, when the queue is empty. */
static void linger(void)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += LINGER_NS;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	closer.lingers = true;
	pthread_cond_clockwait(&closer.many, &closer.lock, CLOCK_MONOTONIC, &until);
	closer.lingers = false;
}

static void *run(void *arg)
{
	bool worked = false;

	(void)arg;
	pthread_mutex_lock(&closer.lock);
	closer.called = false;
	for (;;) {
		struct item *item = take();

		if (item) {
			close_item(item);
			worked = true;
			continue;
		}
		if (!closer.count && !closer.busy_count)
			pthread_cond_signal(&closer.done);
		if (worked && !closer.count && !closer.lingers) {
			worked = false;
			linger();
			continue;
		}
		closer.idle++;
		pthread_cond_wait(&closer.more, &closer.lock);
		closer.idle--;
		closer.called = false;
	}
	return NULL;
}

/* With the lock held. They are never joined: one can be stuck for ever. */
static int start_thread(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	int rc = pthread_attr_init(&attr);

	if (rc)
		return -rc;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&thread, &attr, run, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		closer.threads++;
	return -rc;
}

int closer_start(void)
{
	int rc;

	pthread_mutex_lock(&closer.lock);
	rc = start_thread();
	closer.running = rc == 0;
	pthread_mutex_unlock(&closer.lock);
	return rc;
}

void closer_close(int fd, uint32_t uid)
{
	struct item *item;

	if (fd < 0)
		return;
	if (!closer.running) {
		close(fd);
		return;
	}
	item = malloc(sizeof(*item));
	if (!item)
		return; /* leaked: close(2) here could stop everything */
	*item = (struct item){.fd = fd, .uid = uid};
	pthread_mutex_lock(&closer.lock);
	TAILQ_INSERT_TAIL(&closer.queue, item, entry);
	closer.count++;
	if (closer.lingers) {
		/* it comes to it in a moment */
		if (closer.count >= TOGETHER)
			pthread_cond_signal(&closer.many);
	} else if (closer.idle || may_start(item)) {
		call_another(); /* else one of the others comes to it */
	}
	pthread_mutex_unlock(&closer.lock);
}

bool closer_is_behind(uint32_t uid)
{
	const struct item *item;
	unsigned same = 0;

	pthread_mutex_lock(&closer.lock);
	if (closer.count > BEHIND) {
		TAILQ_FOREACH(item, &closer.queue, entry)
			same += item->uid == uid;
	}
	pthread_mutex_unlock(&closer.lock);
	return same > BEHIND;
}

unsigned closer_pending(void)
{
	unsigned pending;

	pthread_mutex_lock(&closer.lock);
	pending = closer.count + closer.busy_count;
	pthread_mutex_unlock(&closer.lock);
	return pending;
}

void closer_stop(void)
{
	struct timespec until;

	if (!closer.running)
		return;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_WAIT_S;
	pthread_mutex_lock(&closer.lock);
	while (closer.count || closer.busy_count) {
		if (pthread_cond_timedwait(&closer.done, &closer.lock, &until) != 0)
			break; /* what is stuck ends with the process */
	}
	pthread_mutex_unlock(&closer.lock);
	closer.running = false;
}
