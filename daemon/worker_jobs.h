/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Worker processes and what they do; used by worker.c alone, and by tests. */
#ifndef DAXLEASE_WORKER_JOBS_H
#define DAXLEASE_WORKER_JOBS_H

#include "daemon/worker.h"

/* One job on its way to a worker; the answer is one struct worker_result. */
struct worker_order {
	struct worker_job job;
	uint64_t limit_ns; /* CLOCK_MONOTONIC: the worker is killed then */
};

/* Forks a worker. Everything is the caller's then. 0 or -errno. */
int worker_spawn(pid_t *pid, int *pidfd, int *sock);
/* Kills and reaps one that has had no order, so that nothing can hold it. */
void worker_discard(pid_t pid);

/* An order or an answer, and a descriptor (or -1), which stays the sender's. flags: MSG_DONTWAIT. 0;
 * -EPIPE: the other side is dead; -errno. */
int worker_send(int sock, const void *message, size_t size, int fd, int flags);
/* 0 and *fd (-1: none); -EAGAIN; -EIO: not one of these messages, or the other side is dead. */
int worker_recv(int sock, void *message, size_t size, int *fd, int flags);
/* "/proc/PID" and `rest` into path, of 32 bytes. */
void worker_proc_path(char *path, int32_t pid, const char *rest);

/*
 * The body of a worker process, straight after fork(): makes the process a worker and does jobs
 * from `sock` until its other end is closed. Everything below it runs in the child of a process
 * that may have had other threads: no allocation, no stdio, no lock.
 */
__attribute__((noreturn)) void worker_main(int sock, pid_t parent);

/* One job. `fd` is closed. */
void worker_do(const struct worker_order *order, int fd, struct worker_result *result);

/* A part of a mapping that a job asks for. */
struct worker_mapping {
	uint64_t start, end; /* addresses; end 0: a line that cannot be read */
	uint64_t lines;	     /* that were read; 0: it has no memory any more */
};

/* Does process `pid` map any of the files (WORKER_MAPS) or ranges (WORKER_FENCE) of `job` shared?
 * 1, and *first (may be NULL) is what was found; 0 (also when it is gone); -errno. */
int worker_maps(int32_t pid, const struct worker_job *job, struct worker_mapping *first);

/* The parser behind it: fed with /proc/PID/maps in pieces of any size. */
struct worker_maps_parser {
	unsigned field; /* 0 range, 1 flags, 2 offset, 3 device, 4 inode, 5 the rest */
	unsigned at;	/* character of the flags */
	uint64_t start, end, offset, major, minor, inode;
	bool in_second, shared, bad; /* in_second: behind the sign in the range or the device */
	uint64_t lines;
	bool found;
	struct worker_mapping first;
};
void worker_maps_feed(struct worker_maps_parser *parser, const struct worker_job *job,
		      const char *text, size_t size);

/* Calls each() for every thread number in an open /proc/PID/task, until it returns something else
 * than 0. That, 0, or -errno. */
int worker_each_thread(int tasks, int (*each)(void *arg, const char *tid), void *arg);

/* WORKER_FENCE. The caller must end soon after: the kernel then lets go of threads that were asked to
 * stop and have not, and kills the process if one of its threads could not be given back. */
void worker_fence(const struct worker_order *order, int pidfd, struct worker_result *result);

#endif
