/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/guard/io_uring.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* include/uapi/linux/io_uring.h: 6.18 ends with IORING_OP_PIPE, 62; later come NOP128 and
 * URING_CMD128. Of the operations up to there none clones, dedupes, copies by extents or exchanges:
 * the only ones on two files, splice and tee, need a pipe, and URING_CMD is nothing on a file of
 * ext4 or xfs. */
#define IO_URING_LAST_KNOWN 64

enum io_uring_ability io_uring_ability(void)
{
	struct io_uring_params params = {0};
	union {
		struct io_uring_probe probe;
		char space[sizeof(struct io_uring_probe) + 256 * sizeof(struct io_uring_probe_op)];
	} answer;
	int ring = (int)syscall(SYS_io_uring_setup, 1, &params);
	long ret;

	if (ring < 0)
		return errno == ENOSYS ? IO_URING_ABSENT : IO_URING_MAY_SHARE;
	memset(&answer, 0, sizeof(answer));
	ret = syscall(SYS_io_uring_register, ring, IORING_REGISTER_PROBE, &answer.probe, 256);
	close(ring);
	if (ret < 0 || answer.probe.last_op > IO_URING_LAST_KNOWN)
		return IO_URING_MAY_SHARE;
	return IO_URING_ONE_FILE;
}
