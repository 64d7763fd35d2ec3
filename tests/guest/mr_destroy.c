/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A stopped process's MRs are destroyed from outside (C17, C18), and nobody else's. TAP. Needs an
 * RDMA device: run it in the guest. usage: mr_destroy [DEVICE]
 */
#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/guard/guard.h"
#include "daemon/uverbs.h"
#include "daemon/worker_jobs.h"

#define MRS 6
#define SIZE 65536

/* What the child tells, and does after it goes on. */
static struct shared {
	int device_fd;
	uint32_t pd_handle;
	struct uverbs_mr mr[MRS];
	int dereg[MRS]; /* errno of its own ibv_dereg_mr() */
	bool registers; /* it can register another */
} * shared;

static unsigned number = 1, failed;

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

static void same(int rc, int wanted, const char *what)
{
	if (rc != wanted)
		printf("# %d (%s), wanted %d\n", rc, strerror(-rc), wanted);
	ok(rc == wanted, what);
}

__attribute__((noreturn)) static void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct ibv_context *open_device(const char *name)
{
	struct ibv_context *context = NULL;
	int count = 0;
	struct ibv_device **list = ibv_get_device_list(&count);

	for (int i = 0; list && i < count && !context; i++) {
		if (!name || strcmp(ibv_get_device_name(list[i]), name) == 0)
			context = ibv_open_device(list[i]);
	}
	if (list)
		ibv_free_device_list(list);
	return context;
}

/* Exit status 77: no device. */
__attribute__((noreturn)) static void child(const char *device)
{
	struct ibv_context *context = open_device(device);
	struct ibv_mr *mr[MRS];
	struct ibv_pd *pd;
	char *memory;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!context)
		_exit(77);
	pd = ibv_alloc_pd(context);
	memory = mmap(NULL, (MRS + 1) * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	if (!pd || memory == MAP_FAILED)
		die("child");
	shared->device_fd = context->cmd_fd;
	shared->pd_handle = pd->handle;
	for (int i = 0; i < MRS; i++) {
		mr[i] = ibv_reg_mr(pd, memory + i * SIZE, SIZE,
				   IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
		if (!mr[i])
			die("ibv_reg_mr");
		shared->mr[i] = (struct uverbs_mr){ mr[i]->handle, mr[i]->lkey, mr[i]->rkey,
						    mr[i]->length };
	}
	raise(SIGSTOP);
	for (int i = 0; i < MRS - 1; i++) /* the last one outlives the process */
		shared->dereg[i] = ibv_dereg_mr(mr[i]);
	shared->registers = ibv_reg_mr(pd, memory + MRS * SIZE, SIZE, IBV_ACCESS_LOCAL_WRITE) !=
			    NULL;
	_exit(0);
}

static void not_uverbs(void)
{
	struct uverbs uverbs;
	int fds[] = { open("/dev/null", O_RDWR | O_CLOEXEC), memfd_create("x", MFD_CLOEXEC),
		      open("/dev/infiniband/rdma_cm", O_RDWR | O_CLOEXEC),
		      open("/", O_PATH | O_CLOEXEC) };
	bool refused = true;

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (fds[i] < 0)
			continue;
		refused = refused && uverbs_open(fds[i], &uverbs) == -ENOTTY;
		close(fds[i]);
	}
	ok(refused, "other descriptors are refused before any ioctl");
	ok(uverbs_open(-1, &uverbs) == -EBADF, "no descriptor");
}

/* One as the worker does it: two real ones, and one whose rkey is wrong. */
static void by_worker(int fd)
{
	struct worker_order order = { .job = { .kind = WORKER_DESTROY, .items = 3 } };
	struct worker_result result;

	for (unsigned i = 0; i < 3; i++) {
		const struct uverbs_mr *mr = &shared->mr[1 + i];

		order.job.mr[i].handle = mr->handle;
		order.job.mr[i].lkey = mr->lkey;
		order.job.mr[i].rkey = mr->rkey + (i == 1);
		order.job.mr[i].length = mr->length;
	}
	worker_do(&order, fcntl(fd, F_DUPFD_CLOEXEC, 3), &result);
	same(result.error, 0, "a worker's job");
	ok(result.failed == 2, "whose wrong one is told");
}

int main(int argc, char **argv)
{
	struct uverbs uverbs;
	struct uverbs_mr wrong;
	int status, pidfd, fd;
	pid_t pid;

	setvbuf(stdout, NULL, _IOLBF, 0);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		die("mmap");
	pid = fork();
	if (pid == 0)
		child(argc > 1 ? argv[1] : NULL);
	if (pid < 0 || waitpid(pid, &status, WUNTRACED) != pid)
		die("child");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		printf("1..0 # SKIP no RDMA device %s\n", argc > 1 ? argv[1] : "");
		return 0;
	}
	if (!WIFSTOPPED(status))
		die("the child did not stop");
	pidfd = pidfd_open(pid, 0);
	fd = pidfd_getfd(pidfd, shared->device_fd, 0);
	if (fd < 0)
		die("pidfd_getfd");

	not_uverbs();
	same(uverbs_open(fd, &uverbs), 0, "the driver's id is found");
	printf("# driver id %u\n", uverbs.driver_id);

	wrong = shared->mr[0];
	wrong.lkey ^= 0x100;
	same(uverbs_destroy_mr(&uverbs, &wrong), -ESTALE, "another lkey: left alone");
	wrong = shared->mr[0];
	wrong.rkey ^= 0x100;
	same(uverbs_destroy_mr(&uverbs, &wrong), -ESTALE, "another rkey: left alone");
	wrong = shared->mr[0];
	wrong.length++;
	same(uverbs_destroy_mr(&uverbs, &wrong), -ESTALE, "another length: left alone");
	wrong = shared->mr[0];
	/* One table of handles for all kinds of objects: the PD has this one. */
	wrong.handle = shared->pd_handle;
	same(uverbs_destroy_mr(&uverbs, &wrong), 0, "a handle that is no MR's");
	wrong.handle = 0x7fffff;
	same(uverbs_destroy_mr(&uverbs, &wrong), 0, "a handle that is nobody's");

	same(uverbs_destroy_mr(&uverbs, &shared->mr[0]), 0, "destroyed");
	same(uverbs_destroy_mr(&uverbs, &shared->mr[0]), 0, "destroyed before");
	by_worker(fd);

	kill(pid, SIGCONT);
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	same(-shared->dereg[0], -ENOENT, "its owner finds the first destroyed");
	ok(shared->dereg[1] == ENOENT && shared->dereg[3] == ENOENT, "and the worker's two");
	ok(!shared->dereg[2] && !shared->dereg[4], "and the others as they were");
	ok(shared->registers, "and goes on registering");

	/* The process is gone, our copy keeps its context and with it the last MR. */
	wrong = shared->mr[MRS - 1];
	wrong.lkey ^= 0x100;
	same(uverbs_destroy_mr(&uverbs, &wrong), -ESTALE, "a dead process's MR lives on");
	same(uverbs_destroy_mr(&uverbs, &shared->mr[MRS - 1]), 0, "and is destroyed");
	same(uverbs_destroy_mr(&uverbs, &wrong), 0, "really");
	close(fd);
	close(pidfd);
	printf("1..%u\n", number - 1);
	return failed != 0;
}
