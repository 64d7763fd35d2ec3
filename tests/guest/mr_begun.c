// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A holder that is killed between the kernel's registration of an MR and its report, while a child has the device's
 * descriptor and with it the MR. Speaks with the daemon by itself, since the shim leaves no time between the two.
 *
 *   mr_begun SIGNAL [--unsaid] FILE     --unsaid: without DLP_MR_BEGIN, to show what it is for
 *
 * Says "leased", gets the signal, and its child says on SIGUSR1 "gone" or "alive": what became of the MR.
 */
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "libshim/client.h"
#include "proto/proto.h"
#include "tests/unit/shim_check.h"

#define LENGTH (1u << 20)
#define ACCESS (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_ON_DEMAND)

static struct client client;

/* Its copy of the struct is enough to ask the kernel by the same descriptor. */
static void be_child(struct ibv_mr **mr)
{
	sigset_t told;
	int sig;

	sigemptyset(&told);
	sigaddset(&told, SIGUSR1);
	CHECK(sigwait(&told, &sig) == 0);
	printf(ibv_dereg_mr(*mr) == 0 ? "alive\n" : "gone\n");
	fflush(stdout);
	_exit(0);
}

static void lease(int fd)
{
	struct dlp_grant grant = {.head.opcode = DLP_GRANT,
				  .start = 0,
				  .end = LENGTH,
				  .flags = DLP_GRANT_WRITE};
	struct dlp_grant_reply reply;

	CHECK(client_request(&client, &grant.head, sizeof(grant), fd, &reply, sizeof(reply)) == 0 &&
	      reply.head.error == 0);
}

int main(int argc, char **argv)
{
	const char *path = argv[argc - 1];
	bool unsaid = argc > 3 && strcmp(argv[2], "--unsaid") == 0;
	struct ibv_device **devices = ibv_get_device_list(NULL);
	struct dlp_mr begin = {.head.opcode = DLP_MR_ADD,
			       .id = 1,
			       .context = 1,
			       .length = LENGTH,
			       .end = LENGTH,
			       .flags = DLP_MR_BEGIN};
	struct ibv_context *context;
	struct ibv_mr **mr;
	struct ibv_pd *pd;
	struct stat st;
	sigset_t told;
	char *map;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	pid_t child;

	CHECK(argc > 2 && fd >= 0 && fstat(fd, &st) == 0 && devices && devices[0]);
	sigemptyset(&told);
	sigaddset(&told, SIGUSR1);
	sigprocmask(SIG_BLOCK, &told, NULL);
	mr = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	context = ibv_open_device(devices[0]);
	CHECK(context && (pd = ibv_alloc_pd(context)));
	CHECK(client_connect(&client, getenv("DAXLEASE_SOCKET") ?: DLP_SOCKET_DEFAULT,
			     DLP_ROLE_HOLDER) == 0);
	CHECK(client.features & DLP_FEATURE_MR_BEGIN);
	map = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED && madvise(map, LENGTH, MADV_DONTFORK) == 0);
	lease(fd);
	begin.dev = st.st_dev;
	begin.ino = st.st_ino;
	if (!unsaid)
		CHECK(client_tell(&client, &begin.head, sizeof(begin), context->cmd_fd, false) ==
		      0);
	*mr = ibv_reg_mr(pd, map, LENGTH, ACCESS);
	CHECK(*mr);
	child = fork();
	if (child == 0)
		be_child(mr);
	printf("child %d\nleased\n", child);
	fflush(stdout);
	raise(atoi(argv[1]));
	return 1;
}
