// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The command doctor: what works on this machine, what is missing and how to get it, and what escapes the guard now.
 * Works without a daemon: then the pools are those of the configuration file.
 */
#include "ctl/doctor.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "ctl/connection.h"
#include "ctl/escapes.h"
#include "daemon/config.h"
#include "daemon/pool/pool.h"

#ifndef SYSCONFDIR
#define SYSCONFDIR "/etc"
#endif
#define CONFIG_DEFAULT SYSCONFDIR "/daxlease/daxleased.conf"

struct finding {
	uint32_t verdict;
	char subject[64];
	char text[DLP_MAX_PATH + 512];
	char remedy[512];
};

struct findings {
	struct finding *all;
	size_t count;
	struct place *places;
	size_t place_count;
	struct escape *escapes;
	size_t escape_count, harmless; /* of them no escapes in the end */
};

#define FINDING(member) offsetof(struct finding, member)

static const char *verdict_text(uint32_t verdict)
{
	static const char *const words[] = {"?", "good", "note", "wrong"};

	return verdict <= VERDICT_WRONG ? words[verdict] : words[0];
}

/* clang-format off */
static const struct column finding_columns[] = {
	{ "VERDICT", "verdict", COLUMN_WORD, FINDING(verdict), verdict_text, false, "good, note or wrong" },
	{ "SUBJECT", "subject", COLUMN_TEXT, FINDING(subject), NULL, false, "what was looked at" },
	{ "TEXT",    "text",    COLUMN_TEXT, FINDING(text),    NULL, false, "what was found" },
	{ "REMEDY",  "remedy",  COLUMN_TEXT, FINDING(remedy),  NULL, false, "what to do" },
	{ 0 }
};
/* clang-format on */

/* Room for one more behind `count` of them. */
static void *grow(void *array, size_t count, size_t size)
{
	void *grown = reallocarray(array, count + 1, size);

	if (!grown)
		errx(EXIT_FAILURE, "out of memory");
	memset((char *)grown + count * size, 0, size);
	return grown;
}

void finding(struct findings *findings, enum verdict verdict, const char *subject,
	     const char *remedy, const char *format, ...)
{
	struct finding *one;
	va_list args;

	findings->all = grow(findings->all, findings->count, sizeof(*findings->all));
	one = &findings->all[findings->count++];
	one->verdict = verdict;
	snprintf(one->subject, sizeof(one->subject), "%s", subject);
	snprintf(one->remedy, sizeof(one->remedy), "%s", remedy ? remedy : "");
	va_start(args, format);
	vsnprintf(one->text, sizeof(one->text), format, args);
	va_end(args);
}

static void free_findings(struct findings *findings)
{
	free(findings->all);
	free(findings->places);
	free(findings->escapes);
}

/* --- pools --------------------------------------------------------------------------------- */

static void add_place(struct findings *findings, const struct place *place)
{
	findings->places = grow(findings->places, findings->place_count, sizeof(*place));
	findings->places[findings->place_count++] = *place;
}

/* What of a mounted pool does not depend on the daemon. */
static void look_at_mount(struct findings *findings, const char *subject, const char *path,
			  uint32_t type, bool pre_content)
{
	const int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	struct pool_mount mount;
	int error;

	if (fd < 0 || type == DLP_POOL_DEVDAX) { /* what there is to say of a device its state says */
		if (fd >= 0)
			close(fd);
		return;
	}
	error = pool_find_mount(fd, path, type != DLP_POOL_DIRECTORY, &mount);
	close(fd);
	if (error || !mount.found) {
		finding(findings, VERDICT_WRONG, subject, "mount it", "nothing is mounted at %s",
			path);
		return;
	}
	if (type == DLP_POOL_FSDAX && !mount.dax)
		finding(findings, VERDICT_NOTE, subject,
			"mount with -o dax, or give each file the attribute before it has data "
			"(xfs_io -c 'chattr +x')",
			"%s (%s) is not mounted with -o dax: only files with the attribute are DAX",
			path, mount.fstype);
	if (!pre_content)
		return;
	error = try_guard(path);
	if (error == -EPERM)
		return; /* told of the kernel already */
	if (error || (strcmp(mount.fstype, "ext4") != 0 && strcmp(mount.fstype, "xfs") != 0))
		finding(findings, VERDICT_WRONG, subject,
			"use ext4 or xfs and Linux 6.14 or later; on older kernels "
			"guard = kernel-lease; else a pool of type directory (advisory)",
			"%s (%s) cannot be guarded%s%s", path, mount.fstype, error ? ": " : "",
			error ? strerror(-error) : "");
	else
		finding(findings, VERDICT_GOOD, subject, NULL,
			"%s (%s%s) can be guarded: its leases hold against "
			"everybody",
			path, mount.fstype, mount.dax ? ", dax" : "");
}

static void look_at_pool(struct findings *findings, struct connection *connection, uint32_t index,
			 const struct dlp_pool_reply *pool)
{
	struct place place;
	char subject[DLP_NAME_SIZE + 8];

	snprintf(subject, sizeof(subject), "pool %.*s", DLP_NAME_SIZE - 1, pool->name);
	if (pool->state != DLP_POOL_READY) {
		finding(findings, VERDICT_WRONG, subject, "see the reason; daxleased.conf(5)",
			"%s is %s: %s", pool->path, dlp_pool_state_text(pool->state), pool->reason);
	} else {
		finding(findings, VERDICT_GOOD, subject, NULL, "%s is ready, leases are %s",
			pool->path, dlp_label_text(pool->label));
		look_at_mount(findings, subject, pool->path, pool->type,
			      (pool->label & ~DLP_LABEL_UNBOUNDED) == DLP_LABEL_ENFORCED);
	}
	if (place_of_pool(connection, index, pool, &place))
		add_place(findings, &place);
}

static void look_at_pools(struct findings *findings, struct connection *connection)
{
	struct dlp_pool_reply pool;
	uint32_t index = 0;

	do {
		struct dlp_pool ask = {.head.opcode = DLP_POOL, .index = index};

		if (connection_call(connection, &ask.head, sizeof(ask), -1, &pool, sizeof(pool)) !=
		    0)
			break;
		look_at_pool(findings, connection, index++, &pool);
	} while (index < pool.pools);
	if (index == 0)
		finding(findings, VERDICT_WRONG, "pools", "name one in daxleased.conf(5)",
			"there is no pool");
}

static void look_at_daemon(struct findings *findings, struct connection *connection)
{
	struct dlp_head ask = {.opcode = DLP_STATS};
	struct dlp_stats_reply stats;

	if (connection_call(connection, &ask, sizeof(ask), -1, &stats, sizeof(stats)) != 0)
		return;
	if (stats.guard == DLP_GUARD_NONE)
		finding(findings, VERDICT_WRONG, "daemon",
			"see the daemon's log: it needs CAP_SYS_ADMIN in the initial user "
			"namespace and Linux 6.14",
			"it has no guard: all leases are advisory");
	else if (stats.guard == DLP_GUARD_PAUSED)
		finding(findings, VERDICT_WRONG, "daemon", "raise LimitNOFILE of daxleased.service",
			"it is short of descriptors: breakers wait in the kernel, unseen");
	else if (stats.lost)
		finding(findings, VERDICT_WRONG, "daemon", "report it, with the daemon's log",
			"its guard has lost %llu events: those operations were let through",
			(unsigned long long)stats.lost);
	else
		finding(findings, VERDICT_GOOD, "daemon", NULL, "it answers, and has a guard");
}

/* Without a daemon. */
static void look_at_config(struct findings *findings, const char *file)
{
	struct config config;
	struct place place;
	uint64_t dev, ino;
	char subject[DLP_NAME_SIZE + 8];

	if (access(file, R_OK) != 0) {
		finding(findings, VERDICT_NOTE, "configuration", "see daxleased.conf(5)", "%s: %s",
			file, strerror(errno));
		return;
	}
	if (config_load(file, &config, stderr) != 0) {
		finding(findings, VERDICT_WRONG, "configuration",
			"daxleased --check-config says it again", "%s has mistakes", file);
		return;
	}
	for (size_t i = 0; i < config.pool_count; i++) {
		const struct config_pool *pool = &config.pools[i];

		snprintf(subject, sizeof(subject), "pool %.*s", DLP_NAME_SIZE - 1, pool->name);
		look_at_mount(findings, subject, pool->path, pool->type,
			      pool->guard == CONFIG_GUARD_PRE_CONTENT);
		if (pool->guard != CONFIG_GUARD_PRE_CONTENT || !look_at(pool->path, &dev, &ino))
			continue;
		place = (struct place){.dev = dev};
		snprintf(place.pool, sizeof(place.pool), "%s", pool->name);
		snprintf(place.path, sizeof(place.path), "%s", pool->path);
		add_place(findings, &place);
	}
	config_free(&config);
}

/* --- escapes ------------------------------------------------------------------------------- */

static void keep_escape(void *arg, const struct escape *escape)
{
	struct findings *findings = arg;

	findings->escapes = grow(findings->escapes, findings->escape_count, sizeof(*escape));
	findings->escapes[findings->escape_count++] = *escape;
	findings->harmless += escape->kind == ESCAPE_MOUNT;
}

static void look_for_escapes(struct findings *findings)
{
	struct search search = {
		.places = findings->places,
		.count = findings->place_count,
		.found = keep_escape,
		.arg = findings,
	};

	if (!search.count)
		return;
	escapes_of_kernel(&search);
	escapes_of_processes(&search);
	if (search.unseen)
		finding(findings, VERDICT_NOTE, "escapes", "run it as root",
			"%u processes of other users could not be looked into", search.unseen);
	if (findings->escape_count == findings->harmless)
		finding(findings, VERDICT_GOOD, "escapes", NULL, "none was found");
}

/* --- telling ------------------------------------------------------------------------------- */

static void print_text(const struct findings *findings)
{
	char text[4 * sizeof(findings->all->text)], path[4 * DLP_MAX_PATH + 1], comm[65];

	for (size_t i = 0; i < findings->count; i++) {
		const struct finding *one = &findings->all[i];

		format_escaped(text, sizeof(text), one->text);
		printf("%-6s %s: %s\n", verdict_text(one->verdict), one->subject, text);
		if (*one->remedy)
			printf("       %s\n", one->remedy);
	}
	for (size_t i = 0; i < findings->escape_count; i++) {
		const struct escape *one = &findings->escapes[i];

		format_escaped(path, sizeof(path), one->path);
		format_escaped(text, sizeof(text), one->detail);
		format_escaped(comm, sizeof(comm), one->comm);
		printf("%-6s %s: %s", one->kind == ESCAPE_MOUNT ? "note" : "escape",
		       escape_text(one->kind), path);
		if (one->pid)
			printf(", pid %d (%s)", one->pid, comm);
		printf(": %s\n       %s\n", text, escape_remedy(one->kind));
	}
}

static void print_json(const struct findings *findings)
{
	json_object *object = json_object_new_object(), *doctor = json_object_new_object();
	json_object *all = json_object_new_array(), *escapes = json_object_new_array();
	bool good = object && doctor && all && escapes;

	for (size_t i = 0; good && i < findings->count; i++)
		good = json_object_array_add(all,
					     row_to_json(finding_columns, &findings->all[i])) == 0;
	for (size_t i = 0; good && i < findings->escape_count; i++)
		good = json_object_array_add(escapes, row_to_json(escape_columns,
								  &findings->escapes[i])) == 0;
	if (!good || json_object_object_add(doctor, "findings", all) ||
	    json_object_object_add(doctor, "escapes", escapes) ||
	    json_object_object_add(object, "doctor", doctor))
		errx(EXIT_FAILURE, "out of memory");
	json_print(object);
}

/* --- leases that nothing ends ---------------------------------------------------------------- */

static void look_at_leases(struct findings *findings, struct connection *connection)
{
	struct dlp_list_reply lease;
	char remedy[160], subject[32];
	uint64_t cursor = 0;

	while (connection_next_lease(connection, &cursor, &lease) > 0) {
		if (!(lease.flags & DLP_LIST_UNPROVEN))
			continue;
		snprintf(subject, sizeof(subject), "lease %llu", (unsigned long long)lease.lease);
		snprintf(remedy, sizeof(remedy),
			 "end its children and whoever shares its memory; if none is left: daxleasectl forget %llu",
			 (unsigned long long)lease.lease);
		finding(findings, VERDICT_WRONG, subject, remedy,
			"pid %d is dead, but whether something of it still reaches %.100s cannot be "
			"told: breakers are refused",
			lease.pid, lease.path);
	}
}

int command_doctor(const struct options *options)
{
	__attribute__((cleanup(connection_close))) struct connection connection = CONNECTION_CLOSED;
	__attribute__((cleanup(free_findings))) struct findings findings = {.all = NULL};
	size_t wrong = 0;

	look_at_kernel(&findings);
	look_at_rdma(&findings);
	if (connection_open_any(&connection, options->socket) == 0) {
		look_at_daemon(&findings, &connection);
		look_at_pools(&findings, &connection);
		look_at_leases(&findings, &connection);
	} else {
		const char *config = options->config ? options->config : CONFIG_DEFAULT;

		finding(&findings, VERDICT_WRONG, "daemon", "systemctl start daxleased",
			"none answers at %s: nothing is guarded now; the pools are those of %s",
			options->socket, config);
		look_at_config(&findings, config);
	}
	look_for_escapes(&findings);
	if (options->json)
		print_json(&findings);
	else
		print_text(&findings);
	for (size_t i = 0; i < findings.count; i++)
		wrong += findings.all[i].verdict == VERDICT_WRONG;
	return wrong					   ? EXIT_FAILURE
	       : findings.escape_count > findings.harmless ? EXIT_ESCAPES
							   : EXIT_SUCCESS;
}
