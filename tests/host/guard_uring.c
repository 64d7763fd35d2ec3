/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/host/guard_uring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ENTRIES 8u

static _Atomic uint32_t *word(char *ring, uint32_t offset)
{
	return (_Atomic uint32_t *)(void *)(ring + offset);
}

int uring_open(struct uring *uring, uint32_t setup_flags)
{
	const int prot = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_POPULATE;
	struct io_uring_params *params = &uring->params;

	memset(uring, 0, sizeof(*uring));
	params->flags = setup_flags;
	params->sq_thread_idle = 50;
	uring->fd = (int)syscall(SYS_io_uring_setup, ENTRIES, params);
	if (uring->fd < 0)
		return -errno;
	uring->sq = mmap(NULL, params->sq_off.array + ENTRIES * sizeof(uint32_t), prot, flags,
			 uring->fd, IORING_OFF_SQ_RING);
	uring->cq = mmap(NULL,
			 params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe),
			 prot, flags, uring->fd, IORING_OFF_CQ_RING);
	uring->entry = mmap(NULL, ENTRIES * sizeof(*uring->entry), prot, flags, uring->fd,
			    IORING_OFF_SQES);
	if (uring->sq == MAP_FAILED || uring->cq == MAP_FAILED || uring->entry == MAP_FAILED)
		return -ENOMEM;
	return 0;
}

struct io_uring_sqe *uring_entry(struct uring *uring, uint32_t ahead)
{
	uint32_t index = (*word(uring->sq, uring->params.sq_off.tail) + ahead) & (ENTRIES - 1);

	*word(uring->sq, uring->params.sq_off.array + index * (uint32_t)sizeof(uint32_t)) = index;
	memset(&uring->entry[index], 0, sizeof(uring->entry[index]));
	return &uring->entry[index];
}

int uring_submit(struct uring *uring, uint32_t entries, uint32_t wait_for)
{
	uint32_t flags = wait_for ? IORING_ENTER_GETEVENTS : 0;
	long ret;

	*word(uring->sq, uring->params.sq_off.tail) += entries;
	if (uring->params.flags & IORING_SETUP_SQPOLL)
		flags |= IORING_ENTER_SQ_WAKEUP;
	ret = syscall(SYS_io_uring_enter, uring->fd, entries, wait_for, flags, NULL, 0);
	return ret < 0 ? -errno : 0;
}

long uring_result(struct uring *uring, uint64_t user_data)
{
	for (;;) {
		uint32_t head = *word(uring->cq, uring->params.cq_off.head);

		for (; head != *word(uring->cq, uring->params.cq_off.tail); head++) {
			struct io_uring_cqe *result =
				(struct io_uring_cqe *)(void *)(uring->cq +
								uring->params.cq_off.cqes) +
				(head & (uring->params.cq_entries - 1));

			if (result->user_data != user_data)
				continue;
			if (result->res >= 0)
				return result->res;
			errno = -result->res;
			return -1;
		}
		syscall(SYS_io_uring_enter, uring->fd, 0,
			head - *word(uring->cq, uring->params.cq_off.head) + 1,
			IORING_ENTER_GETEVENTS, NULL, 0);
	}
}
