// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The command stats: what the daemon counted, for people, as JSON, and as OpenMetrics text.
 *
 * The OpenMetrics text has counters, gauges and histograms only, whose types the older text format
 * of Prometheus has too: node_exporter's textfile collector reads that one.
 */
#include "ctl/commands.h"

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/connection.h"
#include "ctl/table.h"

#define NSEC_PER_SEC UINT64_C(1000000000)
#define OF_NO_POOL "(none)"

struct stats {
	struct dlp_stats_reply daemon;
	char version[DLP_NAME_SIZE];
	struct pool_row *pools;
	size_t count;
};

/* What is shown of a pool to people: sums. */
struct pool_row {
	struct dlp_pool_stats_reply pool;
	char name[DLP_NAME_SIZE];
	uint64_t refusals, breaks, refused_breakers;
	uint64_t grant_p99_ns, wait_p99_ns; /* at most that long; UINT64_MAX: none yet, or longer */
};

#define ROW(member) offsetof(struct pool_row, member)
#define COUNTER(member) offsetof(struct pool_row, pool.counters.member)
#define STATS(member) offsetof(struct dlp_stats_reply, member)

/* clang-format off */
static const struct column pool_columns[] = {
	{ "POOL",        "pool",             COLUMN_TEXT,     ROW(name),             NULL, false, "as in daxleased.conf; " OF_NO_POOL ": what belongs to none" },
	{ "STATE",       "state",            COLUMN_WORD,     ROW(pool.state),       dlp_pool_state_text, false, "ready, absent or refused" },
	{ "LEASES",      "leases",           COLUMN_U64,      ROW(pool.leases),      NULL, false, "now" },
	{ "WAITING",     "waiting",          COLUMN_U64,      ROW(pool.waiting),     NULL, false, "breakers, now" },
	{ "LONGEST",     "longest_wait_ns",  COLUMN_DURATION, ROW(pool.longest_wait_ns), NULL, false, "for how long the first of them has waited" },
	{ "GRANTED",     "granted",          COLUMN_U64,      COUNTER(granted),      NULL, false, "leases" },
	{ "REFUSED",     "refused",          COLUMN_U64,      ROW(refusals),         NULL, false, "leases" },
	{ "BREAKS",      "breaks",           COLUMN_U64,      ROW(breaks),           NULL, false, "ended, with a lease in the way" },
	{ "DENIED",      "denied",           COLUMN_U64,      ROW(refused_breakers), NULL, false, "of them refused, since the end of a lease could not be proven" },
	{ "TOLD",        "told",             COLUMN_U64,      COUNTER(told),         NULL, false, "notices to holders" },
	{ "REVOKED",     "revoked",          COLUMN_U64,      COUNTER(revoked),      NULL, false, "ranges taken away from holders" },
	{ "GRANT-99%",   "grant_p99_ns",     COLUMN_DURATION, ROW(grant_p99_ns),     NULL, false, "99% of grants took at most that" },
	{ "WAIT-99%",    "wait_p99_ns",      COLUMN_DURATION, ROW(wait_p99_ns),      NULL, false, "99% of breakers waited at most that" },
	{ "DROPPED",     "dropped",          COLUMN_U64,      COUNTER(dropped),      NULL, true,  "ranges that ended by an operation of their holder" },
	{ "READY-SINCE", "ready_ns",         COLUMN_TIME,     ROW(pool.ready_ns),    NULL, true,  "since when it is, and guarded; 0: it is not" },
	{ 0 }
};

static const struct column daemon_columns[] = {
	{ "running for",           "uptime_ns",     COLUMN_DURATION, STATS(uptime_ns),               NULL, false, NULL },
	{ "restarts",              "restarts",      COLUMN_U64,      STATS(restarts),       NULL, false, NULL },
	{ "connections",           "sessions",      COLUMN_U32,      STATS(sessions),                NULL, false, NULL },
	{ "guard",                 "guard",         COLUMN_WORD,     STATS(guard),                   dlp_guard_state_text, false, NULL },
	{ "guard: events",         "guard_events",  COLUMN_U64,      STATS(events),                  NULL, false, NULL },
	{ "guard: stopped",        "guard_stopped", COLUMN_U64,      STATS(stopped),                 NULL, false, NULL },
	{ "guard: harmless",       "guard_harmless", COLUMN_U64,     STATS(harmless),                NULL, false, NULL },
	{ "guard: killed",         "guard_killed",  COLUMN_U64,      STATS(killed),                  NULL, false, NULL },
	{ "guard: lost",           "guard_lost",    COLUMN_U64,      STATS(lost),                    NULL, false, NULL },
	{ "guard: errors",         "guard_errors",  COLUMN_U64,      STATS(errors),                  NULL, false, NULL },
	{ "holders fenced",        "fences",        COLUMN_U64,      STATS(counters.fences[DLP_FENCE_BEGUN]), NULL, false, NULL },
	{ "of them had let go",    "fences_let_go", COLUMN_U64,      STATS(counters.fences[DLP_FENCE_LET_GO]), NULL, false, NULL },
	{ "of them unmapped",      "fences_unmapped", COLUMN_U64,    STATS(counters.fences[DLP_FENCE_UNMAPPED]), NULL, false, NULL },
	{ "of them killed",        "fences_killed", COLUMN_U64,      STATS(counters.fences[DLP_FENCE_KILLED]), NULL, false, NULL },
	{ "of them left alone",    "fences_reported", COLUMN_U64,    STATS(counters.fences[DLP_FENCE_REPORTED]), NULL, false, NULL },
	{ "MRs destroyed",         "mrs_destroyed", COLUMN_U64,      STATS(counters.mrs_destroyed),  NULL, false, NULL },
	{ 0 }
};
/* clang-format on */

/* --- getting ------------------------------------------------------------------------------- */

static uint64_t count_of(const struct dlp_histogram *histogram)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < DLP_STATS_BUCKETS; i++)
		count += histogram->buckets[i];
	return count;
}

static uint64_t percentile_99(const struct dlp_histogram *histogram)
{
	const uint64_t count = count_of(histogram);
	uint64_t below = 0;
	unsigned i = 0;

	if (count == 0)
		return UINT64_MAX;
	while ((below += histogram->buckets[i]) < count - count / 100)
		i++;
	return dlp_bucket_ns(i);
}

static void sum_up(struct pool_row *row)
{
	const struct dlp_pool_counters *c = &row->pool.counters;

	snprintf(row->name, sizeof(row->name), "%s", *row->pool.name ? row->pool.name : OF_NO_POOL);
	for (unsigned i = 0; i < DLP_STATS_REASONS; i++)
		row->refusals += c->refused[i];
	for (unsigned i = 0; i < DLP_STATS_CAUSES; i++)
		for (unsigned outcome = 0; outcome < DLP_OUTCOMES; outcome++)
			row->breaks += c->breaks[i][outcome];
	for (unsigned i = 0; i < DLP_STATS_CAUSES; i++)
		row->refused_breakers += c->breaks[i][DLP_OUTCOME_REFUSED];
	row->grant_p99_ns = percentile_99(&c->grant_time);
	row->wait_p99_ns = percentile_99(&c->wait_time);
}

static void free_stats(struct stats *stats)
{
	free(stats->pools);
}

/* All or nothing: 0, a positive errno the daemon answered, or -errno (told). */
static int get_stats(struct connection *connection, struct stats *stats)
{
	struct dlp_head request = {.opcode = DLP_STATS}, ask_status = {.opcode = DLP_STATUS};
	struct dlp_status_reply status;
	int error = connection_call(connection, &request, sizeof(request), -1, &stats->daemon,
				    sizeof(stats->daemon));

	if (!error)
		error = connection_call(connection, &ask_status, sizeof(ask_status), -1, &status,
					sizeof(status));
	if (error)
		return error;
	memcpy(stats->version, status.version, sizeof(stats->version));
	stats->pools = calloc(stats->daemon.pools + 1, sizeof(*stats->pools));
	if (!stats->pools)
		errx(EXIT_FAILURE, "out of memory");
	for (uint32_t index = 0; !error && index <= stats->daemon.pools; index++) {
		struct dlp_pool ask = {.head.opcode = DLP_POOL_STATS, .index = index};

		error = connection_call(connection, &ask.head, sizeof(ask), -1,
					&stats->pools[index].pool,
					sizeof(stats->pools[index].pool));
		if (!error)
			sum_up(&stats->pools[stats->count++]);
	}
	return error;
}

/* --- JSON ---------------------------------------------------------------------------------- */

static json_object *check(json_object *object)
{
	if (!object)
		errx(EXIT_FAILURE, "out of memory");
	return object;
}

static void set(json_object *object, const char *key, json_object *value)
{
	if (json_object_object_add(object, key, check(value)) != 0)
		errx(EXIT_FAILURE, "out of memory");
}

static void add(json_object *array, json_object *value)
{
	if (json_object_array_add(array, check(value)) != 0)
		errx(EXIT_FAILURE, "out of memory");
}

static json_object *histogram_to_json(const struct dlp_histogram *histogram)
{
	json_object *object = check(json_object_new_object());
	json_object *array = check(json_object_new_array());

	set(object, "sum_ns", json_object_new_uint64(histogram->sum_ns));
	for (unsigned i = 0; i < DLP_STATS_BUCKETS; i++) {
		json_object *bucket = check(json_object_new_object());

		if (json_object_object_add(bucket, "up_to_ns",
					   i + 1 < DLP_STATS_BUCKETS
						   ? json_object_new_uint64(dlp_bucket_ns(i))
						   : NULL) != 0)
			errx(EXIT_FAILURE, "out of memory");
		set(bucket, "count", json_object_new_uint64(histogram->buckets[i]));
		add(array, bucket);
	}
	set(object, "buckets", array);
	return object;
}

static json_object *pool_to_json(const struct pool_row *row)
{
	const struct dlp_pool_counters *c = &row->pool.counters;
	json_object *object = row_to_json(pool_columns, row);
	json_object *refusals = check(json_object_new_object());
	json_object *breaks = check(json_object_new_object());

	for (uint32_t i = 1; i < DLP_REASON_COUNT; i++)
		set(refusals, dlp_reason_word(i), json_object_new_uint64(c->refused[i]));
	for (uint32_t i = 0; i < DLP_CAUSE_COUNT; i++) {
		json_object *cause = check(json_object_new_object());

		for (uint32_t outcome = 0; outcome < DLP_OUTCOMES; outcome++)
			set(cause, dlp_outcome_text(outcome),
			    json_object_new_uint64(c->breaks[i][outcome]));
		set(breaks, dlp_cause_word(i), cause);
	}
	set(object, "refusals_by_reason", refusals);
	set(object, "breaks_by_cause", breaks);
	set(object, "grant_time", histogram_to_json(&c->grant_time));
	set(object, "wait_time", histogram_to_json(&c->wait_time));
	return object;
}

static void print_json(const struct stats *stats)
{
	json_object *object = check(json_object_new_object());
	json_object *daemon = row_to_json(daemon_columns, &stats->daemon);
	json_object *pools = check(json_object_new_array());

	for (size_t i = 0; i < stats->count; i++)
		add(pools, pool_to_json(&stats->pools[i]));
	set(daemon, "pools", pools);
	set(object, "stats", daemon);
	json_print(object);
}

/* --- for people ---------------------------------------------------------------------------- */

static void print_text(const struct stats *stats, struct table *table)
{
	record_print(daemon_columns, &stats->daemon, "stats", false);
	putchar('\n');
	for (size_t i = 0; i < stats->count; i++)
		table_add(table, &stats->pools[i]);
	table_print(table, "pools", false);
	for (size_t i = 0; i < stats->count; i++) {
		const struct dlp_pool_counters *c = &stats->pools[i].pool.counters;

		for (uint32_t reason = 1; reason < DLP_REASON_COUNT; reason++)
			if (c->refused[reason])
				printf("\n%s: %" PRIu64 " leases refused: %s", stats->pools[i].name,
				       c->refused[reason], dlp_reason_text(reason));
		for (uint32_t cause = 0; cause < DLP_CAUSE_COUNT; cause++)
			for (uint32_t outcome = 0; outcome < DLP_OUTCOMES; outcome++)
				if (c->breaks[cause][outcome])
					printf("\n%s: %" PRIu64 " breaks by %s: %s",
					       stats->pools[i].name, c->breaks[cause][outcome],
					       dlp_cause_text(cause), dlp_outcome_text(outcome));
	}
	putchar('\n');
}

/* --- OpenMetrics --------------------------------------------------------------------------- */

/* The name of a pool, as the value of a label. */
static const char *label(const char *text)
{
	static char escaped[2 * DLP_NAME_SIZE];
	char *to = escaped;

	for (; *text; text++) {
		if (*text == '\\' || *text == '"' || *text == '\n')
			*to++ = '\\';
		*to++ = *text == '\n' ? 'n' : *text;
	}
	*to = '\0';
	return escaped;
}

static void family(const char *name, const char *type, const char *help)
{
	const size_t length = strlen(name);

	printf("# TYPE daxlease_%s %s\n", name, type);
	if (length > 8 && strcmp(name + length - 8, "_seconds") == 0)
		printf("# UNIT daxlease_%s seconds\n", name);
	printf("# HELP daxlease_%s %s\n", name, help);
}

static void print_seconds(uint64_t ns)
{
	printf("%" PRIu64 ".%09" PRIu64, ns / NSEC_PER_SEC, ns % NSEC_PER_SEC);
}

/* One number of each pool; `suffix` "_total" for counters. */
static void print_per_pool(const struct stats *stats, const char *name, const char *suffix,
			   const char *type, const char *help, size_t offset, bool seconds)
{
	family(name, type, help);
	for (size_t i = 0; i < stats->count; i++) {
		uint64_t value;

		memcpy(&value, (const char *)&stats->pools[i] + offset, sizeof(value));
		printf("daxlease_%s%s{pool=\"%s\"} ", name, suffix, label(stats->pools[i].name));
		if (seconds)
			print_seconds(value);
		else
			printf("%" PRIu64, value);
		putchar('\n');
	}
}

static void print_refusals(const struct stats *stats)
{
	family("refusals", "counter", "Leases that were refused, by reason.");
	for (size_t i = 0; i < stats->count; i++)
		for (uint32_t reason = 1; reason < DLP_REASON_COUNT; reason++)
			printf("daxlease_refusals_total{pool=\"%s\",reason=\"%s\"} %" PRIu64 "\n",
			       label(stats->pools[i].name), dlp_reason_word(reason),
			       stats->pools[i].pool.counters.refused[reason]);
}

static void print_breaks(const struct stats *stats)
{
	family("breaks", "counter",
	       "Breaks that have ended, with a lease in the way, by cause and outcome.");
	for (size_t i = 0; i < stats->count; i++)
		for (uint32_t cause = 0; cause < DLP_CAUSE_COUNT; cause++)
			for (uint32_t outcome = 0; outcome < DLP_OUTCOMES; outcome++)
				printf("daxlease_breaks_total{pool=\"%s\",cause=\"%s\",outcome=\"%s"
				       "\"} "
				       "%" PRIu64 "\n",
				       label(stats->pools[i].name), dlp_cause_word(cause),
				       dlp_outcome_text(outcome),
				       stats->pools[i].pool.counters.breaks[cause][outcome]);
}

static void print_histogram(const struct stats *stats, const char *name, const char *help,
			    size_t offset)
{
	family(name, "histogram", help);
	for (size_t i = 0; i < stats->count; i++) {
		const char *pool = label(stats->pools[i].name);
		struct dlp_histogram histogram;
		uint64_t count = 0;

		memcpy(&histogram, (const char *)&stats->pools[i] + offset, sizeof(histogram));
		for (unsigned bucket = 0; bucket < DLP_STATS_BUCKETS; bucket++) {
			count += histogram.buckets[bucket];
			printf("daxlease_%s_bucket{pool=\"%s\",le=\"", name, pool);
			if (bucket + 1 < DLP_STATS_BUCKETS)
				printf("%.4f",
				       (double)dlp_bucket_ns(bucket) / (double)NSEC_PER_SEC);
			else
				fputs("+Inf", stdout);
			printf("\"} %" PRIu64 "\n", count);
		}
		printf("daxlease_%s_count{pool=\"%s\"} %" PRIu64 "\n", name, pool, count);
		printf("daxlease_%s_sum{pool=\"%s\"} ", name, pool);
		print_seconds(histogram.sum_ns);
		putchar('\n');
	}
}

static void print_daemon(const struct stats *stats)
{
	const struct dlp_stats_reply *d = &stats->daemon;
	const struct {
		const char *name, *help;
		uint64_t value;
		bool counter;
	} numbers[] = {
		{"sessions", "Connections now.", d->sessions, false},
		{"guard_on",
		 "1: breakers are stopped; 0: this kernel has no guard, leases are advisory.",
		 d->guard != DLP_GUARD_NONE, false},
		{"guard_paused",
		 "1: descriptors are short, new breakers wait in the kernel, unseen.",
		 d->guard == DLP_GUARD_PAUSED, false},
		{"guard_descriptors", "Events of the guard that are held open.",
		 d->guard_descriptors, false},
		{"restarts", "Daemons that took over from the one before, with all leases.",
		 d->restarts, true},
		{"mrs_destroyed", "RDMA memory regions that the daemon destroyed from outside.",
		 d->counters.mrs_destroyed, true},
	};
	const struct {
		const char *kind;
		uint64_t value;
	} events[] = {{"all", d->events},    {"stopped", d->stopped}, {"harmless", d->harmless},
		      {"killed", d->killed}, {"lost", d->lost},	      {"error", d->errors}};

	family("build", "gauge", "Always 1; the daemon's version is its label.");
	printf("daxlease_build{version=\"%s\"} 1\n", label(stats->version));
	family("uptime_seconds", "gauge", "Since the daemon's start.");
	fputs("daxlease_uptime_seconds ", stdout);
	print_seconds(d->uptime_ns);
	putchar('\n');
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		family(numbers[i].name, numbers[i].counter ? "counter" : "gauge", numbers[i].help);
		printf("daxlease_%s%s %" PRIu64 "\n", numbers[i].name,
		       numbers[i].counter ? "_total" : "", numbers[i].value);
	}
	family("guard_events", "counter",
	       "Events of the guard since the daemon's start, all and of some kinds; lost ones "
	       "were let through.");
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		printf("daxlease_guard_events_total{kind=\"%s\"} %" PRIu64 "\n", events[i].kind,
		       events[i].value);
	family("fences", "counter", "Holders that did not answer in time, by what was done.");
	for (uint32_t step = 1; step < DLP_FENCE_STEPS; step++)
		printf("daxlease_fences_total{step=\"%s\"} %" PRIu64 "\n",
		       dlp_fence_step_text(step), d->counters.fences[step]);
}

static void print_ready(const struct stats *stats)
{
	family("pool_ready", "gauge", "1: mounted and usable.");
	for (size_t i = 0; i < stats->daemon.pools; i++)
		printf("daxlease_pool_ready{pool=\"%s\"} %d\n", label(stats->pools[i].name),
		       stats->pools[i].pool.state == DLP_POOL_READY);
}

static void print_openmetrics(const struct stats *stats)
{
	print_daemon(stats);
	print_ready(stats);
	print_per_pool(stats, "leases", "", "gauge", "Leases now.", ROW(pool.leases), false);
	print_per_pool(stats, "breakers_waiting", "", "gauge", "Breakers that wait now.",
		       ROW(pool.waiting), false);
	print_per_pool(stats, "longest_wait_seconds", "", "gauge",
		       "How long the first of those that wait now has waited.",
		       ROW(pool.longest_wait_ns), true);
	print_per_pool(stats, "grants", "_total", "counter", "Leases granted.", COUNTER(granted),
		       false);
	print_refusals(stats);
	print_breaks(stats);
	print_per_pool(stats, "notices", "_total", "counter",
		       "Notices to holders that a lease is being broken.", COUNTER(told), false);
	print_per_pool(stats, "revocations", "_total", "counter",
		       "Ranges that were taken away from holders, at the deadline or at once.",
		       COUNTER(revoked), false);
	print_per_pool(stats, "own_drops", "_total", "counter",
		       "Ranges that ended by an operation of their own holder.", COUNTER(dropped),
		       false);
	print_histogram(stats, "grant_seconds", "How long granting a lease took.",
			COUNTER(grant_time));
	print_histogram(stats, "break_wait_seconds", "How long breakers waited.",
			COUNTER(wait_time));
	puts("# EOF");
}

/* ------------------------------------------------------------------------------------------- */

int command_stats(const struct options *options)
{
	__attribute__((cleanup(connection_close))) struct connection connection = CONNECTION_CLOSED;
	__attribute__((cleanup(free_stats))) struct stats stats = {.pools = NULL};
	struct table *table = table_new(pool_columns, options->output);
	int error;

	if (!table)
		return EXIT_USAGE;
	error = connection_open_any(&connection, options->socket);
	if (!error)
		error = get_stats(&connection, &stats);
	if (error > 0)
		warnx("the daemon at %s does not tell its statistics: %s", options->socket,
		      strerror(error));
	if (!error && options->openmetrics)
		print_openmetrics(&stats);
	else if (!error && options->json)
		print_json(&stats);
	else if (!error)
		print_text(&stats, table);
	table_free(table);
	return error ? EXIT_FAILURE : EXIT_SUCCESS;
}

void print_stats_columns(void)
{
	puts("\nColumns of stats:");
	columns_print_help(pool_columns);
}
