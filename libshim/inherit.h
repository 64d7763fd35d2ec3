/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tells a process from a copy of it. fork(3)'s handlers see only fork(3): _Fork(3), clone(2) and
 * other libraries' ways go past them, and such a child has our tables and our sockets. What it then
 * says on them would end its parent's leases.
 *
 * So there is one word in a page that the kernel empties in every process that gets a copy of the
 * memory (MADV_WIPEONFORK), and in none that shares it (vfork, posix_spawn). May include: libc.
 */
#ifndef DAXLEASE_INHERIT_H
#define DAXLEASE_INHERIT_H

#include <stdint.h>

/* This process is from now on one of its own; does nothing if it is so already. Returns what
 * inherit_now() will say in it. */
uint32_t inherit_mark(void);

/* 0: a copy of a process that had called inherit_mark(). Else the number of this process's mark:
 * what was noted with another one is inherited. */
uint32_t inherit_now(void);

#endif
