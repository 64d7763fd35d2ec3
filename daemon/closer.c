// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Closing descriptors that came from clients. close(2) can block for as long as a hostile client likes (a FUSE
 * server that does not answer FLUSH), or do a lot of work (the last one of an unlinked file frees its blocks,
 * that of an RDMA device destroys what is on it): so a thread of its own does it, and the loop does not wait.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/closer.h"

#define BACKLOG_MAX 65536u

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more;
	pthread_t thread;
	bool running, end;
	unsigned count;
	int fds[BACKLOG_MAX];
} closer = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

static void *run(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&closer.lock);
	while (!closer.end || closer.count) {
		int fd;

		if (!closer.count) {
			pthread_cond_wait(&closer.more, &closer.lock);
			continue;
		}
		fd = closer.fds[--closer.count];
		pthread_mutex_unlock(&closer.lock);
		close(fd);
		pthread_mutex_lock(&closer.lock);
	}
	pthread_mutex_unlock(&closer.lock);
	return NULL;
}

int closer_start(void)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&closer.thread, NULL, run, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	closer.running = rc == 0;
	return -rc;
}

void closer_close(int fd)
{
	bool taken = false;

	if (fd < 0)
		return;
	pthread_mutex_lock(&closer.lock);
	if (closer.running && closer.count < BACKLOG_MAX) {
		closer.fds[closer.count++] = fd;
		taken = true;
		pthread_cond_signal(&closer.more);
	}
	pthread_mutex_unlock(&closer.lock);
	/* A backlog this long is a client that makes each close() block: its descriptors are leaked, which ends at
	 * the limit on descriptors, where no more are taken. */
	if (!taken && !closer.running)
		close(fd);
}

void closer_stop(void)
{
	if (!closer.running)
		return;
	pthread_mutex_lock(&closer.lock);
	closer.end = true;
	pthread_cond_signal(&closer.more);
	pthread_mutex_unlock(&closer.lock);
	pthread_join(closer.thread, NULL);
	closer.running = false;
}
