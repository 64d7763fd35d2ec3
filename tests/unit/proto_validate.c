// SPDX-License-Identifier: LGPL-2.1-or-later
/* Every rule of the protocol: what is taken, and each way of being refused. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/proto.h"

#define CALLS DLP_TO_DAEMON_CALLS
#define PAGE 4096u

/* A message that is right, for each opcode a daemon receives. */
static size_t good(uint16_t opcode, union dlp_buffer *b, uint32_t *role, unsigned *fds)
{
	const struct dlp_rule *rule = dlp_rule(opcode == DLP_REVOKED ? DLP_TO_DAEMON_EVENTS : CALLS, opcode);
	struct dlp_hello *hello = (void *)b;
	struct dlp_grant *grant = (void *)b;
	struct dlp_range *range = (void *)b;
	struct dlp_mr *mr = (void *)b;
	struct dlp_break *broken = (void *)b;

	memset(b, 0, sizeof(*b));
	assert_non_null(rule);
	b->head.opcode = opcode;
	b->head.size = rule->size;
	*fds = rule->fds_min;
	*role = DLP_ROLE_ADMIN;
	if (rule->role_mask & (1u << DLP_ROLE_HOLDER))
		*role = DLP_ROLE_HOLDER;
	if (opcode == DLP_HELLO) {
		*role = 0;
		hello->magic = DLP_MAGIC;
		hello->major = DLP_MAJOR;
		hello->role = DLP_ROLE_HOLDER;
	} else if (opcode == DLP_GRANT) {
		grant->end = PAGE;
	} else if (opcode == DLP_RELEASE || opcode == DLP_QUERY || opcode == DLP_REVOKED) {
		range->end = PAGE;
	} else if (opcode == DLP_MR_ADD) {
		mr->end = PAGE;
	} else if (opcode == DLP_BREAK) {
		broken->end = UINT64_MAX;
	}
	return rule->size;
}

static const uint16_t opcodes[] = {
	DLP_HELLO, DLP_POOL,   DLP_GRANT, DLP_RELEASE, DLP_MR_ADD,	DLP_MR_DEL,
	DLP_QUERY, DLP_LIST, DLP_STATUS, DLP_BREAK,  DLP_LEASE_REVOKE, DLP_REVOKED,
	DLP_STATS, DLP_POOL_STATS, DLP_WAITING, DLP_WATCH, DLP_DRAIN, DLP_LEASE_FORGET,
};
#define EACH_OPCODE(i) for (size_t i = 0; i < sizeof(opcodes) / sizeof(opcodes[0]); i++)

static enum dlp_channel channel_of(uint16_t opcode)
{
	return opcode == DLP_REVOKED ? DLP_TO_DAEMON_EVENTS : CALLS;
}

static void right_messages_pass(void **state)
{
	(void)state;
	EACH_OPCODE(i)
	{
		union dlp_buffer b;
		uint32_t role;
		unsigned fds;
		size_t size = good(opcodes[i], &b, &role, &fds);

		assert_int_equal(dlp_validate(channel_of(opcodes[i]), role, &b, size, fds), 0);
	}
}

static void size_must_be_exact(void **state)
{
	(void)state;
	EACH_OPCODE(i)
	{
		union dlp_buffer b;
		uint32_t role;
		unsigned fds;
		size_t size = good(opcodes[i], &b, &role, &fds);
		enum dlp_channel channel = channel_of(opcodes[i]);

		for (size_t wrong = 0; wrong <= size + 8; wrong++) {
			b.head.size = (uint32_t)wrong;
			if (wrong != size)
				assert_int_equal(dlp_validate(channel, role, &b, wrong, fds), -EBADMSG);
		}
		b.head.size = (uint32_t)size + 1; /* the head lies about it */
		assert_int_equal(dlp_validate(channel, role, &b, size, fds), -EBADMSG);
	}
}

static void descriptors_must_fit(void **state)
{
	(void)state;
	EACH_OPCODE(i)
	{
		const struct dlp_rule *rule = dlp_rule(channel_of(opcodes[i]), opcodes[i]);
		union dlp_buffer b;
		uint32_t role;
		unsigned fds;
		size_t size = good(opcodes[i], &b, &role, &fds);

		for (unsigned n = 0; n < 4; n++) {
			int want = n >= rule->fds_min && n <= rule->fds_max ? 0 : -EBADMSG;

			if (opcodes[i] == DLP_DRAIN)
				((struct dlp_drain *)&b)->pool = n == 1 ? DLP_DRAIN_FILE : 0;
			assert_int_equal(dlp_validate(channel_of(opcodes[i]), role, &b, size, n), want);
		}
	}
}

static void head_flags_and_errors_are_refused(void **state)
{
	(void)state;
	EACH_OPCODE(i)
	{
		union dlp_buffer b;
		uint32_t role;
		unsigned fds;
		size_t size = good(opcodes[i], &b, &role, &fds);
		enum dlp_channel channel = channel_of(opcodes[i]);

		b.head.flags = 1;
		assert_int_equal(dlp_validate(channel, role, &b, size, fds), -EBADMSG);
		b.head.flags = 0;
		b.head.error = -1;
		assert_int_equal(dlp_validate(channel, role, &b, size, fds), -EBADMSG);
		b.head.error = EIO; /* only a holder that could not revoke has one */
		assert_int_equal(dlp_validate(channel, role, &b, size, fds),
				 opcodes[i] == DLP_REVOKED ? 0 : -EBADMSG);
	}
}

static void hello_comes_first_and_once(void **state)
{
	(void)state;
	EACH_OPCODE(i)
	{
		union dlp_buffer b;
		uint32_t role;
		unsigned fds;
		size_t size = good(opcodes[i], &b, &role, &fds);

		if (opcodes[i] == DLP_HELLO)
			role = DLP_ROLE_HOLDER;
		else
			role = 0;
		assert_int_equal(dlp_validate(channel_of(opcodes[i]), role, &b, size, fds), -EPROTO);
	}
}

static void roles_are_kept_apart(void **state)
{
	static const uint16_t admins_only[] = {DLP_BREAK, DLP_LEASE_REVOKE, DLP_LEASE_FORGET, DLP_WATCH, DLP_DRAIN};
	static const uint16_t holders_only[] = {DLP_GRANT, DLP_RELEASE, DLP_MR_ADD, DLP_MR_DEL, DLP_QUERY};
	union dlp_buffer b;
	uint32_t role;
	unsigned fds;
	size_t size;

	(void)state;
	for (size_t i = 0; i < sizeof(admins_only) / sizeof(admins_only[0]); i++) {
		size = good(admins_only[i], &b, &role, &fds);
		assert_int_equal(dlp_validate(CALLS, DLP_ROLE_HOLDER, &b, size, fds), -EACCES);
		assert_int_equal(dlp_validate(CALLS, DLP_ROLE_VIEWER, &b, size, fds), -EACCES);
	}
	for (size_t i = 0; i < sizeof(holders_only) / sizeof(holders_only[0]); i++) {
		size = good(holders_only[i], &b, &role, &fds);
		assert_int_equal(dlp_validate(CALLS, DLP_ROLE_VIEWER, &b, size, fds), -EACCES);
		assert_int_equal(dlp_validate(CALLS, DLP_ROLE_ADMIN, &b, size, fds), -EACCES);
	}
}

static void unknown_opcodes_and_wrong_channels(void **state)
{
	union dlp_buffer b;
	uint32_t role;
	unsigned fds;
	size_t size;

	(void)state;
	size = good(DLP_STATUS, &b, &role, &fds);
	for (unsigned opcode = 0; opcode <= UINT16_MAX; opcode++) {
		b.head.opcode = (uint16_t)opcode;
		if (!dlp_rule(CALLS, (uint16_t)opcode))
			assert_int_equal(dlp_validate(CALLS, DLP_ROLE_ADMIN, &b, size, 0), -EBADMSG);
	}
	size = good(DLP_REVOKED, &b, &role, &fds);
	assert_int_equal(dlp_validate(CALLS, DLP_ROLE_HOLDER, &b, size, 0), -EBADMSG);
	size = good(DLP_RELEASE, &b, &role, &fds);
	assert_int_equal(dlp_validate(DLP_TO_DAEMON_EVENTS, DLP_ROLE_HOLDER, &b, size, 0), -EBADMSG);
}

static void hello_fields(void **state)
{
	union dlp_buffer b;
	struct dlp_hello *m = (void *)&b;
	uint32_t role;
	unsigned fds;
	size_t size = good(DLP_HELLO, &b, &role, &fds);

	(void)state;
	m->magic = 1;
	assert_int_equal(dlp_validate(CALLS, 0, &b, size, 0), -EBADMSG);
	m->magic = DLP_MAGIC;
	m->role = 0;
	assert_int_equal(dlp_validate(CALLS, 0, &b, size, 0), -EBADMSG);
	m->role = DLP_ROLE_VIEWER + 1;
	assert_int_equal(dlp_validate(CALLS, 0, &b, size, 0), -EBADMSG);
	m->major = DLP_MAJOR + 1; /* its roles are its own business: it is answered with our version */
	assert_int_equal(dlp_validate(CALLS, 0, &b, size, 0), 0);
	m->pad = 1;
	assert_int_equal(dlp_validate(CALLS, 0, &b, size, 0), -EBADMSG);
}

/* Ranges: start < end, and for files end fits loff_t. */
static void ranges(void **state)
{
	static const struct {
		uint64_t start, end;
		bool file, any;
	} rows[] = {
		{0, 1, true, true},
		{0, 0, false, false},
		{1, 0, false, false},
		{PAGE, PAGE, false, false},
		{0, INT64_MAX, true, true},
		{0, (uint64_t)INT64_MAX + 1, false, true},
		{0, UINT64_MAX, false, true},
		{UINT64_MAX, 0, false, false},
		{UINT64_MAX - 1, UINT64_MAX, false, true},
	};
	static const uint16_t with_range[] = {DLP_GRANT, DLP_RELEASE, DLP_QUERY, DLP_REVOKED, DLP_MR_ADD, DLP_BREAK};
	union dlp_buffer b;
	uint32_t role;
	unsigned fds;

	(void)state;
	for (size_t i = 0; i < sizeof(with_range) / sizeof(with_range[0]); i++) {
		for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
			size_t size = good(with_range[i], &b, &role, &fds);
			bool pass = with_range[i] == DLP_BREAK ? rows[r].any : rows[r].file;

			switch (with_range[i]) {
			case DLP_GRANT:
				((struct dlp_grant *)&b)->start = rows[r].start;
				((struct dlp_grant *)&b)->end = rows[r].end;
				break;
			case DLP_MR_ADD:
				((struct dlp_mr *)&b)->start = rows[r].start;
				((struct dlp_mr *)&b)->end = rows[r].end;
				break;
			case DLP_BREAK:
				((struct dlp_break *)&b)->start = rows[r].start;
				((struct dlp_break *)&b)->end = rows[r].end;
				break;
			default:
				((struct dlp_range *)&b)->start = rows[r].start;
				((struct dlp_range *)&b)->end = rows[r].end;
			}
			assert_int_equal(dlp_validate(channel_of(with_range[i]), role, &b, size, fds),
					 pass ? 0 : -EBADMSG);
		}
	}
}

static void unknown_flags_and_padding(void **state)
{
	union dlp_buffer b;
	uint32_t role;
	unsigned fds;
	size_t size = good(DLP_GRANT, &b, &role, &fds);

	(void)state;
	((struct dlp_grant *)&b)->flags = DLP_GRANT_FLAGS + 1;
	assert_int_equal(dlp_validate(CALLS, role, &b, size, fds), -EBADMSG);
	((struct dlp_grant *)&b)->flags = 0;
	((struct dlp_grant *)&b)->pad = 1;
	assert_int_equal(dlp_validate(CALLS, role, &b, size, fds), -EBADMSG);
	size = good(DLP_MR_ADD, &b, &role, &fds);
	((struct dlp_mr *)&b)->flags = DLP_MR_FLAGS + 1;
	assert_int_equal(dlp_validate(CALLS, role, &b, size, fds), -EBADMSG);
	size = good(DLP_MR_DEL, &b, &role, &fds);
	((struct dlp_mr *)&b)->ino = 1;
	assert_int_equal(dlp_validate(CALLS, role, &b, size, fds), -EBADMSG);
	size = good(DLP_POOL, &b, &role, &fds);
	((struct dlp_pool *)&b)->pad = 1;
	assert_int_equal(dlp_validate(CALLS, role, &b, size, fds), -EBADMSG);
	size = good(DLP_DRAIN, &b, &role, &fds);
	((struct dlp_drain *)&b)->flags = DLP_DRAIN_FLAGS + 1;
	assert_int_equal(dlp_validate(CALLS, role, &b, size, 0), -EBADMSG);
	((struct dlp_drain *)&b)->flags = DLP_DRAIN_KEEP | DLP_DRAIN_REOPEN;
	assert_int_equal(dlp_validate(CALLS, role, &b, size, 0), -EBADMSG);
	((struct dlp_drain *)&b)->flags = DLP_DRAIN_KEEP;
	assert_int_equal(dlp_validate(CALLS, role, &b, size, 0), 0);
	assert_int_equal(dlp_validate(CALLS, role, &b, size, 1), -EBADMSG); /* a pool has no descriptor, */
	((struct dlp_drain *)&b)->pool = DLP_DRAIN_FILE;
	assert_int_equal(dlp_validate(CALLS, role, &b, size, 0), -EBADMSG); /* and a file has */
	assert_int_equal(dlp_validate(CALLS, role, &b, size, 1), 0);
	size = good(DLP_POOL_STATS, &b, &role, &fds);
	((struct dlp_pool *)&b)->pad = 1;
	assert_int_equal(dlp_validate(CALLS, role, &b, size, fds), -EBADMSG);
	size = good(DLP_RELEASE, &b, &role, &fds);
	((struct dlp_range *)&b)->epoch = 1;
	assert_int_equal(dlp_validate(CALLS, role, &b, size, fds), -EBADMSG);
}

/* An event's range is one that can be answered for. */
static void events_can_be_answered(void **state)
{
	struct dlp_ev_break event = {.head = {.opcode = DLP_EV_REVOKE, .size = sizeof(event)}, .end = INT64_MAX};
	struct dlp_range reply = {.head = {.opcode = DLP_REVOKED, .size = sizeof(reply)}, .end = INT64_MAX};

	(void)state;
	for (int over = 0; over < 2; over++) {
		int right = over ? -EBADMSG : 0;

		event.end = reply.end = (uint64_t)INT64_MAX + (uint64_t)over;
		assert_int_equal(dlp_validate(DLP_TO_CLIENT_EVENTS, 0, &event, sizeof(event), 0), right);
		assert_int_equal(dlp_validate(DLP_TO_DAEMON_EVENTS, DLP_ROLE_HOLDER, &reply, sizeof(reply), 0), right);
	}
}

/* A message to a client is right with its string empty, and wrong with it not ended. */
static void string_must_end(enum dlp_channel channel, uint16_t opcode, size_t offset, size_t size)
{
	const struct dlp_rule *rule = dlp_rule(channel, opcode);
	union dlp_buffer b = {.head = {.opcode = opcode}};

	assert_non_null(rule);
	b.head.size = rule->size;
	assert_int_equal(dlp_validate(channel, 0, &b, rule->size, 0), 0);
	memset(b.bytes + offset, 'x', size);
	assert_int_equal(dlp_validate(channel, 0, &b, rule->size, 0), -EBADMSG);
	b.bytes[offset + size - 1] = 0;
	assert_int_equal(dlp_validate(channel, 0, &b, rule->size, 0), 0);
}

static void strings_of_reports_end(void **state)
{
#define MUST_END(channel, opcode, type, member)                                                                       \
	string_must_end(channel, opcode, offsetof(struct type, member), sizeof(((struct type *)0)->member))
	(void)state;
	MUST_END(DLP_TO_CLIENT_CALLS, DLP_WAITING | DLP_REPLY, dlp_waiting_reply, comm);
	MUST_END(DLP_TO_CLIENT_CALLS, DLP_WAITING | DLP_REPLY, dlp_waiting_reply, pool);
	MUST_END(DLP_TO_CLIENT_CALLS, DLP_WAITING | DLP_REPLY, dlp_waiting_reply, path);
	MUST_END(DLP_TO_CLIENT_CALLS, DLP_POOL_STATS | DLP_REPLY, dlp_pool_stats_reply, name);
	MUST_END(DLP_TO_CLIENT_EVENTS, DLP_EV_WATCH, dlp_ev_watch, comm);
	MUST_END(DLP_TO_CLIENT_EVENTS, DLP_EV_WATCH, dlp_ev_watch, breaker_comm);
	MUST_END(DLP_TO_CLIENT_EVENTS, DLP_EV_WATCH, dlp_ev_watch, pool);
	MUST_END(DLP_TO_CLIENT_EVENTS, DLP_EV_WATCH, dlp_ev_watch, path);
#undef MUST_END
}

static void strings_to_clients_end(void **state)
{
	struct dlp_list_reply m = {.head = {.opcode = DLP_LIST | DLP_REPLY, .size = sizeof(m)}};

	(void)state;
	assert_int_equal(dlp_validate(DLP_TO_CLIENT_CALLS, 0, &m, sizeof(m), 0), 0);
	memset(m.comm, 'c', sizeof(m.comm));
	assert_int_equal(dlp_validate(DLP_TO_CLIENT_CALLS, 0, &m, sizeof(m), 0), -EBADMSG);
	m.comm[0] = 0;
	memset(m.path, '/', sizeof(m.path));
	assert_int_equal(dlp_validate(DLP_TO_CLIENT_CALLS, 0, &m, sizeof(m), 0), -EBADMSG);
}

static void every_message_fits_the_buffer(void **state)
{
	(void)state;
	for (int channel = DLP_TO_DAEMON_CALLS; channel <= DLP_TO_CLIENT_EVENTS; channel++) {
		for (unsigned opcode = 0; opcode <= UINT16_MAX; opcode++) {
			const struct dlp_rule *rule = dlp_rule((enum dlp_channel)channel, (uint16_t)opcode);

			if (!rule)
				continue;
			assert_true(rule->size <= DLP_MAX_SIZE && rule->fds_max <= DLP_MAX_FDS);
			assert_int_equal(rule->size % 8, 0); /* no padding at the end */
		}
	}
}

/* --- the wire -------------------------------------------------------------------------------------------- */

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void wire_carries_a_descriptor(void **state)
{
	struct dlp_grant sent = {.head.opcode = DLP_GRANT, .end = PAGE};
	union dlp_buffer got;
	int pair[2], fd;
	unsigned fds;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(dlp_send(pair[0], &sent.head, sizeof(sent), 1, 0), 0);
	assert_int_equal(dlp_recv(pair[1], &got, &fd, &fds, 0), sizeof(sent));
	assert_int_equal(fds, 1);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	assert_int_equal(dlp_recv(pair[1], &got, &fd, &fds, MSG_DONTWAIT), -EAGAIN);
	close(pair[0]);
	assert_int_equal(dlp_recv(pair[1], &got, &fd, &fds, 0), 0);
	close(pair[1]);
}

static void wire_closes_descriptors_too_many(void **state)
{
	union {
		char bytes[CMSG_SPACE(253 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct dlp_head head = {.opcode = DLP_STATUS, .size = sizeof(head)};
	union dlp_buffer got;
	int pair[2], fd, before;
	unsigned fds;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	before = count_fds();
	for (unsigned n = 2; n <= 253; n += 7) {
		struct iovec iov = {&head, sizeof(head)};
		struct msghdr msg = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.bytes,
			.msg_controllen = CMSG_SPACE(n * sizeof(int)),
		};
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		int *list = (int *)(void *)CMSG_DATA(c);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		for (unsigned i = 0; i < n; i++)
			list[i] = 0;
		assert_int_equal(sendmsg(pair[0], &msg, 0), sizeof(head));
		assert_int_equal(dlp_recv(pair[1], &got, &fd, &fds, 0), -EBADMSG);
		assert_int_equal(fd, -1);
		assert_int_equal(fds, n);
		assert_int_equal(count_fds(), before);
	}
	close(pair[0]);
	close(pair[1]);
}

static void wire_refuses_what_is_too_long(void **state)
{
	char packet[DLP_MAX_SIZE + 1] = {0};
	union dlp_buffer got;
	int pair[2], fd;
	unsigned fds;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(send(pair[0], packet, sizeof(packet), 0), sizeof(packet));
	assert_int_equal(dlp_recv(pair[1], &got, &fd, &fds, 0), -EBADMSG);
	close(pair[0]);
	close(pair[1]);
}

/* --- words ------------------------------------------------------------------------------------------------- */

static void every_number_has_words(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < DLP_REASON_COUNT; i++) {
		assert_non_null(dlp_reason_text(i));
		assert_true(i == DLP_REASON_NONE || dlp_reason_errno(i) > 0);
	}
	for (uint32_t i = 0; i < DLP_CAUSE_COUNT; i++)
		assert_string_not_equal(dlp_cause_text(i), "unknown");
	assert_string_equal(dlp_cause_text(UINT32_MAX), "unknown");
	for (uint32_t i = 0; i < DLP_REASON_COUNT; i++)
		assert_string_not_equal(dlp_reason_word(i), "unknown");
	for (uint32_t i = DLP_CAUSE_UNKNOWN + 1; i < DLP_CAUSE_COUNT; i++)
		assert_string_not_equal(dlp_cause_word(i), "unknown");
	for (uint32_t i = 1; i < DLP_HAPPENINGS; i++)
		assert_string_not_equal(dlp_happening_text(i), "unknown");
	for (uint32_t i = 1; i < DLP_FENCE_STEPS; i++)
		assert_string_not_equal(dlp_fence_step_text(i), "unknown");
	for (uint32_t i = 0; i < DLP_OUTCOMES; i++)
		assert_string_not_equal(dlp_outcome_text(i), "unknown");
	assert_string_equal(dlp_label_text(0), "unknown");
	assert_non_null(dlp_reason_text(UINT32_MAX));
}

static void statistics_have_room(void **state)
{
	(void)state;
	assert_true(DLP_REASON_COUNT <= DLP_STATS_REASONS && DLP_CAUSE_COUNT <= DLP_STATS_CAUSES &&
		    DLP_FENCE_STEPS <= DLP_STATS_STEPS);
	assert_int_equal(dlp_bucket_ns(0), 100000);
	assert_int_equal(dlp_bucket_ns(4), 2000000);
	assert_int_equal(dlp_bucket_ns(DLP_STATS_BUCKETS - 2), 100000000000);
	assert_true(dlp_bucket_ns(DLP_STATS_BUCKETS - 1) == UINT64_MAX);
	for (unsigned i = 1; i < DLP_STATS_BUCKETS; i++)
		assert_true(dlp_bucket_ns(i) > dlp_bucket_ns(i - 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right_messages_pass),
		cmocka_unit_test(size_must_be_exact),
		cmocka_unit_test(descriptors_must_fit),
		cmocka_unit_test(head_flags_and_errors_are_refused),
		cmocka_unit_test(hello_comes_first_and_once),
		cmocka_unit_test(roles_are_kept_apart),
		cmocka_unit_test(unknown_opcodes_and_wrong_channels),
		cmocka_unit_test(hello_fields),
		cmocka_unit_test(ranges),
		cmocka_unit_test(events_can_be_answered),
		cmocka_unit_test(unknown_flags_and_padding),
		cmocka_unit_test(strings_to_clients_end),
		cmocka_unit_test(strings_of_reports_end),
		cmocka_unit_test(every_message_fits_the_buffer),
		cmocka_unit_test(wire_carries_a_descriptor),
		cmocka_unit_test(wire_closes_descriptors_too_many),
		cmocka_unit_test(wire_refuses_what_is_too_long),
		cmocka_unit_test(every_number_has_words),
		cmocka_unit_test(statistics_have_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
