// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/saved.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "daemon/closer.h"
#include "daemon/daemon.h"
#include "daemon/journal.h"
#include "daemon/log.h"
#include "daemon/store.h"
#include "daemon/store_kinds.h"

#define FIRST_DESCRIPTOR 3 /* SD_LISTEN_FDS_START */

static const struct journal_kind kinds[SAVED_KINDS] = {
	[CORE_SAVED_HEAD] = {"head", sizeof(struct core_saved_head), 1},
	[CORE_SAVED_FILE] = {"guarded", sizeof(struct core_saved_file), SAVED_FILES_MAX},
	[CORE_SAVED_FENCED] = {"fenced", sizeof(struct core_saved_fenced), 1u << 20},
	[CORE_SAVED_LEASE] = {"leases", sizeof(struct core_saved_lease), SAVED_LEASES_MAX},
	[CORE_SAVED_OP] = {"operations", sizeof(struct core_saved_op), SAVED_OPS_MAX},
	[SAVED_META] = {"meta", sizeof(struct saved_meta), 1},
	[SAVED_SESSION] = {"sessions", sizeof(struct saved_session), STORE_SLOTS},
	[SAVED_FILE] = {"files", sizeof(struct saved_file), SAVED_FILES_MAX},
	[SAVED_NOTE] = {"notes", sizeof(struct saved_note), SAVED_OPS_MAX},
	[SAVED_CONTEXT] = {"contexts", sizeof(struct saved_context), STORE_SLOTS},
	[SAVED_MR] = {"mrs", sizeof(struct saved_mr), 1u << 21},
};

/* Indices of a kind that are given out here. */
struct indices {
	uint32_t top; /* the highest ever given */
	uint32_t *free;
	uint32_t free_count, free_capacity;
};

struct saved {
	struct journal *journal;
	struct indices indices[SAVED_KINDS];
	/* Numbers that unanswered events have, until the guard occupies them; up to `highest`. */
	bool *filled;
	int highest;
};

/* --- the numbers of unanswered events ------------------------------------------------------------------- */

/* The highest number, from the journal before it is ours; -1: none, or no journal. */
static int highest_number(int journal_fd)
{
	struct journal *journal;
	int fd = fcntl(journal_fd, F_DUPFD_CLOEXEC, 0), highest = -1;

	if (fd < 0)
		return -1;
	if (journal_open(&journal, fd, kinds, SAVED_KINDS, guard_fanotify_bytes()) < 0) {
		close(fd);
		return -1;
	}
	if (journal_writable(journal))
		highest = guard_fanotify_highest(journal_extra(journal));
	journal_close(journal);
	return highest;
}

static int handed_journal(void)
{
	char **names = NULL, name[STORE_NAME_SIZE];
	int count = sd_listen_fds_with_names(0, &names), fd = -1;

	store_name(STORE_JOURNAL, 0, name);
	for (int i = 0; i < count; i++) {
		if (strcmp(names[i], name) == 0)
			fd = FIRST_DESCRIPTOR + i;
		free(names[i]);
	}
	free(names);
	return fd;
}

/* Until the guard takes them over nothing else may get one of these numbers, and keep it: what is opened meanwhile lies
 * above. (Those that were handed back lie below and are moved.) */
static int fill_numbers(struct saved *saved)
{
	int placeholder = -1, journal_fd = handed_journal();

	saved->highest = journal_fd >= 0 ? highest_number(journal_fd) : -1;
	if (saved->highest < FIRST_DESCRIPTOR)
		return 0;
	saved->filled = calloc((size_t)saved->highest + 1, sizeof(*saved->filled));
	placeholder = open("/", O_PATH | O_CLOEXEC);
	if (!saved->filled || placeholder < 0)
		return -ENOMEM;
	for (int n = FIRST_DESCRIPTOR; n <= saved->highest; n++) {
		if (n == placeholder)
			saved->filled[n] = true;
		if (fcntl(n, F_GETFD) >= 0)
			continue;
		if (dup3(placeholder, n, O_CLOEXEC) < 0)
			return -errno;
		saved->filled[n] = true;
	}
	if (placeholder > saved->highest)
		close(placeholder);
	return 0;
}

void saved_free_numbers(struct daemon *d)
{
	struct saved *saved = d->saved;

	for (int n = FIRST_DESCRIPTOR; saved->filled && n <= saved->highest; n++) {
		if (saved->filled[n])
			close(n);
	}
	free(saved->filled);
	saved->filled = NULL;
}

/* --- opening -------------------------------------------------------------------------------------------- */

/* Room to give back every index up to `top`: then giving back cannot fail. */
static int reserve_free(struct indices *indices, uint32_t top)
{
	uint32_t capacity = top * 2 + 64, *grown;

	if (indices->free_capacity >= top)
		return 0;
	grown = realloc(indices->free, capacity * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	indices->free = grown;
	indices->free_capacity = capacity;
	return 0;
}

/* The indices in use, and the holes among them. */
static int count_indices(struct saved *saved, enum saved_kind kind)
{
	struct indices *indices = &saved->indices[kind];
	uint32_t cursor = 0;

	while (journal_next(saved->journal, kind, &cursor)) {
		if (reserve_free(indices, cursor) < 0)
			return -ENOMEM;
		for (uint32_t hole = indices->top + 1; hole < cursor; hole++)
			indices->free[indices->free_count++] = hole;
		indices->top = cursor;
	}
	return 0;
}

static int take_over(struct daemon *d, int fd)
{
	struct saved *saved = d->saved;
	int rc = journal_open(&saved->journal, fd, kinds, SAVED_KINDS, guard_fanotify_bytes());

	if (rc == 0 && !journal_writable(saved->journal))
		rc = -ENOTSUP;
	if (rc < 0) {
		log_error("the journal of the daemon before cannot be used: %s. Breakers wait, "
			  "since the guard it "
			  "left behind still stands: start the version that wrote it, or stop the "
			  "service with all that it "
			  "stores, which lets them go on",
			  strerror(-rc));
		return rc;
	}
	d->returned = true;
	for (enum saved_kind kind = 0; kind < SAVED_KINDS && rc == 0; kind++)
		rc = count_indices(saved, kind);
	return rc;
}

static int make_new(struct daemon *d)
{
	struct saved *saved = d->saved;
	int rc = journal_new(&saved->journal, kinds, SAVED_KINDS, guard_fanotify_bytes());

	if (rc == 0)
		rc = store_put(d->store, STORE_JOURNAL, journal_fd(saved->journal), NULL);
	if (rc == 0)
		rc = journal_reserve(saved->journal, SAVED_META, 1);
	if (rc < 0)
		log_error("no journal: %s", strerror(-rc));
	return rc;
}

int saved_open(struct daemon *d)
{
	struct saved *saved = calloc(1, sizeof(*saved));
	int rc, fd;

	if (!saved)
		return -ENOMEM;
	d->saved = saved;
	rc = fill_numbers(saved);
	if (rc == 0)
		rc = store_open(&d->store, closer_close);
	if (rc == 0)
		rc = store_move_above(d->store, saved->highest);
	if (rc < 0) {
		log_error("what was handed over cannot be taken: %s", strerror(-rc));
		return rc;
	}
	fd = store_take(d->store, STORE_JOURNAL, NULL);
	d->handed = fd >= 0;
	return fd >= 0 ? take_over(d, fd) : make_new(d);
}

void saved_close(struct daemon *d)
{
	struct saved *saved = d->saved;

	if (!saved)
		return;
	saved_free_numbers(d);
	for (enum saved_kind kind = 0; kind < SAVED_KINDS; kind++)
		free(saved->indices[kind].free);
	journal_close(saved->journal);
	free(saved);
	d->saved = NULL;
}

void *saved_guard_region(const struct daemon *d)
{
	return journal_extra(d->saved->journal);
}

/* --- records -------------------------------------------------------------------------------------------- */

uint32_t saved_take(struct daemon *d, enum saved_kind kind)
{
	struct indices *indices = &d->saved->indices[kind];

	if (indices->free_count > 0)
		return indices->free[--indices->free_count];
	if (reserve_free(indices, indices->top + 1) < 0)
		return 0;
	if (journal_reserve(d->saved->journal, kind, indices->top + 1) < 0)
		return 0;
	return ++indices->top;
}

void saved_give(struct daemon *d, enum saved_kind kind, uint32_t index)
{
	struct indices *indices = &d->saved->indices[kind];

	if (!index)
		return;
	journal_drop(d->saved->journal, kind, index);
	indices->free[indices->free_count++] = index;
}

int saved_reserve(struct daemon *d, enum saved_kind kind, uint32_t index)
{
	return journal_reserve(d->saved->journal, kind, index);
}

void saved_put(struct daemon *d, enum saved_kind kind, uint32_t index, const void *record)
{
	journal_put(d->saved->journal, kind, index, record);
}

void saved_drop(struct daemon *d, enum saved_kind kind, uint32_t index)
{
	journal_drop(d->saved->journal, kind, index);
}

void saved_meta(struct daemon *d)
{
	struct saved_meta meta = {
		.next_cookie = d->next_cookie,
		.next_session = d->next_session,
		.restarts = d->restarts,
	};

	saved_put(d, SAVED_META, 1, &meta);
}

const void *saved_next(struct daemon *d, enum saved_kind kind, uint32_t *cursor)
{
	return journal_next(d->saved->journal, kind, cursor);
}

/* --- the core ------------------------------------------------------------------------------------------- */

static void put_of_core(void *arg, unsigned kind, uint32_t index, const void *record)
{
	struct journal *journal = arg;

	if (record)
		journal_put(journal, kind, index, record);
	else
		journal_drop(journal, kind, index);
}

void saved_commit(struct daemon *d)
{
	if (!d->core)
		return;
	core_save(d->core, false, put_of_core, d->saved->journal);
	journal_commit(d->saved->journal);
}

static int room_for_core(void *arg, unsigned kind, uint32_t index)
{
	struct daemon *d = arg;

	return journal_reserve(d->saved->journal, kind, index);
}

static const void *next_of_core(void *arg, unsigned kind, uint32_t *index)
{
	struct daemon *d = arg;

	return journal_next(d->saved->journal, kind, index);
}

int saved_core(struct daemon *d)
{
	struct core_params params = {
		.margin_ns = d->config.margin_ns,
		.fence_ns = d->config.fence_ns,
		.max_leases = SAVED_LEASES_MAX,
		.max_ops = SAVED_OPS_MAX,
		.max_files = SAVED_FILES_MAX,
		.room = room_for_core,
		.room_arg = d,
	};
	uint32_t cursor = 0;
	const struct saved_meta *meta;

	if (!d->returned) {
		d->core = core_new(&params);
		return d->core ? 0 : -ENOMEM;
	}
	meta = saved_next(d, SAVED_META, &cursor);
	/* Numbers that were given away after the last commit must not come again. */
	if (meta) {
		d->next_cookie = meta->next_cookie + (1u << 20);
		d->next_session = meta->next_session + (1u << 16);
		d->restarts = meta->restarts + 1;
	}
	saved_meta(d);
	return core_restore(&d->core, &params, now_ns(), next_of_core, d);
}
