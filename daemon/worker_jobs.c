/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The worker's side, and how both sides send: see worker_jobs.h for what is allowed here. */
#include "daemon/worker_jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "daemon/guard/guard.h"
#include "daemon/guard/kernel_lease.h"
#include "daemon/uverbs.h"

#define NS_PER_S UINT64_C(1000000000)

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t all_items(unsigned items)
{
	return items >= 64 ? UINT64_MAX : (UINT64_C(1) << items) - 1;
}

/*
 * Waits for the operations, three quarters of the time there is: what is left is for the file, or
 * for the answer to arrive. Each gets an equal part of what the earlier ones left.
 */
static void settle(const struct worker_order *order, struct worker_result *result)
{
	const struct worker_job *job = &order->job;
	uint64_t start = now_ns();
	uint64_t until = order->limit_ns > start ? start + (order->limit_ns - start) / 4 * 3
						 : start;

	for (unsigned i = 0; i < job->items; i++) {
		uint64_t now = now_ns();
		uint64_t part = until > now ? (until - now) / (job->items - i) : 0;

		if (guard_op_settle(job->op[i].tid, job->op[i].syscall_hash, part) == 1)
			result->settled |= UINT64_C(1) << i;
	}
}

static void link_of(int fd, char link[32])
{
	static const char dir[] = "/proc/self/fd/";
	char *to = link + sizeof(dir) - 1, digits[12];
	size_t n = 0;

	memcpy(link, dir, sizeof(dir));
	do {
		digits[n++] = (char)('0' + fd % 10);
		fd /= 10;
	} while (fd);
	while (n)
		*to++ = digits[--n];
	*to = '\0';
}

/* In the place of the O_PATH descriptor an ordinary one. 0 or -errno. */
static int open_again(int fd)
{
	char link[32];
	int again, rc;

	link_of(fd, link);
	again = open(link, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (again < 0)
		return -errno;
	rc = dup3(again, fd, O_CLOEXEC) < 0 ? -errno : 0;
	close(again);
	return rc;
}

static void read_path(int fd, char *path, size_t size)
{
	char link[32];
	ssize_t got;

	link_of(fd, link);
	got = readlink(link, path, size - 1);
	path[got > 0 && (size_t)got < size - 1 ? got : 0] = '\0';
}

/* Needs the right to trace it, which a Yama scope of 3 leaves to nobody. */
static void open_memory(int32_t pid, struct worker_result *result)
{
	char path[32];

	worker_proc_path(path, pid, "/mem");
	result->memory_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (result->memory_fd < 0)
		result->memory_error = -errno;
}

/*
 * Nothing is read: no program's memory reaches so far. What counts is how that fails: 0 bytes if the
 * memory has no user any more, EIO if it has (probes/shared_memory.c).
 */
static void memory(int fd, struct worker_result *result)
{
	const off_t nowhere = (off_t)(UINT64_C(1) << 62);
	char byte;
	ssize_t got;

	do {
		got = pread(fd, &byte, 1, nowhere);
	} while (got < 0 && errno == EINTR);
	result->mapped = got != 0;
	result->error = got < 0 && errno != EIO ? -errno : 0;
}

static void check(const struct worker_order *order, int fd, struct worker_result *result)
{
	const struct worker_job *job = &order->job;

	if (job->memory_of)
		open_memory(job->memory_of, result);
	if (fd < 0) {
		result->error = -EBADF;
		return;
	}
	if (job->path_only) {
		result->error = open_again(fd);
		if (result->error)
			return;
	}
	if (job->take_lease) {
		pool_wait_thawed(fd); /* not with the lease: whoever is killed waiting leaves it behind */
		result->error = guard_lease_take(fd);
		result->leased = result->error == 0;
		result->refusal.reason = result->error == 0	    ? DLP_REASON_NONE
					 : result->error == -EAGAIN ? DLP_REASON_OPEN_ELSEWHERE
								    : DLP_REASON_GUARD;
		if (result->error)
			return;
	}
	read_path(fd, result->path, sizeof(result->path));
	settle(order, result);
	if (result->settled != all_items(job->items)) {
		result->refusal.reason = DLP_REASON_BREAKING;
		result->error = -EAGAIN;
		return;
	}
	if (job->is_device)
		return;
	/* Only guarded files are worth waiting for a thaw: elsewhere nobody is stopped anyway. */
	if (!job->reopen_ok)
		pool_wait_thawed(fd);
	result->error = pool_check_range(fd, job->start, job->end, job->require_dax, job->reopen_ok,
					 &result->refusal);
}

static int destroy_one(const struct worker_job *job, const struct uverbs *uverbs,
		       const struct uverbs_mr *mr)
{
	int rc;

	if (job->by_length)
		return uverbs_destroy_length(uverbs, mr->length, job->highest);
	rc = uverbs_destroy_mr(uverbs, mr);
	/* how drivers say that a window is bound to it */
	if (!job->dead || (rc != -EBUSY && rc != -EINVAL))
		return rc;
	rc = uverbs_destroy_windows(uverbs, job->highest);
	return rc ? rc : uverbs_destroy_mr(uverbs, mr);
}

static void destroy(const struct worker_job *job, int fd, struct worker_result *result)
{
	struct uverbs uverbs;

	result->failed = all_items(job->items);
	if (fd < 0) {
		result->error = -EBADF;
		return;
	}
	result->error = uverbs_open(fd, &uverbs);
	if (result->error)
		return;
	for (unsigned i = 0; i < job->items; i++) {
		const struct uverbs_mr mr = { job->mr[i].handle, job->mr[i].lkey, job->mr[i].rkey,
					      job->mr[i].length };

		if (!destroy_one(job, &uverbs, &mr))
			result->failed &= ~(UINT64_C(1) << i);
	}
}

static void maps(const struct worker_job *job, struct worker_result *result)
{
	int rc = worker_maps(job->pid, job, NULL);

	result->mapped = rc != 0;
	result->error = rc < 0 ? rc : 0;
}

void worker_do(const struct worker_order *order, int fd, struct worker_result *result)
{
	memset(result, 0, sizeof(*result));
	result->memory_fd = -1;
	switch (order->job.kind) {
	case WORKER_CHECK:
		check(order, fd, result);
		break;
	case WORKER_SETTLE:
		settle(order, result);
		break;
	case WORKER_DESTROY:
		destroy(&order->job, fd, result);
		break;
	case WORKER_MAPS:
		maps(&order->job, result);
		break;
	case WORKER_MEMORY:
		memory(fd, result);
		break;
	case WORKER_FENCE:
		worker_fence(order, fd, result);
		break;
	}
	if (fd >= 0)
		close(fd);
}

/* --- both sides: messages ---------------------------------------------------------------------- */

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int worker_send(int sock, const void *text, size_t size, int fd, int flags)
{
	union control control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)text, size };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t sent;

	if (fd >= 0) {
		struct cmsghdr *head;

		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		head = CMSG_FIRSTHDR(&message);
		*head = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
					  .cmsg_type = SCM_RIGHTS,
					  .cmsg_len = CMSG_LEN(sizeof(int)) };
		memcpy(CMSG_DATA(head), &fd, sizeof(int));
	}
	do {
		sent = sendmsg(sock, &message, MSG_NOSIGNAL | flags);
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

int worker_recv(int sock, void *text, size_t size, int *fd, int flags)
{
	union control control;
	struct iovec iov = { text, size };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *head;
	ssize_t got;

	*fd = -1;
	do {
		got = recvmsg(sock, &message, MSG_CMSG_CLOEXEC | flags);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN ? -EAGAIN : -EIO;
	head = CMSG_FIRSTHDR(&message);
	if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS &&
	    head->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(head), sizeof(int));
	if (got == (ssize_t)size && !(message.msg_flags & MSG_TRUNC))
		return 0;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return -EIO;
}

/* --- the worker ------------------------------------------------------------------------------ */

/* Waits for the next order; false: the daemon does not want this worker any more. */
static bool next_order(int sock, struct worker_order *order, int *fd)
{
	return worker_recv(sock, order, sizeof(*order), fd, 0) == 0;
}

/*
 * Nothing of the daemon's stays open: not the guard's group, which would live on in a stuck worker,
 * and no client's socket. 0 to 2 are never free for a file that is passed, into which a sanitizer's
 * or libc's last words would go.
 */
static int keep_only(int sock)
{
	int null, moved;

	moved = fcntl(sock, F_DUPFD_CLOEXEC, 3);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (moved < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		return -1;
	if ((fcntl(STDERR_FILENO, F_GETFD) < 0 || sock == STDERR_FILENO) &&
	    dup2(null, STDERR_FILENO) < 0)
		return -1;
	if (moved > 3 && close_range(3, (unsigned)moved - 1, 0) < 0)
		return -1;
	return close_range((unsigned)moved + 1, ~0u, 0) < 0 ? -1 : moved;
}

void worker_main(int sock, pid_t parent)
{
	/*
	 * Told to the whole service at once when it stops; the daemon decides when a worker has
	 * ended.
	 */
	static const int ignored[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };
	struct sigaction action = { .sa_handler = SIG_DFL };
	struct worker_order order;
	struct worker_result result;
	sigset_t none;
	int fd;

	for (int i = 1; i < NSIG; i++)
		sigaction(i, &action,
			  NULL); /* fails for those that cannot be caught, and libc's own */
	action.sa_handler = SIG_IGN;
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		sigaction(ignored[i], &action, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "daxleased-work");
	if (getppid() != parent) /* it died before the line above */
		_exit(1);
	sock = keep_only(sock);
	if (sock < 0)
		_exit(1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);

	while (next_order(sock, &order, &fd)) {
		worker_do(&order, fd, &result);
		fd = worker_send(sock, &result, sizeof(result), result.memory_fd, 0);
		if (result.memory_fd >= 0)
			close(result.memory_fd);
		/* worker_fence() leaves what only the end of a tracer undoes */
		if (fd < 0 || order.job.kind == WORKER_FENCE)
			break;
	}
	_exit(0);
}
