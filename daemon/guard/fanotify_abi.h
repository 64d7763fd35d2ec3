/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What include/uapi/linux/fanotify.h of Linux 6.14 has and older headers (Debian 12: 6.1) lack, and
 * what the kernel never exported. The only place where such numbers are written down.
 */
#ifndef DAXLEASE_GUARD_FANOTIFY_ABI_H
#define DAXLEASE_GUARD_FANOTIFY_ABI_H

#include <assert.h>
#include <stdint.h>
#include <sys/fanotify.h>

#ifndef FAN_PRE_ACCESS
#define FAN_PRE_ACCESS 0x00100000 /* 6.14 */
#endif
#ifndef FAN_EVENT_INFO_TYPE_RANGE
#define FAN_EVENT_INFO_TYPE_RANGE 6 /* 6.14 */
#endif
#ifndef FAN_MARK_EVICTABLE
#define FAN_MARK_EVICTABLE 0x00000200 /* 5.19 */
#endif
#ifndef FAN_MARK_IGNORE
#define FAN_MARK_IGNORE 0x00000400 /* 6.0 */
#endif
#ifndef FAN_MARK_IGNORED_SURV_MODIFY
#define FAN_MARK_IGNORED_SURV_MODIFY 0x00000040
#endif
#ifndef FAN_REPORT_TID
#define FAN_REPORT_TID 0x00000100 /* 4.20 */
#endif

/* FAN_DENY_ERRNO of 6.14: the errno in the response's high byte */
#define GUARD_DENY(error) (FAN_DENY | ((uint32_t)(error) << 24))

/* struct fanotify_event_info_range of 6.14 */
struct guard_event_range {
	struct fanotify_event_info_header header;
	uint32_t pad;
	uint64_t offset; /* rounded down to the kernel's page */
	uint64_t count;	 /* rounded up; 0 is a lie told for size changes and whole-file clones */
};

/* The largest record read(2) gives us: a pre-access event with its range. An open event, and a
 * pre-access one without a range, is only the first 24 bytes; so two of them can come in one read.
 */
struct guard_event {
	struct fanotify_event_metadata head;
	struct guard_event_range range;
};
static_assert(sizeof(struct fanotify_event_metadata) == 24, "layout of the kernel");
static_assert(sizeof(struct guard_event) == 48, "layout of the kernel");

/* include/linux/sched.h, field 9 of /proc/TID/stat */
#define GUARD_PF_IO_WORKER 0x00000010u
#define GUARD_PF_EXITING 0x00000004
#define GUARD_PF_KTHREAD 0x00200000u

#endif
