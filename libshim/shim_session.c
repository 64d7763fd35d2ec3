// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libshim/shim_session.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "libshim/shim_fork.h"
#include "libshim/shim_table.h"

#define RETRY_NS UINT64_C(1000000000)
#define HANG_UP_TRIES 4
#define LISTENER_STACK (256u * 1024u) /* touched as far as it is used */

struct session session = {.pools_wanted = 1};

/* One thread connects, asks for the pools, starts the listener; held across round trips, never with
 * the table's lock, and never taken by the listener. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic uint64_t last_try_ns;

static int signal_number(const char *name)
{
	char *end;
	long number = strtol(name, &end, 10);

	if (*name && !*end)
		return number > 0 && number <= SIGRTMAX ? (int)number : 0;
	if (strncmp(name, "SIG", 3) == 0)
		name += 3;
	if (strncmp(name, "RTMIN", 5) == 0) {
		number = name[5] == '+' ? strtol(name + 6, NULL, 10) : 0;
		return SIGRTMIN + (int)number <= SIGRTMAX ? SIGRTMIN + (int)number : 0;
	}
	for (int sig = 1; sig < NSIG; sig++) {
		const char *abbreviation = sigabbrev_np(sig);

		if (abbreviation && strcmp(abbreviation, name) == 0)
			return sig;
	}
	return 0;
}

void session_configure(void)
{
	const char *mode = getenv("DAXLEASE_MODE");
	const char *socket = getenv("DAXLEASE_SOCKET");
	const char *sig = getenv("DAXLEASE_SIGNAL");
	const char *quiet = getenv("DAXLEASE_QUIET");

	say_quiet = quiet && strcmp(quiet, "1") == 0;
	if (!mode || !*mode || strcmp(mode, "prefer") == 0)
		session.mode = SHIM_PREFER;
	else if (strcmp(mode, "require") == 0)
		session.mode = SHIM_REQUIRE;
	else if (strcmp(mode, "off") == 0)
		session.mode = SHIM_OFF;
	else
		say("DAXLEASE_MODE=%s is none of prefer, require, off: prefer is used", mode);
	if (!socket || !*socket)
		socket = DLP_SOCKET_DEFAULT;
	if (strlen(socket) < sizeof(session.socket))
		memcpy(session.socket, socket, strlen(socket) + 1);
	else
		say("DAXLEASE_SOCKET is longer than a socket's path can be");
	if (sig && *sig) {
		session.signal = signal_number(sig);
		if (!session.signal)
			say("DAXLEASE_SIGNAL=%s is no signal", sig);
	}
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Asks for all of them. The old list is not freed: others may be looking at it, and changes are
 * rare. */
static int ask_pools(void)
{
	static struct dlp_pool_reply reply; /* 5 KiB: too much for a small stack; under lock */
	const size_t size = (sizeof(struct session_pools) + 4095) & ~(size_t)4095;
	unsigned wanted = atomic_load(&session.pools_wanted);
	struct session_pools *fresh;
	long mapped;

	mapped = syscall(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0L);
	if (mapped == -1)
		return -ENOMEM;
	fresh = (struct session_pools *)mapped;
	for (uint32_t i = 0; fresh->count < SESSION_POOLS; i++) {
		struct dlp_pool ask = {.head.opcode = DLP_POOL, .index = i};
		int error = client_request(&session.client, &ask.head, sizeof(ask), -1, &reply,
					   sizeof(reply));

		if (error < 0) {
			syscall(SYS_munmap, mapped, size);
			return error;
		}
		if (reply.head.error)
			break;
		if (!reply.dev)
			continue;
		fresh->pool[fresh->count].dev = reply.dev;
		fresh->pool[fresh->count].label = reply.label;
		memcpy(fresh->pool[fresh->count].name, reply.name, DLP_NAME_SIZE);
		fresh->pool[fresh->count++].type = reply.type;
	}
	atomic_store(&session.pools, fresh);
	atomic_store(&session.pools_known, wanted);
	return 0;
}

static bool due(void)
{
	uint64_t last = atomic_load(&last_try_ns);

	return last == 0 || now_ns() - last >= RETRY_NS;
}

static bool up_to_date(void)
{
	return atomic_load(&session.pools_known) == atomic_load(&session.pools_wanted);
}

/* Called with the lock held. As long as there is no lease (no listener), nothing is lost by
 * connecting again, later. */
static void hung_up(void)
{
	if (session.listening) {
		session_lost();
		return;
	}
	client_close(&session.client);
	atomic_store(&session.connected, false);
	atomic_store(&session.pools_known, 0);
}

/* Called with the lock held. Whether it is worth another try at once. */
static bool try_once(void)
{
	if (!atomic_load(&session.connected)) {
		int error = client_connect(&session.client, session.socket, DLP_ROLE_HOLDER);
		if (error < 0) {
			atomic_store(&last_try_ns, now_ns());
			if (error == -EPROTONOSUPPORT && say_first(SAY_LOST, 1, 0))
				say("the daemon at %s speaks another version", session.socket);
			return false;
		}
		if (!session.coverage.client) /* fork may hold its lock */
			coverage_init(&session.coverage, &session.client);
		atomic_store(&session.connected, true);
	}
	if (up_to_date() || ask_pools() != -EPIPE)
		return false;
	hung_up();
	return !atomic_load(&session.lost);
}

/* Called with the lock held. For a second after a failure mappings are made without a lease: that a daemon has hung up
 * is none, as long as it answers again. */
static void bring_up(void)
{
	unsigned tries = 0;

	if (!atomic_load(&session.connected) && !due())
		return;
	while (try_once()) {
		if (++tries == HANG_UP_TRIES) {
			atomic_store(&last_try_ns, now_ns());
			return;
		}
	}
}

/* Before there is a listener nobody else reads what the daemon says: that the list has changed. */
static void read_news(void)
{
	static union dlp_buffer news; /* under lock */
	int more;

	while ((more = client_event(&session.client, &news, false)) > 0) {
		if (news.head.opcode == DLP_EV_POOLS)
			atomic_fetch_add(&session.pools_wanted, 1);
	}
	if (more < 0)
		hung_up();
}

static bool nobody_listens(void)
{
	return atomic_load(&session.connected) && !atomic_load(&session.lost) &&
	       !__atomic_load_n(&session.listening, __ATOMIC_ACQUIRE);
}

/* While one thread connects or asks, the others wait for it: one that went on without the list
 * would map a pool's file without a lease. */
const struct session_pools *session_pools(void)
{
	struct hook hook;

	if (!session.socket[0])
		return NULL; /* another constructor maps before ours has run */
	fork_notice();
	if (nobody_listens() || (!up_to_date() && !atomic_load(&session.lost) &&
				 (atomic_load(&session.connected) || due()))) {
		hook_enter(&hook);
		pthread_mutex_lock(&lock);
		if (nobody_listens())
			read_news();
		if (!atomic_load(&session.lost))
			bring_up();
		pthread_mutex_unlock(&lock);
		hook_leave(&hook);
	}
	return atomic_load(&session.pools);
}

uint32_t session_pool_type(const struct session_pools *pools, const struct stat *st)
{
	bool device = S_ISCHR(st->st_mode);
	uint64_t dev = device ? st->st_rdev : st->st_dev;

	for (unsigned i = 0; i < pools->count; i++) {
		if (pools->pool[i].dev == dev && (pools->pool[i].type == DLP_POOL_DEVDAX) == device)
			return pools->pool[i].type;
	}
	return 0;
}

/*
 * pthread_create(3) allocates. A program whose allocator maps files of a pool from inside malloc,
 * with its lock held, would come here for its first lease; for it the first lease should be taken
 * elsewhere.
 */
static int start_listener(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	int error;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	/* a program with much static TLS may need more: then the default */
	(void)pthread_attr_setstacksize(&attr, LISTENER_STACK);
	error = pthread_create(&thread, &attr, revoke_listen, NULL);
	pthread_attr_destroy(&attr);
	if (error == EINVAL) {
		error = pthread_create(&thread, NULL, revoke_listen, NULL);
		if (error == 0)
			pthread_detach(thread);
	}
	return -error;
}

int session_listen(void)
{
	struct hook hook;
	int error = 0;

	if (__atomic_load_n(&session.listening, __ATOMIC_ACQUIRE))
		return atomic_load(&session.lost) || !client_usable(&session.client)
			       ? session_lost()
			       : 0;
	hook_enter(&hook); /* all signals blocked: the thread inherits that */
	pthread_mutex_lock(&lock);
	if (!session.listening) {
		if (!atomic_load(&session.connected) || !client_usable(&session.client))
			error = -EPIPE;
		if (error == 0)
			error = table_reserve();
		if (error == 0)
			error = start_listener();
		if (error == 0)
			__atomic_store_n(&session.listening, true, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&lock);
	hook_leave(&hook);
	return error;
}

int session_lost(void)
{
	if (!atomic_exchange(&session.lost, true) && table_hits(NULL, SIZE_MAX))
		say("the connection to the daemon is lost: leases of process %d are not kept any "
		    "more, and the "
		    "daemon may end them from outside",
		    (int)getpid());
	return -EPIPE;
}

void session_forget(bool close)
{
	pthread_mutex_init(&lock, NULL);
	if (close && atomic_load(&session.connected))
		client_close(&session.client);
	atomic_store(&session.connected, false);
	atomic_store(&session.lost, false);
	atomic_store(&session.pools_known, 0);
	atomic_store(&session.pools, NULL);
	atomic_store(&last_try_ns, 0);
	session.coverage.client = NULL;
	session.listening = false;
}
