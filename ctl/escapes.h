/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What can change the block map of a pool's files unseen by the guard (C13), found from outside: needs no daemon, but
 * root to see all of it. _escapes.c has what the kernel does for others (loop devices, exports, overlays, targets),
 * _processes.c what processes hold.
 */
#ifndef DAXLEASE_CTL_ESCAPES_H
#define DAXLEASE_CTL_ESCAPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/connection.h"
#include "ctl/table.h"
#include "proto/protocol.h"

enum escape_kind {
	ESCAPE_LOOP = 1,   /* a loop device on a file of the pool */
	ESCAPE_TARGET,	   /* a SCSI target on one */
	ESCAPE_NFS,	   /* exported: truncations by clients */
	ESCAPE_OVERLAY,	   /* a layer of an overlay: truncations through it */
	ESCAPE_DESCRIPTOR, /* opened before the guard was there */
	ESCAPE_PARKED,	   /* a thread that is past the guard, but not done */
	ESCAPE_MOUNT,	   /* no escape, but keeps the file system busy: a mount elsewhere */
	ESCAPE_KINDS
};

struct escape {
	uint32_t kind;
	int32_t pid;	   /* 0: no process */
	uint64_t dev, ino; /* ino 0: not one file */
	char comm[16];
	char pool[DLP_NAME_SIZE];
	char path[DLP_MAX_PATH];
	char detail[256];
};

/* Where to look. */
struct place {
	char pool[DLP_NAME_SIZE];
	char path[DLP_MAX_PATH]; /* of its mount point or directory */
	uint64_t dev;
	uint64_t ino; /* only what concerns this file; 0: all */
	uint64_t
		ready_ns; /* CLOCK_REALTIME: guarded since then; 0: it is not, so nothing escapes a guard by its age */
	bool guarded;
};

struct search {
	const struct place *places;
	size_t count;
	void (*found)(void *arg, const struct escape *escape);
	void *arg;
	unsigned unseen;	/* processes that could not be looked into */
	uint64_t overlays[256]; /* looked at already */
	size_t overlay_count;
};

void escapes_of_kernel(struct search *search);
void escapes_of_processes(struct search *search);

/* Where the pool of that index is, as the daemon says. False: not ready, or a directory, which has no guard. */
bool place_of_pool(struct connection *connection, uint32_t index, const struct dlp_pool_reply *pool,
		   struct place *place);
/* The place with this device, and file if it is one file's; NULL. */
const struct place *search_place(const struct search *search, uint64_t dev, uint64_t ino);
/* Reports one; `format` is the detail. */
void search_report(struct search *search, enum escape_kind kind, const struct place *place,
		   int32_t pid, uint64_t ino, const char *path, const char *format, ...)
	__attribute__((format(printf, 7, 8)));
/* Without waiting for whoever serves the file system. False: cannot be told. */
bool look_at(const char *path, uint64_t *dev, uint64_t *ino);
/* The name of a process, into buffer of 16; "?" */
void name_of(int32_t pid, char *comm);

const char *escape_text(uint32_t kind);	  /* a word */
const char *escape_remedy(uint32_t kind); /* what to do about it */
extern const struct column escape_columns[];

#endif
