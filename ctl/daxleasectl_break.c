// SPDX-License-Identifier: LGPL-2.1-or-later
/* The commands that end leases: break, revoke. Both wait until the daemon says that it is done. */
#include "ctl/commands.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ctl/connection.h"
#include "ctl/table.h"
#include "ctl/waiting.h"

/* What is to end: leases on a range of a file, or the one with a number. */
struct target {
	const char *text; /* as it was named, escaped, for messages */
	uint64_t lease;	  /* 0: a range */
	uint64_t dev, ino, start, end;
};

static void close_fd(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static bool is_target(const struct target *target, const struct dlp_list_reply *lease)
{
	if (target->lease)
		return lease->lease == target->lease;
	return lease->dev == target->dev && lease->ino == target->ino &&
	       lease->start < target->end && lease->end > target->start;
}

static void print_holder(const struct dlp_list_reply *lease)
{
	char comm[4 * sizeof(lease->comm) + 1], range[64], user[64];

	format_escaped(comm, sizeof(comm), lease->comm);
	format_range(range, sizeof(range), lease->start, lease->end);
	format_user(user, sizeof(user), lease->uid);
	printf("  lease %" PRIu64 ": pid %" PRId32 " (%s) of %s, range %s, %" PRIu32 " MR%s\n",
	       lease->lease, lease->pid, comm, user, range, lease->mrs, lease->mrs == 1 ? "" : "s");
}

/* Who is about to be told: collected before the break, since one who lets go at once is not
 * listed after it. */
static int collect_holders(struct connection *connection, const struct target *target,
			   json_object *array, bool print)
{
	__attribute__((cleanup(waiting_free))) struct waiting waiting = WAITING_NONE;
	struct dlp_list_reply lease;
	struct lease_row row;
	uint64_t cursor = 0;
	int more = waiting_get(connection, &waiting);

	while (!more && (more = connection_next_lease(connection, &cursor, &lease)) > 0) {
		more = 0;
		if (!is_target(target, &lease))
			continue;
		lease_row_fill(&row, &lease, &waiting);
		if (json_object_array_add(array, row_to_json(lease_columns, &row)) != 0)
			errx(EXIT_FAILURE, "out of memory");
		if (print && json_object_array_length(array) == 1)
			printf("telling the holder%s of %s:\n", target->lease ? "" : "s",
			       target->text);
		if (print)
			print_holder(&lease);
	}
	if (print)
		fflush(stdout);
	return more;
}

static void tell_refusal(const struct connection *connection, const struct target *target,
			 int error)
{
	switch (error) {
	case EOPNOTSUPP:
		warnx("%s is in no pool of the daemon at %s: see 'daxleasectl pools'", target->text,
		      connection->socket);
		return;
	case ENOENT:
		warnx("there is no %s: see 'daxleasectl list'", target->text);
		return;
	case EACCES:
		warnx("%s: uid %u may not do this: only administrators may", target->text,
		      (unsigned)geteuid());
		return;
	default:
		warnx("%s: the daemon refuses: %s", target->text, strerror(error));
	}
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Waits for the end and says how it came. `since_ns`: when the request was sent. */
static int await(struct connection *connection, const struct target *target,
		 const struct dlp_break_reply *reply, json_object *holders,
		 const struct options *options, uint64_t since_ns)
{
	const int error = reply->id ? connection_wait_done(connection, reply->id) : 0;
	const uint64_t elapsed_ns = now_ns() - since_ns;
	char elapsed[32];

	if (error == -EINTR) {
		warnx("%s: not waiting any longer; the break goes on: see 'daxleasectl list'",
		      target->text);
		return EXIT_FAILURE;
	}
	if (error < 0) {
		warnx("%s: whether the break has ended is not known: see 'daxleasectl list'",
		      target->text);
		return EXIT_FAILURE;
	}
	if (options->json) {
		json_object *object = json_object_new_object();

		if (!object ||
		    json_object_object_add(object, "error", json_object_new_int(error)) ||
		    json_object_object_add(object, "elapsed_ns",
					   json_object_new_uint64(elapsed_ns)) ||
		    json_object_object_add(object, "leases", json_object_get(holders)))
			errx(EXIT_FAILURE, "out of memory");
		json_print(object);
	}
	if (error) {
		warnx("%s: %s; see the daemon's log: journalctl -u daxleased", target->text,
		      error == EBUSY
			      ? "a holder neither let go nor could be fenced, so its lease stands"
			      : strerror(error));
		return EXIT_FAILURE;
	}
	format_duration(elapsed, sizeof(elapsed), elapsed_ns);
	if (!options->json && reply->leases == 0)
		printf("%s: nothing is leased there\n", target->text);
	else if (!options->json)
		printf("%s: done after %s\n", target->text, elapsed);
	return EXIT_SUCCESS;
}

static int end_leases(const struct options *options, const struct target *target,
		      struct dlp_head *request, size_t size, int fd)
{
	__attribute__((cleanup(connection_close))) struct connection connection = CONNECTION_CLOSED;
	json_object *holders = json_object_new_array();
	struct dlp_break_reply reply;
	uint64_t since_ns;
	int error, status;

	if (!holders)
		errx(EXIT_FAILURE, "out of memory");
	error = connection_open(&connection, options->socket, DLP_ROLE_ADMIN);
	if (!error)
		error = collect_holders(&connection, target, holders, !options->json);
	since_ns = now_ns();
	if (!error)
		error = connection_call(&connection, request, size, fd, &reply, sizeof(reply));
	if (error > 0)
		tell_refusal(&connection, target, error);
	status = error ? EXIT_FAILURE
		       : await(&connection, target, &reply, holders, options, since_ns);
	json_object_put(holders);
	return status;
}

int command_break(const struct options *options)
{
	__attribute__((cleanup(close_fd))) int fd = open(options->argument, O_PATH | O_CLOEXEC);
	struct dlp_break request = {
		.head.opcode = DLP_BREAK,
		.start = options->offset,
		.end = options->length ? options->offset + options->length : UINT64_MAX,
	};
	struct target target = {.start = request.start, .end = request.end};
	char text[4 * DLP_MAX_PATH + 1];
	struct stat st;

	format_escaped(text, sizeof(text), options->argument);
	target.text = text;
	if (fd < 0 || fstat(fd, &st) != 0) {
		warn("%s", text);
		return EXIT_FAILURE;
	}
	if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode)) {
		warnx("%s is neither a regular file nor a device: only those have leases", text);
		return EXIT_FAILURE;
	}
	target.dev = st.st_dev;
	target.ino = st.st_ino;
	return end_leases(options, &target, &request.head, sizeof(request), fd);
}

/* 0: it is none, which is told. */
static uint64_t lease_number(const struct options *options)
{
	uint64_t number;
	char text[32], *end;

	errno = 0;
	number = strtoull(options->argument, &end, 10);
	if (!errno && !*end && options->argument[0] >= '0' && options->argument[0] <= '9' && number)
		return number;
	format_escaped(text, sizeof(text), options->argument);
	warnx("\"%s\" is not the number of a lease: see 'daxleasectl list'", text);
	return 0;
}

int command_forget(const struct options *options)
{
	__attribute__((cleanup(connection_close))) struct connection connection = CONNECTION_CLOSED;
	struct dlp_lease_revoke request = {.head.opcode = DLP_LEASE_FORGET};
	struct dlp_break_reply reply;
	int error;

	request.lease = lease_number(options);
	if (!request.lease)
		return EXIT_USAGE;
	error = connection_open(&connection, options->socket, DLP_ROLE_ADMIN);
	if (!error)
		error = connection_call(&connection, &request.head, sizeof(request), -1, &reply,
					sizeof(reply));
	if (error == ENOENT)
		warnx("there is no lease %" PRIu64, request.lease);
	else if (error == EBUSY)
		warnx("lease %" PRIu64
		      " is not one whose holder is dead and cannot be proven to be: use 'revoke'",
		      request.lease);
	else if (error > 0)
		warnx("lease %" PRIu64 ": %s", request.lease, strerror(error));
	if (error)
		return EXIT_FAILURE;
	printf("forgotten: %" PRIu64 " leases\n", reply.leases);
	return EXIT_SUCCESS;
}

int command_revoke(const struct options *options)
{
	struct dlp_lease_revoke request = {.head.opcode = DLP_LEASE_REVOKE};
	struct target target = {.start = 0};
	char text[32];

	request.lease = lease_number(options);
	if (!request.lease)
		return EXIT_USAGE;
	target.lease = request.lease;
	snprintf(text, sizeof(text), "lease %" PRIu64, request.lease);
	target.text = text;
	return end_leases(options, &target, &request.head, sizeof(request), -1);
}
