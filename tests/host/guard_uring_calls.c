/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Breakers that use io_uring: inline, by a worker, by the submission thread, and in disguise. */
#include "tests/host/breaker_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/host/guard_uring.h"

static char bytes[PAGE] __attribute__((aligned(PAGE)));
static struct uring uring;
static int gate[2], idle[2];

static long prepare_uring_with(struct breaker *b, uint32_t setup_flags)
{
	return prepare_open(b) < 0 || pipe(gate) < 0 || pipe(idle) < 0 ||
			       uring_open(&uring, setup_flags) < 0
		       ? -1
		       : 0;
}

long prepare_uring(struct breaker *b)
{
	return prepare_uring_with(b, 0);
}

long prepare_uring_sqpoll(struct breaker *b)
{
	return prepare_uring_with(b, IORING_SETUP_SQPOLL);
}

static struct io_uring_sqe *fill_write(struct breaker *b, uint32_t ahead)
{
	struct io_uring_sqe *entry = uring_entry(&uring, ahead);

	entry->opcode = IORING_OP_WRITE;
	entry->fd = b->fd;
	entry->addr = (uintptr_t)bytes;
	entry->len = PAGE;
	entry->off = b->argument;
	entry->user_data = 7;
	return entry;
}

static long submit_and_wait(uint32_t entries)
{
	int ret = uring_submit(&uring, entries, 0);

	if (ret < 0) {
		errno = -ret;
		return -1;
	}
	return uring_result(&uring, 7);
}

long act_uring_write(struct breaker *b)
{
	fill_write(b, 0);
	return submit_and_wait(1);
}

long act_uring_worker_write(struct breaker *b)
{
	fill_write(b, 0)->flags = IOSQE_ASYNC;
	return submit_and_wait(1);
}

long act_uring_read(struct breaker *b)
{
	fill_write(b, 0)->opcode = IORING_OP_READ;
	return submit_and_wait(1);
}

/* The ring is its parent's: it submits, and does the work. */
long act_uring_shared(struct breaker *b)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(act_uring_write(b) == (long)PAGE ? 0 : 1);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0)
		return -1;
	errno = EIO;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

long act_uring_punch(struct breaker *b)
{
	struct io_uring_sqe *entry = uring_entry(&uring, 0);

	entry->opcode = IORING_OP_FALLOCATE;
	entry->fd = b->fd;
	entry->len = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	entry->off = b->argument;
	entry->addr = PAGE;
	entry->user_data = 7;
	return submit_and_wait(1);
}

static struct io_uring_sqe *fill_entry(uint8_t opcode, int fd)
{
	struct io_uring_sqe *entry = uring_entry(&uring, 0);

	entry->opcode = opcode;
	entry->fd = fd;
	entry->user_data = 7;
	return entry;
}

long act_uring_ftruncate(struct breaker *b)
{
	fill_entry(55 /* IORING_OP_FTRUNCATE, 6.9 */, b->fd)->off = b->argument;
	return submit_and_wait(1);
}

long act_uring_open_trunc(struct breaker *b)
{
	struct io_uring_sqe *entry = fill_entry(IORING_OP_OPENAT, AT_FDCWD);

	entry->addr = (uintptr_t)b->path;
	entry->open_flags = O_WRONLY | O_TRUNC;
	return submit_and_wait(1);
}

long act_uring_splice(struct breaker *b)
{
	struct io_uring_sqe *entry = fill_entry(IORING_OP_SPLICE, b->fd);

	if (write(gate[1], bytes, PAGE) != (ssize_t)PAGE)
		return -1;
	entry->splice_fd_in = gate[0];
	entry->splice_off_in = (uint64_t)-1;
	entry->off = b->argument;
	entry->len = PAGE;
	return submit_and_wait(1);
}

long prepare_uring_map(struct breaker *b)
{
	return prepare_map(b) < 0 ? -1 : prepare_uring(b);
}

long act_uring_madvise(struct breaker *b)
{
	struct io_uring_sqe *entry = fill_entry(IORING_OP_MADVISE, -1);

	entry->addr = (uintptr_t)b->map + b->argument;
	entry->len = 2 * PAGE;
	entry->fadvise_advice = MADV_REMOVE;
	return submit_and_wait(1);
}

static void *open_gate(void *argument)
{
	struct breaker *b = argument;
	char text[64], path[64];
	int fd;

	/* when the first thread sleeps in read(2) of the pipe */
	snprintf(path, sizeof(path), "/proc/%ld/syscall", (long)b->tid);
	for (;;) {
		ssize_t got;

		fd = open(path, O_RDONLY);
		got = read(fd, text, sizeof(text) - 1);
		close(fd);
		if (got > 0 && !strncmp(text, "0 0x", 4))
			break;
	}
	/* a write that needs no new time stamp, of a page that is not cached, is done at once,
	 * without a worker */
	if (posix_fadvise(b->fd, 0, 0, POSIX_FADV_DONTNEED) || futimens(b->fd, NULL) < 0 ||
	    write(gate[1], "g", 1) != 1)
		_exit(3);
	uring_result(&uring, 7);
	if (write(idle[1], "i", 1) != 1)
		_exit(3);
	return NULL;
}

long act_uring_disguised(struct breaker *b)
{
	struct io_uring_sqe *entry = uring_entry(&uring, 0);
	pthread_t thread;
	char byte;
	int ret;

	if (fcntl(b->fd, F_SETFL, O_DIRECT) < 0)
		return -1;
	entry->opcode = IORING_OP_POLL_ADD;
	entry->fd = gate[0];
	entry->poll32_events = 1; /* POLLIN */
	entry->flags = IOSQE_IO_LINK;
	fill_write(b, 1);
	ret = uring_submit(&uring, 2, 0);
	if (ret < 0 || pthread_create(&thread, NULL, open_gate, b))
		return -1;
	if (read(idle[0], &byte, 1) != 1 || pthread_join(thread, NULL))
		return -1;
	return uring_result(&uring, 7);
}
