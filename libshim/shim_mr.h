/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The MRs that stand on mappings of the table, from before their registration until the program
 * deregisters them. What an MR needs of files is kept as ranges of files, since the program may
 * unmap under it (C22). May include: table, coverage, daemon/uverbs.h; nothing of libibverbs:
 * shim_verbs.c has that.
 *
 * A revoked MR is destroyed in the kernel, by ioctl; libibverbs is not asked, whose locks a
 * program's thread may hold. The program keeps its struct ibv_mr, which stays readable. Its record
 * here stays too, so that the one ibv_dereg_mr() still to come is answered here: the library would
 * use a handle that is another's by then (C23).
 *
 * All functions: the table's lock is held.
 */
#ifndef DAXLEASE_SHIM_MR_H
#define DAXLEASE_SHIM_MR_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/uverbs.h"
#include "libshim/tree.h"

/* A device context of the program, as far as MRs of ours were made on it. */
struct mr_context {
	struct mr_context *next;
	void *verbs;	 /* its struct ibv_context */
	uint32_t number; /* its name towards the daemon */
	int fd;		 /* the uverbs descriptor; the program's. Compared before each use with: */
	uint64_t dev, ino, rdev;
	struct uverbs uverbs;
	int uverbs_error;  /* of uverbs_open(): without it no MR can be revoked from here */
	bool on_demand;	   /* the device can ODP */
	uint32_t reported; /* MRs the daemon knows of: it has the descriptor while there are any */
};

enum mr_state {
	MR_REGISTERING, /* a thread is in the real ibv_reg_mr */
	MR_LIVE,
	MR_DEREGISTERING, /* a thread is in the real ibv_dereg_mr or ibv_close_device */
	MR_DESTROYED,	  /* revoked; stands on nothing any more */
};

struct mr_piece { /* what it needs of one file; on coverage */
	struct mr_piece *next;
	uint64_t dev, ino, start, end;
};

struct mr_record {
	struct tree_node node; /* by address of the program's struct, once it is known; first */
	struct mr_record *next, **link; /* all of them */
	struct mr_context *context;
	enum mr_state state;
	bool doomed; /* revoked while registering: whoever registers destroys it */
	bool pinned;
	bool fsdax;	    /* part of it is file-system DAX */
	bool reported;	    /* the daemon was told */
	uint64_t addr, end; /* of the program's memory, in whole pages */
	uint64_t number;    /* its name towards the daemon; never used again */
	struct uverbs_mr id;
	struct mr_piece *pieces;
};

/* The record of a context, made at the first use from its uverbs descriptor and what the caller
 * found out about ODP; mr_context_find(): NULL if there is none yet. NULL: no memory, no such
 * descriptor. */
struct mr_context *mr_context_find(const void *verbs);
struct mr_context *mr_context_add(void *verbs, int fd, bool on_demand);

/*
 * Before a registration of [addr, addr + length), on which mappings of the table are: 0 and a
 * record in MR_REGISTERING that holds its part of the coverage and says whether it must be on
 * demand (`on_demand`: the program wants that). -ENXIO: part of it is breaking or revoked (C16);
 * -ENOMEM.
 */
int mr_begin(uint64_t addr, uint64_t length, struct mr_context *context, bool on_demand,
	     struct mr_record **record);
/* It is registered: 0, and the daemon is told; -ENXIO: revoked meanwhile. Then, and when it failed,
 * the caller deregisters and calls mr_end(). */
int mr_registered(struct mr_record *record, const void *mr, const struct uverbs_mr *id);
/*
 * A re-registration of `old` (NULL: was none of ours), which its caller has put into MR_DEREGISTERING,
 * on `fresh` of mr_begin() (NULL: not on the table's memory, or `moved` is false: only its protection
 * domain or its access changed). Done: the one takes the other's place; what was revoked meanwhile is
 * destroyed here, and deregistered by the program as any revoked MR. Failed: `valid`, the old one is as
 * it was; else nobody knows which memory it has, and it depends on both.
 */
void mr_reregistered(struct mr_record *old, struct mr_record *fresh, bool moved, const void *mr,
		     const struct uverbs_mr *id);
void mr_rereg_failed(struct mr_record *old, struct mr_record *fresh, bool valid, const void *mr,
		     const struct uverbs_mr *id);
/* The MR of the program's struct, if it is ours. */
struct mr_record *mr_find(const void *mr);
/* A live MR with these keys now: has somebody else destroyed it, the daemon since we did not answer? Its
 * handle may be another MR's then. */
bool mr_is_gone(const struct mr_record *record, uint32_t lkey, uint32_t rkey, uint64_t length);
/* The record and what it stood on are gone; tells the daemon, unmaps what was kept for it. */
void mr_end(struct mr_record *record);
/* Around the real ibv_close_device(): destroys what is left on the context; forgets it. */
void mr_context_closing(struct mr_context *context);
void mr_context_closed(struct mr_context *context);

/* Of those that the daemon has destroyed, since the listener was too late, it is noted that they need [start, end) no
 * more. To be called before the two below. */
void mr_notice_gone(uint64_t start, uint64_t end);
/* Whether a live on-demand MR needs some of [start, end); mr_cut(): cuts the table where such MRs
 * begin and end. */
bool mr_needs(uint64_t start, uint64_t end);
int mr_cut(uint64_t start, uint64_t end);

/* Destroys every live MR over addresses [start, end): something else will be mapped there. 0 or
 * -errno. */
int mr_destroy_over(uint64_t start, uint64_t end);
/* Destroys the live MRs that need [start, end) of the file, only pinned ones or only others. 0 or
 * -errno of the first that failed. */
int mr_destroy_on(uint64_t dev, uint64_t ino, uint64_t start, uint64_t end, bool pinned);
/* Waits until no MR on the range is being made or ended, the lock released meanwhile; those being
 * made are doomed. 0 or -ETIMEDOUT. */
int mr_settle(uint64_t dev, uint64_t ino, uint64_t start, uint64_t end, uint64_t deadline_ns);
/* What destroyed MRs stood on is given back, except for [start, end) of the file, which is the
 * daemon's again; what was kept mapped for them is unmapped. */
void mr_reap(uint64_t dev, uint64_t ino, uint64_t start, uint64_t end);

void mr_forget_all(void); /* in a forked child */
void mr_abandon(void);	  /* in a copy made at any moment */

#endif
