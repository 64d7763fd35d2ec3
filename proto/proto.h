/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * proto/: what both ends share. protocol.h is the wire; this header is what the code calls.
 * May include: libc only. Used by daemon, libshim and ctl; no state, no allocation, no logging.
 */
#ifndef DAXLEASE_PROTO_H
#define DAXLEASE_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/protocol.h"

/* Room for any message, aligned for any of its structs. */
union dlp_buffer {
	struct dlp_head head;
	unsigned char bytes[DLP_MAX_SIZE];
	uint64_t align;
};

/* Which way a message travels: which opcodes are legal there. */
enum dlp_channel {
	DLP_TO_DAEMON_CALLS,
	DLP_TO_DAEMON_EVENTS,
	DLP_TO_CLIENT_CALLS, /* replies */
	DLP_TO_CLIENT_EVENTS,
};

/* One rule of the language: what an opcode looks like on the wire. role_mask: bit (1 << role) set for the
 * roles that may send it; a connection that has not said HELLO has role 0. */
struct dlp_rule {
	uint16_t opcode;
	enum dlp_channel channel;
	uint32_t size; /* exact */
	uint8_t fds_min, fds_max;
	uint32_t role_mask;
	bool one_way;
	const char *name;
};

/* The rule for an opcode on a channel; NULL if there is none. For replies pass the opcode with DLP_REPLY. */
const struct dlp_rule *dlp_rule(enum dlp_channel channel, uint16_t opcode);

/*
 * Checks a received packet of `size` bytes that came with `fds` descriptors on `channel` from a peer with
 * `role` (0 before HELLO; ignored on the channels to a client). 0, or:
 *   -EBADMSG        size, opcode, descriptors, padding, flags or a range are not what the rule says
 *   -EPROTO         the opcode is not legal in this order (HELLO twice, something before HELLO)
 *   -EACCES         this role may not send it: answered with EACCES, the connection lives
 * A HELLO of another major version passes: the handler answers it.
 */
int dlp_validate(enum dlp_channel channel, uint32_t role, const void *packet, size_t size, unsigned fds);

/*
 * Sends one message; `fd` (or -1) travels with it and stays the caller's. flags: of send(2), MSG_NOSIGNAL is
 * added. Fills head.size from the rule's size. 0 or -errno (-EAGAIN: the peer does not read).
 * dlp_recv: receives one packet. A single descriptor that came with it becomes the caller's in *fd (else -1), also
 * with -EBADMSG: that is a packet that is too long, or that came with several descriptors, which are all closed.
 * Returns its size, 0 at the end of the stream, or -errno. *fds is the number of descriptors that came.
 * dlp_recv_from: the same for who must not trust the peer: several descriptors go to dispose(arg, fd) one by one,
 * since close(2) can block for as long as the peer likes.
 */
int dlp_send(int sock, struct dlp_head *message, size_t size, int fd, int flags);
ptrdiff_t dlp_recv(int sock, union dlp_buffer *buffer, int *fd, unsigned *fds, int flags);
typedef void dlp_dispose(void *arg, int fd);
ptrdiff_t dlp_recv_from(int sock, union dlp_buffer *buffer, int *fd, unsigned *fds, int flags, dlp_dispose *dispose,
			void *arg);

/* Is the reply one to an earlier request than `seq`: sent once more by a daemon that was killed and does not know that
 * it had left (DLP_REPLY)? */
static inline bool dlp_is_repeated(const struct dlp_head *reply, uint32_t seq)
{
	return (int32_t)(reply->seq - seq) < 0;
}

/* Words for people; never NULL. */
const char *dlp_reason_text(uint32_t reason); /* what is wrong and what mends it */
int dlp_reason_errno(uint32_t reason);	      /* positive errno */
const char *dlp_cause_text(uint32_t cause);
const char *dlp_label_text(uint32_t label);
const char *dlp_lease_state_text(uint32_t state);
const char *dlp_pool_type_text(uint32_t type);
const char *dlp_pool_state_text(uint32_t state);
const char *dlp_happening_text(uint32_t kind);
const char *dlp_fence_step_text(uint32_t step);
const char *dlp_outcome_text(uint32_t outcome);
const char *dlp_guard_state_text(uint32_t state);
const char *dlp_kept_text(uint32_t kept);
/* One word each, for labels of statistics: no spaces. */
const char *dlp_reason_word(uint32_t reason);
const char *dlp_cause_word(uint32_t cause);

/* The upper bound of a bucket of struct dlp_histogram, itself included; of the last: UINT64_MAX. */
uint64_t dlp_bucket_ns(unsigned bucket);

#endif
