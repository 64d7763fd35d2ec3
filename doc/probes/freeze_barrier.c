// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * FIEMAP is no barrier against an operation caught in a freeze: it is past the guard, waits for the thaw, and does not
 * hold the inode's lock. Removing an extended attribute that is not there waits for the thaw, too, and changes nothing
 * (ctime the same). usage: freeze_barrier FILE   (root; FILE on a scratch ext4 or xfs, which is frozen for a second)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
	struct fiemap map = {.fm_length = ~0ull, .fm_flags = FIEMAP_FLAG_SYNC};
	struct stat before, after;
	double begin;
	int fd, rc;

	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc != 2 || (fd = open(argv[1], O_RDWR | O_CREAT, 0644)) < 0)
		return 2;
	if (write(fd, "x", 1) != 1 || fsync(fd) < 0 || fstat(fd, &before) < 0 || ioctl(fd, FIFREEZE, 0) < 0) {
		perror(argv[1]);
		return 1;
	}
	if (fork() == 0) {
		sleep(1);
		ioctl(fd, FITHAW, 0);
		_exit(0);
	}
	if (fork() == 0) {
		begin = now();
		rc = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096);
		printf("punch         %d after %.2f s\n", rc, now() - begin);
		_exit(0);
	}
	usleep(200000);
	begin = now();
	rc = ioctl(fd, FS_IOC_FIEMAP, &map);
	printf("FIEMAP        %d after %.2f s\n", rc, now() - begin);
	begin = now();
	rc = fremovexattr(fd, "user.daxlease.none");
	printf("fremovexattr  %d (%s) after %.2f s\n", rc, rc ? strerrorname_np(errno) : "", now() - begin);
	while (wait(NULL) > 0)
		continue;
	if (fstat(fd, &after) < 0)
		return 1;
	begin = now();
	for (int i = 0; i < 1000; i++)
		fremovexattr(fd, "user.daxlease.none");
	printf("fremovexattr  %.2f us each\n", (now() - begin) * 1000);
	fstat(fd, &before);
	printf("ctime         %s\n", before.st_ctim.tv_nsec == after.st_ctim.tv_nsec ? "the same" : "CHANGED");
	return 0;
}
