// SPDX-License-Identifier: LGPL-2.1-or-later
/* The words people read, for every number on the wire: one place. */
#include "proto/proto.h"

#include <errno.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const struct {
	int error;
	const char *text;
} reasons[DLP_REASON_COUNT] = {
	[DLP_REASON_NONE] = {0, "granted"},
	[DLP_REASON_NOT_IN_POOL] = {EOPNOTSUPP, "the file is in no pool of the daemon"},
	[DLP_REASON_POOL_ABSENT] = {EOPNOTSUPP, "its pool is not mounted or was refused: see 'daxleasectl pools'"},
	[DLP_REASON_NOT_REGULAR] = {EOPNOTSUPP, "not a regular file"},
	[DLP_REASON_NOT_OWNER] = {EACCES, "only the file's owner, root, or a process with CAP_LEASE may lease it"},
	[DLP_REASON_READ_ONLY] = {EACCES, "a writable lease needs a descriptor that is open for writing"},
	[DLP_REASON_HOLE] = {ENODATA, "the range has a hole: 'daxleasectl prepare FILE' writes what is missing"},
	[DLP_REASON_UNWRITTEN] = {ENODATA,
				  "the range is allocated but not written: 'daxleasectl prepare FILE' writes it"},
	[DLP_REASON_BEYOND_EOF] = {ENODATA, "the range goes beyond the end of the file: 'daxleasectl prepare --size N FILE' "
				   "makes it larger"},
	[DLP_REASON_INLINE] = {ENODATA, "the file's data has no blocks of its own (inline, packed or encoded)"},
	[DLP_REASON_SHARED] = {EPERM, "the range shares blocks with another file (reflink): 'daxleasectl prepare "
				      "FILE' gives it its own"},
	[DLP_REASON_NOT_DAX] = {EPERM, "the file is not in DAX mode: mount with -o dax, or set it with 'xfs_io -c "
				       "\"chattr +x\"' before the file has data"},
	[DLP_REASON_BREAKING] = {EAGAIN, "an operation that changes the file is waiting or has not finished"},
	[DLP_REASON_TWO_FILE] = {EAGAIN, "a clone or copy between files is under way on the file system"},
	[DLP_REASON_BARRIER] = {EAGAIN, "the file system did not answer in time: another operation holds the file"},
	[DLP_REASON_LIMIT] = {ENOLCK, "a limit on leases or connections is reached"},
	[DLP_REASON_GUARD] = {EOPNOTSUPP, "the kernel refused to guard the file"},
	[DLP_REASON_ALIGNMENT] = {EINVAL, "offset and length must be multiples of the device's alignment ('daxctl list' shows it)"},
	[DLP_REASON_BEYOND_DEVICE] = {ENODATA, "the range goes beyond the end of the device"},
	[DLP_REASON_CLOSED] = {EBUSY, "an administrator has closed it for maintenance ('daxleasectl drain')"},
	[DLP_REASON_OPEN_ELSEWHERE] = {EAGAIN, "the file is open elsewhere, too: a kernel lease of a file that is open for writing "
					       "needs that it is open only once ('fuser -v FILE' shows by whom)"},
};

static const char *const causes[DLP_CAUSE_COUNT] = {
	[DLP_CAUSE_UNKNOWN] = "an operation that could not be decoded",
	[DLP_CAUSE_WRITE] = "write",
	[DLP_CAUSE_TRUNCATE] = "truncate",
	[DLP_CAUSE_OPEN_TRUNC] = "open with O_TRUNC",
	[DLP_CAUSE_PUNCH] = "punch hole",
	[DLP_CAUSE_COLLAPSE] = "collapse range",
	[DLP_CAUSE_INSERT] = "insert range",
	[DLP_CAUSE_ZERO] = "zero range",
	[DLP_CAUSE_ALLOCATE] = "fallocate",
	[DLP_CAUSE_UNSHARE] = "unshare range",
	[DLP_CAUSE_MADVISE] = "madvise",
	[DLP_CAUSE_COPY] = "copy",
	[DLP_CAUSE_CLONE] = "clone, dedupe or exchange",
	[DLP_CAUSE_IO_URING] = "io_uring",
	[DLP_CAUSE_AIO] = "asynchronous I/O",
	[DLP_CAUSE_ADMIN_BREAK] = "an administrator's break",
	[DLP_CAUSE_ADMIN_REVOKE] = "an administrator's revoke",
	[DLP_CAUSE_RECHECK] = "the block map changed while the lease was granted",
	[DLP_CAUSE_OPEN_WRITE] = "open for writing",
};

static const char *const labels[] = {
	[DLP_LABEL_ADVISORY] = "advisory",
	[DLP_LABEL_KERNEL_LEASE] = "kernel-lease",
	[DLP_LABEL_ENFORCED] = "enforced",
};

static const char *const unbounded_labels[] = {
	[DLP_LABEL_ADVISORY] = "advisory,unbounded",
	[DLP_LABEL_KERNEL_LEASE] = "kernel-lease,unbounded",
	[DLP_LABEL_ENFORCED] = "enforced,unbounded",
};

static const char *const lease_states[] = {
	[DLP_LEASE_HELD] = "held",	   [DLP_LEASE_BREAKING] = "breaking", [DLP_LEASE_REVOKING] = "revoking",
	[DLP_LEASE_FENCING] = "fencing", [DLP_LEASE_NONE] = "none",
};

static const char *const pool_types[] = {
	[DLP_POOL_FSDAX] = "fsdax",
	[DLP_POOL_MOUNT] = "mount",
	[DLP_POOL_DIRECTORY] = "directory",
	[DLP_POOL_DEVDAX] = "devdax",
};

static const char *const pool_states[] = {
	[DLP_POOL_ABSENT] = "absent",
	[DLP_POOL_READY] = "ready",
	[DLP_POOL_REFUSED] = "refused",
};

static const char *const happenings[DLP_HAPPENINGS] = {
	[DLP_HAPPENED_GRANTED] = "granted",
	[DLP_HAPPENED_REFUSED] = "refused",
	[DLP_HAPPENED_RELEASED] = "released",
	[DLP_HAPPENED_BREAKING] = "breaking",
	[DLP_HAPPENED_REVOKING] = "revoking",
	[DLP_HAPPENED_DROPPING] = "dropping",
	[DLP_HAPPENED_REVOKED] = "revoked",
	[DLP_HAPPENED_FENCING] = "fencing",
	[DLP_HAPPENED_ENDED] = "ended",
	[DLP_HAPPENED_WAITING] = "waiting",
	[DLP_HAPPENED_WENT_ON] = "went-on",
	[DLP_HAPPENED_BREAKER_REFUSED] = "breaker-refused",
	[DLP_HAPPENED_BREAKER_GONE] = "breaker-gone",
	[DLP_HAPPENED_POOL] = "pool",
};

static const char *const fence_steps[DLP_FENCE_STEPS] = {
	[DLP_FENCE_BEGUN] = "begun",
	[DLP_FENCE_LET_GO] = "let-go",
	[DLP_FENCE_MRS] = "mrs-destroyed",
	[DLP_FENCE_UNMAPPED] = "unmapped",
	[DLP_FENCE_KILLED] = "killed",
	[DLP_FENCE_REPORTED] = "left-alone",
};

static const char *const outcomes[DLP_OUTCOMES] = {
	[DLP_OUTCOME_WENT_ON] = "went-on",
	[DLP_OUTCOME_REFUSED] = "refused",
	[DLP_OUTCOME_GONE] = "gone",
};

static const char *const guard_states[] = {
	[DLP_GUARD_NONE] = "none",
	[DLP_GUARD_ON] = "on",
	[DLP_GUARD_PAUSED] = "paused",
};

static const char *const kept[] = {
	[DLP_KEPT_NOTHING] = "loses all leases: nobody keeps its descriptors",
	[DLP_KEPT_ALL] = "loses nothing",
	[DLP_KEPT_LOST] = "loses all leases: the keeper has died",
};

static const char *const reason_words[DLP_REASON_COUNT] = {
	[DLP_REASON_NONE] = "none",
	[DLP_REASON_NOT_IN_POOL] = "not-in-pool",
	[DLP_REASON_POOL_ABSENT] = "pool-absent",
	[DLP_REASON_NOT_REGULAR] = "not-regular",
	[DLP_REASON_NOT_OWNER] = "not-owner",
	[DLP_REASON_READ_ONLY] = "read-only",
	[DLP_REASON_HOLE] = "hole",
	[DLP_REASON_UNWRITTEN] = "unwritten",
	[DLP_REASON_BEYOND_EOF] = "beyond-eof",
	[DLP_REASON_INLINE] = "inline",
	[DLP_REASON_SHARED] = "shared",
	[DLP_REASON_NOT_DAX] = "not-dax",
	[DLP_REASON_BREAKING] = "breaking",
	[DLP_REASON_TWO_FILE] = "two-file",
	[DLP_REASON_BARRIER] = "barrier",
	[DLP_REASON_LIMIT] = "limit",
	[DLP_REASON_GUARD] = "guard",
	[DLP_REASON_CLOSED] = "closed",
	[DLP_REASON_OPEN_ELSEWHERE] = "open-elsewhere",
	[DLP_REASON_ALIGNMENT] = "alignment",
	[DLP_REASON_BEYOND_DEVICE] = "beyond-device",
};

static const char *const cause_words[DLP_CAUSE_COUNT] = {
	[DLP_CAUSE_UNKNOWN] = "unknown",
	[DLP_CAUSE_WRITE] = "write",
	[DLP_CAUSE_TRUNCATE] = "truncate",
	[DLP_CAUSE_OPEN_TRUNC] = "open-trunc",
	[DLP_CAUSE_PUNCH] = "punch",
	[DLP_CAUSE_COLLAPSE] = "collapse",
	[DLP_CAUSE_INSERT] = "insert",
	[DLP_CAUSE_ZERO] = "zero",
	[DLP_CAUSE_ALLOCATE] = "allocate",
	[DLP_CAUSE_UNSHARE] = "unshare",
	[DLP_CAUSE_MADVISE] = "madvise",
	[DLP_CAUSE_COPY] = "copy",
	[DLP_CAUSE_CLONE] = "clone",
	[DLP_CAUSE_IO_URING] = "io-uring",
	[DLP_CAUSE_AIO] = "aio",
	[DLP_CAUSE_ADMIN_BREAK] = "admin-break",
	[DLP_CAUSE_ADMIN_REVOKE] = "admin-revoke",
	[DLP_CAUSE_RECHECK] = "recheck",
	[DLP_CAUSE_OPEN_WRITE] = "open-write",
};

static const char *word(const char *const *table, size_t count, uint32_t value)
{
	return value < count && table[value] ? table[value] : "unknown";
}

const char *dlp_reason_text(uint32_t reason)
{
	return reason < COUNT(reasons) ? reasons[reason].text : "refused for a reason this version does not know";
}

int dlp_reason_errno(uint32_t reason)
{
	return reason < COUNT(reasons) ? reasons[reason].error : EOPNOTSUPP;
}

const char *dlp_cause_text(uint32_t cause)
{
	return word(causes, COUNT(causes), cause);
}

const char *dlp_label_text(uint32_t label)
{
	if (label & DLP_LABEL_UNBOUNDED)
		return word(unbounded_labels, COUNT(unbounded_labels), label & ~(uint32_t)DLP_LABEL_UNBOUNDED);
	return word(labels, COUNT(labels), label);
}

const char *dlp_lease_state_text(uint32_t state)
{
	return word(lease_states, COUNT(lease_states), state);
}

const char *dlp_pool_type_text(uint32_t type)
{
	return word(pool_types, COUNT(pool_types), type);
}

const char *dlp_pool_state_text(uint32_t state)
{
	return word(pool_states, COUNT(pool_states), state);
}

const char *dlp_happening_text(uint32_t kind)
{
	return word(happenings, COUNT(happenings), kind);
}

const char *dlp_fence_step_text(uint32_t step)
{
	return word(fence_steps, COUNT(fence_steps), step);
}

const char *dlp_outcome_text(uint32_t outcome)
{
	return word(outcomes, COUNT(outcomes), outcome);
}

const char *dlp_guard_state_text(uint32_t state)
{
	return word(guard_states, COUNT(guard_states), state);
}

const char *dlp_kept_text(uint32_t what)
{
	return word(kept, COUNT(kept), what);
}

const char *dlp_reason_word(uint32_t reason)
{
	return word(reason_words, COUNT(reason_words), reason);
}

const char *dlp_cause_word(uint32_t cause)
{
	return word(cause_words, COUNT(cause_words), cause);
}

uint64_t dlp_bucket_ns(unsigned bucket)
{
	static const uint16_t steps[] = {1, 2, 5}; /* from 100 us: 0.1, 0.2, 0.5, 1, ... up to 100 s */
	uint64_t ns = 100000;

	if (bucket >= DLP_STATS_BUCKETS - 1)
		return UINT64_MAX;
	for (unsigned i = 0; i < bucket / COUNT(steps); i++)
		ns *= 10;
	return ns * steps[bucket % COUNT(steps)];
}
