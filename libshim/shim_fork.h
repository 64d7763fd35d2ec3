/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Follows fork(3); once, from the constructor. */
#ifndef DAXLEASE_SHIM_FORK_H
#define DAXLEASE_SHIM_FORK_H

void fork_follow(void);

#endif
