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
	[DLP_REASON_HOLE] = {ENODATA, "the range has a hole: write it first (dd, or fallocate and write)"},
	[DLP_REASON_UNWRITTEN] = {ENODATA,
				  "the range is allocated but not written: write it and fsync it first"},
	[DLP_REASON_BEYOND_EOF] = {ENODATA, "the range goes beyond the end of the file: extend and write it first"},
	[DLP_REASON_INLINE] = {ENODATA, "the file's data has no blocks of its own (inline, packed or encoded)"},
	[DLP_REASON_SHARED] = {EPERM, "the range shares blocks with another file (reflink): copy it with "
				      "'cp --reflink=never' and use the copy"},
	[DLP_REASON_NOT_DAX] = {EPERM, "the file is not in DAX mode: mount with -o dax, or set it with 'xfs_io -c "
				       "\"chattr +x\"' before the file has data"},
	[DLP_REASON_BREAKING] = {EAGAIN, "an operation that changes the file is waiting or has not finished"},
	[DLP_REASON_TWO_FILE] = {EAGAIN, "a clone or copy between files is under way on the file system"},
	[DLP_REASON_BARRIER] = {EAGAIN, "the file system did not answer in time: another operation holds the file"},
	[DLP_REASON_LIMIT] = {ENOLCK, "a limit on leases or connections is reached"},
	[DLP_REASON_GUARD] = {EOPNOTSUPP, "the kernel refused to guard the file"},
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
};

static const char *const labels[] = {
	[DLP_LABEL_ADVISORY] = "advisory",
	[DLP_LABEL_KERNEL_LEASE] = "kernel-lease",
	[DLP_LABEL_ENFORCED] = "enforced",
};

static const char *const lease_states[] = {
	[DLP_LEASE_HELD] = "held",	   [DLP_LEASE_BREAKING] = "breaking", [DLP_LEASE_REVOKING] = "revoking",
	[DLP_LEASE_FENCING] = "fencing", [DLP_LEASE_NONE] = "none",
};

static const char *const pool_types[] = {
	[DLP_POOL_FSDAX] = "fsdax",
	[DLP_POOL_MOUNT] = "mount",
	[DLP_POOL_DIRECTORY] = "directory",
};

static const char *const pool_states[] = {
	[DLP_POOL_ABSENT] = "absent",
	[DLP_POOL_READY] = "ready",
	[DLP_POOL_REFUSED] = "refused",
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
