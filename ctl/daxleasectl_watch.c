// SPDX-License-Identifier: LGPL-2.1-or-later
/* The command watch: what happens, as it does. A line each, for people or as JSON. */
#include "ctl/commands.h"

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl/connection.h"
#include "ctl/table.h"

#define EVENT(member) offsetof(struct dlp_ev_watch, member)

/* clang-format off */
static const struct column event_columns[] = {
	{ "TIME",            "time_ns",         COLUMN_TIME,     EVENT(time_ns),      NULL, false, "when it happened" },
	{ "HAPPENED",        "happened",        COLUMN_WORD,     EVENT(kind),         dlp_happening_text, false, "what" },
	{ "LOST",            "lost",            COLUMN_U64,      EVENT(lost),         NULL, false, "how many are missing before it" },
	{ "PATH",            "path",            COLUMN_TEXT,     EVENT(path),         NULL, false, "the file; of a pool: where it is" },
	{ "RANGE",           NULL,              COLUMN_RANGE,    EVENT(start),        NULL, false, "what of it" },
	{ "POOL",            "pool",            COLUMN_TEXT,     EVENT(pool),         NULL, false, "its pool" },
	{ "PID",             "pid",             COLUMN_PID,      EVENT(pid),          NULL, false, "the holder; 0: none is concerned" },
	{ "COMMAND",         "command",         COLUMN_TEXT,     EVENT(comm),         NULL, false, "its name" },
	{ "UID",             "uid",             COLUMN_U32,      EVENT(uid),          NULL, false, "its user" },
	{ "BREAKER-PID",     "breaker_pid",     COLUMN_PID,      EVENT(breaker_pid),  NULL, false, "who breaks; 0: none is concerned, or not known" },
	{ "BREAKER-TID",     "breaker_tid",     COLUMN_PID,      EVENT(breaker_tid),  NULL, false, "its thread" },
	{ "BREAKER-COMMAND", "breaker_command", COLUMN_TEXT,     EVENT(breaker_comm), NULL, false, "its name" },
	{ "BREAKER-UID",     "breaker_uid",     COLUMN_U32,      EVENT(breaker_uid),  NULL, false, "its user" },
	{ "DURATION",        "duration_ns",     COLUMN_DURATION, EVENT(duration_ns),  NULL, false, "it took, was waited, or is left" },
	{ "OFFSET",          "offset",          COLUMN_U64,      EVENT(offset),       NULL, false, "refused: the first offending one" },
	{ "DEVICE",          "device",          COLUMN_DEVICE,   EVENT(dev),          NULL, false, "device of the file system" },
	{ "INODE",           "inode",           COLUMN_U64,      EVENT(ino),          NULL, false, "inode number of the file" },
	{ 0 }
};
/* clang-format on */

/* What `detail` and `cause` say depends on the kind: a word, or NULL. */
static const char *cause_of(const struct dlp_ev_watch *event)
{
	return event->breaker_pid || event->breaker_tid || event->cause
		       ? dlp_cause_word(event->cause)
		       : NULL;
}

static const char *detail_of(const struct dlp_ev_watch *event)
{
	switch (event->kind) {
	case DLP_HAPPENED_REFUSED:
		return dlp_reason_word(event->detail);
	case DLP_HAPPENED_FENCING:
		return dlp_fence_step_text(event->detail);
	case DLP_HAPPENED_POOL:
		return dlp_pool_state_text(event->detail);
	}
	return NULL;
}

static void print_json(const struct dlp_ev_watch *event)
{
	json_object *object = row_to_json(event_columns, event);
	const char *const words[][2] = {{"cause", cause_of(event)}, {"detail", detail_of(event)}};

	for (size_t i = 0; i < 2; i++) {
		json_object *text = words[i][1] ? json_object_new_string(words[i][1]) : NULL;

		if ((words[i][1] && !text) ||
		    json_object_object_add(object, words[i][0], text) != 0)
			errx(EXIT_FAILURE, "out of memory");
	}
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN |
							    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

static void print_who(const char *what, int32_t pid, const char *comm, uint32_t uid)
{
	char name[4 * sizeof(((struct dlp_ev_watch *)0)->comm) + 1], user[64];

	format_escaped(name, sizeof(name), comm);
	format_user(user, sizeof(user), uid);
	printf("%s %" PRId32 " (%s, %s)", what, pid, name, user);
}

static void print_breaker(const struct dlp_ev_watch *event, const char *before)
{
	printf("%s%s", before, dlp_cause_text(event->cause));
	if (event->breaker_pid > 0)
		print_who(" by pid", event->breaker_pid, event->breaker_comm, event->breaker_uid);
}

static void print_details(const struct dlp_ev_watch *event)
{
	char duration[32];

	format_duration(duration, sizeof(duration), event->duration_ns);
	switch (event->kind) {
	case DLP_HAPPENED_GRANTED:
		printf(" in %s", duration);
		return;
	case DLP_HAPPENED_REFUSED:
		printf(": %s", dlp_reason_text(event->detail));
		if (event->offset)
			printf(" (offset %" PRIu64 ")", event->offset);
		return;
	case DLP_HAPPENED_BREAKING:
	case DLP_HAPPENED_REVOKING:
	case DLP_HAPPENED_DROPPING:
		print_breaker(event, ": ");
		printf(", %s left", duration);
		return;
	case DLP_HAPPENED_WAITING:
		print_breaker(event, ": ");
		return;
	case DLP_HAPPENED_WENT_ON:
	case DLP_HAPPENED_BREAKER_REFUSED:
	case DLP_HAPPENED_BREAKER_GONE:
		print_breaker(event, ": ");
		printf(" after %s", duration);
		return;
	case DLP_HAPPENED_FENCING:
	case DLP_HAPPENED_POOL:
		printf(": %s", detail_of(event));
		return;
	}
}

static void print_text(const struct dlp_ev_watch *event)
{
	const time_t seconds = (time_t)(event->time_ns / 1000000000u);
	char path[4 * DLP_MAX_PATH + 1], range[64], at[32] = "?";
	struct tm tm;

	if (event->lost)
		printf("(%" PRIu64 " happenings are missing here: they came faster than they were "
		       "read)\n",
		       event->lost);
	if (localtime_r(&seconds, &tm))
		strftime(at, sizeof(at), "%H:%M:%S", &tm);
	printf("%s.%03u  %-15s", at, (unsigned)(event->time_ns / 1000000 % 1000),
	       dlp_happening_text(event->kind));
	if (*event->path) {
		format_escaped(path, sizeof(path), event->path);
		printf("  %s", path);
	}
	if (event->end) {
		format_range(range, sizeof(range), event->start, event->end);
		printf(" %s", range);
	}
	if (event->pid)
		print_who("  pid", event->pid, event->comm, event->uid);
	print_details(event);
	putchar('\n');
}

/* 0, or -errno (told). */
static int begin(struct connection *connection)
{
	struct dlp_head request = {.opcode = DLP_WATCH};
	struct dlp_watch_reply reply;
	const int error = connection_call(connection, &request, sizeof(request), -1, &reply,
					  sizeof(reply));

	if (error > 0)
		warnx("the daemon at %s does not let us watch: %s", connection->socket,
		      strerror(error));
	return error > 0 ? -error : error;
}

int command_watch(const struct options *options)
{
	__attribute__((cleanup(connection_close))) struct connection connection = CONNECTION_CLOSED;
	union dlp_buffer buffer;
	int error = connection_open(&connection, options->socket, DLP_ROLE_ADMIN);

	if (!error)
		error = begin(&connection);
	if (!error)
		fprintf(stderr, "daxleasectl: watching the daemon at %s\n", options->socket);
	while (!error && (error = connection_next_event(&connection, &buffer)) == 0) {
		struct dlp_ev_watch event;

		if (buffer.head.opcode != DLP_EV_WATCH)
			continue;
		memcpy(&event, &buffer, sizeof(event));
		if (options->json)
			print_json(&event);
		else
			print_text(&event);
		if (fflush(stdout) != 0)
			err(EXIT_FAILURE, "cannot write the output");
	}
	return EXIT_FAILURE; /* it watches until it is ended, or the daemon does */
}
