/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ctl/: what an administrator types. daxleasectl is daxleasectl.c (command line), _commands.c
 * (list, waiting, pools, status), _stats.c, _watch.c, _break.c (break, revoke), _connection.c (the daemon), _waiting.c (leases
 * with who waits for them) and _table.c (output). May include: libc, json-c, proto/.
 */
#ifndef DAXLEASE_CTL_COMMANDS_H
#define DAXLEASE_CTL_COMMANDS_H

#include <stdbool.h>
#include <stdint.h>

/* The command line, checked. */
struct options {
	const char *socket;
	bool json;
	const char *output; /* names of columns, or NULL: the usual ones */
	uint64_t offset;    /* bytes */
	uint64_t length;    /* bytes; 0: to the end */
	bool openmetrics;
	const char *config;   /* file, or NULL */
	bool reopen;
	uint64_t size; /* bytes; 0: as it is */
	const char *argument; /* PATH or LEASE, or NULL */
	char *const *command; /* behind --, ends with NULL; or NULL */
};

/* Commands; each says what went wrong on stderr. Return the exit status. */
int command_list(const struct options *options);
int command_show(const struct options *options);
int command_waiting(const struct options *options);
int command_pools(const struct options *options);
int command_status(const struct options *options);
int command_stats(const struct options *options);
int command_watch(const struct options *options);
int command_doctor(const struct options *options);
int command_drain(const struct options *options);
int command_prepare(const struct options *options);
int command_break(const struct options *options);
int command_forget(const struct options *options);
int command_revoke(const struct options *options);

/* For --help: what lists can show. */
void print_columns(void);
void print_stats_columns(void);

enum { EXIT_USAGE = 2, EXIT_ESCAPES = 3 };

#endif
