// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What an MR keeps (C22), in a program that knows nothing of leases: run it under daxlease-run
 * --mode require in the guest. Remote writes go from one queue pair of the process to another.
 *
 *   shim_mr FILE            FILE: on file-system DAX, 4 MiB, written
 *   shim_mr --window FILE   binds a memory window to an MR on it, says "bound", waits
 *   shim_mr --early FILE SOCKET   maps it while there is no daemon on SOCKET, says "mapped", waits for one
 *   shim_mr --taken FILE    takes the functions from the library's own handle
 *   shim_mr --no-odp FILE   says of its device that it cannot register on demand
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>

#include "daemon/uverbs.h"
#include "tests/unit/shim_check.h"

#define MIB (1u << 20)
#define RW (PROT_READ | PROT_WRITE)
#define ACCESS (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE)
#define GID_INDEX 1

static const char *path;
static int fd;
static struct ibv_context *context;
static struct ibv_pd *pd;
static struct ibv_cq *cq;
static struct ibv_mr *source;
static char *source_page;

static struct ibv_qp *make_qp(void)
{
	struct ibv_qp_init_attr attr = {.send_cq = cq,
					.recv_cq = cq,
					.cap = {16, 16, 1, 1, 0},
					.qp_type = IBV_QPT_RC};
	struct ibv_qp *qp = ibv_create_qp(pd, &attr);

	CHECK(qp);
	return qp;
}

static void connect_qp(struct ibv_qp *qp, const struct ibv_qp *to)
{
	struct ibv_qp_attr init = {.qp_state = IBV_QPS_INIT,
				   .port_num = 1,
				   .qp_access_flags = ACCESS};
	struct ibv_qp_attr receive = {.qp_state = IBV_QPS_RTR,
				      .path_mtu = IBV_MTU_1024,
				      .dest_qp_num = to->qp_num,
				      .max_dest_rd_atomic = 1,
				      .min_rnr_timer = 12,
				      .ah_attr = {.is_global = 1,
						  .port_num = 1,
						  .grh = {.sgid_index = GID_INDEX,
							  .hop_limit = 1}}};
	struct ibv_qp_attr send = {.qp_state = IBV_QPS_RTS,
				   .timeout = 14,
				   .retry_cnt = 7,
				   .rnr_retry = 7,
				   .max_rd_atomic = 1};

	CHECK(ibv_query_gid(context, 1, GID_INDEX, &receive.ah_attr.grh.dgid) == 0);
	CHECK(ibv_modify_qp(qp, &init,
			    IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS) ==
	      0);
	CHECK(ibv_modify_qp(qp, &receive,
			    IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
				    IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
				    IBV_QP_MIN_RNR_TIMER) == 0);
	CHECK(ibv_modify_qp(qp, &send,
			    IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
				    IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC) == 0);
}

/* A page of `byte` by RDMA to `offset` of the MR at `start`: the completion's status. */
static enum ibv_wc_status write_remote(const struct ibv_mr *mr, const char *start, size_t offset,
				       char byte)
{
	struct ibv_qp *from = make_qp(), *to = make_qp();
	struct ibv_sge sge = {(uintptr_t)source_page, 4096, source->lkey};
	struct ibv_send_wr request = {.sg_list = &sge,
				      .num_sge = 1,
				      .opcode = IBV_WR_RDMA_WRITE,
				      .send_flags = IBV_SEND_SIGNALED,
				      .wr.rdma = {(uintptr_t)start + offset, mr->rkey}};
	struct ibv_send_wr *bad;
	struct ibv_wc done;
	int count;

	memset(source_page, byte, 4096);
	connect_qp(from, to);
	connect_qp(to, from);
	CHECK(ibv_post_send(from, &request, &bad) == 0);
	while ((count = ibv_poll_cq(cq, 1, &done)) == 0)
		;
	CHECK(count == 1);
	CHECK(ibv_destroy_qp(from) == 0 && ibv_destroy_qp(to) == 0);
	return done.status;
}

static bool file_has(size_t offset, char byte)
{
	char found;

	CHECK(pread(fd, &found, 1, (off_t)offset) == 1);
	return found == byte;
}

static bool is_mapped(const char *at)
{
	return msync((void *)at, 4096, MS_ASYNC) == 0;
}

/* How many leases on the file the daemon has. */
static bool leases_are(int wanted)
{
	int count = 0;

	for (int try = 0; try < 200; try++) {
		FILE *list = popen("daxleasectl list --output path 2>/dev/null", "r");
		char line[4096];

		count = 0;

		CHECK(list);
		while (fgets(line, sizeof(line), list))
			count += strncmp(line, path, strlen(path)) == 0;
		CHECK(pclose(list) == 0);
		if (count == wanted)
			return true;
		usleep(10000);
	}
	fprintf(stderr, "there are %d leases instead of %d\n", count, wanted);
	return false;
}

static char *map_file(void)
{
	char *map = mmap(NULL, 2 * MIB, RW, MAP_SHARED, fd, 0);

	CHECK(map != MAP_FAILED);
	return map;
}

static void munmap_under_mr(void)
{
	char *map = map_file();
	struct ibv_mr *mr = ibv_reg_mr(pd, map, MIB, ACCESS),
		      *half = ibv_reg_mr(pd, map, MIB / 2, ACCESS);

	CHECK(mr && half && write_remote(mr, map, 8192, 'A') == IBV_WC_SUCCESS &&
	      file_has(8192, 'A'));
	CHECK(munmap(map, 2 * MIB) == 0);
	CHECK(!is_mapped(map + MIB) && leases_are(1));
	CHECK(write_remote(mr, map, 8192, 'B') == IBV_WC_SUCCESS && file_has(8192, 'B'));
	CHECK(ibv_dereg_mr(mr) == 0);
	CHECK(!is_mapped(map + MIB / 2) && is_mapped(map) && leases_are(1));
	CHECK(write_remote(half, map, 8192, 'C') == IBV_WC_SUCCESS && file_has(8192, 'C'));
	CHECK(ibv_dereg_mr(half) == 0 && !is_mapped(map) && leases_are(0));
}

static void mremap_under_mr(void)
{
	char *map = map_file(), *moved;
	struct ibv_mr *mr = ibv_reg_mr(pd, map, MIB, ACCESS);

	CHECK(mr);
	moved = mmap(NULL, 2 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(mremap(map, 2 * MIB, 2 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, moved) == moved);
	CHECK(write_remote(mr, map, 4096, 'D') == IBV_WC_SUCCESS && file_has(4096, 'D') &&
	      moved[4096] == 'D');
	CHECK(!is_mapped(map + MIB));
	CHECK(munmap(moved, 2 * MIB) == 0 && leases_are(1));
	CHECK(write_remote(mr, map, 4096, 'E') == IBV_WC_SUCCESS && file_has(4096, 'E'));
	CHECK(ibv_dereg_mr(mr) == 0 && !is_mapped(map) && leases_are(0));
}

/* Something else is mapped over it: the MR ends, and reaches neither the file nor what is there
 * now. */
static void mapped_over(void)
{
	char *map = map_file();
	struct ibv_mr *mr = ibv_reg_mr(pd, map, MIB, ACCESS);

	CHECK(mr && write_remote(mr, map, 4096, 'F') == IBV_WC_SUCCESS);
	CHECK(mmap(map, MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == map);
	CHECK(write_remote(mr, map, 4096, 'G') == IBV_WC_REM_ACCESS_ERR);
	CHECK(map[4096] == 0 && file_has(4096, 'F'));
	CHECK(mr->length == MIB && ibv_dereg_mr(mr) == 0);
	CHECK(munmap(map, 2 * MIB) == 0 && leases_are(0));
}

/* Other memory in the same registration, other functions, and none of ours. */
static void other_registrations(void)
{
	char *map = map_file(), *anonymous;
	struct ibv_mr *mr;

	/* rxe takes the iova of an on-demand MR for an address of the process: another one it does
	 * not reach */
	mr = ibv_reg_mr_iova(pd, map, MIB, (uintptr_t)map, ACCESS);
	CHECK(mr && write_remote(mr, map, 4096, 'H') == IBV_WC_SUCCESS && file_has(4096, 'H'));
	CHECK(ibv_dereg_mr(mr) == 0);
	anonymous = mmap(NULL, MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mr = ibv_reg_mr(pd, anonymous, MIB, ACCESS);
	CHECK(mr && write_remote(mr, anonymous, 0, 'I') == IBV_WC_SUCCESS && anonymous[0] == 'I');
	CHECK(ibv_dereg_mr(mr) == 0);
	CHECK(mmap(map + MIB, MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	      map + MIB);
	mr = ibv_reg_mr(pd, map, 2 * MIB, ACCESS);
	CHECK(mr && write_remote(mr, map, MIB, 'J') == IBV_WC_SUCCESS && map[MIB] == 'J');
	CHECK(ibv_dereg_mr(mr) == 0 && munmap(map, 2 * MIB) == 0 && leases_are(0));
}

/* The daemon has destroyed it, and the listener does not know that yet: the handle may be another MR's. */
static void destroyed_outside(void)
{
	char *map = map_file();
	struct ibv_mr *mr = ibv_reg_mr(pd, map, MIB, ACCESS), *next;
	struct uverbs uverbs;
	struct uverbs_mr id;

	CHECK(mr && uverbs_open(context->cmd_fd, &uverbs) == 0);
	id = (struct uverbs_mr){mr->handle, mr->lkey, mr->rkey, mr->length};
	CHECK(uverbs_destroy_mr(&uverbs, &id) == 0);
	next = ibv_reg_mr(pd, map, MIB, ACCESS);
	CHECK(next && next->handle == id.handle);
	CHECK(mr->length == MIB && ibv_dereg_mr(mr) == 0);
	CHECK(write_remote(next, map, 4096, 'K') == IBV_WC_SUCCESS && file_has(4096, 'K'));
	id = (struct uverbs_mr){next->handle, next->lkey, next->rkey, next->length};
	CHECK(uverbs_destroy_mr(&uverbs, &id) == 0);
	CHECK(munmap(map, 2 * MIB) == 0 && !is_mapped(map) && leases_are(0));
	CHECK(next->length == MIB && ibv_dereg_mr(next) == 0);
}

/* One MR over two mappings and memory that is none of ours; the first is unmapped under it. */
static void several_mappings(void)
{
	char *place = mmap(NULL, 3 * MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct ibv_mr *mr;

	CHECK(place != MAP_FAILED);
	CHECK(mmap(place, MIB, RW, MAP_SHARED | MAP_FIXED, fd, 2 * MIB) == place);
	CHECK(mmap(place + MIB, MIB, RW, MAP_SHARED | MAP_FIXED, fd, 0) == place + MIB);
	mr = ibv_reg_mr(pd, place, 3 * MIB, ACCESS);
	CHECK(mr && leases_are(2));
	CHECK(write_remote(mr, place, 0, 'K') == IBV_WC_SUCCESS && file_has(2 * MIB, 'K'));
	CHECK(write_remote(mr, place, MIB, 'L') == IBV_WC_SUCCESS && file_has(0, 'L'));
	CHECK(write_remote(mr, place, 2 * MIB, 'M') == IBV_WC_SUCCESS && place[2 * MIB] == 'M');
	CHECK(munmap(place, MIB) == 0 && leases_are(2));
	CHECK(write_remote(mr, place, 0, 'N') == IBV_WC_SUCCESS && file_has(2 * MIB, 'N'));
	CHECK(ibv_dereg_mr(mr) == 0 && leases_are(1) && !is_mapped(place));
	CHECK(munmap(place + MIB, 2 * MIB) == 0 && leases_are(0));
}

/* Something else mapped over an MR must end it: that shows that it is still known. */
static void ends_with_its_memory(struct ibv_mr *mr, char *map)
{
	CHECK(mmap(map, MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == map);
	CHECK(write_remote(mr, map, 4096, 'Z') == IBV_WC_REM_ACCESS_ERR && map[4096] == 0);
	CHECK(ibv_dereg_mr(mr) == 0 && munmap(map, 2 * MIB) == 0 && leases_are(0));
}

static void reregistered(void)
{
	char *map = map_file(), *other;
	struct ibv_mr *mr = ibv_reg_mr(pd, map, MIB, ACCESS);
	struct ibv_pd *second = ibv_alloc_pd(context);
	int code;

	CHECK(mr && second);
	/* A provider need not be able to: then the MR is what it was. */
	code = ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_ACCESS, NULL, NULL, 0,
			    ACCESS | IBV_ACCESS_REMOTE_READ);
	CHECK(code == 0 || errno == EOPNOTSUPP);
	CHECK(write_remote(mr, map, 4096, 'O') == IBV_WC_SUCCESS && file_has(4096, 'O'));
	code = ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_PD, second, NULL, 0, 0);
	CHECK(code == 0 ? mr->pd == second : errno == EOPNOTSUPP);
	if (code == 0) {
		CHECK(write_remote(mr, map, 4096, 'P') == IBV_WC_REM_ACCESS_ERR);
		CHECK(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_PD, pd, NULL, 0, 0) == 0);
	} else {
		check_skip = "the provider has no ibv_rereg_mr: only its failing was tried";
	}
	CHECK(write_remote(mr, map, 4096, 'Q') == IBV_WC_SUCCESS && file_has(4096, 'Q'));
	ends_with_its_memory(mr, map);
	CHECK(ibv_dealloc_pd(second) == 0);

	/* Other memory. If that fails nobody knows what the MR has then: it must depend on both. */
	map = map_file();
	other = mmap(NULL, MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mr = ibv_reg_mr(pd, other, MIB, ACCESS);
	CHECK(mr);
	code = ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_TRANSLATION | IBV_REREG_MR_CHANGE_ACCESS, NULL,
			    map, MIB, ACCESS);
	CHECK(code == 0 || errno == EOPNOTSUPP);
	CHECK(munmap(map, 2 * MIB) == 0 && leases_are(1) && ibv_dereg_mr(mr) == 0);
	CHECK(leases_are(0) && munmap(other, MIB) == 0);
	map = map_file();
	mr = ibv_reg_mr(pd, map, MIB, ACCESS);
	CHECK(mr);
	code = ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_TRANSLATION, NULL, map + MIB, MIB / 2, 0);
	CHECK(code == 0 || errno == EOPNOTSUPP);
	CHECK(ibv_dereg_mr(mr) == 0 && munmap(map, 2 * MIB) == 0 && leases_are(0));
}

/* Prefetching (inline, past every hook) what is leased, and what is not there any more. */
static void advised(void)
{
	char *map = map_file();
	struct ibv_mr *mr = ibv_reg_mr(pd, map, MIB, ACCESS);
	struct ibv_sge sge = {(uintptr_t)map, MIB, mr ? mr->lkey : 0};

	CHECK(mr);
	if (ibv_advise_mr(pd, IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE, IBV_ADVISE_MR_FLAG_FLUSH, &sge,
			  1) != 0)
		check_skip = "the provider has no ibv_advise_mr";
	CHECK(mmap(map, MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == map);
	CHECK(ibv_advise_mr(pd, IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE, IBV_ADVISE_MR_FLAG_FLUSH, &sge,
			    1) != 0);
	CHECK(ibv_dereg_mr(mr) == 0 && munmap(map, 2 * MIB) == 0 && leases_are(0));
}

/* The whole address space. What is replaced is out of its reach, too. */
static void implicit(void)
{
	struct ibv_mr *mr = ibv_reg_mr(pd, NULL, SIZE_MAX, ACCESS | IBV_ACCESS_ON_DEMAND);

	if (!mr) {
		check_skip = "the device has no implicit on-demand MRs";
		return;
	}
	CHECK(ibv_dereg_mr(mr) == 0);
}

/* An MR that a memory window is bound to: the kernel does not destroy it. */
static struct ibv_mw *bind_window(struct ibv_mr *mr, char *map, struct ibv_qp *qp)
{
	struct ibv_mw *mw = ibv_alloc_mw(pd, IBV_MW_TYPE_1);
	struct ibv_mw_bind bind = {.send_flags = IBV_SEND_SIGNALED,
				   .bind_info = {.mr = mr,
						 .addr = (uintptr_t)map,
						 .length = MIB,
						 .mw_access_flags = IBV_ACCESS_REMOTE_WRITE}};
	struct ibv_wc done;
	int count;

	CHECK(mw && ibv_bind_mw(qp, mw, &bind) == 0);
	while ((count = ibv_poll_cq(cq, 1, &done)) == 0)
		;
	CHECK(count == 1 && done.status == IBV_WC_SUCCESS);
	return mw;
}

static struct ibv_mr *windowed(char *map, struct ibv_mw **mw, struct ibv_qp *ends[2])
{
	struct ibv_mr *mr = ibv_reg_mr(pd, map, MIB, ACCESS | IBV_ACCESS_MW_BIND);

	CHECK(mr);
	ends[0] = make_qp();
	ends[1] = make_qp();
	connect_qp(ends[0], ends[1]);
	connect_qp(ends[1], ends[0]);
	*mw = bind_window(mr, map, ends[0]);
	return mr;
}

static void window(void)
{
	char *map = map_file();
	struct ibv_qp *ends[2];
	struct ibv_mw *mw;
	struct ibv_mr *mr = windowed(map, &mw, ends);

	/* what cannot be ended is not mapped over, and stays as it was */
	CHECK(mmap(map, MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED);
	CHECK(write_remote(mr, map, 4096, 'R') == IBV_WC_SUCCESS && file_has(4096, 'R'));
	CHECK(leases_are(1) && ibv_dealloc_mw(mw) == 0);
	CHECK(ibv_destroy_qp(ends[0]) == 0 && ibv_destroy_qp(ends[1]) == 0);
	ends_with_its_memory(mr, map);
}

/* For a revocation from outside: binds, says so, and waits. */
static int hold_window(void)
{
	char *map = map_file();
	struct ibv_qp *ends[2];
	struct ibv_mw *mw;

	(void)windowed(map, &mw, ends);
	printf("bound\n");
	fflush(stdout);
	while (pause() < 0)
		;
	return 0;
}

/* What is mapped before there is a daemon has no lease; what is mapped afterwards has. */
static int early(const char *socket)
{
	char *map = map_file();
	struct ibv_mr *mr = NULL;

	printf("mapped\n");
	fflush(stdout);
	for (int try = 0; access(socket, F_OK) < 0; try++) {
		CHECK(try < 1200);
		usleep(100000);
	}
	CHECK(!ibv_reg_mr(pd, map, MIB, ACCESS) && errno == EOPNOTSUPP);
	for (int try = 0; !mr; try++) {
		CHECK(try < 100 && munmap(map, 2 * MIB) == 0);
		usleep(100000);
		map = map_file();
		mr = ibv_reg_mr(pd, map, MIB, ACCESS);
	}
	CHECK(leases_are(1) && write_remote(mr, map, 4096, 'S') == IBV_WC_SUCCESS);
	CHECK(file_has(4096, 'S') && ibv_dereg_mr(mr) == 0);
	printf("refused, then registered\n");
	return 0;
}

static int taken(void)
{
	void *library = dlopen("libibverbs.so.1", RTLD_NOW);
	struct ibv_mr *(*reg)(struct ibv_pd *, void *, size_t, int);
	int (*dereg)(struct ibv_mr *);
	char *map = map_file();
	struct ibv_mr *mr;

	CHECK(library);
	*(void **)&reg = dlvsym(library, "ibv_reg_mr", "IBVERBS_1.1");
	*(void **)&dereg = dlvsym(library, "ibv_dereg_mr", "IBVERBS_1.1");
	CHECK(reg && dereg);
	mr = reg(pd, map, MIB, ACCESS);
	CHECK(mr && write_remote(mr, map, 4096, 'T') == IBV_WC_SUCCESS && file_has(4096, 'T'));
	CHECK(dereg(mr) == 0 && leases_are(1));
	CHECK(munmap(map, 2 * MIB) == 0 && !is_mapped(map) && leases_are(0));
	printf("taken, and covered\n");
	return 0;
}

static int says_no_odp(struct ibv_context *device, const struct ibv_query_device_ex_input *input,
		       struct ibv_device_attr_ex *attr, size_t size)
{
	(void)device;
	(void)input;
	memset(attr, 0, size);
	return 0;
}

/* The kernel is the real one, and refuses to pin. */
static int no_odp(void)
{
	char *map = map_file();

	verbs_get_ctx(context)->query_device_ex = says_no_odp;
	for (int i = 0; i < 2; i++)
		CHECK(!ibv_reg_mr(pd, map, MIB, ACCESS) && errno == EOPNOTSUPP);
	CHECK(munmap(map, 2 * MIB) == 0 && leases_are(0));
	printf("refused\n");
	return 0;
}

/* The last: an MR is left when the device is closed. */
static void device_closed(void)
{
	char *map = map_file();

	CHECK(ibv_reg_mr(pd, map, MIB, ACCESS) && munmap(map, 2 * MIB) == 0 && leases_are(1));
	CHECK(ibv_close_device(context) == 0 && !is_mapped(map) && leases_are(0));
}

int main(int argc, char **argv)
{
	static const struct check_test tests[] = {
		{"C22 munmap under on-demand MRs", munmap_under_mr},
		{"C22 mremap under one", mremap_under_mr},
		{"C22 MAP_FIXED over one ends it", mapped_over},
		{"C21 registered by iova, mixed, and not ours", other_registrations},
		{"C23 an MR that was destroyed from outside can be deregistered",
		 destroyed_outside},
		{"C22 one MR over several mappings, and over memory of no pool", several_mappings},
		{"C22 ibv_rereg_mr, also one that fails", reregistered},
		{"C17 a prefetch reaches nothing that is gone", advised},
		{"C17 implicit on-demand MRs", implicit},
		{"C17 an MR with a memory window is not mapped over", window},
		{"C1 ibv_close_device with an MR left", device_closed},
		{0},
	};
	struct ibv_device **devices = ibv_get_device_list(NULL);

	CHECK(argc >= 2 && devices && devices[0]);
	path = argv[argc > 2 ? 2 : 1];
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	context = ibv_open_device(devices[0]);
	CHECK(context && (pd = ibv_alloc_pd(context)) &&
	      (cq = ibv_create_cq(context, 64, NULL, NULL, 0)));
	source_page = mmap(NULL, 4096, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	source = ibv_reg_mr(pd, source_page, 4096, IBV_ACCESS_LOCAL_WRITE);
	CHECK(source);
	if (argc > 2 && strcmp(argv[1], "--window") == 0)
		return hold_window();
	if (argc > 2 && strcmp(argv[1], "--taken") == 0)
		return taken();
	if (argc > 2 && strcmp(argv[1], "--no-odp") == 0)
		return no_odp();
	if (argc > 3 && strcmp(argv[1], "--early") == 0)
		return early(argv[3]);
	return check_all(tests);
}
