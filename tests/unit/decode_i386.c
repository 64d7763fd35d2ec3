/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A 32-bit program's call shows its i386 number, and nothing says so. So each number that is let
 * through, or decoded, must be, as an i386 number, a call that cannot raise that event at all, or
 * cannot change anything by it. What i386 calls raise which event: 6.18's sources,
 * arch/x86/entry/syscalls/syscall_32.tbl and include/linux/fsnotify.h. Numbers are written out
 * since <asm/unistd_32.h> and _64.h define the same names.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/guard/decode.h"

enum { PRE = DECODE_PRE_ACCESS, OPEN = DECODE_OPEN_PERM };

/* i386 calls that may raise an event and go on to change a block map or a size. */
static const struct {
	long number;
	int events;
	const char *name;
} i386[] = {
	{4, PRE, "write"},
	{5, OPEN, "open"},
	{8, OPEN, "creat"},
	{51, PRE | OPEN, "acct"},
	{54, PRE, "ioctl"},
	{86, OPEN, "uselib"},
	{87, PRE | OPEN, "swapon"},
	{92, PRE, "truncate"},
	{93, PRE, "ftruncate"},
	{146, PRE, "writev"},
	{181, PRE, "pwrite64"},
	{187, PRE, "sendfile"},
	{193, PRE, "truncate64"},
	{194, PRE, "ftruncate64"},
	{219, PRE, "madvise"},
	{239, PRE, "sendfile64"},
	{248, PRE, "io_submit"},
	{277, OPEN, "mq_open"},
	{295, OPEN, "openat"},
	{313, PRE, "splice"},
	{315, PRE, "tee"},
	{316, PRE, "vmsplice"},
	{324, PRE, "fallocate"},
	{334, PRE, "pwritev"},
	{342, OPEN, "open_by_handle_at"},
	{377, PRE, "copy_file_range"},
	{379, PRE, "pwritev2"},
	{437, OPEN, "openat2"},
	{440, PRE, "process_madvise"},
};

/* From here on a number means the same call everywhere (syscall_32.tbl, syscall_64.tbl; 424
 * pidfd_send_signal). */
#define SAME_FROM 424

/* The i386 call that `let` lets through by mistake, or NULL. */
static const char *clash(enum decode_event event, bool (*let)(enum decode_event event, long number))
{
	for (size_t i = 0; i < sizeof(i386) / sizeof(i386[0]); i++) {
		if (i386[i].number < SAME_FROM && i386[i].events & (int)event &&
		    let(event, i386[i].number))
			return i386[i].name;
	}
	return NULL;
}

static void check(enum decode_event event, bool (*let)(enum decode_event event, long number))
{
	const char *name = clash(event, let);

	if (name)
		fail_msg("event %d: the number of i386's %s", (int)event, name);
}

static void harmless_in_both(void **state)
{
	(void)state;
	check(DECODE_PRE_ACCESS, decode_number_harmless);
	check(DECODE_OPEN_PERM, decode_number_harmless);
}

static bool decoded(enum decode_event event, long number)
{
	struct syscall_line line = {.known = true, .number = number, .hash = 1};
	struct decode_in in = {.event = event,
			       .context = DECODE_CONTEXT_CALL,
			       .line = &line,
			       .page = 4096};
	struct decode_out out;

	decode(&in, &out);
	return decode_number_known(number) && !out.opaque;
}

/* Also where a range is taken from the registers of a number: no other i386 call shows it for that
 * event. */
static void decoded_in_both(void **state)
{
	(void)state;
	check(DECODE_PRE_ACCESS, decoded);
	check(DECODE_OPEN_PERM, decoded);
}

/* What is let through before an access would be wrong before an open: 295 is preadv, and i386's
 * openat. */
static bool accesses(enum decode_event event, long number)
{
	(void)event;
	return decode_number_harmless(DECODE_PRE_ACCESS, number);
}

static bool everything(enum decode_event event, long number)
{
	(void)event;
	(void)number;
	return true;
}

static void the_test_looks(void **state)
{
	int let = 0;

	(void)state;
	for (long number = 0; number < SAME_FROM; number++) {
		let += decode_number_harmless(DECODE_PRE_ACCESS, number);
		let += decode_number_harmless(DECODE_OPEN_PERM, number);
	}
	assert_true(let > 0);
	assert_non_null(clash(DECODE_PRE_ACCESS, everything));
#ifdef __x86_64__
	assert_int_equal(let, 8 + 5);
	assert_string_equal(clash(DECODE_OPEN_PERM, accesses), "openat");
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(harmless_in_both),
		cmocka_unit_test(decoded_in_both),
		cmocka_unit_test(the_test_looks),
	};

	return cmocka_run_group_tests_name("decode_i386", tests, NULL, NULL);
}
