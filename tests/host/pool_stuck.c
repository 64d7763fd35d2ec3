/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A hostile file: a write(2) to it whose source page never comes holds its inode lock, and the
 * check of it waits (facts.md, "FIEMAP is a barrier"). The worker cannot even be killed; the
 * workers as a whole must go on. TAP. usage: pool_stuck [DIRECTORY on ext4 or xfs]
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/guard/guard.h"
#include "daemon/worker.h"

#define MS UINT64_C(1000000)
#define LONG (60000 * MS) /* never reached unless something is broken */
#define SHORT (100 * MS)

static struct event_base *base;
static struct workers *workers;
static unsigned number = 1, failed, alive;

struct answer {
	bool done;
	struct worker_result result;
};

/* No job here has operations to settle. */
int guard_op_settle(int32_t tid, uint64_t syscall_hash, uint64_t limit_ns)
{
	(void)tid;
	(void)syscall_hash;
	(void)limit_ns;
	return 0;
}

static void ok(bool good, const char *what)
{
	printf("%sok %u - %s\n", good ? "" : "not ", number++, what);
	failed += !good;
}

static void skip_all(const char *why)
{
	printf("1..0 # SKIP %s: %s\n", why, strerror(errno));
	exit(0);
}

static void on_started(void *arg, int32_t pid, bool on)
{
	(void)arg;
	(void)pid;
	alive += on ? 1 : -1u;
}

static void on_done(void *arg, const struct worker_result *result)
{
	struct answer *a = arg;

	a->done = true;
	a->result = *result;
}

static void submit(const struct worker_job *job, int fd, uint64_t key, uint64_t limit,
		   struct answer *a)
{
	uint64_t id;
	int rc;

	*a = (struct answer){ .done = false };
	rc = workers_submit(workers, job, fd, key, limit, on_done, a, &id);
	if (rc) {
		printf("Bail out! submit: %s\n", strerror(-rc));
		exit(1);
	}
}

static int wait_for(const struct answer *a)
{
	while (!a->done)
		event_base_loop(base, EVLOOP_ONCE);
	return a->result.error;
}

struct parked {
	int fd, faults;
	char *page;
};

static void *park(void *arg)
{
	struct parked *p = arg;

	return (void *)(intptr_t)pwrite(p->fd, p->page, 4096, 0);
}

/* A page that does not come before the descriptor says so. */
static void arm_page(struct parked *p)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	p->faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (p->faults < 0 || ioctl(p->faults, UFFDIO_API, &api) < 0)
		skip_all("userfaultfd");
	p->page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	reg.range.start = (uintptr_t)p->page;
	reg.range.len = 4096;
	if (p->page == MAP_FAILED || ioctl(p->faults, UFFDIO_REGISTER, &reg) < 0)
		skip_all("userfaultfd");
}

static int new_file(const char *dir, const char *name)
{
	char path[4096];
	char bytes[4096];
	int fd;

	memset(bytes, 'x', sizeof(bytes));
	snprintf(path, sizeof(path), "%s/pool_stuck.%d.%s", dir, (int)getpid(), name);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || unlink(path) < 0 || write(fd, bytes, sizeof(bytes)) != sizeof(bytes))
		skip_all(path);
	return fd;
}

int main(int argc, char **argv)
{
	struct worker_job check = { .kind = WORKER_CHECK, .end = 4096 };
	struct worker_job other = { .kind = WORKER_SETTLE };
	struct answer a, b, c;
	struct parked parked;
	struct uffd_msg fault;
	pthread_t writer;
	void *written;
	int good;

	setvbuf(stdout, NULL, _IOLBF, 0);
	parked.fd = new_file(argc > 1 ? argv[1] : ".", "parked");
	good = new_file(argc > 1 ? argv[1] : ".", "good");
	arm_page(&parked);
	base = event_base_new();
	workers = workers_new(base, 3, on_started, NULL); /* two of them for checks */
	if (!base || !workers)
		return 1;

	submit(&check, parked.fd, 1, LONG, &a);
	ok(wait_for(&a) == 0, "the file is fine before");
	pthread_create(&writer, NULL, park, &parked);
	if (read(parked.faults, &fault, sizeof(fault)) != sizeof(fault)) /* now it holds the lock */
		skip_all("userfaultfd read");

	submit(&check, parked.fd, 1, SHORT, &a);
	submit(&check, parked.fd, 1, 2 * SHORT, &b);
	submit(&check, good, 2, LONG, &c);
	ok(wait_for(&c) == 0, "another file is checked meanwhile");
	ok(wait_for(&a) == -ETIMEDOUT, "the check of the held file ends at its deadline");
	ok(wait_for(&b) == -ETIMEDOUT, "a second check of it too, and takes no second worker");
	submit(&check, good, 2, LONG, &c);
	ok(wait_for(&c) == 0, "another file is still checked");
	submit(&other, -1, 1, LONG, &c);
	ok(wait_for(&c) == 0, "a job of another kind is done");
	ok(alive <= 3, "no more workers than may be");
	printf("# %u workers\n", alive);

	submit(&check, parked.fd, 1, LONG, &a);
	if (ioctl(parked.faults, UFFDIO_ZEROPAGE,
		  &(struct uffdio_zeropage){ .range = { (uintptr_t)parked.page, 4096 } }) < 0)
		return 1;
	ok(wait_for(&a) == 0, "when the file is free, a check that waited is done");
	pthread_join(writer, &written);
	ok((intptr_t)written == 4096, "and the writer has written");
	workers_free(workers);
	ok(alive == 0, "all workers are gone");
	event_base_free(base);
	close(parked.fd);
	close(parked.faults);
	close(good);
	printf("1..%u\n", number - 1);
	return failed != 0;
}
