// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/store_kinds.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "daemon/uverbs.h"

/* MAX_ARG_STRLEN of the kernel (include/uapi/linux/binfmts.h): 32 pages, with the variable's name and the 0. */
#define ENVIRONMENT_PAGES 32
#define VARIABLE "LISTEN_FDNAMES="
#define DIGITS 3
#define BITS 5

_Static_assert(1u << (DIGITS * BITS) == STORE_SLOTS, "each slot has its name");
static const char digits[] = "0123456789abcdefghijklmnopqrstuv";

static bool is_socket(int fd, int listens)
{
	const struct {
		int option, value;
	} wanted[] = {
		{SO_DOMAIN, AF_UNIX},
		{SO_TYPE, SOCK_SEQPACKET},
		{SO_ACCEPTCONN, listens},
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		int value;
		socklen_t size = sizeof(value);

		if (getsockopt(fd, SOL_SOCKET, wanted[i].option, &value, &size) < 0 ||
		    value != wanted[i].value)
			return false;
	}
	return true;
}

static bool is_listener(int fd)
{
	return is_socket(fd, 1);
}

static bool is_connection(int fd)
{
	return is_socket(fd, 0);
}

/* What /proc says a descriptor is; only the kernel chooses these words. */
static bool links_to(int fd, const char *begin, bool whole)
{
	char path[32], link[64];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = readlink(path, link, sizeof(link) - 1);
	if (length < 0)
		return false;
	link[length] = 0;
	return whole ? strcmp(link, begin) == 0 : strncmp(link, begin, strlen(begin)) == 0;
}

static bool is_guard(int fd)
{
	return links_to(fd, "anon_inode:[fanotify]", true);
}

static bool is_journal(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && seals & F_SEAL_SHRINK && links_to(fd, "/memfd:daxlease", false);
}

/*
 * Before PID 1 gets it: closing anything else, a FUSE server's file for example, could stop whoever does it for ever.
 * statx(2) without syncing asks no server, and an O_PATH descriptor is no open device.
 */
static bool is_uverbs(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	struct statx stx;

	return flags >= 0 && !(flags & O_PATH) &&
	       statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &stx) == 0 &&
	       S_ISCHR(stx.stx_mode) && uverbs_check_major(stx.stx_rdev_major) == 0;
}

/* Of a file system that can be a pool, so that no server can make whoever closes it wait. */
static bool is_leased(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	struct statx stx;
	struct statfs fs;

	return flags >= 0 && !(flags & O_PATH) &&
	       statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &stx) == 0 && S_ISREG(stx.stx_mode) &&
	       fstatfs(fd, &fs) == 0 && (fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC);
}

/* By its end only: opened in the mount namespace of a daemon before, its path begins nowhere. */
static bool is_memory(int fd)
{
	static const char end[] = "/mem";
	char path[32], link[64];
	struct statfs fs;
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = readlink(path, link, sizeof(link));
	return length > (ssize_t)strlen(end) && length < (ssize_t)sizeof(link) &&
	       memcmp(link + length - strlen(end), end, strlen(end)) == 0 && fstatfs(fd, &fs) == 0 &&
	       fs.f_type == PROC_SUPER_MAGIC;
}

static const struct {
	const char *name; /* of a single one */
	char letter;	  /* of the others */
	bool (*check)(int fd);
} kinds[STORE_KINDS] = {
	[STORE_LISTEN] = {.name = "listen", .check = is_listener},
	[STORE_JOURNAL] = {.name = "journal", .check = is_journal},
	[STORE_JOURNAL_NEXT] = {.name = "jnext", .check = is_journal},
	[STORE_GUARD] = {.name = "guard", .check = is_guard},
	[STORE_CALLS] = {.letter = 'c', .check = is_connection},
	[STORE_EVENTS] = {.letter = 'e', .check = is_connection},
	[STORE_UVERBS] = {.letter = 'u', .check = is_uverbs},
	[STORE_LEASED] = {.letter = 'l', .check = is_leased},
	[STORE_MEMORY] = {.letter = 'm', .check = is_memory},
};

bool store_kind_single(enum store_kind kind)
{
	return kinds[kind].name;
}

bool store_kind_check(enum store_kind kind, int fd)
{
	return kinds[kind].check(fd);
}

void store_name(enum store_kind kind, uint32_t slot, char name[STORE_NAME_SIZE])
{
	if (kinds[kind].name) {
		snprintf(name, STORE_NAME_SIZE, "%s", kinds[kind].name);
		return;
	}
	*name++ = kinds[kind].letter;
	for (int i = DIGITS - 1; i >= 0; i--)
		*name++ = digits[slot >> (i * BITS) & ((1u << BITS) - 1)];
	*name = 0;
}

bool store_name_parse(const char *name, enum store_kind *kind, uint32_t *slot)
{
	for (unsigned k = 0; k < STORE_KINDS; k++) {
		char back[STORE_NAME_SIZE];

		*kind = (enum store_kind)k;
		*slot = 0;
		if (!kinds[k].name && name[0] == kinds[k].letter && strlen(name) == 1 + DIGITS) {
			for (int i = 1; i <= DIGITS; i++) {
				const char *digit = strchr(digits, name[i]);

				*slot = *slot << BITS | (digit ? (uint32_t)(digit - digits) : 0);
			}
		}
		store_name(*kind, *slot, back);
		if (strcmp(name, back) == 0)
			return true;
	}
	return false;
}

unsigned store_names_size(void)
{
	return (unsigned)(ENVIRONMENT_PAGES * sysconf(_SC_PAGESIZE) - (long)sizeof(VARIABLE));
}

unsigned store_names_room(void)
{
	/* The single ones, and what a socket unit adds, have longer names. */
	return (store_names_size() - STORE_NAME_SIZE * (STORE_KINDS + 8)) / (1 + DIGITS + 1);
}
