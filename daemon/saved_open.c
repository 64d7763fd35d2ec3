// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The start: the journal that a predecessor left, or an empty one.
 *
 * A journal whose geometry is not ours, since an older version wrote it, is copied into one of ours. Each of the two has its
 * name in the store, and at every instant one of them is whole, and taken by whoever starts next:
 *
 *   the old one is there             it is taken
 *   both, until the keeper has ours  the one called "journal" is taken, the other is forgotten
 *   ours alone, called "jnext"       it is taken
 *   ours, called "jnext", and a copy of it called "journal"; then that one alone
 *
 * Nothing else is changed meanwhile, so whichever is taken says the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "daemon/closer.h"
#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/saved_inside.h"
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
	[SAVED_UNLOOKED] = {"unlooked", sizeof(struct saved_unlooked), SAVED_FILES_MAX},
	[SAVED_MR] = {"mrs", sizeof(struct saved_mr), 1u << 21},
};

/* --- the journal that was handed back ------------------------------------------------------------------- */

static const char *why_not(int error)
{
	if (error == -ENOTSUP)
		return "it was written by a newer version";
	return strerror(-error);
}

static void cannot_use(int error)
{
	log_error("the journal of the daemon before cannot be used: %s. Breakers wait and leases "
		  "are kept, since the "
		  "guard it left behind still stands: start the version that wrote it, or a later "
		  "one; or stop "
		  "the service with all that it stores, which lets them go on",
		  why_not(error));
}

/* By its name, before the store is opened; -1: none. */
static int handed(enum store_kind kind)
{
	char **names = NULL, name[STORE_NAME_SIZE];
	int count = sd_listen_fds_with_names(0, &names), fd = -1;

	store_name(kind, 0, name);
	for (int i = 0; i < count; i++) {
		if (strcmp(names[i], name) == 0)
			fd = FIRST_DESCRIPTOR + i;
		free(names[i]);
	}
	free(names);
	return fd;
}

/* Opened first of all, by the number it was handed back with: it says which numbers must not be used. 0, -ENOENT: there is none,
 * or another -errno, which is logged. */
static int open_handed(struct daemon *d, enum store_kind *kind)
{
	int fd, rc;

	*kind = STORE_JOURNAL;
	fd = handed(*kind);
	if (fd < 0) {
		*kind = STORE_JOURNAL_NEXT;
		fd = handed(*kind);
	}
	if (fd < 0)
		return -ENOENT;
	d->handed = true;
	rc = journal_open(&d->saved->journal, fd, kinds, SAVED_KINDS, guard_fanotify_bytes());
	if (rc < 0)
		cannot_use(rc);
	return rc;
}

/* --- the numbers of unanswered events ------------------------------------------------------------------- */

/* Until the guard takes them over nothing else may get one of these numbers, and keep it: what is opened meanwhile lies
 * above. (Those that were handed back lie below and are moved.) */
static int fill_numbers(struct saved *saved)
{
	int placeholder = -1;

	saved->highest = saved->journal ? guard_fanotify_highest(journal_extra(saved->journal),
								 journal_extra_size(saved->journal))
					: -1;
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

/* --- a journal of ours ---------------------------------------------------------------------------------- */

static int new_journal(struct journal **journal)
{
	return journal_new(journal, kinds, SAVED_KINDS, guard_fanotify_bytes());
}

/* A whole copy of what is there; the caller's. */
static int copy(struct journal *from, struct journal **out)
{
	int rc = new_journal(out);

	if (rc == 0)
		rc = journal_copy(*out, from);
	if (rc == 0)
		rc = guard_fanotify_copy(journal_extra(*out), journal_extra(from),
					 journal_extra_size(from));
	return rc;
}

/* One step of those above: a copy takes the place of the journal, which has the name `kind`; the copy gets the other. */
static int replace(struct daemon *d, enum store_kind *kind)
{
	const enum store_kind other = *kind == STORE_JOURNAL ? STORE_JOURNAL_NEXT : STORE_JOURNAL;
	struct journal *journal;
	int rc = copy(d->saved->journal, &journal);

	if (sabotaged("remove-first"))
		store_remove(d->store, *kind, 0);
	kill_at("journal-copied");
	if (rc == 0)
		rc = store_put(d->store, other, journal_fd(journal), NULL);
	kill_at("journal-put");
	if (rc == 0)
		rc = store_settle(d->store);
	if (rc < 0) {
		journal_close(journal);
		return rc;
	}
	kill_at("journal-kept");
	store_remove(d->store, *kind, 0);
	kill_at("journal-removed");
	journal_close(d->saved->journal);
	d->saved->journal = journal;
	*kind = other;
	return store_settle(d->store);
}

/* The indices in use, and the holes among them. */
static int count_indices(struct saved *saved, enum saved_kind kind)
{
	struct indices *indices = &saved->indices[kind];
	uint32_t cursor = 0;

	while (journal_next(saved->journal, kind, &cursor)) {
		if (saved_reserve_free(indices, cursor) < 0)
			return -ENOMEM;
		for (uint32_t hole = indices->top + 1; hole < cursor; hole++)
			indices->free[indices->free_count++] = hole;
		indices->top = cursor;
	}
	return 0;
}

/* The journal is open, and the store has its descriptor. */
static int take_over(struct daemon *d, enum store_kind kind)
{
	struct saved *saved = d->saved;
	int rc = 0, rest;

	journal_moved(saved->journal, store_take(d->store, kind, NULL));
	if (journal_fd(saved->journal) < 0)
		rc = -EBADMSG;
	/* A copy that came to nothing, or that has become the journal. */
	rest = kind == STORE_JOURNAL ? store_take(d->store, STORE_JOURNAL_NEXT, NULL) : -1;
	if (rest >= 0) {
		store_remove(d->store, STORE_JOURNAL_NEXT, 0);
		close(rest);
		rc = store_settle(d->store);
	}
	if (rc == 0 && (kind != STORE_JOURNAL || !journal_writable(saved->journal)))
		log_notice("the journal of the daemon before is another version's: it is copied");
	while (rc == 0 && (kind != STORE_JOURNAL || !journal_writable(saved->journal)))
		rc = replace(d, &kind);
	if (rc < 0) {
		cannot_use(rc);
		return rc;
	}
	d->returned = true;
	for (enum saved_kind k = 0; k < SAVED_KINDS && rc == 0; k++)
		rc = count_indices(saved, k);
	return rc;
}

static int make_new(struct daemon *d)
{
	struct saved *saved = d->saved;
	int rc = new_journal(&saved->journal);

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
	enum store_kind kind;
	int found, rc;

	if (!saved)
		return -ENOMEM;
	d->saved = saved;
	found = open_handed(d, &kind);
	if (found < 0 && found != -ENOENT)
		return found;
	rc = fill_numbers(saved);
	if (rc == 0)
		rc = store_open(&d->store, closer_close);
	if (rc == 0)
		rc = store_move_above(d->store, saved->highest);
	if (rc < 0) {
		log_error("what was handed over cannot be taken: %s", strerror(-rc));
		return rc;
	}
	return found == 0 ? take_over(d, kind) : make_new(d);
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
