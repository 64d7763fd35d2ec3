/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which mount a path is on, from mountinfo text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "daemon/pool/pool.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define ROOT "21 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n"

static const char plain[] = ROOT
	"22 21 0:21 / /proc rw - proc proc rw\n"
	"30 21 259:1 / /mnt/dax rw,noatime shared:7 master:2 propagate_from:3 - xfs /dev/pmem0 "
	"rw,dax=always,x=1\n"
	"31 21 259:2 / /mnt/dax2 rw - ext4 /dev/pmem1 rw,dax\n"
	"32 21 259:3 / /mnt/never rw,dax - ext4 /dev/pmem2 rw,dax=never,nodax,xdax\n"
	"33 21 259:4 / /mnt/a\\040b\\134c\\011d rw - xfs /dev/x rw,dax=inode\n"
	"34 21 259:1 /sub /mnt/bind rw - xfs /dev/pmem0 rw,dax=always\n"
	"35 30 0:44 / /mnt/dax/in rw - tmpfs  rw,size=1k\n";

static void one(const char *text, const char *path, bool exact, unsigned minor_number,
		const char *fstype, bool dax, bool whole)
{
	struct pool_mount m;

	memset(&m, 0xff, sizeof(m));
	pool_find_mount_text(text, path, exact, &m);
	print_message("%s\n", path);
	assert_true(m.found);
	assert_int_equal(minor(m.dev), minor_number);
	assert_string_equal(m.fstype, fstype);
	assert_int_equal(m.dax, dax);
	assert_int_equal(m.whole, whole);
}

static void none(const char *text, const char *path, bool exact)
{
	struct pool_mount m;

	memset(&m, 0xff, sizeof(m));
	pool_find_mount_text(text, path, exact, &m);
	print_message("%s\n", path);
	assert_false(m.found);
	assert_int_equal(m.dev, 0);
}

static void fields(void **state)
{
	(void)state;
	one(plain, "/mnt/dax", true, 1, "xfs", true, true);
	one(plain, "/mnt/dax2", true, 2, "ext4", true, true);
	one(plain, "/mnt/never", true, 3, "ext4", false, true);
	one(plain, "/mnt/a b\\c\td", true, 4, "xfs", false, true);
	one(plain, "/mnt/bind", true, 1, "xfs", true, false);
	one(plain, "/mnt/dax/in", true, 44, "tmpfs", false, true); /* empty source */
	one(plain, "/", true, 0, "ext4", false, true);
	none(plain, "/mnt", true);
	none(plain, "/mnt/da", true);
	none(plain, "/mnt/dax/", true);
	none(plain, "/mnt/dax/file", true);
	none(plain, "", true);
	none(plain, "mnt/dax", true);
}

static void holding(void **state)
{
	(void)state;
	one(plain, "/mnt/dax/file", false, 1, "xfs", true, true);
	one(plain, "/mnt/dax/in/x/y", false, 44, "tmpfs", false, true);
	one(plain, "/mnt/dax/inner", false, 1, "xfs", true, true);
	one(plain, "/mnt/daxy", false, 0, "ext4", false, true);
	one(plain, "/", false, 0, "ext4", false, true);
	none(plain, "relative", false);
}

/* What is on top is what is mounted on the other, whatever comes first in the list. */
static void stacked(void **state)
{
	static const char up[] = ROOT
		"40 21 259:1 / /m rw - xfs a rw\n41 40 259:2 / /m rw - ext4 b rw\n"
		"42 41 259:3 / /m rw - tmpfs c rw\n";
	static const char down[] =
		"42 41 259:3 / /m rw - tmpfs c rw\n41 40 259:2 / /m rw - ext4 b rw\n"
		"40 21 259:1 / /m rw - xfs a rw\n" ROOT;
	static const char twins[] = ROOT
		"40 21 259:1 / /m rw - xfs a rw\n41 21 259:2 / /m rw - ext4 b rw\n";
	static const char roots[] =
		"21 1 253:0 / / rw - ext4 a rw\n22 21 253:9 / / rw - overlay b rw\n"
		"23 22 259:1 / /m rw - xfs c rw\n24 21 259:2 / /m rw - tmpfs c rw\n";

	(void)state;
	one(up, "/m", true, 3, "tmpfs", false, true);
	one(down, "/m", true, 3, "tmpfs", false, true);
	one(twins, "/m", true, 2, "ext4", false, true);
	one(roots, "/", true, 9, "overlay", false, true);
	one(roots, "/m", true, 1, "xfs", false, true);
}

/* /a/b is mounted, then something over /a: the first is in the list, and cannot be reached. */
static void hidden(void **state)
{
	static const char text[] = ROOT
		"40 21 259:1 / /a rw - xfs a rw\n41 40 259:2 / /a/b rw - ext4 b rw\n"
		"42 40 259:3 / /a rw - tmpfs c rw\n";

	(void)state;
	none(text, "/a/b", true);
	one(text, "/a/b", false, 3, "tmpfs", false, true);
	one(text, "/a", true, 3, "tmpfs", false, true);
}

/*
 * In a chroot whose root is no mount point, nothing is mounted on "/", and parents are not in the
 * list.
 */
static void changed_root(void **state)
{
	static const char text[] =
		"40 21 259:1 / /a rw - xfs a rw\n41 40 259:2 / /a/b rw - ext4 b rw\n";

	(void)state;
	one(text, "/a/b", true, 2, "ext4", false, true);
	one(text, "/a/c", false, 1, "xfs", false, true);
	none(text, "/c", false);
	none("", "/", true);
}

static void broken(void **state)
{
	static const char *const texts[] = {
		"\n\n\n",
		"garbage",
		"1",
		"21 1 253 / / rw - ext4 a rw\n",
		"21 1 253:0 / /\n",
		"21 1 253:0 / / rw ext4 a rw\n", /* no separator */
		"21 1 253:0 / / rw -\n",
		"21 1 253:0 / / rw - ext4\n",
		"99999999999999999999999 1 253:0 / / rw - ext4 a rw\n",
		"-1 1 253:0 / / rw - ext4 a rw\n",
	};
	static const char circle[] = "1 2 259:1 / /m rw - xfs a rw\n2 1 259:2 / /m rw - xfs a rw\n";
	static const char self[] = "1 1 259:1 / / rw - xfs a rw\n";
	static const char after[] = "bad line\n" ROOT
				    "30 21 259:1 / /m rw - xfs a rw"; /* no newline at the end */

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++)
		none(texts[i], "/", true);
	none(circle, "/m", true);
	one(self, "/", true, 1, "xfs", false, true);
	one(after, "/m", true, 1, "xfs", false, true);
	none(ROOT "30 21 259:1 / /m\\04 rw - xfs a rw\n", "/m ", true);
	one(ROOT "30 21 259:1 / /m\\04 rw - xfs a rw\n", "/m\\04", true, 1, "xfs", false, true);
}

static void long_lines(void **state)
{
	char *text = malloc(100000), *path = malloc(20000);
	char *to = text;

	(void)state;
	memset(path, 'x', 19999);
	path[0] = '/';
	path[19999] = '\0';
	to += sprintf(to, ROOT "30 21 259:5 / %s rw - xfs /dev/pmem0 rw,", path);
	memset(to, 'o', 50000);
	strcpy(to + 50000, ",dax\n");
	one(text, path, true, 5, "xfs", true, true);
	free(text);
	free(path);
}

static void long_fstype(void **state)
{
	char text[1000], fstype[200];
	struct pool_mount m;

	(void)state;
	memset(fstype, 'f', sizeof(fstype) - 1);
	fstype[sizeof(fstype) - 1] = '\0';
	snprintf(text, sizeof(text), "21 1 253:0 / / rw - %s a rw\n", fstype);
	pool_find_mount_text(text, "/", true, &m);
	assert_true(m.found);
	assert_int_equal(strlen(m.fstype), DLP_NAME_SIZE - 1);
}

/* The real one, twice from one descriptor. */
static void real(void **state)
{
	int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	struct pool_mount m;
	struct stat st;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(stat("/proc", &st), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pool_find_mount(fd, "/proc", true, &m), 0);
		assert_true(m.found);
		assert_string_equal(m.fstype, "proc");
		assert_int_equal(m.dev, st.st_dev);
	}
	assert_int_equal(pool_find_mount(fd, "/proc/self/no-such-mount", true, &m), 0);
	assert_false(m.found);
	assert_int_equal(stat("/etc/passwd", &st), 0);
	assert_int_equal(pool_find_mount(fd, "/etc/passwd", false, &m), 0);
	assert_true(m.found);
	close(fd);
	assert_int_equal(pool_find_mount(fd, "/", true, &m), -EBADF);
}

static void under(void **state)
{
	(void)state;
	assert_true(pool_path_under("/a/b", "/a"));
	assert_true(pool_path_under("/a/b/c", "/a"));
	assert_true(pool_path_under("/a/b (deleted)", "/a"));
	assert_true(pool_path_under("/a", "/"));
	assert_false(pool_path_under("/ab", "/a"));
	assert_false(pool_path_under("/a", "/a"));
	assert_false(pool_path_under("/a/", "/a"));
	assert_false(pool_path_under("/", "/"));
	assert_false(pool_path_under("/b/a", "/a"));
	assert_false(pool_path_under("", "/a"));
	assert_false(pool_path_under("/a/b", ""));
	assert_false(pool_path_under("socket:[1]", "/"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields),	cmocka_unit_test(holding),
		cmocka_unit_test(stacked),	cmocka_unit_test(hidden),
		cmocka_unit_test(changed_root), cmocka_unit_test(broken),
		cmocka_unit_test(long_lines),	cmocka_unit_test(long_fstype),
		cmocka_unit_test(real),		cmocka_unit_test(under),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
