// SPDX-License-Identifier: LGPL-2.1-or-later
/* Names of stored descriptors, what fits of them into an environment, and what is believed to be of which kind. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/store_kinds.h"

static void each_slot_has_its_name(void **state)
{
	(void)state;
	for (unsigned k = 0; k < STORE_KINDS; k++) {
		const uint32_t slots = store_kind_single((enum store_kind)k) ? 1 : STORE_SLOTS;

		for (uint32_t slot = 0; slot < slots; slot++) {
			char name[STORE_NAME_SIZE];
			enum store_kind kind;
			uint32_t back;

			store_name((enum store_kind)k, slot, name);
			assert_true(store_name_parse(name, &kind, &back));
			assert_int_equal(kind, k);
			assert_int_equal(back, slot);
		}
	}
}

static void others_are_not_ours(void **state)
{
	static const char *const names[] = {"",	       "c",	 "c00",	  "c0000",
					    "cAAA",    "c00w",	 "x000",  "liste",
					    "listen2", "stored", "probe", "unknown"};
	enum store_kind kind;
	uint32_t slot;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_false(store_name_parse(names[i], &kind, &slot));
}

/* 0 or the errno of execve(2) with a variable of names of this size. */
static int run_with(size_t size)
{
	static const char variable[] = "LISTEN_FDNAMES=";
	char *text = malloc(sizeof(variable) + size);
	char *const arguments[] = {"true", NULL}, *const variables[] = {text, NULL};
	int status;
	pid_t pid;

	assert_non_null(text);
	memcpy(text, variable, sizeof(variable) - 1);
	memset(text + sizeof(variable) - 1, 'c', size);
	text[sizeof(variable) - 1 + size] = 0;
	pid = fork();
	if (pid == 0) {
		execve("/bin/true", arguments, variables);
		_exit(errno);
	}
	free(text);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static void as_many_fit_as_is_said(void **state)
{
	(void)state;
	assert_int_equal(run_with(store_names_size()), 0);
	assert_int_equal(run_with(store_names_size() + 1), E2BIG);
	assert_true(store_names_room() * 5 < store_names_size());
	assert_true(store_names_room() < STORE_SLOTS);
}

static int listener(void)
{
	const struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	/* An address without a name: the kernel finds one. */
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static int connection(int type)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), 0);
	close(pair[1]);
	return pair[0];
}

static int memfd(const char *name, int seals)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void only_the_right_type_is_believed(void **state)
{
	const struct {
		int fd;
		unsigned kinds; /* bits */
	} cases[] = {
		{listener(), 1u << STORE_LISTEN},
		{connection(SOCK_SEQPACKET), 1u << STORE_CALLS | 1u << STORE_EVENTS},
		{connection(SOCK_STREAM), 0},
		{memfd("daxlease-journal", F_SEAL_SHRINK),
		 1u << STORE_JOURNAL | 1u << STORE_JOURNAL_NEXT},
		{memfd("daxlease-journal", F_SEAL_GROW), 0},
		{memfd("other", F_SEAL_SHRINK), 0},
		{open("/dev/null", O_RDWR | O_CLOEXEC), 0},
		{open("/dev/null", O_PATH | O_CLOEXEC), 0},
		{open("/proc/self/stat", O_RDONLY | O_CLOEXEC), 0},
		{-1, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (unsigned k = 0; k < STORE_KINDS; k++)
			assert_int_equal(store_kind_check((enum store_kind)k, cases[i].fd),
					 cases[i].kinds >> k & 1);
		if (cases[i].fd >= 0)
			close(cases[i].fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_slot_has_its_name),
		cmocka_unit_test(others_are_not_ours),
		cmocka_unit_test(as_many_fit_as_is_said),
		cmocka_unit_test(only_the_right_type_is_believed),
	};

	return cmocka_run_group_tests_name("names and kinds of stored descriptors", tests, NULL,
					   NULL);
}
