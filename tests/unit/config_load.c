// SPDX-License-Identifier: LGPL-2.1-or-later
/* The configuration file: what is refused, with which words and on which line, and what good
 * ones come to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/config.h"

#define MSEC UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

#define LONG_NAME "n234567890123456789012345678901234567890123456789012345678901234"
#define TEN(x) x x x x x x x x x x

/* Loads `text`, and leaves what config_load() wrote in *said, with "FILE" in place of the file's
 * name; the caller frees it. */
static int load(const char *text, size_t size, struct config *config, char **said)
{
	char name[] = "/tmp/daxlease-config-XXXXXX";
	const int fd = mkstemp(name);
	char *errors, *at;
	size_t errors_size;
	FILE *stream;
	int ret;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, size), (ssize_t)size);
	assert_int_equal(close(fd), 0);
	stream = open_memstream(&errors, &errors_size);
	assert_non_null(stream);
	ret = config_load(name, config, stream);
	assert_int_equal(fclose(stream), 0);
	unlink(name);

	*said = calloc(1, errors_size + 1);
	assert_non_null(*said);
	for (char *line = errors; *line; line = at + 1) {
		at = strchr(line, '\n');
		assert_non_null(at);
		assert_int_equal(strncmp(line, name, strlen(name)), 0);
		strcat(*said, "FILE");
		strncat(*said, line + strlen(name), (size_t)(at + 1 - line) - strlen(name));
	}
	free(errors);
	return ret;
}

static const struct {
	const char *text;
	const char *said;
} bad[] = {
	{"socket = /run/x\n", "FILE:1: \"socket\" before the first section\n"},
	{"[deamon]\nsocket = /run/x\n",
	 "FILE:1: unknown section [deamon]; there are [daemon] and [pool NAME]\n"},
	{"[]\n", "FILE:1: unknown section []; there are [daemon] and [pool NAME]\n"},
	{"[daemon\n", "FILE:1: \"[\" without \"]\"\n"},
	{"[daemon] socket = /x\n", "FILE:1: more on the line of a section\n"},
	{"[daemon]\n[daemon]\n", "FILE:2: [daemon] appears on line 1 already\n"},
	{"[daemon]\nbreak-time = 3s\n", "FILE:2: unknown key \"break-time\" in [daemon]\n"},
	{"[daemon]\ntype = fsdax\n", "FILE:2: unknown key \"type\" in [daemon]\n"},
	{"[daemon]\nsocket = /a\n\nsocket = /b\n", "FILE:4: socket: set on line 2 already\n"},
	{"[daemon]\nsocket = /a\n   socket = /b\n", "FILE:3: socket: set on line 2 already\n"},
	{"[daemon]\nsocket =\n", "FILE:2: socket: no value\n"},
	{"[daemon]\nsocket\n", "FILE:2: neither [section] nor key = value\n"},
	{"[daemon]\nsocket\nnothing\n# x\nat all", "FILE:2: neither [section] nor key = value\n"
						   "FILE:3: neither [section] nor key = value\n"
						   "FILE:5: neither [section] nor key = value\n"},
	{"[daemon]\nsocket = run/x\n", "FILE:2: socket: \"run/x\" is not an absolute path\n"},
	{"[daemon]\nsocket = /" TEN("1234567890") TEN("x") "\n",
	 "FILE:2: socket: longer than the 107 bytes a socket's path may have\n"},
	{"[daemon]\nadmin-group = no-such-group-here\n",
	 "FILE:2: admin-group: there is no group \"no-such-group-here\"\n"},
	{"[daemon]\nadmin-group = 4294967295\n",
	 "FILE:2: admin-group: \"4294967295\" is not a group\n"},
	{"[daemon]\nadmin-group = 12x\n", "FILE:2: admin-group: \"12x\" is not a group\n"},
	{"[daemon]\nlease-break-time = soon\n", "FILE:2: lease-break-time: \"soon\" is not a "
						"duration such as 500ms, 45s, 1.5s or 2min\n"},
	{"[daemon]\nlease-break-time = -1s\n", "FILE:2: lease-break-time: \"-1s\" is not a "
					       "duration such as 500ms, 45s, 1.5s or 2min\n"},
	{"[daemon]\nlease-break-time = 1h\n",
	 "FILE:2: lease-break-time: \"1h\" is not a duration such as 500ms, 45s, 1.5s or 2min\n"},
	{"[daemon]\nlease-break-time = 1.s\n", "FILE:2: lease-break-time: \"1.s\" is not a "
					       "duration such as 500ms, 45s, 1.5s or 2min\n"},
	{"[daemon]\nlease-break-time = 1e3\n", "FILE:2: lease-break-time: \"1e3\" is not a "
					       "duration such as 500ms, 45s, 1.5s or 2min\n"},
	{"[daemon]\nlease-break-time = 99999999999999999999\n",
	 "FILE:2: lease-break-time: \"99999999999999999999\" is not a duration such as 500ms, "
	 "45s, 1.5s or 2min\n"},
	{"[daemon]\nlease-break-time = 0\n",
	 "FILE:2: lease-break-time: \"0\" is not between 10ms and 60min\n"},
	{"[daemon]\nlease-break-time = 61min\n",
	 "FILE:2: lease-break-time: \"61min\" is not between 10ms and 60min\n"},
	{"[daemon]\nlease-break-time = 999999min\n",
	 "FILE:2: lease-break-time: \"999999min\" is not between 10ms and 60min\n"},
	{"[daemon]\nrevoke-margin = 9.9ms\n",
	 "FILE:2: revoke-margin: \"9.9ms\" is not between 10ms and 1min\n"},
	{"[daemon]\nfence-time = 60.1s\n",
	 "FILE:2: fence-time: \"60.1s\" is not between 10ms and 1min\n"},
	{"[daemon]\nfence = murder\n",
	 "FILE:2: fence: \"murder\" is not full, kill or report\n"},
	{"[pool a]\ntype = mount\npath = /no/a\nfence = no\n",
	 "FILE:4: fence: \"no\" is not full, kill or report\n"},
	{"[daemon]\nfence-hook = echo x\n",
	 "FILE:2: fence-hook: \"echo x\" does not start with an absolute path\n"},
	{"[daemon]\nfence-hook = /no/such/hook 1\n",
	 "FILE:2: fence-hook: /no/such/hook cannot be executed: No such file or directory\n"},
	{"[daemon]\nfence-hook = /bin/sh \x02\n",
	 "FILE:2: fence-hook: control characters in a command\n"},
	{"[pool a]\ntype = mount\npath = /no/a\nfence-hook = /bin/sh\n",
	 "FILE:4: unknown key \"fence-hook\" in [pool]\n"},
	{"[daemon]\nwaiting-limit = 0\n",
	 "FILE:2: waiting-limit: \"0\" is not a number from 1 to 536870911\n"},
	{"[daemon]\nwaiting-limit = -1\n",
	 "FILE:2: waiting-limit: \"-1\" is not a number from 1 to 536870911\n"},
	{"[daemon]\nwaiting-limit = 7x\n",
	 "FILE:2: waiting-limit: \"7x\" is not a number from 1 to 536870911\n"},
	{"[pool a]\ntype = mount\npath = /no/a\no-trunc = EAGAIN\n",
	 "FILE:4: o-trunc: \"EAGAIN\" is not wait, deny, deny-EAGAIN or deny-ETXTBSY\n"},
	{"[pool]\n", "FILE:1: a pool needs a name: [pool NAME]\n"},
	{"[pool a b]\n", "FILE:1: a pool's name consists of letters, digits, \".\", \"_\" and "
			 "\"-\", and starts with a letter or "
			 "digit\n"},
	{"[pool -a]\n", "FILE:1: a pool's name consists of letters, digits, \".\", \"_\" and "
			"\"-\", and starts with a letter or "
			"digit\n"},
	{"[pool " LONG_NAME "]\n", "FILE:1: a pool's name may have 63 characters at most\n"},
	{"[pool a]\n", "FILE:1: pool \"a\" has no type\nFILE:1: pool \"a\" has no path\n"},
	{"\n[pool a]\ntype = mount\n[daemon]\n", "FILE:2: pool \"a\" has no path\n"},
	{"[pool a]\npath = /no/a\n", "FILE:1: pool \"a\" has no type\n"},
	{"[pool a]\ntype = ext4\npath = /no/a\n",
	 "FILE:2: type: \"ext4\" is not fsdax, devdax, mount or directory\n"},
	{"[pool a]\ntype = mount\npath = no/a\n",
	 "FILE:3: path: \"no/a\" is not an absolute path\n"},
	{"[pool a]\ntype = mount\npath = /no/../a\n",
	 "FILE:3: path: \"..\" in a path; write where it leads\n"},
	{"[pool a]\ntype = mount\npath = /no/\x01\n",
	 "FILE:3: path: control characters in a path\n"},
	{"[pool a]\ntype = mount\npath = /no/a\n[pool a]\n",
	 "FILE:4: pool \"a\" is defined on line 1 already\n"},
	{"[pool a]\ntype = mount\npath = /no/a\n[pool b]\npath = //no/./a/\ntype = mount\n",
	 "FILE:5: path: /no/a is the path of pool \"a\" (line 1) already\n"},
	{"[pool a]\ntype = mount\npath = /no/a\nfence-time = 3s\n",
	 "FILE:4: unknown key \"fence-time\" in [pool]\n"},
	{"[daemon]\nsocket = x\nfence-time = y\n[pool a]\ntype = z\n",
	 "FILE:2: socket: \"x\" is not an absolute path\n"
	 "FILE:3: fence-time: \"y\" is not a duration such as 500ms, 45s, 1.5s or 2min\n"
	 "FILE:5: type: \"z\" is not fsdax, devdax, mount or directory\n"
	 "FILE:4: pool \"a\" has no path\n"},
};

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct config config;
		char *said;

		assert_int_equal(load(bad[i].text, strlen(bad[i].text), &config, &said), -EINVAL);
		assert_string_equal(said, bad[i].said);
		assert_null(config.socket);
		assert_null(config.pools);
		free(said);
		config_free(&config);
	}
}

static void test_nul_byte(void **state)
{
	static const char text[] = "[daemon]\nsocket = /a\0b\n";
	struct config config;
	char *said;

	(void)state;
	assert_int_equal(load(text, sizeof(text) - 1, &config, &said), -EINVAL);
	assert_string_equal(said, "FILE:2: a NUL byte\n");
	free(said);
}

static void test_long_line(void **state)
{
	static const char text[] = "[pool a]\ntype = mount\npath = /" TEN(TEN("1234567890")) "\n";
	struct config config;
	char *said;

	(void)state;
	/* How long a line may be is inih's choice. */
	assert_int_equal(load(text, sizeof(text) - 1, &config, &said), -EINVAL);
	assert_int_equal(strncmp(said, "FILE:3: a line may have ", 24), 0);
	assert_non_null(strstr(said, "FILE:1: pool \"a\" has no path\n"));
	free(said);
}

static void test_missing_file(void **state)
{
	struct config config;
	char said[128] = "";
	FILE *stream = fmemopen(said, sizeof(said), "w");

	(void)state;
	assert_non_null(stream);
	assert_int_equal(config_load("/no/such/file", &config, stream), -ENOENT);
	fclose(stream);
	assert_string_equal(said, "/no/such/file: No such file or directory\n");
	stream = fopen("/dev/null", "w");
	assert_non_null(stream);
	assert_int_equal(config_load("/", &config, stream), -EISDIR);
	fclose(stream);
}

static void test_defaults(void **state)
{
	struct config config;
	char *said;

	(void)state;
	assert_int_equal(load("", 0, &config, &said), 0);
	assert_string_equal(said, "");
	assert_string_equal(config.socket, DLP_SOCKET_DEFAULT);
	assert_true(config.admin_gid == (gid_t)-1);
	assert_true(config.break_time_ns > 0);
	assert_true(config.margin_ns == 2 * SEC);
	assert_true(config.fence_ns == 5 * SEC);
	assert_int_equal(config.fence, CONFIG_FENCE_FULL);
	assert_null(config.fence_hook);
	assert_int_equal(config.pool_count, 0);
	config_free(&config);
	config_free(&config);
	free(said);
}

static void test_good(void **state)
{
	static const char text[] = "\xef\xbb\xbf[ daemon ] ; first\r\n"
				   "; a comment\n"
				   "# another\n"
				   "socket = /run//test/./s  ; behind\n"
				   "admin-group = 12\n"
				   "lease-break-time = 1.5 s\n"
				   "revoke-margin=250ms\n"
				   "fence-time : 1\n"
				   "fence = kill\n"
				   "fence-hook = /bin/sh  -c true\n"
				   "[pool pmem0]\n"
				   "    type = fsdax\n"
				   "    path = /no/such dir/pmem0/\n"
				   "[pool\troot.fs-1]\n"
				   "type = mount\n"
				   "path = /\n"
				   "lease-break-time = 0.5min\n"
				   "fence = report\n"
				   "[pool d]\n"
				   "type = directory\n"
				   "path = /proc/self/"; /* resolved; no newline at the end */
	struct config config;
	char *said, own[32];

	(void)state;
	assert_int_equal(load(text, sizeof(text) - 1, &config, &said), 0);
	assert_string_equal(said, "");
	assert_string_equal(config.socket, "/run/test/s");
	assert_int_equal(config.admin_gid, 12);
	assert_true(config.break_time_ns == 1500 * MSEC);
	assert_true(config.margin_ns == 250 * MSEC);
	assert_true(config.fence_ns == 1 * SEC);
	assert_int_equal(config.pool_count, 3);
	assert_string_equal(config.pools[0].name, "pmem0");
	assert_int_equal(config.pools[0].type, DLP_POOL_FSDAX);
	assert_string_equal(config.pools[0].path, "/no/such dir/pmem0");
	assert_true(config.pools[0].break_time_ns == 1500 * MSEC);
	assert_int_equal(config.fence, CONFIG_FENCE_KILL);
	assert_string_equal(config.fence_hook, "/bin/sh  -c true");
	assert_int_equal(config.pools[0].fence, CONFIG_FENCE_KILL);
	assert_int_equal(config.pools[0].line, 11);
	assert_string_equal(config.pools[1].name, "root.fs-1");
	assert_int_equal(config.pools[1].type, DLP_POOL_MOUNT);
	assert_string_equal(config.pools[1].path, "/");
	assert_true(config.pools[1].break_time_ns == 30 * SEC);
	assert_int_equal(config.pools[1].fence, CONFIG_FENCE_REPORT);
	assert_int_equal(config.pools[2].type, DLP_POOL_DIRECTORY);
	snprintf(own, sizeof(own), "/proc/%d", (int)getpid());
	assert_string_equal(config.pools[2].path, own);
	config_free(&config);
	free(said);
}

static void test_group_by_name(void **state)
{
	struct config config;
	char *said;

	(void)state;
	assert_int_equal(load("[daemon]\nadmin-group = root\n", 28, &config, &said), 0);
	assert_int_equal(config.admin_gid, 0);
	config_free(&config);
	free(said);
}

static void test_waiting(void **state)
{
	static const char text[] = "[daemon]\nwaiting-limit = 17\n"
				   "[pool a]\ntype = mount\npath = /no/a\n"
				   "[pool b]\ntype = mount\npath = /no/b\no-trunc = deny\n"
				   "[pool c]\ntype = mount\npath = /no/c\no-trunc = deny-ETXTBSY\n"
				   "[pool d]\ntype = mount\npath = /no/d\no-trunc = wait\n";
	struct config config;
	char *said;

	(void)state;
	assert_int_equal(load(text, strlen(text), &config, &said), 0);
	assert_int_equal(config.waiting_limit, 17);
	assert_int_equal(config.pools[0].deny_trunc, 0);
	assert_int_equal(config.pools[1].deny_trunc, -EAGAIN);
	assert_int_equal(config.pools[2].deny_trunc, -ETXTBSY);
	assert_int_equal(config.pools[3].deny_trunc, 0);
	config_free(&config);
	free(said);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_waiting),	      cmocka_unit_test(test_nul_byte),
		cmocka_unit_test(test_long_line),     cmocka_unit_test(test_missing_file),
		cmocka_unit_test(test_defaults),      cmocka_unit_test(test_good),
		cmocka_unit_test(test_group_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
