// SPDX-License-Identifier: LGPL-2.1-or-later
/* Takes and gives back a lease on a file, again and again. usage: churn FILE TIMES */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libshim/daxlease.h"

int main(int argc, char **argv)
{
	int fd = argc == 3 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1, rc;
	int times = argc == 3 ? atoi(argv[2]) : 0;
	struct daxlease_held *held;
	struct daxlease *c;

	if (fd < 0 || daxlease_open(NULL, &c) < 0)
		return 2;
	for (int done = 0; done < times;) {
		rc = daxlease_take(c, fd, 0, 0, 0, &held);
		if (rc == 0) {
			daxlease_release(held);
			done++;
		} else if (rc == -ENOLCK || rc == -EAGAIN) {
			usleep(10000); /* too many second looks are still to come */
		} else {
			fprintf(stderr, "%s\n", strerror(-rc));
			return 1;
		}
	}
	daxlease_close(c);
	return 0;
}
