/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Destroying a program's MRs through a copy of its uverbs descriptor (C17, C18). For workers: the
 * driver can take its time. No allocation, no stdio.
 */
#ifndef DAXLEASE_UVERBS_H
#define DAXLEASE_UVERBS_H

#include <stdbool.h>
#include <stdint.h>

/* What was reported of an MR: DLP_MR_ADD. */
struct uverbs_mr {
	uint32_t handle, lkey, rkey;
	uint64_t length;
};

/* A uverbs descriptor and its driver's id, once found. */
struct uverbs {
	int fd;
	uint32_t driver_id;
};

/* Whether devices with this number are uverbs: 0, or -ENOTTY, -errno of reading /proc/devices. */
int uverbs_check_major(unsigned major_number);

/* Is there any uverbs device on this machine? Without one no MR lives. Also true if it cannot be told. */
bool uverbs_any(void);

/*
 * Makes sure that `fd` (the caller's, and it stays so) is a uverbs device, before any ioctl goes to
 * it, and finds its driver's id. 0, or
 *   -ENOTTY	not a uverbs descriptor (or no such module is loaded)
 *   -EOPNOTSUPP the device does not speak RDMA_VERBS_IOCTL, or with an id above 255
 *   -errno	of fstat(2), of reading /proc/devices
 */
int uverbs_open(int fd, struct uverbs *uverbs);

/* Is what has the MR's handle still that MR? 0; -ENOENT: the MR is gone; -ESTALE and others: as below. */
int uverbs_look(const struct uverbs *uverbs, const struct uverbs_mr *mr);

/*
 * Destroys the MR, if what has its handle still is it. 0: it is gone (now, or it was before).
 * -errno: it may live:
 *   -ESTALE	an MR with other keys or another length has the handle. It is left alone. It may be
 *		another, the reported one having been deregistered, or the reported one after
 *		ibv_rereg_mr()
 *   -EBUSY	in use: a memory window is bound to it
 *   -EPROTONOSUPPORT the kernel cannot be asked what an MR is (it is too old)
 *   -EIO	the device is being unplugged
 *
 * Between the look and the destruction the program itself could deregister it and register another
 * that gets the same handle; the other one is its own too.
 */
int uverbs_destroy_mr(const struct uverbs *uverbs, const struct uverbs_mr *mr);

/*
 * Destroys every memory window of the descriptor, as far as `highest` says (below). An MR that one is
 * bound to cannot be destroyed, and nothing tells which that is: so only for a dead process, whose
 * descriptor we may be the last to hold. 0, or -errno of one that could not be destroyed.
 */
int uverbs_destroy_windows(const struct uverbs *uverbs, uint32_t highest);

/*
 * Destroys every MR of this length, whatever its handle: of a process that died between the
 * registration and its report. The descriptor's objects are looked at from handle 0 to far behind
 * `highest`, the highest handle that was ever reported (UVERBS_GAP: the kernel gives the lowest that
 * is free). 0: there is none any more; -errno: of one that could not be destroyed, or of a look;
 * -EOVERFLOW: there are too many objects to see the end of.
 */
#define UVERBS_GAP 16384u
int uverbs_destroy_length(const struct uverbs *uverbs, uint64_t length, uint32_t highest);

#endif
