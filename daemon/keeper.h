/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAXLEASE_KEEPER_H
#define DAXLEASE_KEEPER_H

/*
 * `daxleased --keeper`: what systemd does for the daemon, where there is no systemd. Runs `path`, the daemon's
 * binary, as its child with these arguments (argv[0] is its name), keeps what it stores (daemon/store.h), and starts it again
 * when it dies. Returns the exit status, when the daemon has ended for good.
 *
 * SIGTERM, SIGINT   go to the daemon, and its end is the end
 * SIGHUP            goes to the daemon, which ends with STORE_EXIT_RESTART: what `path` is by then is run
 *
 * It gives up only on a daemon that has never been ready: once leases may be held, a breaker that waits had
 * better wait longer.
 */
int keeper_run(const char *path, char **argv);

#endif
