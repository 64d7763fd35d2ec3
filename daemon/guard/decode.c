/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/guard/decode.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/syscall.h>

/* Newer than Debian 12's headers: include/uapi/linux/falloc.h, 6.17; include/uapi/linux/fs.h, 6.9.
 */
#ifndef FALLOC_FL_WRITE_ZEROES
#define FALLOC_FL_WRITE_ZEROES 0x80
#endif
#define DECODE_RWF_APPEND 0x10u
#define DECODE_RWF_NOAPPEND 0x20u

/* O_TRUNC as the kernel knows it on every architecture we build for; the register holds an int. */
#define DECODE_O_TRUNC ((uint64_t)O_TRUNC)

enum how {
	HOW_READ,  /* harmless before an access */
	HOW_EXEC,  /* harmless before an access (the loader reads and maps) and before an open */
	HOW_OPEN,  /* harmless before an open unless the flags register has O_TRUNC */
	HOW_CREAT, /* an open that always truncates */
	HOW_WRITE, /* the kernel's range, which it computed from what it will really use */
	HOW_SIZE,  /* truncate: the length register; the event's range lies */
	HOW_FALLOCATE, /* mode, offset and length registers */
	HOW_MADVISE,   /* MADV_REMOVE: the kernel's range */
	HOW_TRANSFER,  /* splice, sendfile: the kernel's range, which side it is cannot be proven */
	HOW_COPY,      /* copy_file_range: the same, and it may share extents */
	HOW_IOCTL,     /* clone, dedupe, exchange, ...: ranges behind pointers */
	HOW_AIO,
	HOW_IO_URING,
};

/*
 * Every number here is looked up as an x86-64 (arm64) one, but a 32-bit program's call shows its
 * own number in the same file, and nothing says which it is. So an entry is right only if the i386
 * call of the same number can not raise the event, or changes nothing: tests/unit/decode_i386.c
 * checks that for each.
 *
 * openat2 is not here: its flags lie behind a pointer and can be changed after they were looked at.
 */
static const struct call {
	long number;
	enum how how;
	uint8_t reg; /* the register that decides: flags, length, mode */
} calls[] = {
	{SYS_read, HOW_READ, 0},
	{SYS_pread64, HOW_READ, 0},
	{SYS_readv, HOW_READ, 0},
	{SYS_preadv, HOW_READ, 0},
#ifdef SYS_preadv2
	{SYS_preadv2, HOW_READ, 0},
#endif
#ifdef SYS_mmap
	{SYS_mmap, HOW_READ, 0},
#endif
	{SYS_execve, HOW_EXEC, 0},
#ifdef SYS_execveat
	{SYS_execveat, HOW_EXEC, 0},
#endif
#ifdef SYS_open
	{SYS_open, HOW_OPEN, 1},
#endif
#ifdef SYS_creat
	{SYS_creat, HOW_CREAT, 0},
#endif
	{SYS_openat, HOW_OPEN, 2},
	{SYS_open_by_handle_at, HOW_OPEN, 2},
	{SYS_write, HOW_WRITE, 0},
	{SYS_pwrite64, HOW_WRITE, 0},
	{SYS_writev, HOW_WRITE, 0},
	{SYS_pwritev, HOW_WRITE, 0},
#ifdef SYS_pwritev2
	{SYS_pwritev2, HOW_WRITE, 5},
#endif
#ifdef SYS_truncate
	{SYS_truncate, HOW_SIZE, 1},
#endif
#ifdef SYS_ftruncate
	{SYS_ftruncate, HOW_SIZE, 1},
#endif
	{SYS_fallocate, HOW_FALLOCATE, 1},
	{SYS_madvise, HOW_MADVISE, 0},
#ifdef SYS_sendfile
	{SYS_sendfile, HOW_TRANSFER, 0},
#endif
	{SYS_splice, HOW_TRANSFER, 0},
#ifdef SYS_copy_file_range
	{SYS_copy_file_range, HOW_COPY, 0},
#endif
	{SYS_ioctl, HOW_IOCTL, 0},
	{SYS_io_submit, HOW_AIO, 0},
#ifdef SYS_io_uring_enter
	{SYS_io_uring_enter, HOW_IO_URING, 0},
#endif
};

#define CALLS (sizeof(calls) / sizeof(calls[0]))

static const struct call *find_call(long number)
{
	for (size_t i = 0; i < CALLS; i++) {
		if (calls[i].number == number)
			return &calls[i];
	}
	return NULL;
}

bool decode_number_known(long number)
{
	return find_call(number) != NULL;
}

bool decode_number_harmless(enum decode_event event, long number)
{
	const struct call *call = find_call(number);

	if (!call)
		return false;
	if (event == DECODE_PRE_ACCESS)
		return call->how == HOW_READ || call->how == HOW_EXEC;
	return call->how == HOW_OPEN || call->how == HOW_EXEC;
}

bool decode_wants_append(const struct syscall_line *line)
{
	const struct call *call = line->known && !line->kernel ? find_call(line->number) : NULL;

	return call && call->how == HOW_WRITE;
}

/* --- the line
 * ---------------------------------------------------------------------------------------- */

static uint64_t hash_bytes(const char *text, size_t length)
{
	uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a, 64 bits */

	for (size_t i = 0; i < length; i++) {
		hash ^= (unsigned char)text[i];
		hash *= 0x100000001b3u;
	}
	return hash ? hash : 1;
}

/* " 0x" and 1 to 16 lower-case digits, as the kernel writes it. */
static bool take_hex(const char **at, const char *stop, uint64_t *value)
{
	const char *p = *at;
	int digits = 0;
	uint64_t v = 0;

	if (stop - p < 4 || p[0] != ' ' || p[1] != '0' || p[2] != 'x')
		return false;
	for (p += 3; p < stop; p++, digits++) {
		if (*p >= '0' && *p <= '9')
			v = v << 4 | (uint64_t)(*p - '0');
		else if (*p >= 'a' && *p <= 'f')
			v = v << 4 | (uint64_t)(*p - 'a' + 10);
		else
			break;
	}
	if (digits < 1 || digits > 16)
		return false;
	*at = p;
	*value = v;
	return true;
}

void decode_line(const char *text, size_t length, struct syscall_line *line)
{
	const char *p = text, *stop;
	uint64_t sp, pc;
	uint64_t number = 0;
	int digits = 0;

	*line = (struct syscall_line){.number = -1};
	if (length > 0 && text[length - 1] == '\n')
		length--;
	stop = text + length;
	if (length == 0 || (*p != '-' && (*p < '0' || *p > '9')))
		return; /* "running": says nothing about any call */
	line->hash = hash_bytes(text, length);
	if (*p == '-')
		return; /* "-1 sp pc": not in a system call */
	for (; p < stop && *p >= '0' && *p <= '9' && digits < 10; p++, digits++)
		number = number * 10 + (uint64_t)(*p - '0');
	for (int i = 0; i < 6; i++) {
		if (!take_hex(&p, stop, &line->arg[i]))
			return;
	}
	if (!take_hex(&p, stop, &sp) || !take_hex(&p, stop, &pc) || p != stop)
		return;
	line->kernel = sp == 0 && pc == 0;
	line->number = (long)number;
	line->known = true;
}

/* --- ranges
 * ------------------------------------------------------------------------------------------ */

static uint64_t round_down(uint64_t offset, uint64_t page)
{
	return offset & ~(page - 1);
}

static uint64_t round_up(uint64_t offset, uint64_t page)
{
	return offset > UINT64_MAX - (page - 1) ? UINT64_MAX : round_down(offset + page - 1, page);
}

static uint64_t add(uint64_t start, uint64_t count)
{
	return count > UINT64_MAX - start ? UINT64_MAX : start + count;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void everything(struct decode_out *out)
{
	out->start = 0;
	out->end = UINT64_MAX;
}

/* The event's range, or everything where it has none. */
static void range_of_event(const struct decode_in *in, struct decode_out *out)
{
	if (!in->range_known || in->count == 0) {
		everything(out);
		return;
	}
	out->start = round_down(in->offset, in->page);
	out->end = round_up(add(in->offset, in->count), in->page);
}

/* Makes the range reach down to `offset`, and to the event's offset: whatever the registers say,
 * what the kernel announced is in. */
static void reach_down(const struct decode_in *in, struct decode_out *out, uint64_t offset)
{
	out->start = smaller(out->start, offset);
	if (in->range_known)
		out->start = smaller(out->start, in->offset);
	out->start = round_down(out->start, in->page);
}

/* Something behind the end of the file moves that end, and the page in which the old end lies is
 * touched (its rest is zeroed). */
static void reach_size(const struct decode_in *in, struct decode_out *out)
{
	out->start = in->size_known ? round_down(smaller(out->start, in->size), in->page) : 0;
}

/*
 * An appending write goes to the end the file has when it gets there; the event shows the
 * descriptor's position.
 *
 * Whether it appends is a flag of the descriptor, and what we saw can be wrong: a sibling can dup2
 * another file over the number, or change the flag with fcntl while the thread waits. That can do
 * no harm. A lease lies on allocated, written, unshared blocks inside the file, and a write there,
 * wherever it lands, remaps nothing; outside there is nothing leased. What such a trick gains is a
 * store into a leased page without a notice, which a store through a mapping is at any time.
 */
static void decode_write(const struct decode_in *in, const struct call *call,
			 struct decode_out *out)
{
	enum decode_append append = in->append;

	if (call->reg && in->line->arg[call->reg] & DECODE_RWF_NOAPPEND)
		append = DECODE_APPEND_NO;
	else if (call->reg && in->line->arg[call->reg] & DECODE_RWF_APPEND)
		append = DECODE_APPEND_YES;
	out->cause = DLP_CAUSE_WRITE;
	out->maps = false;
	range_of_event(in, out);
	if (append == DECODE_APPEND_YES)
		out->start = UINT64_MAX; /* not there: at the end, which reach_size() puts in */
	if (append != DECODE_APPEND_NO)
		out->end = UINT64_MAX;
	if (out->end > in->size || !in->size_known)
		reach_size(in, out);
}

static void decode_size(const struct decode_in *in, const struct call *call, struct decode_out *out)
{
	out->cause = DLP_CAUSE_TRUNCATE;
	out->start = in->line->arg[call->reg];
	out->end = UINT64_MAX;
	reach_down(in, out, out->start);
	reach_size(in, out); /* a growing one moves the end too */
}

static void decode_fallocate(const struct decode_in *in, const struct call *call,
			     struct decode_out *out)
{
	static const struct {
		uint32_t bit, cause;
	} modes[] = {
		{FALLOC_FL_COLLAPSE_RANGE, DLP_CAUSE_COLLAPSE},
		{FALLOC_FL_INSERT_RANGE, DLP_CAUSE_INSERT},
		{FALLOC_FL_PUNCH_HOLE, DLP_CAUSE_PUNCH},
		{FALLOC_FL_ZERO_RANGE, DLP_CAUSE_ZERO},
		{FALLOC_FL_UNSHARE_RANGE, DLP_CAUSE_UNSHARE},
		{FALLOC_FL_WRITE_ZEROES, DLP_CAUSE_ZERO},
	};
	uint32_t known = FALLOC_FL_KEEP_SIZE;
	uint32_t mode = (uint32_t)in->line->arg[call->reg];
	uint64_t offset = in->line->arg[call->reg + 1], length = in->line->arg[call->reg + 2];

	out->cause = DLP_CAUSE_ALLOCATE;
	for (size_t i = sizeof(modes) / sizeof(modes[0]); i-- > 0;) {
		known |= modes[i].bit;
		if (mode & modes[i].bit)
			out->cause = modes[i].cause;
	}
	if (mode & ~known) { /* a mode of a kernel to come */
		out->cause = DLP_CAUSE_UNKNOWN;
		everything(out);
		return;
	}
	out->start = offset;
	out->end = round_up(add(offset, length), in->page);
	if (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE))
		out->end = UINT64_MAX; /* everything behind is moved */
	reach_down(in, out, offset);
	if (in->range_known && in->count) {
		uint64_t end = round_up(add(in->offset, in->count), in->page);

		out->end = end > out->end ? end : out->end;
	}
	if (!(mode & FALLOC_FL_KEEP_SIZE) && (!in->size_known || out->end > in->size))
		reach_size(in, out);
}

static void decode_opaque(const struct decode_in *in, uint32_t cause, bool two_file,
			  struct decode_out *out)
{
	out->cause = in->event == DECODE_OPEN_PERM ? DLP_CAUSE_OPEN_TRUNC : cause;
	out->opaque = true;
	/* opening shares no extents, whoever does it */
	out->two_file = in->event == DECODE_PRE_ACCESS && two_file;
	everything(out);
}

static void decode_open(const struct decode_in *in, const struct call *call, struct decode_out *out)
{
	out->cause = DLP_CAUSE_OPEN_TRUNC;
	everything(out);
	if (call && call->how == HOW_EXEC)
		out->harmless = true;
	else if (call && call->how == HOW_OPEN)
		out->harmless = !(in->line->arg[call->reg] & DECODE_O_TRUNC);
	else if (!call || call->how != HOW_CREAT)
		out->opaque = true;
}

static void decode_access(const struct decode_in *in, const struct call *call,
			  struct decode_out *out)
{
	switch (call->how) {
	case HOW_READ:
	case HOW_EXEC:
		out->harmless = true;
		return;
	case HOW_WRITE:
		decode_write(in, call, out);
		return;
	case HOW_SIZE:
		decode_size(in, call, out);
		return;
	case HOW_FALLOCATE:
		decode_fallocate(in, call, out);
		return;
	case HOW_MADVISE:
		out->cause = DLP_CAUSE_MADVISE;
		range_of_event(in, out);
		return;
	case HOW_TRANSFER:
		/* copies through a pipe: never shares extents. An appending target is refused by
		 * the kernel. */
		out->cause = DLP_CAUSE_COPY;
		range_of_event(in, out);
		if (!in->size_known || out->end > in->size)
			reach_size(in, out);
		return;
	case HOW_COPY:
		out->cause = DLP_CAUSE_COPY;
		out->two_file = true;
		range_of_event(in, out);
		if (!in->size_known || out->end > in->size)
			reach_size(in, out);
		return;
	case HOW_IOCTL:
		/* the numbers differ between file systems and the structures lie behind a pointer
		 */
		out->cause = DLP_CAUSE_CLONE;
		out->two_file = true;
		everything(out);
		return;
	case HOW_AIO:
		/* its operations, include/uapi/linux/aio_abi.h, are reads, writes, sync and poll:
		 * one file */
		decode_opaque(in, DLP_CAUSE_AIO, false, out);
		return;
	case HOW_IO_URING:
		decode_opaque(in, DLP_CAUSE_IO_URING, in->io_uring_shares, out);
		return;
	case HOW_OPEN:
	case HOW_CREAT:
		break; /* opens raise another event: this is an i386 call, or something new */
	}
	decode_opaque(in, DLP_CAUSE_UNKNOWN, true, out);
}

void decode(const struct decode_in *in, struct decode_out *out)
{
	const struct call *call;

	*out = (struct decode_out){.maps = true};
	switch (in->context) {
	case DECODE_CONTEXT_CALL:
		break;
	case DECODE_CONTEXT_IO_WORKER:
	case DECODE_CONTEXT_TASK_WORK:
		decode_opaque(in, DLP_CAUSE_IO_URING, in->io_uring_shares, out);
		return;
	case DECODE_CONTEXT_UNKNOWN:
		decode_opaque(in, DLP_CAUSE_UNKNOWN, true, out);
		return;
	}
	if (!in->line->known || in->line->kernel) {
		decode_opaque(in, DLP_CAUSE_UNKNOWN, true, out);
		return;
	}
	call = find_call(in->line->number);
	if (in->event == DECODE_OPEN_PERM)
		decode_open(in, call, out);
	else if (call)
		decode_access(in, call, out);
	else
		decode_opaque(in, DLP_CAUSE_UNKNOWN, true, out);
	if (out->harmless)
		*out = (struct decode_out){.harmless = true};
}
