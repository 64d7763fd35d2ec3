/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/host/breaker_calls.h"

static char bytes[PAGE];

static off_t at(const struct breaker *b)
{
	return (off_t)b->argument;
}

long act_pwrite(struct breaker *b)
{
	return pwrite(b->fd, "x", 1, at(b));
}

long act_write(struct breaker *b)
{
	return lseek(b->fd, at(b), SEEK_SET) < 0 ? -1 : write(b->fd, bytes, 10);
}

long act_write_appending(struct breaker *b)
{
	return write(b->fd, bytes, 10);
}

/* A page's length, of two pages. */
long act_pwrite_unaligned(struct breaker *b)
{
	return pwrite(b->fd, bytes, PAGE, at(b) + 100);
}

long act_writev(struct breaker *b)
{
	struct iovec parts[2] = {{bytes, 10}, {bytes, PAGE}};

	return lseek(b->fd, at(b), SEEK_SET) < 0 ? -1 : writev(b->fd, parts, 2);
}

long act_pwritev(struct breaker *b)
{
	return pwritev(b->fd, &(struct iovec){bytes, 10}, 1, at(b));
}

long act_pwritev2(struct breaker *b)
{
	return pwritev2(b->fd, &(struct iovec){bytes, 10}, 1, at(b), RWF_SYNC);
}

long act_pwritev2_append(struct breaker *b)
{
	return pwritev2(b->fd, &(struct iovec){bytes, 10}, 1, 0, RWF_APPEND);
}

long act_direct_write(struct breaker *b)
{
	void *page = aligned_alloc(PAGE, PAGE);

	if (!page || fcntl(b->fd, F_SETFL, O_DIRECT) < 0)
		return -1;
	memset(page, 'd', PAGE);
	return pwrite(b->fd, page, PAGE, at(b));
}

static long aio(struct breaker *b, uint16_t opcode)
{
	aio_context_t context = 0;
	struct iocb request = {.aio_fildes = (uint32_t)b->fd,
			       .aio_lio_opcode = opcode,
			       .aio_buf = (uintptr_t)bytes,
			       .aio_nbytes = 10,
			       .aio_offset = at(b)};
	struct iocb *requests[1] = {&request};
	struct io_event event;

	if (syscall(SYS_io_setup, 1, &context) < 0)
		return -1;
	if (syscall(SYS_io_submit, context, 1, requests) != 1)
		return -1;
	if (syscall(SYS_io_getevents, context, 1, 1, &event, NULL) != 1)
		return -1;
	if ((int64_t)event.res < 0) {
		errno = -(int)event.res;
		return -1;
	}
	return (long)event.res;
}

long act_aio(struct breaker *b)
{
	return aio(b, IOCB_CMD_PWRITE);
}

long act_aio_read(struct breaker *b)
{
	return aio(b, IOCB_CMD_PREAD);
}

long act_splice_into(struct breaker *b)
{
	loff_t out = at(b);
	int ends[2];

	if (pipe(ends) < 0 || write(ends[1], bytes, PAGE) != PAGE)
		return -1;
	return splice(ends[0], NULL, b->fd, &out, PAGE, 0);
}

long act_vmsplice_into(struct breaker *b)
{
	struct iovec page = {aligned_alloc(PAGE, PAGE), PAGE};
	loff_t out = at(b);
	int ends[2];

	if (!page.iov_base || pipe(ends) < 0)
		return -1;
	memset(page.iov_base, 'v', PAGE);
	if (vmsplice(ends[1], &page, 1, SPLICE_F_GIFT) != PAGE)
		return -1;
	return splice(ends[0], NULL, b->fd, &out, PAGE, SPLICE_F_MOVE);
}

long act_sendfile_into(struct breaker *b)
{
	off_t in = 0;

	return lseek(b->fd, at(b), SEEK_SET) < 0 ? -1 : sendfile(b->fd, b->other_fd, &in, PAGE);
}

long act_copy_into(struct breaker *b)
{
	loff_t in = 0, out = at(b);

	return syscall(SYS_copy_file_range, b->other_fd, &in, b->fd, &out, PAGE, 0);
}

long act_copy_from(struct breaker *b)
{
	loff_t in = at(b), out = 0;

	return syscall(SYS_copy_file_range, b->fd, &in, b->other_fd, &out, PAGE, 0);
}
