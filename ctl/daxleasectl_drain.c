// SPDX-License-Identifier: LGPL-2.1-or-later
/* The command drain: everybody lets go of a pool or file, and nobody takes a lease there until it is opened again. */
#include "ctl/commands.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ctl/connection.h"
#include "ctl/table.h"

#define ASK_AGAIN_NS 50000000
#define BUSY_NS UINT64_C(5000000000)	  /* somebody can keep a descriptor from being closed */
#define PATIENCE_NS UINT64_C(10000000000) /* over all the times the daemon gives itself */

struct target {
	char text[4 * DLP_MAX_PATH + 1];
	struct dlp_drain request;
	int fd; /* -1: a pool */
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void close_target(const struct target *target)
{
	if (target->fd >= 0)
		close(target->fd);
}

/* The pool of that name, or at that directory: true. */
static bool find_pool(struct connection *connection, const char *argument, struct target *target)
{
	char real[PATH_MAX] = "";
	struct dlp_pool_reply pool;
	uint32_t index = 0;

	if (strchr(argument, '/') && !realpath(argument, real))
		return false;
	do {
		struct dlp_pool ask = {.head.opcode = DLP_POOL, .index = index};

		if (connection_call(connection, &ask.head, sizeof(ask), -1, &pool, sizeof(pool)) !=
		    0)
			return false;
		if (strcmp(*real ? real : argument, *real ? pool.path : pool.name) != 0)
			continue;
		target->request.pool = index;
		return true;
	} while (++index < pool.pools);
	return false;
}

/* True, or told. */
static bool find_target(struct connection *connection, const char *argument, struct target *target)
{
	struct stat st;

	format_escaped(target->text, sizeof(target->text), argument);
	if (find_pool(connection, argument, target))
		return true;
	target->fd = open(argument, O_PATH | O_CLOEXEC);
	if (target->fd < 0 || fstat(target->fd, &st) != 0) {
		warn("%s is no pool, and", target->text);
		return false;
	}
	if (!S_ISREG(st.st_mode)) {
		warnx("%s is neither a pool (see 'daxleasectl pools') nor a regular file",
		      target->text);
		return false;
	}
	target->request.pool = DLP_DRAIN_FILE;
	return true;
}

/* 0, or -errno (told). */
static int ask(struct connection *connection, struct target *target, struct dlp_drain_reply *reply)
{
	const int error = connection_call(connection, &target->request.head,
					  sizeof(target->request), target->fd, reply,
					  sizeof(*reply));

	if (error == ENOENT && (target->request.flags & DLP_DRAIN_REOPEN))
		warnx("%s is not closed", target->text);
	else if (error == ENOSPC)
		warnx("%s: too many pools and files are closed already", target->text);
	else if (error > 0)
		warnx("%s: the daemon refuses: %s", target->text, strerror(error));
	return error > 0 ? -error : error;
}

/* All the times the daemon gives itself, and the pool's own break time can be longer: what is left now tells. */
static uint64_t limit_ns(struct connection *connection, const struct dlp_drain_reply *reply)
{
	struct dlp_head request = {.opcode = DLP_STATUS};
	struct dlp_status_reply status;

	if (connection_call(connection, &request, sizeof(request), -1, &status, sizeof(status)) !=
	    0)
		return PATIENCE_NS;
	return reply->left_ns + status.break_time_ns + status.margin_ns + status.fence_ns +
	       PATIENCE_NS;
}

/* Asks until no lease is left: one that was being granted meanwhile is broken, too. Then it waits a little for the
 * daemon's descriptors, too, so that umount does not find the file system busy. 0, or -errno (told). */
static int drain(struct connection *connection, struct target *target, bool tell)
{
	const struct timespec pause = {.tv_nsec = ASK_AGAIN_NS};
	const uint64_t since_ns = now_ns();
	struct dlp_drain_reply reply;
	uint64_t limit = 0;
	char left[32];
	int error;

	while ((error = ask(connection, target, &reply)) == 0 && reply.leases) {
		if (!limit) {
			limit = limit_ns(connection, &reply);
			format_duration(left, sizeof(left), reply.left_ns);
			if (tell)
				printf("%s: closed; %" PRIu64
				       " lease%s being broken, for at most %s\n",
				       target->text, reply.leases,
				       reply.leases == 1 ? " is" : "s are", left);
			fflush(stdout);
		}
		if (now_ns() - since_ns > limit) {
			warnx("%s: %" PRIu64 " leases do not end: see 'daxleasectl list' and "
			      "'journalctl -u daxleased'",
			      target->text, reply.leases);
			return -EBUSY;
		}
		nanosleep(&pause, NULL);
	}
	for (const uint64_t until_ns = now_ns() + BUSY_NS;
	     !error && reply.busy && now_ns() < until_ns;) {
		nanosleep(&pause, NULL);
		error = ask(connection, target, &reply);
	}
	return error;
}

/* As system(3): signals from the terminal are the command's. Its status, as a shell tells it. */
static int run(char *const *command)
{
	const struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct sigaction interrupt, quit;
	int status;
	pid_t pid;

	sigaction(SIGINT, &ignore, &interrupt);
	sigaction(SIGQUIT, &ignore, &quit);
	pid = fork();
	if (pid < 0) {
		warn("fork");
		return EXIT_FAILURE;
	}
	if (pid == 0) {
		sigaction(SIGINT, &interrupt, NULL);
		sigaction(SIGQUIT, &quit, NULL);
		execvp(command[0], command);
		warn("%s", command[0]);
		_exit(errno == ENOENT ? 127 : 126);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_FAILURE;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void tell_done(const struct options *options, const struct target *target, int error,
		      const char *text)
{
	json_object *object;

	if (!options->json && !error)
		printf("%s: %s\n", target->text, text);
	if (!options->json)
		return;
	object = json_object_new_object();
	if (!object || json_object_object_add(object, "error", json_object_new_int(-error)) ||
	    json_object_object_add(object, "closed", json_object_new_boolean(!options->reopen)))
		errx(EXIT_FAILURE, "out of memory");
	json_print(object);
}

int command_drain(const struct options *options)
{
	__attribute__((cleanup(connection_close))) struct connection connection = CONNECTION_CLOSED;
	__attribute__((cleanup(close_target))) struct target target = {
		.fd = -1,
		.request.head.opcode = DLP_DRAIN,
		.request.flags = options->reopen    ? DLP_DRAIN_REOPEN
				 : options->command ? 0
						    : DLP_DRAIN_KEEP,
	};
	struct dlp_drain_reply reply;
	int error;

	if (options->reopen && options->command) {
		warnx("--reopen runs no command");
		return EXIT_USAGE;
	}
	if (connection_open(&connection, options->socket, DLP_ROLE_ADMIN) != 0 ||
	    !find_target(&connection, options->argument, &target))
		return EXIT_FAILURE;
	if (options->reopen) {
		error = ask(&connection, &target, &reply);
		tell_done(options, &target, error, "open again");
		return error ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	error = drain(&connection, &target, !options->json && !options->command);
	if (!options->command) {
		tell_done(options, &target, error,
			  "drained, and closed until 'daxleasectl drain --reopen'");
		if (error == -EBUSY)
			warnx("%s stays closed", target.text);
	}
	if (error || !options->command)
		return error ? EXIT_FAILURE : EXIT_SUCCESS;
	fflush(stdout);
	/* Our connection keeps it closed. */
	return run(options->command);
}
