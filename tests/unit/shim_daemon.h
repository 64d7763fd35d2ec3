/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A daemon for the shim's tests: a few threads of the test program that speak the protocol and
 * keep, for each page of one file, who holds it. It grants everything that is not being broken,
 * unless told to refuse.
 */
#ifndef DAXLEASE_TESTS_SHIM_DAEMON_H
#define DAXLEASE_TESTS_SHIM_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define FAKE_PAGES 256u /* of the file, from its start; more is refused with ENODATA */

/* Listens on `socket`; one pool, of the file's device. */
void fake_start(const char *socket, uint64_t dev, uint64_t ino, uint32_t pool_type);
/* Every GRANT is refused with it (enum dlp_reason) until 0 is set. */
void fake_refuse(uint32_t reason);
/* Every answer about pools takes so long. */
void fake_slow_pools(unsigned delay_ns);
/* Every reply, and every revocation, is sent twice: what a daemon does that was killed before it noted that it had
 * sent it. */
void fake_repeat(bool on);
/* `hook` runs when a GRANT was granted and its reply is not yet sent. */
void fake_before_reply(void (*hook)(void));

/* Pages of [first, end) held by any session; and whether no session holds or loses any. */
unsigned fake_held(unsigned first, unsigned end);
bool fake_wait_held(unsigned first, unsigned end,
		    unsigned count); /* false: not within ten seconds */
unsigned fake_grants(void);	     /* GRANT requests so far */
unsigned fake_mrs(void);

/* Tells the holders that pages [first, end) are being broken. */
void fake_break(unsigned first, unsigned end);
/* Revokes what is held of them (or drops, C12) and waits for the answers: the first error in one,
 * -1 if there was none in ten seconds. From then on the range is closed (EAGAIN) until
 * fake_finish(). Told how many sessions answered. */
int fake_revoke(unsigned first, unsigned end, bool drop, unsigned *answers);
void fake_finish(unsigned first, unsigned end);
/* Tells everybody that the list of pools has changed; hides the pool, or shows it. */
void fake_pool(bool there);
/* Hangs up on everybody. */
void fake_hang_up(void);

#endif
