/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The end of a program whose main thread leaves with pthread_exit(3). The C library ends the process
 * with its last thread, and our listener is a thread: without this it would be the last for ever, with
 * all signals blocked. So when the main thread has gone, a second thread of ours watches the others,
 * and does what the last of them would have done: exit(0). May include: libc, session.
 */
#ifndef DAXLEASE_SHIM_END_H
#define DAXLEASE_SHIM_END_H

/* The calling thread is the process's first: from the constructor, and in a fork's child. */
void end_follow(void);

/* The listener: when it begins to run, and before it ends. */
void end_listener_runs(void);
void end_listener_ends(void);

#endif
