/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The shim's table of mappings that have, or are about to have, a lease: by address, split where
 * they are treated in parts. May include: coverage, tree, arena.
 *
 * One lock for the table and for the MRs that stand on it (shim_mr.h), table_lock(). It is never
 * held across a round trip to the daemon, nor across a call that can wait in fanotify (mmap of a
 * file, open): the revoker needs it while such a call waits for the revoker. Coverage's lock comes
 * after it.
 */
#ifndef DAXLEASE_SHIM_TABLE_H
#define DAXLEASE_SHIM_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libshim/shim_hook.h"
#include "libshim/tree.h"

enum map_state {
	MAP_PENDING, /* mapped, the daemon is being asked; the program does not have it yet */
	MAP_LEASED,
	MAP_REVOKED, /* the empty memfd is there now; stands on no coverage */
};

/* A file that has mappings here: its name for messages. */
struct map_file {
	struct tree_node node;
	uint32_t mappings;
	char path[256]; /* as it was when it was mapped first; its end, if longer */
};

struct mapping {
	struct tree_node node; /* addresses; first: a node is cast back */
	struct map_file *file;
	uint64_t offset; /* in the file, of node.start */
	uint64_t ticket; /* of the attempt that made it */
	enum map_state state;
	bool breaking;	/* told that it will be revoked: no new MR (C16) */
	bool fsdax;	/* MRs must be on demand */
	bool zombie;	/* the program has unmapped it, an on-demand MR still needs it (C22) */
	bool dont_fork; /* a child does not inherit it */
	uint64_t slack; /* bytes at its end that the program did not ask for (device-dax) */
};

/* hook_enter() and lock; unlock and hook_leave(). In a child that was not made by fork(3) everything
 * is forgotten first (fork_notice). */
void table_lock(struct hook *hook);
void table_unlock(const struct hook *hook);
/* For the listener and fork: the lock alone. */
void table_lock_bare(void);
void table_unlock_bare(void);
/* Waits (lock released meanwhile) for table_wake(), at most until deadline_ns of CLOCK_MONOTONIC:
 * false, late. */
bool table_wait(uint64_t deadline_ns);
void table_wake(void);

/* Without the lock: may [addr, addr + length) touch a mapping of the table? Never wrongly no for a
 * mapping that was given to the program. */
bool table_hits(const void *addr, size_t length);

/* Under the lock, for what is then left to the kernel: whether one really does. Of a range that is the
 * program's to map over, no other thread makes it one of ours. */
bool table_has(uint64_t start, uint64_t end);

/* All below: lock held. */

/* The first mapping that overlaps [start, end), or NULL. */
struct mapping *table_first(uint64_t start, uint64_t end);
struct mapping *table_next(const struct mapping *mapping); /* by address; NULL at the end */
struct mapping *table_begin(void);

/* Adds a mapping, pending; the range is free in the table. `fd` (or -1) is asked for the file's
 * name when the file is new here. NULL: no memory. */
struct mapping *table_add(uint64_t start, uint64_t end, uint64_t dev, uint64_t ino, uint64_t offset,
			  int fd);
/* So that no mapping crosses the borders. 0 or -ENOMEM (then nothing is lost, some may have been
 * cut). */
int table_cut(uint64_t start, uint64_t end);
/* The parts of a file's mapping: cut at file offsets [start, end), which it overlaps. */
int table_cut_file(struct mapping *mapping, uint64_t start, uint64_t end);

/* Takes it out of the table; on coverage only if `drop` and it stands on some. */
void table_remove(struct mapping *mapping, bool drop);
/* All of [start, end), cut before. */
void table_remove_range(uint64_t start, uint64_t end);
/* Mappings in [start, end) now lie `by` further up (modulo 2^64); the target is free. */
void table_move(uint64_t start, uint64_t end, uint64_t by);

/* The part of a file that [start, end) of a mapping shows. */
static inline uint64_t map_offset(const struct mapping *mapping, uint64_t address)
{
	return mapping->offset + (address - mapping->node.start);
}

static inline uint64_t map_offset_end(const struct mapping *mapping)
{
	return map_offset(mapping, mapping->node.end);
}

/* Puts the empty memfd over [start, end): each access is SIGBUS. 0 or -errno. table_reserve():
 * once, before the first lease, what that needs. `only_hole`: nothing may be there, -EEXIST
 * otherwise. */
int table_reserve(void);
int table_blank(uint64_t start, uint64_t end, bool only_hole);

/* In a forked child, for the condition: those who wait for it were left behind. */
void table_unwait(void);
/* In a child that is a copy made at any moment: as if nothing had ever been, the lock included. */
void table_abandon(void);

#endif
