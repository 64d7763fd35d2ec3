/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* io_uring by bare system calls: as much as breakers need. */
#ifndef DAXLEASE_TESTS_GUARD_URING_H
#define DAXLEASE_TESTS_GUARD_URING_H

#include <linux/io_uring.h>
#include <stdbool.h>
#include <stdint.h>

struct uring {
	int fd;
	struct io_uring_sqe *entry;
	char *sq, *cq;
	struct io_uring_params params;
};

int uring_open(struct uring *uring, uint32_t setup_flags); /* 0 or -errno */
/* The next entry to fill, cleared; handed in by uring_submit(). */
struct io_uring_sqe *uring_entry(struct uring *uring, uint32_t ahead);
int uring_submit(struct uring *uring, uint32_t entries, uint32_t wait_for);
/* A result with this user_data: waits for it by waiting in io_uring_enter. */
long uring_result(struct uring *uring, uint64_t user_data);

#endif
