/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a file is and whether it may be leased. May include: libc, proto/. No state beyond what the
 * caller owns.
 */
#ifndef DAXLEASE_POOL_H
#define DAXLEASE_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/protocol.h"

/* Why not; enum dlp_reason and the first offending offset. */
struct pool_refusal {
	uint32_t reason;
	uint64_t offset;
};

/*
 * Looks whether [start, end) of the file is what a lease needs (C5): allocated, written, not
 * shared, and (require_dax) DAX. The range may reach to the end of the file's last page, not
 * beyond; the blocks between the file's size and that end need not be there, since nothing but
 * zeroes can be seen of them and nothing is written to them.
 *
 * FIEMAP with FIEMAP_FLAG_SYNC: it is also the barrier, waiting for every operation that holds the
 * inode lock, so this can block as long as a hostile program likes: call it in a worker. It neither
 * allocates nor takes a lock, so that a child forked from a process with threads can call it. Of
 * the file systems without FIEMAP tmpfs is looked at with SEEK_HOLE on a descriptor of our own, if
 * reopen_ok (never on a guarded file): seeking on `fd` would move the position of the program it
 * came from.
 *
 * 0, or
 *   -dlp_reason_errno(refusal->reason)
 *		*refusal says why, reason is not NONE: NOT_REGULAR, NOT_DAX, HOLE, UNWRITTEN,
 *		BEYOND_EOF, INLINE, SHARED; BARRIER (-EAGAIN): the file's size kept changing
 *   and with refusal->reason == DLP_REASON_NONE:
 *   -EINVAL	the range is empty
 *   -EOPNOTSUPP	the file system cannot say how its files are allocated (or is tmpfs, and
 *		!reopen_ok)
 *   -EBADF	an O_PATH descriptor
 *   other	what the file system answered (-EIO, ...)
 */
int pool_check_range(int fd, uint64_t start, uint64_t end, bool require_dax, bool reopen_ok,
		     struct pool_refusal *refusal);

/*
 * Waits until the file system is not frozen, and changes nothing: removing an attribute that is not there takes the
 * same freeze protection as whoever wants to change the block map. One of those, past the guard and caught in a
 * freeze, does not hold the inode's lock yet, so FIEMAP would not wait for him. For workers: a freeze can last.
 */
void pool_wait_thawed(int fd);

/* A mount point as /proc/self/mountinfo shows it. */
struct pool_mount {
	uint64_t dev; /* as st_dev of its files; on btrfs each subvolume's files have another */
	bool found;
	bool dax;   /* option dax or dax=always */
	bool whole; /* it shows the file system's root, not a subtree (bind mount, subvolume) */
	char fstype[DLP_NAME_SIZE];
};

/*
 * The mount that is seen at exactly `path` (canonical, no trailing slash), topmost of several
 * there, from an open /proc/self/mountinfo descriptor, which is read from its start and stays
 * pollable (POLLPRI when mounts change). One that another mount over a directory above hides is not
 * found. For a directory pool pass exact = false: the mount that holds the path. 0 or -errno; not
 * there: 0 with found = false. Allocates; not for workers.
 */
int pool_find_mount(int mountinfo_fd, const char *path, bool exact, struct pool_mount *mount);
/* The same from text, for tests. */
void pool_find_mount_text(const char *mountinfo, const char *path, bool exact,
			  struct pool_mount *mount);

/*
 * Whether the resolved `file` lies under directory `dir` (both canonical, absolute): "/a/b" is
 * under "/a", "/ab" and "/a" are not.
 */
bool pool_path_under(const char *file, const char *dir);

#endif
