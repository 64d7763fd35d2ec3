// SPDX-License-Identifier: LGPL-2.1-or-later
/* daxleased: options, signals, and the order in which things start and end. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "daemon/closer.h"
#include "daemon/daemon.h"
#include "daemon/log.h"

#define CONFIG_DEFAULT SYSCONFDIR "/daxlease/daxleased.conf"
#define WORKERS_MAX 8
#define LEASES_MAX (1u << 22)
#define OPS_MAX (1u << 17)
#define FILES_MAX (1u << 18)
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
		     "      --debug          log more\n"
		     "      --test-no-guard  let every operation through: for tests of the guard, protects nothing\n"
		     "  -V, --version\n"
		     "  -h, --help\n");
}

struct options {
	const char *config;
	bool check, no_guard;
};

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct options *o)
{
	enum { OPT_CHECK = 256, OPT_DEBUG, OPT_NO_GUARD };
	static const struct option table[] = {
		{"config", required_argument, NULL, 'c'},	   {"check-config", no_argument, NULL, OPT_CHECK},
		{"debug", no_argument, NULL, OPT_DEBUG},	   {"test-no-guard", no_argument, NULL, OPT_NO_GUARD},
		{"version", no_argument, NULL, 'V'},	   {"help", no_argument, NULL, 'h'},
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
	if (d->draining) {
		log_warning("ending at once: what is still leased is no longer protected");
		event_base_loopbreak(d->base);
		return;
	}
	log_notice("ending: breaking all leases first; once more to end at once");
	sd_notify(0, "STOPPING=1");
	breaks_drain(d);
}

/* A terminal that is closed must not be the end of the guard. */
static void hang_up(evutil_socket_t signal, short what, void *arg)
{
	(void)signal;
	(void)what;
	(void)arg;
	log_notice("SIGHUP: the configuration is read at start only; nothing done");
}

static void worker_started(void *arg, int32_t pid, bool on)
{
	struct daemon *d = arg;

	if (d->guard)
		d->guard->ops->exempt(d->guard, pid, on);
}

/* 0 or -errno; what went wrong is logged. */
static int start(struct daemon *d, const struct options *o)
{
	struct core_params params = {
		.margin_ns = d->config.margin_ns,
		.fence_ns = d->config.fence_ns,
		.max_leases = LEASES_MAX,
		.max_ops = OPS_MAX,
		.max_files = FILES_MAX,
	};
	int rc;

	d->base = event_base_new();
	d->core = core_new(&params);
	if (!d->base || !d->core)
		return -ENOMEM;
	d->guard = guard_fanotify_new(&(struct guard_fanotify_params){.allow_all = o->no_guard, .group = -1});
	if (!d->guard)
		log_warning("no guard (%s): only directory pools, whose leases are advisory. Guarding needs root, with "
			    "CAP_SYS_ADMIN in the initial user namespace, and Linux 6.14 or later",
			    strerror(errno));
	if (o->no_guard)
		log_warning("--test-no-guard: every operation is let through, nothing is protected");
	rc = closer_start();
	if (rc < 0)
		return rc;
	d->workers = workers_new(d->base, WORKERS_MAX, worker_started, d);
	if (!d->workers)
		return -errno;
	users_start(d);
	rc = breaks_start(d);
	if (rc == 0)
		rc = pools_start(d);
	if (rc < 0)
		return rc;
	rc = sessions_start(d);
	if (rc < 0)
		log_error("%s: cannot listen: %s", d->config.socket, strerror(-rc));
	if (rc == 0 && d->guard)
		rc = d->guard->ops->start(d->guard, breaks_owed, d);
	return rc;
}

static void shut_down(struct daemon *d)
{
	if (d->base)
		sessions_stop(d);
	grants_stop(d);
	if (d->workers)
		workers_free(d->workers);
	files_free(d);
	breaks_stop(d);
	pools_stop(d);
	/* Last: with the guard's end every breaker that still waits is let through. */
	if (d->guard)
		d->guard->ops->free(d->guard);
	closer_stop();
	core_free(d->core);
	if (d->base)
		event_base_free(d->base);
}

static int run(struct daemon *d, const struct options *o)
{
	static const struct {
		int number;
		event_callback_fn handler;
	} handled[] = {{SIGTERM, stop}, {SIGINT, stop}, {SIGHUP, hang_up}};
	enum { HANDLED = sizeof(handled) / sizeof(handled[0]) };
	struct event *signals[HANDLED] = {NULL};
	int rc = start(d, o);

	for (size_t i = 0; rc == 0 && i < HANDLED; i++) {
		signals[i] = evsignal_new(d->base, handled[i].number, handled[i].handler, d);
		if (!signals[i] || event_add(signals[i], NULL) < 0)
			rc = -ENOMEM;
	}
	if (rc < 0) {
		log_error("cannot start: %s", strerror(-rc));
	} else {
		log_notice("daxleased %s ready on %s", PACKAGE_VERSION, d->config.socket);
		sd_notifyf(0, "READY=1\nSTATUS=%u pools, listening on %s", d->pools_count, d->config.socket);
		event_base_dispatch(d->base);
		log_notice("ended");
	}
	for (size_t i = 0; i < HANDLED; i++) {
		if (signals[i])
			event_free(signals[i]);
	}
	shut_down(d);
	return rc < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct daemon d = {.mountinfo_fd = -1, .mounts_epoll = -1, .listen_fd = -1};
	struct options o = {0};
	int rc = parse(argc, argv, &o);

	if (rc >= 0)
		return rc;
	if (config_load(o.config, &d.config, stderr) < 0)
		return 1;
	if (o.check) {
		printf("%s: no mistake found, %zu pools\n", o.config, d.config.pool_count);
		config_free(&d.config);
		return fflush(stdout) == 0 ? 0 : 1;
	}
	log_open();
	umask(0077);
	signal(SIGPIPE, SIG_IGN);
	raise_descriptors();
	d.started_ns = now_ns();
	rc = run(&d, &o);
	config_free(&d.config);
	log_close();
	return rc;
}
