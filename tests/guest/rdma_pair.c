// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A holder whose mapped file a peer writes to by RDMA. Neither knows of leases. They talk over a Unix socket only
 * to connect their queue pairs.
 *
 *   rdma_pair holder FILE SOCKET [OFFSET LENGTH]   maps, registers (no special flags), serves connections
 *   rdma_pair peer SOCKET                          writes without pause, says how each connection ended
 *
 * The holder says: "registered", "SIGBUS adrerr" (then it maps private memory at the same address and says
 * "remapped"), "heap intact" or "HEAP CHANGED" when a peer's connection has ended after that, "dereg 0".
 * The peer says: "writing" after the first write that succeeded, "failed: STATUS after N writes" at the first that
 * did not; then it connects again, tries ten writes with the old key, and says "again: N of 10 succeeded".
 */
#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CHUNK 4096
#define AGAIN 10 /* connections of the peer after the first */

struct hello {
	uint32_t qpn;
	union ibv_gid gid;
	uint64_t addr, length;
	uint32_t rkey;
};

static struct ibv_context *context;
static struct ibv_pd *pd;
static struct ibv_cq *cq;
static union ibv_gid gid;
static int gid_index = -1;
static sigjmp_buf fault;
static char *map;
static size_t length;

static void die(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static void open_device(void)
{
	struct ibv_device **list = ibv_get_device_list(NULL);

	if (!list || !list[0] || !(context = ibv_open_device(list[0])))
		die("no RDMA device");
	pd = ibv_alloc_pd(context);
	cq = ibv_create_cq(context, 64, NULL, NULL, 0);
	if (!pd || !cq)
		die("pd, cq");
	for (int i = 0; i < 16 && gid_index < 0; i++) {
		if (ibv_query_gid(context, 1, i, &gid) == 0 && gid.raw[10] == 0xff && gid.raw[11] == 0xff)
			gid_index = i;
	}
	if (gid_index < 0)
		die("no GID with an IPv4 address");
}

static struct ibv_qp *new_qp(void)
{
	struct ibv_qp_init_attr init = {
		.send_cq = cq,
		.recv_cq = cq,
		.cap = {.max_send_wr = 16, .max_recv_wr = 16, .max_send_sge = 1, .max_recv_sge = 1},
		.qp_type = IBV_QPT_RC,
	};
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT,
		.port_num = 1,
		.qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_LOCAL_WRITE,
	};
	struct ibv_qp *qp = ibv_create_qp(pd, &init);

	if (!qp ||
	    ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS))
		die("qp");
	return qp;
}

static void connect_qp(struct ibv_qp *qp, const struct hello *other)
{
	struct ibv_qp_attr rtr = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = IBV_MTU_1024,
		.dest_qp_num = other->qpn,
		.max_dest_rd_atomic = 1,
		.min_rnr_timer = 12,
		.ah_attr = {.is_global = 1,
			    .port_num = 1,
			    .grh = {.dgid = other->gid, .sgid_index = (uint8_t)gid_index, .hop_limit = 1}},
	};
	struct ibv_qp_attr rts = {
		.qp_state = IBV_QPS_RTS, .timeout = 14, .retry_cnt = 7, .rnr_retry = 7, .max_rd_atomic = 1};

	if (ibv_modify_qp(qp, &rtr,
			  IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
				  IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER) ||
	    ibv_modify_qp(qp, &rts,
			  IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
				  IBV_QP_MAX_QP_RD_ATOMIC))
		/* rxe refuses one now and then (EINVAL): nothing is written over it, and where it is the
		 * first, nobody says "writing" */
		printf("connect: %s\n", strerror(errno));
}

static int unix_socket(const char *path, int listening)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (listening)
		unlink(path);
	if (fd < 0 || (listening ? bind(fd, (void *)&address, sizeof(address)) || listen(fd, 8)
				 : connect(fd, (void *)&address, sizeof(address))))
		die(path);
	return fd;
}

static int exchange(int fd, const struct hello *mine, struct hello *theirs)
{
	if (write(fd, mine, sizeof(*mine)) == sizeof(*mine) && read(fd, theirs, sizeof(*theirs)) == sizeof(*theirs))
		return 0;
	printf("exchange: %s\n", strerror(errno));
	return -1;
}

/* --- peer ------------------------------------------------------------------------------------------------- */

static struct ibv_mr *source;

static int remote_write(struct ibv_qp *qp, const struct hello *holder, uint64_t offset)
{
	struct ibv_sge sge = {(uintptr_t)source->addr, CHUNK, source->lkey};
	struct ibv_send_wr wr = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = IBV_WR_RDMA_WRITE,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = {holder->addr + offset, holder->rkey},
	}, *bad;
	struct ibv_wc wc;
	int n = 0;

	if (ibv_post_send(qp, &wr, &bad))
		return IBV_WC_GENERAL_ERR;
	while (n == 0)
		n = ibv_poll_cq(cq, 1, &wc);
	return n < 0 ? IBV_WC_GENERAL_ERR : (int)wc.status;
}

static struct ibv_qp *join(const char *path, struct hello *holder, int *fd)
{
	struct ibv_qp *qp = new_qp();
	struct hello me = {.qpn = qp->qp_num, .gid = gid};

	*fd = unix_socket(path, 0);
	if (exchange(*fd, &me, holder) < 0)
		exit(1);
	connect_qp(qp, holder);
	return qp;
}

static int peer(const char *path)
{
	struct hello holder;
	struct ibv_qp *qp;
	unsigned long writes = 0;
	int fd, status, again = 0;
	char *buffer = aligned_alloc(CHUNK, CHUNK);

	open_device();
	memset(buffer, 'Z', CHUNK);
	source = ibv_reg_mr(pd, buffer, CHUNK, IBV_ACCESS_LOCAL_WRITE);
	qp = join(path, &holder, &fd);
	for (;; writes++) {
		status = remote_write(qp, &holder, writes * CHUNK % holder.length);
		if (status != IBV_WC_SUCCESS)
			break;
		if (writes == 0)
			puts("writing");
	}
	printf("failed: %s after %lu writes\n", ibv_wc_status_str((enum ibv_wc_status)status), writes);
	close(fd);
	for (unsigned i = 0; i < AGAIN; i++) {
		qp = join(path, &holder, &fd);
		again += remote_write(qp, &holder, i * CHUNK % holder.length) == IBV_WC_SUCCESS;
		close(fd);
	}
	printf("again: %d of %d succeeded\n", again, AGAIN);
	return 0;
}

/* --- holder ----------------------------------------------------------------------------------------------- */

static void on_bus(int sig, siginfo_t *info, void *ucontext)
{
	(void)sig;
	(void)ucontext;
	printf("SIGBUS %s\n", info->si_code == BUS_ADRERR ? "adrerr" : "other");
	siglongjmp(fault, 1);
}

/* Private memory where the file was: no remote write may reach it. */
static void remap(void)
{
	munmap(map, length);
	if (mmap(map, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) !=
	    map)
		die("remap");
	memset(map, 'h', length);
	puts("remapped");
}

static void check_heap(void)
{
	for (size_t i = 0; i < length; i++) {
		if (map[i] != 'h') {
			printf("HEAP CHANGED at %zu\n", i);
			return;
		}
	}
	puts("heap intact");
}

static void serve(int listening, const struct ibv_mr *mr, int revoked)
{
	struct ibv_qp *qp = new_qp();
	struct hello me = {.qpn = qp->qp_num, .gid = gid, .addr = (uintptr_t)map, .length = length, .rkey = mr->rkey};
	struct hello theirs;
	char end;
	int fd = accept(listening, NULL, NULL);

	if (fd < 0 || exchange(fd, &me, &theirs) < 0)
		return;
	connect_qp(qp, &theirs);
	if (revoked && read(fd, &end, 1) == 0)
		check_heap();
}

static int holder(const char *file, const char *path, off_t offset)
{
	struct sigaction bus = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
	volatile int served = 0, ended = 0;
	int listening, fd = open(file, O_RDWR);
	volatile int revoked = 0;
	struct ibv_mr *mr;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		die(file);
	if (!length)
		length = (size_t)(st.st_size - offset);
	open_device();
	map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
	if (map == MAP_FAILED)
		die("mmap");
	mr = ibv_reg_mr(pd, map, length, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
	if (!mr)
		die("ibv_reg_mr");
	listening = unix_socket(path, 1);
	sigaction(SIGBUS, &bus, NULL);
	puts("registered");
	for (unsigned i = 0;; i++) {
		struct pollfd p = {.fd = listening, .events = POLLIN};

		if (ended && revoked)
			break;
		if (!ended && poll(&p, 1, 10) > 0) {
			serve(listening, mr, revoked);
			if (++served > AGAIN)
				ended = 1;
		}
		if (revoked)
			continue;
		if (sigsetjmp(fault, 1)) {
			remap();
			revoked = 1;
			continue;
		}
		((volatile char *)map)[i % length] = 'c';
	}
	printf("dereg %d, keys still readable: %d\n", ibv_dereg_mr(mr), mr->lkey != 0);
	return 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	signal(SIGPIPE, SIG_IGN);
	if (argc >= 3 && strcmp(argv[1], "peer") == 0)
		return peer(argv[2]);
	if (argc < 4 || strcmp(argv[1], "holder") != 0)
		return 2;
	length = argc > 5 ? (size_t)atoll(argv[5]) : 0;
	return holder(argv[2], argv[3], argc > 4 ? atoll(argv[4]) : 0);
}
