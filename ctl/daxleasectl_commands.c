// SPDX-License-Identifier: LGPL-2.1-or-later
/* The commands that only look: list, pools, status. */
#include "ctl/commands.h"

#include <err.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/connection.h"
#include "ctl/table.h"
#include "ctl/waiting.h"

#define POOL(member) offsetof(struct dlp_pool_reply, member)
#define STATUS(member) offsetof(struct dlp_status_reply, member)

/* clang-format off */
static const struct column pool_columns[] = {
	{ "NAME",       "name",          COLUMN_TEXT,     POOL(name),          NULL, false, "as in daxleased.conf" },
	{ "TYPE",       "type",          COLUMN_WORD,     POOL(type),          dlp_pool_type_text, false, "fsdax, devdax, mount or directory" },
	{ "STATE",      "state",         COLUMN_WORD,     POOL(state),         dlp_pool_state_text, false, "ready, absent or refused" },
	{ "LABEL",      "label",         COLUMN_WORD,     POOL(label),         dlp_label_text, false, "how its leases are enforced" },
	{ "LEASES",     "leases",        COLUMN_U64,      POOL(leases),        NULL, false, "how many there are" },
	{ "BREAK-TIME", "break_time_ns", COLUMN_DURATION, POOL(break_time_ns), NULL, false, "what a holder has to let go" },
	{ "FSTYPE",     "fstype",        COLUMN_TEXT,     POOL(fstype),        NULL, false, "type of the file system" },
	{ "PATH",       "path",          COLUMN_TEXT,     POOL(path),          NULL, false, "where it is" },
	{ "REASON",     "reason",        COLUMN_TEXT,     POOL(reason),        NULL, false, "why it is absent or refused" },
	{ "DEVICE",     "device",        COLUMN_DEVICE,   POOL(dev),           NULL, true,  "device of the file system" },
	{ 0 }
};

static const struct column status_columns[] = {
	{ "version",           "version",       COLUMN_TEXT,     STATUS(version),       NULL, false, NULL },
	{ "kernel",            "kernel",        COLUMN_TEXT,     STATUS(kernel),        NULL, false, NULL },
	{ "pid",               "pid",           COLUMN_PID,      STATUS(pid),           NULL, false, NULL },
	{ "running for",       "uptime_ns",     COLUMN_DURATION, STATUS(uptime_ns),     NULL, false, NULL },
	{ "a crash",           "kept",          COLUMN_WORD,     STATUS(kept),          dlp_kept_text, false, NULL },
	{ "pools",             "pools",         COLUMN_U32,      STATUS(pools),         NULL, false, NULL },
	{ "connections",       "sessions",      COLUMN_U32,      STATUS(sessions),      NULL, false, NULL },
	{ "leases",            "leases",        COLUMN_U64,      STATUS(leases),        NULL, false, NULL },
	{ "breakers waiting",  "waiting",       COLUMN_U64,      STATUS(waiting),       NULL, false, NULL },
	{ "breaks",            "breaks",        COLUMN_U64,      STATUS(breaks),        NULL, false, NULL },
	{ "leases revoked",    "revoked",       COLUMN_U64,      STATUS(revoked),       NULL, false, NULL },
	{ "holders fenced",    "fenced",        COLUMN_U64,      STATUS(fenced),        NULL, false, NULL },
	{ "breakers refused",  "refused",       COLUMN_U64,      STATUS(refused),       NULL, false, NULL },
	{ "lease break time",  "break_time_ns", COLUMN_DURATION, STATUS(break_time_ns), NULL, false, NULL },
	{ "revoke margin",     "margin_ns",     COLUMN_DURATION, STATUS(margin_ns),     NULL, false, NULL },
	{ "fence time",        "fence_ns",      COLUMN_DURATION, STATUS(fence_ns),      NULL, false, NULL },
	{ 0 }
};
/* clang-format on */

int command_list(const struct options *options)
{
	__attribute__((cleanup(connection_close))) struct connection connection = CONNECTION_CLOSED;
	__attribute__((cleanup(waiting_free))) struct waiting waiting = WAITING_NONE;
	struct table *table = table_new(lease_columns, options->output);
	struct dlp_list_reply lease;
	struct lease_row row;
	uint64_t cursor = 0;
	int more;

	if (!table)
		return EXIT_USAGE;
	more = connection_open_any(&connection, options->socket);
	if (!more && connection.role == DLP_ROLE_VIEWER)
		warnx("only the leases of uid %u are shown: all of them are for administrators",
		      (unsigned)geteuid());
	if (!more)
		more = waiting_get(&connection, &waiting);
	while (!more && (more = connection_next_lease(&connection, &cursor, &lease)) > 0) {
		lease_row_fill(&row, &lease, &waiting);
		table_add(table, &row);
		more = 0;
	}
	if (!more)
		table_print(table, "leases", options->json);
	table_free(table);
	return more ? EXIT_FAILURE : EXIT_SUCCESS;
}

int command_waiting(const struct options *options)
{
	__attribute__((cleanup(connection_close))) struct connection connection = CONNECTION_CLOSED;
	__attribute__((cleanup(waiting_free))) struct waiting waiting = WAITING_NONE;
	struct table *table = table_new(waiting_columns, options->output);
	int error;

	if (!table)
		return EXIT_USAGE;
	error = connection_open_any(&connection, options->socket);
	if (!error && connection.role == DLP_ROLE_VIEWER)
		warnx("only processes of uid %u are shown: all of them are for administrators",
		      (unsigned)geteuid());
	if (!error)
		error = waiting_get(&connection, &waiting);
	for (size_t i = 0; i < waiting.count; i++)
		table_add(table, &waiting.breakers[i]);
	if (!error)
		table_print(table, "waiting", options->json);
	table_free(table);
	return error ? EXIT_FAILURE : EXIT_SUCCESS;
}

int command_pools(const struct options *options)
{
	__attribute__((cleanup(connection_close))) struct connection connection = CONNECTION_CLOSED;
	struct table *table = table_new(pool_columns, options->output);
	int error;

	if (!table)
		return EXIT_USAGE;
	error = connection_open(&connection, options->socket, DLP_ROLE_VIEWER);
	for (uint32_t index = 0; !error; index++) {
		struct dlp_pool request = {.head.opcode = DLP_POOL, .index = index};
		struct dlp_pool_reply reply;

		error = connection_call(&connection, &request.head, sizeof(request), -1, &reply,
					sizeof(reply));
		if (!error)
			table_add(table, &reply);
	}
	if (error == ENOENT) {
		error = 0;
		table_print(table, "pools", options->json);
	} else if (error > 0) {
		warnx("the daemon at %s cannot list pools: %s", options->socket, strerror(error));
	}
	table_free(table);
	return error ? EXIT_FAILURE : EXIT_SUCCESS;
}

int command_status(const struct options *options)
{
	__attribute__((cleanup(connection_close))) struct connection connection = CONNECTION_CLOSED;
	struct dlp_head request = {.opcode = DLP_STATUS};
	struct dlp_status_reply reply;
	int error = connection_open(&connection, options->socket, DLP_ROLE_VIEWER);

	if (!error)
		error = connection_call(&connection, &request, sizeof(request), -1, &reply,
					sizeof(reply));
	if (error > 0)
		warnx("the daemon at %s does not tell its status: %s", options->socket,
		      strerror(error));
	if (error)
		return EXIT_FAILURE;
	record_print(status_columns, &reply, "status", options->json);
	return EXIT_SUCCESS;
}

void print_columns(void)
{
	puts("\nColumns of list (JSON has all of them; numbers are bytes and nanoseconds there):");
	columns_print_help(lease_columns);
	puts("\nColumns of waiting:");
	columns_print_help(waiting_columns);
	puts("\nColumns of pools:");
	columns_print_help(pool_columns);
}
