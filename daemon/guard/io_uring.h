/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What this kernel's io_uring can do to a file, asked once at start. */
#ifndef DAXLEASE_GUARD_IO_URING_H
#define DAXLEASE_GUARD_IO_URING_H

#include <stdbool.h>

enum io_uring_ability {
	IO_URING_ABSENT,   /* not in this kernel */
	IO_URING_ONE_FILE, /* every operation it has is known, and none shares extents between files
			    */
	IO_URING_MAY_SHARE, /* it has operations we do not know, or we may not ask */
};
enum io_uring_ability io_uring_ability(void);

#endif
