// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The daemon's own sessions, grants, MR tables and core, driven by packets of three clients over real sockets. The file
 * system, the guard and the workers are played: a memfd's device is the pool, a worker answers what the input says, and
 * so does a thread that wants to change the file, also between a packet's arrival and its handling.
 *
 * Input: records of 4 bytes {client and channel, what, argument, argument} and a packet. Mostly the packet's head is
 * made right, so that what is behind it is reached. After every record the core is checked; at the end everybody hangs
 * up, and nothing may be left: no session, no account, no thread without its verdict.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/closer.h"
#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/saved.h"
#include "daemon/store.h"

#undef syscall /* from here on the real one, by its own name */

#define CLIENTS 3
#define CASE_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
long fuzz_syscall(long number, ...);
long syscall(long number, ...);

static struct daemon d;
static struct config_pool pool_config = {.name = "fuzz", .type = DLP_POOL_MOUNT, .path = "/", .fence = CONFIG_FENCE_FULL};
static int file_fd, calls[CLIENTS], events[CLIENTS];
static uint64_t dev, ino;
static int device_fd;
static uint8_t worker_says;

static void require(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "violated: %s\n", what);
	abort();
}

/* The daemon would kill the holder, which is this process. */
long fuzz_syscall(long number, ...)
{
	va_list args;
	long a, b;

	if (number == SYS_pidfd_send_signal)
		return 0;
	va_start(args, number);
	a = va_arg(args, long);
	b = va_arg(args, long);
	va_end(args);
	return syscall(number, a, b);
}

uint64_t now_ns(void)
{
	static uint64_t now;

	return now += 1000;
}

void timer_arm(struct event *timer, uint64_t delay_ns)
{
	struct timeval tv = {.tv_sec = 3600};

	(void)delay_ns;
	event_add(timer, &tv);
}

/* --- workers ----------------------------------------------------------------------------------------------- */

struct played {
	uint64_t id;
	enum worker_job_kind kind;
	worker_done *done;
	void *arg;
	struct played *next;
};
static struct played *played;
static uint64_t next_id;

int workers_submit(struct workers *workers, const struct worker_job *job, int fd, uint64_t key, uint64_t limit_ns,
		   worker_done *done, void *arg, uint64_t *id)
{
	struct played *p = calloc(1, sizeof(*p));

	(void)workers;
	(void)fd;
	(void)key;
	(void)limit_ns;
	if (worker_says % 16 == 15) {
		free(p);
		return -EAGAIN;
	}
	*p = (struct played){++next_id, job->kind, done, arg, played};
	played = p;
	*id = p->id;
	return 0;
}

void workers_cancel(struct workers *workers, uint64_t id)
{
	(void)workers;
	for (struct played **p = &played; *p; p = &(*p)->next) {
		if ((*p)->id == id) {
			struct played *gone = *p;

			*p = gone->next;
			free(gone);
			return;
		}
	}
}

static void work(void)
{
	while (played) {
		struct played *first = played, p = *first;
		struct worker_result result = {.path = "/x"};

		played = p.next;
		free(first);
		if (worker_says % 4 == 1) {
			result.error = -ENODATA;
			result.refusal.reason = DLP_REASON_HOLE;
		} else if (worker_says % 4 == 2) {
			result.error = -ETIMEDOUT;
			result.mapped = true;
			result.failed = UINT64_MAX;
		} else if (worker_says % 4 == 3) { /* all was unmapped, but the device does not let go */
			result.failed = UINT64_MAX;
		}
		p.done(p.arg, &result);
	}
}

/* --- guard ------------------------------------------------------------------------------------------------- */

/* What the guard stopped and the daemon has not asked for yet; slots owed an answer. */
static struct guard_attempt stopped[CASE_MAX];
static unsigned stopped_count, slots;
static bool owed[CASE_MAX];
static bool armed;

static bool played_next(struct guard *guard, struct guard_attempt *a)
{
	(void)guard;
	if (!stopped_count)
		return false;
	*a = stopped[--stopped_count];
	owed[a->slot] = true;
	return true;
}

static int played_answer(struct guard *guard, uint32_t slot, int error)
{
	(void)guard;
	(void)error;
	require(slot < CASE_MAX && owed[slot], "one answer a slot");
	owed[slot] = false;
	return 0;
}

static int played_arm(struct guard *guard, int fd, uint64_t of_dev, uint64_t of_ino)
{
	(void)guard;
	require(fd >= 0 && of_dev == dev && of_ino == ino, "arm");
	armed = true;
	return 0;
}

static bool played_owes(struct guard *guard, uint32_t slot, uint64_t serial)
{
	(void)guard;
	(void)serial;
	return owed[slot];
}

static int played_disarm(struct guard *guard, int fd, uint64_t of_dev, uint64_t of_ino)
{
	struct core_counts counts;

	(void)guard;
	core_counts(d.core, &counts);
	require(fd >= 0 && of_dev == dev && of_ino == ino && counts.leases == 0, "disarm");
	armed = false;
	return 0;
}

static void played_counts(struct guard *guard, struct guard_counts *counts)
{
	(void)guard;
	*counts = (struct guard_counts){0};
}

static unsigned played_passed(struct guard *guard, uint64_t of_dev, uint64_t of_ino, struct guard_passed *list,
			      unsigned max)
{
	(void)guard;
	(void)list;
	(void)max;
	require(of_dev == dev && of_ino == ino, "passed");
	return 0;
}

static const struct guard_ops played_ops = {
	.next = played_next,
	.answer = played_answer,
	.arm = played_arm,
	.disarm = played_disarm,
	.owes = played_owes,
	.passed = played_passed,
	.counts = played_counts,
};
static struct guard played_guard = {.ops = &played_ops, .label = DLP_LABEL_ENFORCED, .event_fd = -1};

/* A thread that does not exist: so its operation has finished when it is looked for. */
static void stop_thread(const uint8_t *arg)
{
	uint64_t start = (uint64_t)(arg[0] & 15) << 12;
	struct guard_attempt *a;

	if (slots == CASE_MAX || stopped_count == CASE_MAX)
		return;
	a = &stopped[stopped_count++];
	*a = (struct guard_attempt){
		.dev = dev,
		.ino = ino,
		.start = start,
		.end = arg[0] & 0x10 ? UINT64_MAX : start + ((uint64_t)(1 + (arg[1] & 15)) << 12),
		.slot = slots++,
		.tid = INT32_MAX - (arg[0] >> 6),
		.tgid = arg[1] & 0x10 ? getpid() : INT32_MAX,
		.cause = DLP_CAUSE_PUNCH,
		.syscall_hash = arg[1] >> 5,
		.maps = arg[1] & 0x20,
		.two_file = arg[1] & 0x40,
		.opaque = arg[1] & 0x80,
		.answered = !armed,
	};
}

/* --- the daemon -------------------------------------------------------------------------------------------- */

static void start(void)
{
	struct core_params params = {1ull << 60, 1ull << 60, 4096, 4096, 64};
	struct stat st;

	log_set_level(-1);
	file_fd = memfd_create("fuzz", MFD_CLOEXEC);
	require(file_fd >= 0 && fstat(file_fd, &st) == 0, "memfd");
	dev = st.st_dev;
	ino = st.st_ino;
	require(saved_open(&d) == 0, "journal");
	d.base = event_base_new();
	d.core = core_new(&params);
	d.config.break_time_ns = d.config.margin_ns = d.config.fence_ns = 1ull << 60;
	d.pools = calloc(1, sizeof(*d.pools));
	d.pools_count = 1;
	d.pools[0] = (struct pool){
		.config = &pool_config, .state = DLP_POOL_READY, .label = DLP_LABEL_ENFORCED, .dev = dev, .fstype = "ext4"};
	d.listen_fd = -1;
	d.guard = &played_guard;
	device_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (unsigned good = 0; good < USER_GOODS; good++)
		d.limits[good] = 64;
	require(d.base && d.core && d.pools && breaks_start(&d) == 0, "start");
}

static void turn(void)
{
	const char *wrong;

	event_base_loop(d.base, EVLOOP_NONBLOCK);
	work();
	guard_drain(&d);
	event_base_loop(d.base, EVLOOP_NONBLOCK);
	wrong = core_check(d.core);
	require(!wrong, wrong ? wrong : "");
}

static void join(unsigned i, uint32_t role)
{
	struct dlp_hello hello = {
		.head.opcode = DLP_HELLO, .magic = DLP_MAGIC, .major = DLP_MAJOR, .role = role};
	union dlp_buffer b;
	unsigned fds;
	int pair[2];

	require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
	require(session_new(&d, pair[0], STORE_NO_SLOT) == 0, "session");
	calls[i] = pair[1];
	require(dlp_send(calls[i], &hello.head, sizeof(hello), -1, 0) == 0, "hello");
	turn();
	require(dlp_recv(calls[i], &b, &events[i], &fds, 0) == sizeof(struct dlp_hello_reply) && fds == 1, "reply");
}

/* Ranges and names that meet: small pages of the one file. */
static void aim(union dlp_buffer *b, const uint8_t *arg)
{
	uint64_t start = (uint64_t)(arg[0] & 15) << 12, end = start + ((uint64_t)(1 + (arg[1] & 15)) << 12);

	switch (b->head.opcode) {
	case DLP_GRANT:
		*(struct dlp_grant *)b = (struct dlp_grant){.head = b->head, .start = start, .end = end};
		break;
	case DLP_RELEASE:
	case DLP_QUERY:
	case DLP_REVOKED:
		*(struct dlp_range *)b = (struct dlp_range){
			.head = b->head, .dev = dev, .ino = ino, .start = start, .end = end};
		if (b->head.opcode == DLP_REVOKED)
			((struct dlp_range *)b)->epoch = UINT64_MAX;
		break;
	case DLP_MR_ADD:
		*(struct dlp_mr *)b = (struct dlp_mr){
			.head = b->head, .id = arg[0] & 3, .context = arg[1] & 3, .dev = dev, .ino = ino,
			.start = start, .end = end, .flags = arg[1] >> 2 & DLP_MR_FLAGS};
		break;
	case DLP_MR_DEL:
		*(struct dlp_mr *)b = (struct dlp_mr){.head = b->head, .id = arg[0] & 3, .context = arg[1] & 3};
		break;
	case DLP_BREAK:
		*(struct dlp_break *)b = (struct dlp_break){.head = b->head, .start = start, .end = end};
		break;
	case DLP_LEASE_REVOKE:
		*(struct dlp_lease_revoke *)b = (struct dlp_lease_revoke){.head = b->head, .lease = arg[0]};
		break;
	}
}

static size_t packet(const uint8_t *data, size_t size)
{
	static const uint16_t opcodes[] = {
		DLP_HELLO, DLP_POOL,  DLP_GRANT,  DLP_GRANT,  DLP_RELEASE, DLP_MR_ADD,	     DLP_MR_DEL, DLP_QUERY,
		DLP_LIST,  DLP_WAITING, DLP_POOL_STATS, DLP_BREAK, DLP_WATCH,   DLP_LEASE_REVOKE, DLP_REVOKED, DLP_REVOKED,
	};
	unsigned client = (data[0] & 3) % CLIENTS;
	bool to_events = data[1] & 0x40;
	union dlp_buffer b = {0}, reply;
	const struct dlp_rule *rule;
	unsigned fds;
	size_t used = 4, length;
	int fd;

	b.head.opcode = opcodes[data[1] & 15];
	worker_says = data[0] >> 2 & 15;
	rule = dlp_rule(b.head.opcode == DLP_REVOKED ? DLP_TO_DAEMON_EVENTS : DLP_TO_DAEMON_CALLS, b.head.opcode);
	length = rule->size;
	if (data[1] & 0x20) { /* as the input has it, head included */
		length = data[2] & 0x7f;
		length = length < size - 4 ? length : size - 4;
		memcpy(b.bytes, data + 4, length);
		used += length;
	} else {
		aim(&b, data + 2);
		to_events = b.head.opcode == DLP_REVOKED;
		if (to_events && (data[2] & 0x80))
			b.head.error = EIO;
	}
	fd = b.head.opcode == DLP_MR_ADD ? device_fd : file_fd;
	if (!rule->fds_max || (data[1] & 0x10))
		fd = -1;
	if (length >= sizeof(b.head))
		dlp_send(to_events ? events[client] : calls[client], &b.head, length, fd, MSG_DONTWAIT);
	if (data[0] & 0x80) { /* while the packet, or what a worker says to it, is on its way */
		if (data[0] & 0x40)
			event_base_loop(d.base, EVLOOP_NONBLOCK);
		stop_thread(data + 2);
	}
	turn();
	while (dlp_recv(calls[client], &reply, &fd, &fds, MSG_DONTWAIT) > 0)
		if (fd >= 0)
			close(fd);
	if (data[1] & 0x80) {
		while (dlp_recv(events[client], &reply, &fd, &fds, MSG_DONTWAIT) > 0)
			if (fd >= 0)
				close(fd);
	}
	return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct core_counts counts;

	if (!d.base)
		start();
	worker_says = 0;
	slots = 0;
	for (unsigned i = 0; i < CLIENTS; i++)
		join(i, i == CLIENTS - 1 ? DLP_ROLE_ADMIN : DLP_ROLE_HOLDER);
	for (unsigned n = 0; n < CASE_MAX && size >= 4; n++) {
		size_t used = packet(data, size);

		data += used;
		size -= used;
	}
	worker_says = 0;
	d.closures_count = 0;
	for (unsigned i = 0; i < CLIENTS; i++) {
		close(calls[i]);
		close(events[i]);
	}
	for (int i = 0; i < 4; i++)
		turn();
	/* Sessions that were to be fenced wait for a death that does not come. */
	for (struct session *s = d.sessions, *next; s; s = next) {
		next = s->hh.next;
		require(s->state == SESSION_FENCING || s->state == SESSION_DETACHED, "a session is left over");
		holder_died(s);
	}
	for (int i = 0; i < 4; i++)
		turn();
	grants_stop(&d);
	run_effects(&d);
	core_counts(d.core, &counts);
	require(d.sessions == NULL && counts.leases == 0 && counts.waiting == 0, "something is left over");
	require(d.files == NULL && d.users == NULL, "a file or an account is left over");
	for (unsigned i = 0; i < slots; i++)
		require(!owed[i], "every thread has its verdict");
	hold_off_look(&d, dev, ino, 0, UINT64_MAX);
	require(TAILQ_EMPTY(&d.passed) && d.notes == NULL, "every operation has finished");
	for (unsigned i = 0; i < USER_GOODS; i++)
		require(d.taken[i] == 0, "all was given back");
	return 0;
}
