// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#define SD_JOURNAL_SUPPRESS_LOCATION /* it would always be here */
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

#include "proto/protocol.h"

#define MESSAGE "MESSAGE="

static atomic_int max_level = LOG_INFO;
static atomic_bool to_journal;

/* Whether stderr is the journal's stream: systemd says which one it is by device and inode, and
 * somebody may have redirected stderr since. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t dev, ino;
	struct stat st;
	char behind;

	if (!stream || sscanf(stream, "%" SCNuMAX ":%" SCNuMAX "%c", &dev, &ino, &behind) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void log_open(void)
{
	atomic_store(&to_journal, stderr_is_journal());
}

void log_set_level(int level)
{
	atomic_store(&max_level, level);
}

static const char *level_name(int level)
{
	static const char *const names[] = {
		[LOG_EMERG] = "emergency", [LOG_ALERT] = "alert",     [LOG_CRIT] = "critical",
		[LOG_ERR] = "error",	   [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice",
		[LOG_INFO] = "info",	   [LOG_DEBUG] = "debug",
	};

	if (level < 0 || (size_t)level >= sizeof(names) / sizeof(names[0]))
		return "?";
	return names[level];
}

/* Copies text so that it stays one line and moves no terminal: a program's name may hold
 * anything. Cuts it with "..." where it does not fit. Returns the length. */
static size_t copy_escaped(char *to, size_t size, const char *text)
{
	static const char cut[] = "...";
	const size_t room = size - sizeof(cut);
	size_t used = 0;

	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		const bool control = *c < ' ' || *c == 0x7f;

		if (used + (control ? 4 : 1) > room) {
			memcpy(to + used, cut, sizeof(cut));
			return used + sizeof(cut) - 1;
		}
		if (control)
			used += (size_t)snprintf(to + used, 5, "\\x%02x", (unsigned)*c);
		else
			to[used++] = (char)*c;
	}
	to[used] = '\0';
	return used;
}

/* The entry's fields: each an iovec that points to its own "NAME=value" in text. */
struct fields {
	struct iovec iov[12];
	int count;
	size_t used;
	char text[LOG_MAX + DLP_MAX_PATH + 512];
};

__attribute__((format(printf, 2, 3))) static void add_field(struct fields *fields,
							    const char *format, ...)
{
	const size_t room = sizeof(fields->text) - fields->used;
	char *field = fields->text + fields->used;
	va_list args;
	int length;

	if ((size_t)fields->count == sizeof(fields->iov) / sizeof(fields->iov[0]))
		return;
	va_start(args, format);
	length = vsnprintf(field, room, format, args);
	va_end(args);
	if (length < 0 || (size_t)length >= room)
		return;
	fields->iov[fields->count++] = (struct iovec){field, (size_t)length};
	fields->used += (size_t)length + 1;
}

static bool write_journal(int level, const struct log_subject *subject, const char *message)
{
	struct fields fields = {.count = 0};

	add_field(&fields, MESSAGE "%s", message);
	add_field(&fields, "PRIORITY=%d", level);
	add_field(&fields, "SYSLOG_IDENTIFIER=%s", program_invocation_short_name);
	if (subject) {
		if (subject->path)
			add_field(&fields, "DAXLEASE_PATH=%s", subject->path);
		if (subject->pool)
			add_field(&fields, "DAXLEASE_POOL=%s", subject->pool);
		if (subject->cause)
			add_field(&fields, "DAXLEASE_CAUSE=%s", subject->cause);
		if (subject->pid)
			add_field(&fields, "DAXLEASE_PID=%d", (int)subject->pid);
		if (subject->breaker)
			add_field(&fields, "DAXLEASE_BREAKER_PID=%d", (int)subject->breaker);
		if (subject->session)
			add_field(&fields, "DAXLEASE_SESSION=%" PRIu64, subject->session);
		if (subject->lease)
			add_field(&fields, "DAXLEASE_LEASE=%" PRIu64, subject->lease);
		if (subject->end)
			add_field(&fields, "DAXLEASE_RANGE=%" PRIu64 "-%" PRIu64, subject->start,
				  subject->end);
		if (subject->error)
			add_field(&fields, "ERRNO=%d", subject->error);
	}
	return sd_journal_sendv(fields.iov, fields.count) == 0;
}

/* One write(2), so that lines of several threads and workers do not mix. */
static void write_stderr(int level, const char *message)
{
	char line[LOG_MAX + 64], stamp[32] = "?";
	struct timespec now;
	struct tm tm;
	int length;

	clock_gettime(CLOCK_REALTIME, &now);
	if (gmtime_r(&now.tv_sec, &tm))
		strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	length = snprintf(line, sizeof(line), "%s.%03ldZ %s: %s\n", stamp, now.tv_nsec / 1000000,
			  level_name(level), message);
	if (length < 0)
		return;
	if ((size_t)length >= sizeof(line))
		length = (int)sizeof(line) - 1;
	/* There is nobody left to tell that stderr cannot be written. */
	if (write(STDERR_FILENO, line, (size_t)length) < 0)
		return;
}

__attribute__((format(printf, 3, 0))) static void log_va(int level,
							 const struct log_subject *subject,
							 const char *format, va_list args)
{
	char raw[LOG_MAX], message[LOG_MAX];
	const int saved = errno;

	if (level > atomic_load_explicit(&max_level, memory_order_relaxed))
		return;
	if (vsnprintf(raw, sizeof(raw), format, args) < 0)
		raw[0] = '\0';
	copy_escaped(message, sizeof(message), raw);
	if (!atomic_load_explicit(&to_journal, memory_order_relaxed) ||
	    !write_journal(level, subject, message))
		write_stderr(level, message);
	errno = saved;
}

void log_about(int level, const struct log_subject *subject, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_va(level, subject, format, args);
	va_end(args);
}

#define DEFINE_LOG(name, level)                                                                    \
	void name(const char *format, ...)                                                         \
	{                                                                                          \
		va_list args;                                                                      \
                                                                                                   \
		va_start(args, format);                                                            \
		log_va(level, NULL, format, args);                                                 \
		va_end(args);                                                                      \
	}

DEFINE_LOG(log_error, LOG_ERR)
DEFINE_LOG(log_warning, LOG_WARNING)
DEFINE_LOG(log_notice, LOG_NOTICE)
DEFINE_LOG(log_info, LOG_INFO)
DEFINE_LOG(log_debug, LOG_DEBUG)
