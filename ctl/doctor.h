/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What doctor has found, and its parts: _doctor.c the daemon and its pools, _machine.c the kernel and the RDMA devices. */
#ifndef DAXLEASE_CTL_DOCTOR_H
#define DAXLEASE_CTL_DOCTOR_H

#include <stdint.h>

struct findings; /* being collected */

enum verdict {
	VERDICT_GOOD = 1,
	VERDICT_NOTE,  /* nothing is wrong, but it is worth knowing */
	VERDICT_WRONG, /* something that should work does not */
};

/* `remedy`: what to do, or NULL. */
void finding(struct findings *findings, enum verdict verdict, const char *subject,
	     const char *remedy, const char *format, ...) __attribute__((format(printf, 5, 6)));

void look_at_kernel(struct findings *findings);
void look_at_rdma(struct findings *findings);
/* Can the file system mounted at `path` be guarded? 0, or -errno of fanotify(7): -EINVAL: the kernel is too old,
 * -EOPNOTSUPP: not this file system, -EPERM: only root can try. */
int try_guard(const char *path);

#endif
