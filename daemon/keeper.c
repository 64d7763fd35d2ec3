// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/keeper_start.h"
#include "daemon/keeper_table.h"
#include "daemon/log.h"
#include "daemon/store.h"

#define MS UINT64_C(1000000)
#define WATCHDOG_US UINT64_C(30000000)
#define START_NS (90000 * MS) /* until it is ready: systemd's default, too */
#define DELAY_READY_NS (20 * MS)
#define DELAY_MIN_NS (100 * MS)
#define DELAY_MAX_NS (2000 * MS)
#define LIVED_NS (10000 * MS) /* one that lived so long is started again at once */
#define MESSAGES_PER_TURN 256
#define OOM_SCORE "-1000" /* with it the guard would end, should the daemon have been killed, too */

struct keeper {
	struct keeper_table table;
	struct keeper_start start;
	int notify_fd, signal_fd;
	char directory[64], address[80];

	pid_t pid; /* 0: none runs */
	bool ready, ever_ready;
	int end_signal; /* 0; asked to end, once, and twice */
	bool end_now;
	uint64_t started_ns;
	uint64_t alive_until_ns; /* then it is stuck */
	uint64_t restart_at_ns, delay_ns;
	uint64_t watchdog_ns;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* --- the child ---------------------------------------------------------------------------------------- */

static void start_daemon(struct keeper *k)
{
	pid_t pid = keeper_start(&k->start, &k->table);

	k->started_ns = now_ns();
	k->ready = false;
	k->watchdog_ns = k->start.watchdog_us * 1000;
	k->alive_until_ns = k->started_ns + START_NS;
	if (pid < 0) {
		log_error("cannot start the daemon: %s; trying again", strerror(-pid));
		k->restart_at_ns = k->started_ns + DELAY_MAX_NS;
		return;
	}
	k->restart_at_ns = 0;
	k->pid = pid;
	log_info("daemon %d started with %u stored descriptors", (int)pid, k->table.count);
}

static void pass_on(const struct keeper *k, int signal)
{
	if (k->pid > 0 && kill(k->pid, signal) < 0)
		log_error("no signal to the daemon %d: %s", (int)k->pid, strerror(errno));
}

static void describe(int status, char *text, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(text, size, "was killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(text, size, "ended with status %d", WEXITSTATUS(status));
}

/* Whether its end is ours, too. One that is killed while it breaks all leases has to do that again. */
static bool is_final(const struct keeper *k, int status)
{
	if (k->end_now || !k->ever_ready)
		return true;
	if (!WIFEXITED(status) || WEXITSTATUS(status) == STORE_EXIT_RESTART)
		return false;
	return WEXITSTATUS(status) == 0 || k->end_signal;
}

/*
 * When to start the next one: soon, since somebody may be waiting behind it, but not in a loop that keeps a processor and
 * the log busy. One that dies before it is ready will do so again: those come slower and slower.
 */
static void plan_restart(struct keeper *k, int status)
{
	const uint64_t now = now_ns();
	const bool asked = WIFEXITED(status) && WEXITSTATUS(status) == STORE_EXIT_RESTART;
	char how[80];

	if (k->ready)
		k->delay_ns = asked || now - k->started_ns >= LIVED_NS ? 0 : DELAY_READY_NS;
	else if (k->delay_ns < DELAY_MIN_NS)
		k->delay_ns = DELAY_MIN_NS;
	else
		k->delay_ns = k->delay_ns * 2 < DELAY_MAX_NS ? k->delay_ns * 2 : DELAY_MAX_NS;
	k->restart_at_ns = now + k->delay_ns;
	describe(status, how, sizeof(how));
	if (asked)
		log_notice("the daemon %d is replaced", (int)k->pid);
	else
		log_error("the daemon %d %s; it is started again in %u ms. What it stored (%u "
			  "descriptors) is kept, breakers wait",
			  (int)k->pid, how, (unsigned)(k->delay_ns / MS), k->table.count);
}

/* --- what happens ------------------------------------------------------------------------------------- */

static void is_ready(struct keeper *k)
{
	k->ready = k->ever_ready = true;
	if (k->end_signal)
		pass_on(k, k->end_signal);
}

/* All that the daemon has said, also one that is dead by now. */
static void read_messages(struct keeper *k, bool all)
{
	struct keeper_news news;
	int rc = 0;

	for (int i = 0; rc == 0 && (all || i < MESSAGES_PER_TURN); i++) {
		rc = keeper_table_receive(&k->table, k->notify_fd, k->pid, &news);
		if (rc < 0)
			break;
		if (news.ready)
			is_ready(k);
		if (news.watchdog_us)
			k->watchdog_ns = news.watchdog_us < UINT64_MAX / 2000
						 ? news.watchdog_us * 1000
						 : UINT64_MAX / 2;
		if (news.ready || news.watchdog_us || (news.alive && k->ready))
			k->alive_until_ns = now_ns() + (k->ready ? k->watchdog_ns : START_NS);
		if (news.stopping)
			log_info("the daemon ends");
		if (news.status[0])
			log_debug("the daemon says: %s", news.status);
		if (news.stuck)
			k->alive_until_ns = now_ns();
	}
	if (rc < 0 && rc != -EAGAIN && rc != -EINTR)
		log_error("the daemon's messages cannot be read: %s", strerror(-rc));
}

/* -1: go on; else our exit status. */
static int reap(struct keeper *k)
{
	int status;
	pid_t pid = waitpid(k->pid ? k->pid : -1, &status, WNOHANG);

	if (!k->pid || pid != k->pid)
		return -1;
	read_messages(k, true);
	if (!is_final(k, status)) {
		plan_restart(k, status);
		k->pid = 0;
		return -1;
	}
	k->pid = 0;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* The daemon breaks all leases before it ends; one that is being restarted must take them over first. A second signal
 * does not wait. -1: go on; else our exit status. */
static int asked_to_end(struct keeper *k, int signal)
{
	k->end_now = k->end_signal;
	k->end_signal = signal;
	if (k->pid && (k->ready || !k->ever_ready || k->end_now))
		pass_on(k, signal);
	if (k->pid || (k->ever_ready && !k->end_now))
		return -1;
	log_warning("ending while no daemon runs: what was leased is no longer protected");
	return 1;
}

/* -1: go on; else our exit status. */
static int read_signals(struct keeper *k)
{
	struct signalfd_siginfo info;
	int end = -1;

	while (end < 0 && read(k->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			end = reap(k);
			break;
		case SIGHUP:
			log_notice("SIGHUP: the daemon is replaced by what %s is now",
				   k->start.path);
			pass_on(k, SIGHUP);
			break;
		default:
			end = asked_to_end(k, (int)info.ssi_signo);
		}
	}
	return end;
}

static void check_time(struct keeper *k)
{
	const uint64_t now = now_ns();

	if (!k->pid && now >= k->restart_at_ns) {
		start_daemon(k);
	} else if (k->pid && now >= k->alive_until_ns) {
		log_error("the daemon %d does not turn its loop any more: it is killed",
			  (int)k->pid);
		pass_on(k, SIGKILL);
		k->alive_until_ns = now + START_NS; /* only if it takes so long to die */
	}
}

static int milliseconds_left(const struct keeper *k)
{
	const uint64_t at = k->pid ? k->alive_until_ns : k->restart_at_ns, now = now_ns();

	return at <= now ? 0 : (int)((at - now < 60000 * MS ? at - now : 60000 * MS) / MS + 1);
}

static int loop(struct keeper *k)
{
	int end = -1;

	while (end < 0) {
		struct pollfd polled[] = {
			{.fd = k->notify_fd, .events = POLLIN},
			{.fd = k->signal_fd, .events = POLLIN},
			{.fd = k->table.hangups, .events = POLLIN},
		};

		if (poll(polled, 3, milliseconds_left(k)) < 0 && errno != EINTR)
			log_error("poll: %s", strerror(errno));
		if (polled[0].revents)
			read_messages(k, false);
		if (polled[2].revents)
			keeper_table_hangups(&k->table);
		if (polled[1].revents)
			end = read_signals(k);
		if (end < 0)
			check_time(k);
	}
	return end;
}

/* --- start and end ------------------------------------------------------------------------------------ */

/* A socket by a path in a directory that nobody else enters: of an abstract name everybody could fill the queue. */
static int open_socket(struct keeper *k)
{
	static const char *const places[] = {"/run", "/tmp"};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int on = 1;

	for (size_t i = 0; i < 2 && !k->directory[0]; i++) {
		snprintf(k->directory, sizeof(k->directory), "%s/daxlease-keeper.XXXXXX",
			 places[i]);
		if (!mkdtemp(k->directory))
			k->directory[0] = 0;
	}
	if (!k->directory[0])
		return -errno;
	snprintf(k->address, sizeof(k->address), "%s/notify", k->directory);
	strcpy(address.sun_path, k->address);
	k->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (k->notify_fd < 0 ||
	    bind(k->notify_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    setsockopt(k->notify_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return -errno;
	k->start.notify_socket = k->address;
	return 0;
}

static int open_signals(struct keeper *k)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
		return -errno;
	k->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return k->signal_fd < 0 ? -errno : 0;
}

/* When memory runs out, others go first. */
static void stay_alive(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, OOM_SCORE, strlen(OOM_SCORE)) < 0)
		log_warning("the keeper may be killed when memory runs out: oom_score_adj: %s",
			    strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void shut_down(struct keeper *k)
{
	keeper_table_close(&k->table);
	if (k->notify_fd >= 0)
		close(k->notify_fd);
	if (k->signal_fd >= 0)
		close(k->signal_fd);
	if (k->address[0])
		unlink(k->address);
	if (k->directory[0])
		rmdir(k->directory);
}

int keeper_run(const char *path, char **argv)
{
	struct keeper k = {
		.start = {.path = path, .argv = argv, .watchdog_us = WATCHDOG_US},
		.table.hangups = -1,
		.notify_fd = -1,
		.signal_fd = -1,
	};
	int rc = open_signals(&k), status = 1;

	if (rc == 0)
		rc = keeper_table_open(&k.table);
	if (rc == 0)
		rc = open_socket(&k);
	if (rc < 0) {
		log_error("the keeper cannot start: %s", strerror(-rc));
	} else {
		stay_alive();
		start_daemon(&k);
		status = loop(&k);
	}
	shut_down(&k);
	return status;
}
