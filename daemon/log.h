/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one place that logs. To the journal if stderr is connected to it, with fields an
 * administrator can search by (journalctl DAXLEASE_PATH=...), else to stderr as "<time> <level>:
 * <message>".
 *
 * Thread safe; errno is kept; a message is cut at LOG_MAX bytes, its control characters are
 * escaped, since names and paths in it come from anybody. May include: libc, libsystemd.
 */
#ifndef DAXLEASE_LOG_H
#define DAXLEASE_LOG_H

#include <stdint.h>
#include <sys/types.h>
#include <syslog.h> /* LOG_ERR ... LOG_DEBUG: the levels */

#define LOG_MAX 1024

/* Where messages go is decided here, and from here on a thread writes them: nobody waits for the
 * log. Before it they go to stderr, at once. Not for children: they do not have the thread. */
void log_open(void);
void log_close(void); /* waits a moment for what is not written yet */

/* Messages above this level are dropped; LOG_INFO at first. */
void log_set_level(int level);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_notice(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What an administrator has to understand: the journal's MESSAGE_ID, by which `journalctl -x` finds its explanation in
 * systemd/daxleased.catalog. */
enum log_event {
	LOG_EVENT_NONE,
	LOG_EVENT_REVOKED,	/* a lease is taken away */
	LOG_EVENT_FENCED,	/* a holder is ended from outside */
	LOG_EVENT_REFUSED,	/* a breaker got an error instead of the file */
	LOG_EVENT_POOL_READY,
	LOG_EVENT_POOL_ABSENT,
	LOG_EVENT_POOL_REFUSED, /* it is there and cannot be guarded */
	LOG_EVENT_ESCAPED,	/* a leased file's block map changed without the guard */
	LOG_EVENT_NO_GUARD,
	LOG_EVENTS
};

/*
 * What a message is about. Members left 0 or NULL are left out; they are fields of the journal's
 * entry only, so the message itself has to name what a reader of stderr needs. Strings stay the
 * caller's.
 */
struct log_subject {
	enum log_event event; /* MESSAGE_ID */
	const char *path;  /* DAXLEASE_PATH */
	const char *pool;  /* DAXLEASE_POOL */
	const char *cause; /* DAXLEASE_CAUSE: what breaks, in words */
	pid_t pid;	   /* DAXLEASE_PID: the holder */
	pid_t breaker;	   /* DAXLEASE_BREAKER_PID */
	uint64_t session;  /* DAXLEASE_SESSION */
	uint64_t lease;	   /* DAXLEASE_LEASE */
	uint64_t start;	   /* with end: DAXLEASE_RANGE=start-end, bytes, end exclusive */
	uint64_t end;	   /* 0: no range */
	int error;	   /* ERRNO: 0 or a positive errno */
};

/* As above with a level (LOG_ERR ...) and a subject: log_about(LOG_NOTICE, &(struct
 * log_subject){ .path = path, .pid = pid }, "...", ...). */
void log_about(int level, const struct log_subject *subject, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
