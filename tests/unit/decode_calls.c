/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One row for each system call and flag: what the decoder makes of it. C3, C10, C11. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "daemon/guard/decode.h"

#define MAX UINT64_MAX
#define FILE_SIZE 0x10800u /* sixteen and a half pages */

enum { PRE = DECODE_PRE_ACCESS, OPEN = DECODE_OPEN_PERM };
enum { HARMLESS = 1, MAPS = 2, OPAQUE = 4, TWO = 8 };

struct row {
	const char *name;
	int event;
	long number;
	uint64_t arg[6];
	uint64_t offset, count; /* of the event; count MAX: no range record */
	int append;
	int flags;
	uint32_t cause;
	uint64_t start, end;
};

#define NO MAX
#define FD 5

/* clang-format off */
static const struct row rows[] = {
	{"read", PRE, SYS_read, {FD, 0x7f00, 4096}, 0, 4096, 0, HARMLESS, 0, 0, 0},
	{"pread64", PRE, SYS_pread64, {FD}, 0, 4096, 0, HARMLESS, 0, 0, 0},
	{"readv", PRE, SYS_readv, {FD}, 0, 4096, 0, HARMLESS, 0, 0, 0},
	{"preadv", PRE, SYS_preadv, {FD}, 0, 4096, 0, HARMLESS, 0, 0, 0},
	{"preadv2", PRE, SYS_preadv2, {FD}, 0, 4096, 0, HARMLESS, 0, 0, 0},
	{"read without a range", PRE, SYS_read, {FD}, 0, NO, 0, HARMLESS, 0, 0, 0},
	{"mmap", PRE, SYS_mmap, {0, 8192, 3, 1, FD, 0}, 0, 8192, 0, HARMLESS, 0, 0, 0},
	{"execve reads", PRE, SYS_execve, {0}, 0, 4096, 0, HARMLESS, 0, 0, 0},
	{"execveat reads", PRE, SYS_execveat, {0}, 0, 4096, 0, HARMLESS, 0, 0, 0},

	{"openat for reading", OPEN, SYS_openat, {FD, 0x7f00, O_RDONLY}, 0, NO, 0, HARMLESS, 0, 0,
	 0},
	{"openat for writing", OPEN, SYS_openat, {FD, 0x7f00, O_RDWR | O_CREAT}, 0, NO, 0,
	 HARMLESS, 0, 0, 0},
	{"openat O_TRUNC", OPEN, SYS_openat, {FD, 0x7f00, O_WRONLY | O_TRUNC}, 0, NO, 0, MAPS,
	 DLP_CAUSE_OPEN_TRUNC, 0, MAX},
	{"openat O_RDONLY|O_TRUNC", OPEN, SYS_openat, {FD, 0, O_TRUNC}, 0, NO, 0, MAPS,
	 DLP_CAUSE_OPEN_TRUNC, 0, MAX},
	{"openat O_TRUNC, high bits", OPEN, SYS_openat, {FD, 0, 0xffffffff00000000u | O_TRUNC}, 0,
	 NO, 0, MAPS, DLP_CAUSE_OPEN_TRUNC, 0, MAX},
	{"open_by_handle_at", OPEN, SYS_open_by_handle_at, {FD, 0, O_RDWR}, 0, NO, 0, HARMLESS, 0,
	 0, 0},
	{"open_by_handle_at O_TRUNC", OPEN, SYS_open_by_handle_at, {FD, 0, O_RDWR | O_TRUNC}, 0,
	 NO, 0, MAPS, DLP_CAUSE_OPEN_TRUNC, 0, MAX},
#ifdef SYS_open
	{"open for reading", OPEN, SYS_open, {0x7f00, O_RDONLY}, 0, NO, 0, HARMLESS, 0, 0, 0},
	{"open O_TRUNC", OPEN, SYS_open, {0x7f00, O_RDWR | O_TRUNC}, 0, NO, 0, MAPS,
	 DLP_CAUSE_OPEN_TRUNC, 0, MAX},
#endif
#ifdef SYS_creat
	{"creat", OPEN, SYS_creat, {0x7f00, 0644}, 0, NO, 0, MAPS, DLP_CAUSE_OPEN_TRUNC, 0, MAX},
	{"creat, another event", PRE, SYS_creat, {0x7f00, 0644}, 0, NO, 0, MAPS | OPAQUE | TWO,
	 DLP_CAUSE_UNKNOWN, 0, MAX},
#endif
	{"openat2", OPEN, SYS_openat2, {FD, 0, 0x7f00, 24}, 0, NO, 0, MAPS | OPAQUE,
	 DLP_CAUSE_OPEN_TRUNC, 0, MAX},
	{"execve", OPEN, SYS_execve, {0}, 0, NO, 0, HARMLESS, 0, 0, 0},
	{"execveat", OPEN, SYS_execveat, {0}, 0, NO, 0, HARMLESS, 0, 0, 0},
	{"read does not open", OPEN, SYS_read, {FD}, 0, NO, 0, MAPS | OPAQUE,
	 DLP_CAUSE_OPEN_TRUNC, 0, MAX},
	{"mmap does not open", OPEN, SYS_mmap, {FD}, 0, NO, 0, MAPS | OPAQUE,
	 DLP_CAUSE_OPEN_TRUNC, 0, MAX},
	{"io_uring opens", OPEN, SYS_io_uring_enter, {FD}, 0, NO, 0, MAPS | OPAQUE,
	 DLP_CAUSE_OPEN_TRUNC, 0, MAX},
	{"openat accesses", PRE, SYS_openat, {FD, 0, 0}, 0, 4096, 0, MAPS | OPAQUE | TWO,
	 DLP_CAUSE_UNKNOWN, 0, MAX},

	{"write", PRE, SYS_write, {FD, 0x7f00, 10}, 0x2000, 0x1000, DECODE_APPEND_NO, 0,
	 DLP_CAUSE_WRITE, 0x2000, 0x3000},
	{"pwrite64", PRE, SYS_pwrite64, {FD, 0x7f00, 10, 0x2800}, 0x2000, 0x1000,
	 DECODE_APPEND_NO, 0, DLP_CAUSE_WRITE, 0x2000, 0x3000},
	{"writev", PRE, SYS_writev, {FD}, 0x2000, 0x2000, DECODE_APPEND_NO, 0, DLP_CAUSE_WRITE,
	 0x2000, 0x4000},
	{"pwritev", PRE, SYS_pwritev, {FD}, 0, 0x1000, DECODE_APPEND_NO, 0, DLP_CAUSE_WRITE, 0,
	 0x1000},
	{"pwritev2", PRE, SYS_pwritev2, {FD}, 0, 0x1000, DECODE_APPEND_NO, 0, DLP_CAUSE_WRITE, 0,
	 0x1000},
	{"pwritev2 RWF_APPEND", PRE, SYS_pwritev2, {FD, 0, 1, 0, 0, 0x10}, 0, 0x1000,
	 DECODE_APPEND_NO, 0, DLP_CAUSE_WRITE, 0x10000, MAX},
	{"pwritev2 RWF_NOAPPEND", PRE, SYS_pwritev2, {FD, 0, 1, 0, 0, 0x20}, 0, 0x1000,
	 DECODE_APPEND_YES, 0, DLP_CAUSE_WRITE, 0, 0x1000},
	{"write, O_APPEND", PRE, SYS_write, {FD}, 0, 0x1000, DECODE_APPEND_YES, 0,
	 DLP_CAUSE_WRITE, 0x10000, MAX},
	{"write, perhaps O_APPEND", PRE, SYS_write, {FD}, 0x2000, 0x1000, DECODE_APPEND_UNKNOWN,
	 0, DLP_CAUSE_WRITE, 0x2000, MAX},
	{"write, perhaps O_APPEND, behind the end", PRE, SYS_write, {FD}, 0x40000, 0x1000,
	 DECODE_APPEND_UNKNOWN, 0, DLP_CAUSE_WRITE, 0x10000, MAX},
	{"write behind the end", PRE, SYS_write, {FD}, 0x40000, 0x1000, DECODE_APPEND_NO, 0,
	 DLP_CAUSE_WRITE, 0x10000, 0x41000},
	{"write over the end", PRE, SYS_write, {FD}, 0xf000, 0x3000, DECODE_APPEND_NO, 0,
	 DLP_CAUSE_WRITE, 0xf000, 0x12000},
	{"write, no range", PRE, SYS_write, {FD}, 0, NO, DECODE_APPEND_NO, 0, DLP_CAUSE_WRITE, 0,
	 MAX},
	{"write, empty range", PRE, SYS_write, {FD}, 0x2000, 0, DECODE_APPEND_NO, 0,
	 DLP_CAUSE_WRITE, 0, MAX},
	{"write, range to the end of numbers", PRE, SYS_write, {FD}, MAX - 100, 4096,
	 DECODE_APPEND_NO, 0, DLP_CAUSE_WRITE, 0x10000, MAX},

#ifdef SYS_truncate
	{"truncate", PRE, SYS_truncate, {0x7f00, 0x3800}, 0x3000, 0x1000, 0, MAPS,
	 DLP_CAUSE_TRUNCATE, 0x3000, MAX},
#endif
	{"ftruncate", PRE, SYS_ftruncate, {FD, 0x3800}, 0x3000, 0x1000, 0, MAPS,
	 DLP_CAUSE_TRUNCATE, 0x3000, MAX},
	{"ftruncate, aligned", PRE, SYS_ftruncate, {FD, 0x3000}, 0x3000, 0, 0, MAPS,
	 DLP_CAUSE_TRUNCATE, 0x3000, MAX},
	{"ftruncate to 0", PRE, SYS_ftruncate, {FD, 0}, 0, 0, 0, MAPS, DLP_CAUSE_TRUNCATE, 0,
	 MAX},
	{"ftruncate, growing", PRE, SYS_ftruncate, {FD, 0x80000}, 0x80000, 0, 0, MAPS,
	 DLP_CAUSE_TRUNCATE, 0x10000, MAX},
	{"ftruncate, event lower than the register", PRE, SYS_ftruncate, {FD, 0x8000}, 0x1000,
	 0x1000, 0, MAPS, DLP_CAUSE_TRUNCATE, 0x1000, MAX},

	{"fallocate", PRE, SYS_fallocate, {FD, 0, 0x1800, 0x1000}, 0x1000, 0x2000, 0, MAPS,
	 DLP_CAUSE_ALLOCATE, 0x1000, 0x3000},
	{"fallocate, growing", PRE, SYS_fallocate, {FD, 0, 0x20000, 0x1000}, 0x20000, 0x1000, 0,
	 MAPS, DLP_CAUSE_ALLOCATE, 0x10000, 0x21000},
	{"fallocate keep size", PRE, SYS_fallocate, {FD, FALLOC_FL_KEEP_SIZE, 0x20000, 0x1000},
	 0x20000, 0x1000, 0, MAPS, DLP_CAUSE_ALLOCATE, 0x20000, 0x21000},
	{"punch", PRE, SYS_fallocate, {FD, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0x1000,
	 0x1000}, 0x1000, 0x1000, 0, MAPS, DLP_CAUSE_PUNCH, 0x1000, 0x2000},
	{"punch, event elsewhere", PRE, SYS_fallocate, {FD, FALLOC_FL_PUNCH_HOLE |
	 FALLOC_FL_KEEP_SIZE, 0x4000, 0x1000}, 0x1000, 0x1000, 0, MAPS, DLP_CAUSE_PUNCH, 0x1000,
	 0x5000},
	{"punch, event behind", PRE, SYS_fallocate, {FD, FALLOC_FL_PUNCH_HOLE |
	 FALLOC_FL_KEEP_SIZE, 0x1000, 0x1000}, 0x4000, 0x1000, 0, MAPS, DLP_CAUSE_PUNCH, 0x1000,
	 0x5000},
	{"punch, longest", PRE, SYS_fallocate, {FD, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	 0x1001, INT64_MAX}, 0x1000, NO, 0, MAPS, DLP_CAUSE_PUNCH, 0x1000, (uint64_t)INT64_MAX +
	 0x1001},
	{"zero", PRE, SYS_fallocate, {FD, FALLOC_FL_ZERO_RANGE, 0x1000, 0x1000}, 0x1000, 0x1000,
	 0, MAPS, DLP_CAUSE_ZERO, 0x1000, 0x2000},
	{"write zeroes", PRE, SYS_fallocate, {FD, 0x80, 0x1000, 0x1000}, 0x1000, 0x1000, 0, MAPS,
	 DLP_CAUSE_ZERO, 0x1000, 0x2000},
	{"unshare", PRE, SYS_fallocate, {FD, FALLOC_FL_UNSHARE_RANGE, 0x1000, 0x1000}, 0x1000,
	 0x1000, 0, MAPS, DLP_CAUSE_UNSHARE, 0x1000, 0x2000},
	{"collapse", PRE, SYS_fallocate, {FD, FALLOC_FL_COLLAPSE_RANGE, 0x2000, 0x1000}, 0x2000,
	 0x1000, 0, MAPS, DLP_CAUSE_COLLAPSE, 0x2000, MAX},
	{"insert", PRE, SYS_fallocate, {FD, FALLOC_FL_INSERT_RANGE, 0x2000, 0x1000}, 0x2000,
	 0x1000, 0, MAPS, DLP_CAUSE_INSERT, 0x2000, MAX},
	{"a mode to come", PRE, SYS_fallocate, {FD, 0x4000, 0x2000, 0x1000}, 0x2000, 0x1000, 0,
	 MAPS, DLP_CAUSE_UNKNOWN, 0, MAX},

	{"madvise", PRE, SYS_madvise, {0x7f00, 0x2000, 9}, 0x1000, 0x2000, 0, MAPS,
	 DLP_CAUSE_MADVISE, 0x1000, 0x3000},
	{"copy_file_range", PRE, SYS_copy_file_range, {FD}, 0x1000, 0x2000, 0, MAPS | TWO,
	 DLP_CAUSE_COPY, 0x1000, 0x3000},
	{"copy_file_range behind the end", PRE, SYS_copy_file_range, {FD}, 0x20000, 0x2000, 0,
	 MAPS | TWO, DLP_CAUSE_COPY, 0x10000, 0x22000},
	{"copy_file_range, empty", PRE, SYS_copy_file_range, {FD}, 0x1000, 0, 0, MAPS | TWO,
	 DLP_CAUSE_COPY, 0, MAX},
	{"sendfile", PRE, SYS_sendfile, {FD}, 0x1000, 0x2000, 0, MAPS, DLP_CAUSE_COPY, 0x1000,
	 0x3000},
	{"splice", PRE, SYS_splice, {FD}, 0x1000, 0x2000, 0, MAPS, DLP_CAUSE_COPY, 0x1000,
	 0x3000},
	{"splice, no range", PRE, SYS_splice, {FD}, 0x1000, NO, 0, MAPS, DLP_CAUSE_COPY, 0, MAX},
	{"ioctl", PRE, SYS_ioctl, {FD, 0x40049409, 6}, 0, 0, 0, MAPS | TWO, DLP_CAUSE_CLONE, 0,
	 MAX},
	{"ioctl with a range", PRE, SYS_ioctl, {FD, 0x4020940d, 6}, 0x1000, 0x1000, 0, MAPS | TWO,
	 DLP_CAUSE_CLONE, 0, MAX},
	{"io_submit", PRE, SYS_io_submit, {FD}, 0x1000, 0x1000, 0, MAPS | OPAQUE, DLP_CAUSE_AIO,
	 0, MAX},
	{"io_uring_enter", PRE, SYS_io_uring_enter, {FD}, 0x1000, 0x1000, 0, MAPS | OPAQUE,
	 DLP_CAUSE_IO_URING, 0, MAX},
	{"a call to come", PRE, 1999, {FD}, 0x1000, 0x1000, 0, MAPS | OPAQUE | TWO,
	 DLP_CAUSE_UNKNOWN, 0, MAX},
	{"x32 read", PRE, 0x40000000, {FD}, 0x1000, 0x1000, 0, MAPS | OPAQUE | TWO,
	 DLP_CAUSE_UNKNOWN, 0, MAX},
	{"fchown, or i386 ftruncate", PRE, SYS_fchown, {FD, 4096}, 0x1000, 0, 0, MAPS | OPAQUE |
	 TWO, DLP_CAUSE_UNKNOWN, 0, MAX},
};
/* clang-format on */

static struct decode_in input(const struct row *row, struct syscall_line *line)
{
	*line = (struct syscall_line){.known = true, .number = row->number, .hash = 1};
	memcpy(line->arg, row->arg, sizeof(line->arg));
	return (struct decode_in){
		.event = (enum decode_event)row->event,
		.context = DECODE_CONTEXT_CALL,
		.line = line,
		.range_known = row->count != NO,
		.offset = row->count != NO ? row->offset : 0,
		.count = row->count != NO ? row->count : 0,
		.append = (enum decode_append)row->append,
		.size_known = true,
		.size = FILE_SIZE,
		.page = 4096,
	};
}

static void each_call(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		struct syscall_line line;
		struct decode_in in = input(row, &line);
		struct decode_out out;
		int flags;

		decode(&in, &out);
		flags = (out.harmless ? HARMLESS : 0) | (out.maps ? MAPS : 0) |
			(out.opaque ? OPAQUE : 0) | (out.two_file ? TWO : 0);
		if (flags != row->flags || out.cause != row->cause || out.start != row->start ||
		    out.end != row->end)
			fail_msg("%s: flags %d cause %u %#llx-%#llx", row->name, flags, out.cause,
				 (unsigned long long)out.start, (unsigned long long)out.end);
	}
}

/* Whatever is known, the answer without the size contains the answer with it, and a call that is
 * harmless in its own context is harmless in no other. */
static void never_narrower(void **state)
{
	static const enum decode_context others[] = {DECODE_CONTEXT_IO_WORKER,
						     DECODE_CONTEXT_TASK_WORK,
						     DECODE_CONTEXT_UNKNOWN};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct syscall_line line;
		struct decode_in in = input(&rows[i], &line);
		struct decode_out with, without;

		decode(&in, &with);
		in.size_known = false;
		decode(&in, &without);
		assert_true(without.start <= with.start && without.end >= with.end);
		assert_int_equal(without.harmless, with.harmless);
		if (!with.harmless) {
			assert_true(with.start < with.end);
			assert_int_equal(with.start % 4096, 0);
			assert_true(with.end % 4096 == 0 || with.end == MAX);
			if (in.range_known && in.count && !with.opaque &&
			    rows[i].append != DECODE_APPEND_YES && !(line.arg[5] & 0x10))
				assert_true(with.start <= in.offset);
		}
		for (size_t c = 0; c < 3; c++) {
			in.context = others[c];
			decode(&in, &without);
			assert_true(!without.harmless && without.opaque && without.maps);
			assert_true(without.start == 0 && without.end == MAX);
			if (rows[i].event == PRE)
				assert_int_equal(without.two_file,
						 others[c] == DECODE_CONTEXT_UNKNOWN);
		}
		in.context = DECODE_CONTEXT_CALL;
		line.kernel = true; /* nfsd shows number 0, which is read(2) */
		decode(&in, &without);
		assert_true(!without.harmless && without.opaque && without.end == MAX);
		line.kernel = false;
		line.known = false;
		decode(&in, &without);
		assert_true(!without.harmless && without.opaque && without.end == MAX);
	}
}

static void io_uring_of_a_newer_kernel(void **state)
{
	struct syscall_line line = {.known = true, .number = SYS_io_uring_enter, .hash = 1};
	struct decode_in in = {.event = DECODE_PRE_ACCESS,
			       .context = DECODE_CONTEXT_CALL,
			       .line = &line,
			       .page = 4096,
			       .io_uring_shares = true};
	struct decode_out out;

	(void)state;
	decode(&in, &out);
	assert_true(out.two_file);
	in.context = DECODE_CONTEXT_IO_WORKER;
	decode(&in, &out);
	assert_true(out.two_file);
}

static void parse(const char *text, struct syscall_line *line)
{
	decode_line(text, strlen(text), line);
}

static void lines(void **state)
{
	static const char good[] = "18 0x5 0x7ffdeace960f 0xa 0xfffffffffffff000 0x0 0x0 "
				   "0x7ffdeace9000 0x7f273cb90b60";
	static const char *const bad[] = {
		"18",
		"18 0x5",
		"18 0x5 0x1 0x1 0x1 0x0 0x0 0x7f",
		"18 0x5 0x1 0x1 0x1 0x0 0x0 0x7f 0x7f 0x1",
		"18 0x5 0x1 0x1 0x1 0x0 0x0 0x7f 0x7f ",
		"18 0x5 0x1 0x1 0x1 0x0 0x0 0x7f 0x",
		"18 5 1 1 1 0 0 7f 7f",
		"18 0x5 0x11111111111111111 0x1 0x1 0x0 0x0 0x7f 0x7f",
		"99999999999999999999 0x5 0x1 0x1 0x1 0x0 0x0 0x7f 0x7f",
		"18\t0x5 0x1 0x1 0x1 0x0 0x0 0x7f 0x7f",
	};
	struct syscall_line line, again;

	(void)state;
	parse(good, &line);
	assert_true(line.known && !line.kernel && line.hash);
	assert_int_equal(line.number, 18);
	assert_int_equal(line.arg[0], 5);
	assert_true(line.arg[3] == 0xfffffffffffff000u);
	decode_line("18 0x5 0x7ffdeace960f 0xa 0xfffffffffffff000 0x0 0x0 0x7ffdeace9000 "
		    "0x7f273cb90b60\n",
		    sizeof(good), &again);
	assert_true(again.hash == line.hash); /* the newline is no part of it */
	parse("18 0x5 0x7ffdeace960f 0xa 0xfffffffffffff000 0x0 0x0 0x7ffdeace9000 0x7f273cb90b61",
	      &again);
	assert_true(again.hash != line.hash);

	parse("running", &line);
	assert_true(!line.known && !line.hash && line.number == -1);
	parse("", &line);
	assert_true(!line.known && !line.hash);
	parse("-1 0x7ffdeace960f 0x7f273cb90b60", &line);
	assert_true(!line.known && line.hash && line.number == -1);
	parse("0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0", &line);
	assert_true(line.known && line.kernel);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		parse(bad[i], &line);
		if (line.known || line.number != -1)
			fail_msg("taken for a call: %s", bad[i]);
	}
}

/* Every prefix and every single changed byte: never out of bounds (sanitizers), never another range
 * than some well-formed line has. */
static void damaged_lines(void **state)
{
	static const char good[] = "18 0x5 0x7ffdeace960f 0xa 0xfffffffffffff000 0x0 0x0 "
				   "0x7ffdeace9000 0x7f273cb90b60";
	char text[sizeof(good)];
	struct syscall_line line;

	(void)state;
	for (size_t n = 0; n < sizeof(good); n++)
		decode_line(good, n, &line);
	for (size_t at = 0; at < sizeof(good) - 1; at++) {
		for (int byte = 0; byte < 256; byte++) {
			memcpy(text, good, sizeof(good));
			text[at] = (char)byte;
			decode_line(text, sizeof(good) - 1, &line);
			assert_true(line.known || line.number == -1);
		}
	}
}

static void who_appends(void **state)
{
	static const long writes[] = {SYS_write, SYS_pwrite64, SYS_writev, SYS_pwritev,
				      SYS_pwritev2};
	struct syscall_line line = {.known = true};

	(void)state;
	for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
		line.number = writes[i];
		assert_true(decode_wants_append(&line));
	}
	line.number = SYS_read;
	assert_false(decode_wants_append(&line));
	line = (struct syscall_line){.known = false, .number = SYS_write};
	assert_false(decode_wants_append(&line));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_call),
		cmocka_unit_test(never_narrower),
		cmocka_unit_test(io_uring_of_a_newer_kernel),
		cmocka_unit_test(lines),
		cmocka_unit_test(damaged_lines),
		cmocka_unit_test(who_appends),
	};

	return cmocka_run_group_tests_name("decode_calls", tests, NULL, NULL);
}
