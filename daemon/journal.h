/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's state that outlives it: tables of fixed-size records in a memfd, changed by commits that
 * are all or nothing for whoever opens it after a SIGKILL at any instruction. (Not after a power
 * failure: everything it speaks of is gone then, too.) May include: libc.
 *
 * Each record has room for two copies, each with the number of the commit that wrote it. What is
 * staged goes into the copy that is not current, with the next number; the commit is one store of
 * that number into the header. The current copy is the one with the greatest number that is not
 * above the header's. So nothing that is true is ever written over, no commit is too big, none needs
 * memory of its own, and staging a record twice costs nothing more. A copy left behind by a writer
 * that died before its commit is discarded when the journal is opened.
 *
 * One writer at a time: whoever opens a journal knows that the one before is gone.
 *
 * Memory: the file is sparse and costs what was touched. A page of a memfd that cannot be had when it
 * is touched is a SIGBUS; so room is taken ahead with journal_reserve(), which can fail, and
 * journal_put(), journal_drop() and journal_commit() cannot.
 */
#ifndef DAXLEASE_JOURNAL_H
#define DAXLEASE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct journal;

#define JOURNAL_MAX_KINDS 16u
#define JOURNAL_MAX_RECORD 4096u

/* A table. Its place in the array is its number. */
struct journal_kind {
	const char *name; /* at most 15 bytes */
	uint32_t size;	  /* of a record in bytes: a multiple of 8, at most JOURNAL_MAX_RECORD */
	uint32_t max;	  /* indices 1 .. max; costs address space, not memory */
};

/*
 * An empty one. extra: bytes of a plain shared area, zeroed and with its memory taken, that no commit
 * cares about. *out is owned by the caller: journal_close(). 0, -EINVAL (kinds), -ENOMEM, -ENOSPC,
 * -EMFILE, -ENFILE, or what memfd_create(2) says.
 */
int journal_new(struct journal **out, const struct journal_kind *kinds, unsigned count,
		size_t extra);

/*
 * Takes over an existing one, as its writer left it after its last commit. On success the descriptor
 * belongs to the journal, else it stays the caller's. `kinds` is how this program knows the tables:
 * one written by an older version can have fewer of them, smaller records (the rest reads as zeros),
 * other maxima or another extra area: see journal_writable(). 0, or
 *   -EBADMSG  no journal, or one that cannot be believed: its type, seals, size, magic, names,
 *             geometry, or a record's number
 *   -ENOTSUP  written by a newer version
 *   -EINVAL   kinds; -ENOMEM; -EBADF
 */
int journal_open(struct journal **out, int fd, const struct journal_kind *kinds, unsigned count,
		 size_t extra);

/* NULL: nothing. Closes the descriptor; the memfd lives as long as somebody else has one. */
void journal_close(struct journal *journal);

int journal_fd(const struct journal *journal); /* stays the journal's */

/* The plain area, aligned to pages, as long as the journal is open; NULL if it has none. Its size is
 * the one it was made with. */
void *journal_extra(const struct journal *journal);
size_t journal_extra_size(const struct journal *journal);

/* Has it exactly the geometry that was asked for? If not, it is only read, and a new one made, which takes
 * what it says by journal_copy(). */
bool journal_writable(const struct journal *journal);

/* All committed records of `from`, an older geometry of the same tables or the same one, become those of `to`, which is
 * new and has none; committed at once. `from` stays as it is. The plain area is the caller's. 0, or nothing is
 * committed: -ENOLCK (an index that `to` has no room for), -ENOMEM, -ENOSPC. */
int journal_copy(struct journal *to, struct journal *from);

/* Its descriptor is this one now: the same file, by another number. */
void journal_moved(struct journal *journal, int fd);

/* From now on journal_put() finds memory for the indices 1 .. index. Cheap if it is there already. 0,
 * -ENOLCK (index is above the table's max), -ENOMEM, -ENOSPC. */
int journal_reserve(struct journal *journal, unsigned kind, uint32_t index);

/* Stages a change: a record with this content (of the table's size), or none any more. The index was
 * reserved. Of several changes of one record the last counts. */
void journal_put(struct journal *journal, unsigned kind, uint32_t index, const void *record);
void journal_drop(struct journal *journal, unsigned kind, uint32_t index);

/* All that is staged becomes true at once. */
void journal_commit(struct journal *journal);

/* The next committed record behind index *cursor (0: from the start), which becomes its index; NULL:
 * none. Good until the next call of any function. */
const void *journal_next(struct journal *journal, unsigned kind, uint32_t *cursor);

#endif
