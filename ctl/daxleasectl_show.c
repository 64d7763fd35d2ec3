// SPDX-License-Identifier: LGPL-2.1-or-later
/* The command show: everything about the leases of one file, or about one lease: who waits for it, and what escapes. */
#include "ctl/commands.h"

#include <err.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/escapes.h"
#include "ctl/waiting.h"

struct subject {
	const char *text; /* as it was named */
	uint64_t lease;	  /* 0: a file */
	uint64_t dev, ino;
	bool found;
	json_object *leases, *waiting, *escapes;
	bool json;
};

bool place_of_pool(struct connection *connection, uint32_t index, const struct dlp_pool_reply *pool,
		   struct place *place)
{
	struct dlp_pool ask = {.head.opcode = DLP_POOL_STATS, .index = index};
	struct dlp_pool_stats_reply stats;

	/* Under another label there is nothing to escape from, or the grant finds it. */
	if (pool->state != DLP_POOL_READY ||
	    (pool->label & ~DLP_LABEL_UNBOUNDED) != DLP_LABEL_ENFORCED)
		return false;
	*place = (struct place){.dev = pool->dev, .guarded = pool->label == DLP_LABEL_ENFORCED};
	memcpy(place->pool, pool->name, sizeof(place->pool));
	memcpy(place->path, pool->path, sizeof(place->path));
	if (connection_call(connection, &ask.head, sizeof(ask), -1, &stats, sizeof(stats)) == 0)
		place->ready_ns = stats.ready_ns;
	return true;
}

static void keep(json_object *array, const struct column *columns, const void *row)
{
	if (json_object_array_add(array, row_to_json(columns, row)) != 0)
		errx(EXIT_FAILURE, "out of memory");
}

/* 0 or -errno (told). */
static int show_leases(struct connection *connection, struct subject *subject,
		       const struct waiting *waiting)
{
	struct dlp_list_reply lease;
	struct lease_row row;
	uint64_t cursor = 0;
	int more;

	while ((more = connection_next_lease(connection, &cursor, &lease)) > 0) {
		if (subject->lease ? lease.lease != subject->lease
				   : lease.dev != subject->dev || lease.ino != subject->ino)
			continue;
		if (!subject->json && subject->found)
			putchar('\n');
		subject->found = true;
		subject->dev = lease.dev;
		subject->ino = lease.ino;
		lease_row_fill(&row, &lease, waiting);
		keep(subject->leases, lease_columns, &row);
		if (!subject->json)
			record_print(lease_columns, &row, "lease", false);
		for (size_t i = 0; subject->lease && i < waiting->count; i++)
			if (waits_for(&waiting->breakers[i], &lease))
				keep(subject->waiting, waiting_columns, &waiting->breakers[i]);
	}
	return more;
}

static void show_waiting(const struct subject *subject, const struct waiting *waiting)
{
	char comm[65], duration[32], user[64], range[64];

	for (size_t i = 0; i < waiting->count; i++) {
		const struct dlp_waiting_reply *breaker = &waiting->breakers[i];

		if (breaker->dev != subject->dev || breaker->ino != subject->ino)
			continue;
		if (!subject->lease)
			keep(subject->waiting, waiting_columns, breaker);
		if (subject->json)
			continue;
		format_escaped(comm, sizeof(comm), breaker->comm);
		format_duration(duration, sizeof(duration), breaker->waited_ns);
		format_user(user, sizeof(user), breaker->uid);
		format_range(range, sizeof(range), breaker->start, breaker->end);
		printf("waits: pid %d (%s, %s), for %s: %s of %s\n", breaker->pid, comm, user,
		       duration, dlp_cause_text(breaker->cause), range);
	}
}

static void show_escape(void *arg, const struct escape *escape)
{
	struct subject *subject = arg;
	char path[4 * DLP_MAX_PATH + 1], detail[1025], comm[65];

	keep(subject->escapes, escape_columns, escape);
	if (subject->json)
		return;
	format_escaped(path, sizeof(path), escape->path);
	format_escaped(detail, sizeof(detail), escape->detail);
	format_escaped(comm, sizeof(comm), escape->comm);
	printf("escapes: %s: %s", escape_text(escape->kind), path);
	if (escape->pid)
		printf(", pid %d (%s)", escape->pid, comm);
	printf(": %s\n", detail);
}

/* What escapes the guard of that file, and of its whole file system. */
static void show_escapes(struct connection *connection, struct subject *subject)
{
	struct place place;
	struct search search = {.places = &place, .count = 1, .found = show_escape, .arg = subject};
	struct dlp_pool_reply pool;
	uint32_t index = 0;

	do {
		struct dlp_pool ask = {.head.opcode = DLP_POOL, .index = index};

		if (connection_call(connection, &ask.head, sizeof(ask), -1, &pool, sizeof(pool)) !=
		    0)
			return;
		if (pool.dev == subject->dev && place_of_pool(connection, index, &pool, &place)) {
			place.ino = subject->ino;
			escapes_of_kernel(&search);
			escapes_of_processes(&search);
			return;
		}
	} while (++index < pool.pools);
}

/* 0, or the exit status (told). */
static int find_subject(struct subject *subject, const char *argument)
{
	char *end;

	errno = 0;
	if (argument[0] >= '0' && argument[0] <= '9')
		subject->lease = strtoull(argument, &end, 10);
	if (subject->lease && !errno && !*end)
		return 0;
	subject->lease = 0;
	if (look_at(argument, &subject->dev, &subject->ino))
		return 0;
	warn("%s", subject->text);
	return EXIT_FAILURE;
}

static void print_json(const struct subject *subject)
{
	json_object *object = json_object_new_object(), *show = json_object_new_object();

	if (!object || !show ||
	    json_object_object_add(show, "leases", json_object_get(subject->leases)) ||
	    json_object_object_add(show, "waiting", json_object_get(subject->waiting)) ||
	    json_object_object_add(show, "escapes", json_object_get(subject->escapes)) ||
	    json_object_object_add(object, "show", show))
		errx(EXIT_FAILURE, "out of memory");
	json_print(object);
}

static int show(const struct options *options, struct subject *subject)
{
	__attribute__((cleanup(connection_close))) struct connection connection = CONNECTION_CLOSED;
	__attribute__((cleanup(waiting_free))) struct waiting waiting = WAITING_NONE;
	int error = connection_open_any(&connection, options->socket);

	if (!error && connection.role == DLP_ROLE_VIEWER)
		warnx("only what is of uid %u is shown: all is for administrators",
		      (unsigned)geteuid());
	if (!error)
		error = waiting_get(&connection, &waiting);
	if (!error)
		error = show_leases(&connection, subject, &waiting);
	if (error)
		return EXIT_FAILURE;
	if (subject->lease && !subject->found) {
		warnx("there is no lease %s: see 'daxleasectl list'", subject->text);
		return EXIT_FAILURE;
	}
	if (!subject->found && !options->json)
		printf("%s: nothing is leased there\n", subject->text);
	show_waiting(subject, &waiting);
	show_escapes(&connection, subject);
	if (options->json)
		print_json(subject);
	return EXIT_SUCCESS;
}

int command_show(const struct options *options)
{
	char text[4 * DLP_MAX_PATH + 1];
	struct subject subject = {
		.text = text,
		.json = options->json,
		.leases = json_object_new_array(),
		.waiting = json_object_new_array(),
		.escapes = json_object_new_array(),
	};
	int status;

	if (!subject.leases || !subject.waiting || !subject.escapes)
		errx(EXIT_FAILURE, "out of memory");
	format_escaped(text, sizeof(text), options->argument);
	status = find_subject(&subject, options->argument);
	if (!status)
		status = show(options, &subject);
	json_object_put(subject.leases);
	json_object_put(subject.waiting);
	json_object_put(subject.escapes);
	return status;
}
