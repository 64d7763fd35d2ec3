// SPDX-License-Identifier: LGPL-2.1-or-later
/* daxleased: options, signals, and the order in which things start and end. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/closer.h"
#include "daemon/daemon.h"
#include "daemon/guard/kernel_lease.h"
#include "daemon/hook.h"
#include "daemon/keeper.h"
#include "daemon/log.h"
#include "daemon/saved.h"
#include "daemon/store.h"

#define CONFIG_DEFAULT SYSCONFDIR "/daxlease/daxleased.conf"
#define WORKERS_MAX 8
#define DESCRIPTORS_WANTED (1u << 19)

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

void timer_arm(struct event *timer, uint64_t delay_ns)
{
	/* Rounded up: a timer that fires early would fire twice. */
	uint64_t delay_us = delay_ns / 1000 + 1;
	struct timeval tv = {
		.tv_sec = (time_t)(delay_us / 1000000),
		.tv_usec = (suseconds_t)(delay_us % 1000000),
	};

	if (event_add(timer, &tv) < 0)
		log_error("no timer");
}

static void usage(FILE *out)
{
	fprintf(out, "Usage: daxleased [--config FILE] [--check-config] [--debug]\n"
		     "\n"
		     "Grants leases on the block map of files, and stops whoever would change it.\n"
		     "\n"
		     "  -c, --config FILE    default " CONFIG_DEFAULT "\n"
		     "      --check-config   say what is wrong in it, and end\n"
		     "      --keeper         first option only: run the daemon as a child, and keep what lets it\n"
		     "                       go on after a crash, as systemd does where there is one\n"
		     "      --debug          log more\n"
		     "      --test-no-guard  let every operation through: for tests of the guard, protects nothing\n"
		     "      --test-no-replace  say that fenced holders' mappings are replaced: for tests, protects nothing\n"
		     "  -V, --version\n"
		     "  -h, --help\n");
}

struct options {
	const char *config;
	bool check, no_guard, no_replace;
};

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct options *o)
{
	enum { OPT_CHECK = 256, OPT_DEBUG, OPT_NO_GUARD, OPT_NO_REPLACE };
	static const struct option table[] = {
		{"config", required_argument, NULL, 'c'},	   {"check-config", no_argument, NULL, OPT_CHECK},
		{"debug", no_argument, NULL, OPT_DEBUG},	   {"test-no-guard", no_argument, NULL, OPT_NO_GUARD},
		{"version", no_argument, NULL, 'V'},	   {"help", no_argument, NULL, 'h'},
		{"test-no-replace", no_argument, NULL, OPT_NO_REPLACE},
		{NULL, 0, NULL, 0},
	};
	int c;

	o->config = CONFIG_DEFAULT;
	while ((c = getopt_long(argc, argv, "c:Vh", table, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->config = optarg;
			break;
		case OPT_CHECK:
			o->check = true;
			break;
		case OPT_DEBUG:
			log_set_level(LOG_DEBUG);
			break;
		case OPT_NO_GUARD:
			o->no_guard = true;
			break;
		case OPT_NO_REPLACE:
			o->no_replace = true;
			break;
		case 'V':
			puts("daxleased " PACKAGE_VERSION);
			return fflush(stdout) == 0 ? 0 : 1;
		case 'h':
			usage(stdout);
			return fflush(stdout) == 0 ? 0 : 1;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "daxleased: unexpected argument: %s\n", argv[optind]);
		return 2;
	}
	return -1;
}

/* Every waiting breaker costs a descriptor, and so does every leased file. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	if (limit.rlim_max < DESCRIPTORS_WANTED)
		limit.rlim_max = DESCRIPTORS_WANTED;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
		return;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* With our end the guard's end comes, and every breaker is let through. So leases are broken first, in their
 * time; a second signal does not wait for them. */
static void stop(evutil_socket_t signal, short what, void *arg)
{
	struct daemon *d = arg;

	(void)signal;
	(void)what;
	if (d->restart)
		return;
	if (d->draining) {
		log_warning("ending at once: what is still leased is no longer protected");
		event_base_loopbreak(d->base);
		return;
	}
	log_notice("ending: breaking all leases first; once more to end at once");
	store_notify(d->store, "STOPPING=1");
	breaks_drain(d);
}

/* A new binary, or a new configuration: a successor takes over, if everything is kept meanwhile. (A terminal that is
 * closed must not be the end of the guard.) */
static void hang_up(evutil_socket_t signal, short what, void *arg)
{
	struct daemon *d = arg;

	(void)signal;
	(void)what;
	/* Nobody would start a successor: who keeps everything lets go of it with the end that was asked for. */
	if (d->draining) {
		log_notice("SIGHUP: nothing done, since the end is near");
		return;
	}
	if (store_state(d->store) != STORE_KEPT) {
		log_notice("SIGHUP: nothing done, since %s: a restart would lose all leases", store_reason(d->store));
		return;
	}
	log_notice("ending, so that a successor takes over");
	d->restart = true;
	event_base_loopbreak(d->base);
}

static void worker_started(void *arg, int32_t pid, bool on)
{
	struct daemon *d = arg;

	if (d->guard)
		d->guard->ops->exempt(d->guard, pid, on);
}

static void store_ready(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	store_dispatch(((struct daemon *)arg)->store);
}

/* First of all: what a predecessor left. Until the guard has taken it over nothing else may be opened, since the numbers
 * of its unanswered events must be free. */
static int take_guard(struct daemon *d, const struct options *o, int *why)
{
	struct guard_fanotify_params params = {.allow_all = o->no_guard};
	int rc = saved_open(d);

	if (rc < 0)
		return rc;
	params.region = saved_guard_region(d);
	params.group = store_take(d->store, STORE_GUARD, NULL);
	d->handed |= params.group >= 0;
	d->guard_lost = d->returned && params.group < 0;
	if (params.group < 0 && d->returned)
		log_error("the journal is here, but not the guard's group: who waited was let go on");
	saved_free_numbers(d);
	d->guard = guard_fanotify_new(&params);
	if (d->guard && params.group < 0)
		rc = store_put(d->store, STORE_GUARD, guard_fanotify_group(d->guard), NULL);
	if (!d->guard && params.group >= 0)
		rc = -errno;
	if (rc < 0)
		log_error("the guard cannot be %s: %s", params.group >= 0 ? "taken over" : "stored", strerror(-rc));
	if (!d->guard && rc == 0)
		*why = errno;
	if (o->no_guard)
		log_warning("--test-no-guard: every operation is let through, nothing is protected");
	if (o->no_replace)
		log_warning("--test-no-replace: fenced holders keep their mappings, nothing is protected");
	d->no_replace = o->no_replace;
	return rc;
}

static int lease_guard(struct daemon *d, const struct options *o)
{
	bool wanted = false;

	for (size_t i = 0; i < d->config.pool_count; i++)
		wanted |= d->config.pools[i].guard == CONFIG_GUARD_KERNEL_LEASE;
	if (wanted)
		d->leases = guard_leases_new(o->no_guard);
	return !wanted || d->leases ? 0 : -errno;
}

/* What a predecessor left, from the inside out: the core, then what hangs on it. */
static int take_over(struct daemon *d)
{
	struct file *file, *next;
	int rc = files_restore(d);

	if (rc == 0)
		rc = sessions_restore(d);
	if (rc == 0)
		rc = mrs_restore(d);
	if (rc == 0)
		rc = breaks_restore(d);
	if (rc < 0) {
		log_error("the state of the daemon before cannot be taken over: %s", strerror(-rc));
		return rc;
	}
	store_discard_rest(d->store);
	HASH_ITER(hh, d->files, file, next)
	{
		if (!core_file_busy(d->core, file->key.dev, file->key.ino))
			file_drop(d, file->key.dev, file->key.ino);
	}
	return 0;
}

/* The group was not handed back with the journal: whoever waited went on, and nothing was guarded since. */
static void revoke_unguarded(struct daemon *d)
{
	struct core_lease_view lease;
	uint64_t id, leases;
	uint32_t cursor = 0;

	while (core_list(d->core, &cursor, &lease)) {
		const struct file *file = file_lookup(d, lease.dev, lease.ino);

		if (!file || !(file->lost || (d->guard_lost && file->lease_fd < 0)))
			continue;
		break_range(d, lease.dev, lease.ino, lease.start, lease.end, lease.number, DLP_CAUSE_RECHECK, 0, NULL,
			    &id, &leases);
	}
}

/* 0 or -errno; what went wrong is logged. */
static int start(struct daemon *d, const struct options *o)
{
	int why = 0, rc = take_guard(d, o, &why);

	if (rc < 0)
		return rc;
	log_open();
	if (!d->guard)
		log_about(LOG_WARNING, &(struct log_subject){.event = LOG_EVENT_NO_GUARD, .error = why},
			  "no guard (%s): only directory pools, whose leases are advisory. Guarding needs "
			  "CAP_SYS_ADMIN in the initial user namespace, and Linux 6.14 or later",
			  strerror(why));
	d->base = event_base_new();
	if (!d->base)
		return -ENOMEM;
	rc = lease_guard(d, o);
	if (rc == 0)
		rc = saved_core(d);
	if (rc < 0)
		return rc;
	if (store_poll_fd(d->store) >= 0) {
		d->store_event = event_new(d->base, store_poll_fd(d->store), EV_READ | EV_PERSIST, store_ready, d);
		if (!d->store_event || event_add(d->store_event, NULL) < 0)
			return -ENOMEM;
	}
	d->workers = workers_new(d->base, WORKERS_MAX, worker_started, d);
	if (!d->workers)
		return -errno;
	users_start(d);
	rc = breaks_start(d);
	if (rc == 0)
		rc = leased_start(d);
	/* With no guard everything escapes, which the tests of the tests want to see. */
	if (rc == 0 && !o->no_guard && modified_start(d) < 0)
		log_warning("changes that escape the guard will not be noticed: inotify: %s", strerror(errno));
	if (rc == 0)
		rc = pools_start(d);
	if (rc < 0)
		return rc;
	rc = sessions_start(d);
	if (rc < 0)
		log_error("%s: cannot listen: %s", d->config.socket, strerror(-rc));
	if (rc == 0 && d->returned)
		rc = take_over(d);
	if (rc == 0 && d->guard)
		rc = d->guard->ops->start(d->guard, breaks_owed, d);
	if (rc == 0 && d->leases)
		rc = d->leases->ops->start(d->leases, breaks_owed, d);
	if (rc < 0)
		return rc;
	sessions_resume(d);
	run_effects(d);
	grants_resume(d);
	revoke_unguarded(d);
	return 0;
}

static void shut_down(struct daemon *d)
{
	if (d->base)
		sessions_stop(d);
	hooks_stop(d);
	grants_stop(d);
	if (d->workers)
		workers_free(d->workers);
	files_free(d);
	modified_stop(d);
	breaks_stop(d);
	leased_stop(d);
	pools_stop(d);
	/* Last: with the guard's end every breaker that still waits is let through. */
	if (d->store) {
		store_remove(d->store, STORE_GUARD, 0);
		store_remove(d->store, STORE_JOURNAL, 0);
	}
	if (d->guard)
		d->guard->ops->free(d->guard);
	if (d->leases)
		d->leases->ops->free(d->leases);
	if (d->store_event)
		event_free(d->store_event);
	store_free(d->store);
	closer_stop();
	core_free(d->core);
	saved_close(d);
	if (d->base)
		event_base_free(d->base);
}

static const struct {
	int number;
	event_callback_fn handler;
} handled[] = {{SIGTERM, stop}, {SIGINT, stop}, {SIGHUP, hang_up}};
enum { HANDLED = sizeof(handled) / sizeof(handled[0]) };

/* A signal that comes while we start must not kill us: leases that were handed back would not be broken first. */
static volatile sig_atomic_t early_signal;

static void remember(int number)
{
	if (early_signal == 0 || number != SIGHUP)
		early_signal = number;
}

static void handle_early(void)
{
	for (size_t i = 0; i < HANDLED; i++)
		signal(handled[i].number, remember);
}

static int run(struct daemon *d, const struct options *o)
{
	struct event *signals[HANDLED] = {NULL};
	int rc = start(d, o);

	for (size_t i = 0; rc == 0 && i < HANDLED; i++) {
		signals[i] = evsignal_new(d->base, handled[i].number, handled[i].handler, d);
		if (!signals[i] || event_add(signals[i], NULL) < 0)
			rc = -ENOMEM;
	}
	if (rc == 0 && early_signal)
		raise(early_signal);
	if (rc < 0) {
		log_error("cannot start: %s", strerror(-rc));
	} else {
		log_notice("daxleased %s ready on %s%s", PACKAGE_VERSION, d->config.socket,
			   d->returned ? ", with what the daemon before left" : "");
		store_notify(d->store, "READY=1\nSTATUS=%u pools, listening on %s", d->pools_count, d->config.socket);
		event_base_dispatch(d->base);
		log_notice("ended");
		/* Nobody asked for it: the loop cannot go on. */
		if (!d->draining && !d->restart)
			rc = -EIO;
		if (d->restart) {
			saved_commit(d);
			log_close();
			_exit(STORE_EXIT_RESTART);
		}
	}
	/* What was handed over to us, or is stored, is for a successor: breakers wait, and are not let go on. */
	if (rc < 0 && (d->handed || (d->store && store_state(d->store) == STORE_KEPT && d->core))) {
		log_close();
		_exit(1);
	}
	for (size_t i = 0; i < HANDLED; i++) {
		if (signals[i])
			event_free(signals[i]);
	}
	shut_down(d);
	return rc < 0 ? 1 : 0;
}

/* Runs the same program, with the other options, under a keeper. */
static int keep(char **argv)
{
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
	int status;

	if (length < 0) {
		perror("daxleased: /proc/self/exe");
		return 1;
	}
	path[length] = 0;
	argv[1] = argv[0];
	log_open();
	umask(0077);
	signal(SIGPIPE, SIG_IGN);
	raise_descriptors();
	status = keeper_run(path, argv + 1);
	log_close();
	return status;
}

int main(int argc, char **argv)
{
	struct daemon d = {.mountinfo_fd = -1, .mounts_epoll = -1, .listen_fd = -1};
	struct options o = {0};
	int rc;

	if (argc > 1 && strcmp(argv[1], "--keeper") == 0)
		return keep(argv);
	rc = parse(argc, argv, &o);
	if (rc >= 0)
		return rc;
	if (config_load(o.config, &d.config, stderr) < 0)
		return o.check || store_succeeds() ? 1 : STORE_EXIT_CONFIG;
	if (o.check) {
		printf("%s: no mistake found, %zu pools\n", o.config, d.config.pool_count);
		config_free(&d.config);
		return fflush(stdout) == 0 ? 0 : 1;
	}
	handle_early();
	umask(0077);
	signal(SIGPIPE, SIG_IGN);
	raise_descriptors();
	d.started_ns = now_ns();
	rc = closer_start();
	if (rc < 0) {
		log_error("cannot start: %s", strerror(-rc));
		return 1;
	}
	rc = run(&d, &o);
	config_free(&d.config);
	log_close();
	return rc;
}
