/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which mount a path is on, from /proc/self/mountinfo (proc(5)). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "daemon/pool/pool.h"

struct field {
	const char *at;
	size_t size;
};

struct line {
	unsigned long id, parent, major, minor;
	struct field root, point, fstype, super;
};

static bool take_field(const char **pos, const char *end, struct field *field)
{
	while (*pos < end && **pos == ' ')
		(*pos)++;
	field->at = *pos;
	while (*pos < end && **pos != ' ')
		(*pos)++;
	field->size = (size_t)(*pos - field->at);
	return field->size > 0;
}

static bool take_number(const char **pos, const char *end, unsigned long *number)
{
	const char *from = *pos;

	*number = 0;
	for (; *pos < end && **pos >= '0' && **pos <= '9'; (*pos)++) {
		if (__builtin_mul_overflow(*number, 10ul, number) ||
		    __builtin_add_overflow(*number, (unsigned long)(**pos - '0'), number))
			return false;
	}
	return *pos > from;
}

static bool take_char(const char **pos, const char *end, char c)
{
	if (*pos >= end || **pos != c)
		return false;
	(*pos)++;
	return true;
}

/* 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue */
static bool parse_line(const char *pos, const char *end, struct line *line)
{
	struct field field;

	if (!take_number(&pos, end, &line->id) || !take_char(&pos, end, ' ') ||
	    !take_number(&pos, end, &line->parent) || !take_char(&pos, end, ' ') ||
	    !take_number(&pos, end, &line->major) || !take_char(&pos, end, ':') ||
	    !take_number(&pos, end, &line->minor) || !take_field(&pos, end, &line->root) ||
	    !take_field(&pos, end, &line->point) || !take_field(&pos, end, &field))
		return false;
	do { /* any number of optional fields */
		if (!take_field(&pos, end, &field))
			return false;
	} while (field.size != 1 || field.at[0] != '-');
	if (!take_field(&pos, end, &line->fstype))
		return false;
	/*
	 * The source can be empty: then there are two spaces, and the options come second all the
	 * same.
	 */
	if (!take_char(&pos, end, ' '))
		return false;
	while (pos < end && *pos != ' ')
		pos++;
	if (!take_field(&pos, end, &line->super))
		line->super.size = 0;
	return true;
}

static bool next_line(const char **text, struct line *line)
{
	while (**text) {
		const char *from = *text, *end = strchrnul(from, '\n');

		*text = *end ? end + 1 : end;
		if (parse_line(from, end, line))
			return true;
	}
	return false;
}

/*
 * The kernel writes space, tab, newline, backslash and # as \ooo (fs/proc_namespace.c, mangle()).
 */
static size_t unescape(const char *at, size_t size, char *c)
{
	if (size >= 4 && at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] >= '0' &&
	    at[2] <= '7' && at[3] >= '0' && at[3] <= '7') {
		*c = (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
		return 4;
	}
	*c = *at;
	return 1;
}

/*
 * Is the mount point `path` or a directory above it? *depth: length of the mount point, 0 for "/".
 */
static bool holds(const struct field *point, const char *path, size_t *depth)
{
	size_t i = 0, n = 0;

	if (point->size == 1 && point->at[0] == '/') {
		*depth = 0;
		return path[0] == '/';
	}
	while (i < point->size) {
		char c;

		i += unescape(point->at + i, point->size - i, &c);
		if (path[n] != c || !c)
			return false;
		n++;
	}
	*depth = n;
	return path[n] == '\0' || path[n] == '/';
}

static bool listed(const char *text, unsigned long id)
{
	struct line line;

	while (next_line(&text, &line)) {
		if (line.id == id)
			return true;
	}
	return false;
}

/*
 * The mount a walk along `path` enters from `from` (NULL: from outside, where the first mount's
 * parent is not in the list): its child whose mount point comes first. Two mounts stacked at one
 * place are parent and child; should two children have one mount point, the later one is on top.
 */
static bool entered(const char *text, const char *path, const struct line *from, size_t from_depth,
		    struct line *to, size_t *to_depth)
{
	const char *all = text;
	struct line line;
	bool found = false;
	size_t depth;

	while (next_line(&text, &line)) {
		if (!holds(&line.point, path, &depth) || depth < from_depth ||
		    (found && depth > *to_depth))
			continue;
		if (from ? line.parent != from->id || line.id == from->id
			 : line.parent != line.id && listed(all, line.parent))
			continue;
		*to = line;
		*to_depth = depth;
		found = true;
	}
	return found;
}

static bool option_dax(const struct field *super)
{
	static const char *const names[] = { "dax", "dax=always" };
	const char *pos = super->at, *end = super->at + super->size;

	while (pos < end) {
		const char *comma = memchr(pos, ',', (size_t)(end - pos));
		size_t size = (size_t)((comma ? comma : end) - pos);

		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
			if (strlen(names[i]) == size && memcmp(names[i], pos, size) == 0)
				return true;
		}
		pos += size + 1;
	}
	return false;
}

void pool_find_mount_text(const char *mountinfo, const char *path, bool exact,
			  struct pool_mount *mount)
{
	struct line line, next;
	size_t depth = 0, next_depth, full = strcmp(path, "/") == 0 ? 0 : strlen(path);
	size_t lines = 1, size, out = 0;

	*mount = (struct pool_mount){ .found = false };
	if (!entered(mountinfo, path, NULL, 0, &line, &depth))
		return;
	for (const char *pos = mountinfo; (pos = strchr(pos, '\n')); pos++)
		lines++;
	/* In a list the kernel wrote, ids form no circle. */
	for (; entered(mountinfo, path, &line, depth, &next, &next_depth); lines--) {
		if (!lines)
			return;
		line = next;
		depth = next_depth;
	}
	if (exact && depth != full)
		return;

	mount->found = true;
	mount->dev = makedev((unsigned)line.major, (unsigned)line.minor);
	mount->dax = option_dax(&line.super);
	mount->whole = line.root.size == 1 && line.root.at[0] == '/';
	for (size = 0; size < line.fstype.size && out + 1 < sizeof(mount->fstype);)
		size += unescape(line.fstype.at + size, line.fstype.size - size,
				 &mount->fstype[out++]);
}

int pool_find_mount(int mountinfo_fd, const char *path, bool exact, struct pool_mount *mount)
{
	char *text = NULL;
	size_t room = 0, size = 0;

	*mount = (struct pool_mount){ .found = false };
	if (lseek(mountinfo_fd, 0, SEEK_SET) < 0)
		return -errno;
	for (;;) {
		ssize_t got;

		if (room - size < 4096) { /* also the place for the terminator */
			char *more = realloc(text, room = room ? 2 * room : 16384);

			if (!more) {
				free(text);
				return -ENOMEM;
			}
			text = more;
		}
		got = read(mountinfo_fd, text + size, room - size - 1);
		if (got < 0) {
			int error = errno;

			if (error == EINTR)
				continue;
			free(text);
			return -error;
		}
		if (got == 0)
			break;
		size += (size_t)got;
	}
	text[size] = '\0';
	pool_find_mount_text(text, path, exact, mount);
	free(text);
	return 0;
}

bool pool_path_under(const char *file, const char *dir)
{
	size_t size = strlen(dir);

	if (size == 1 && dir[0] == '/')
		return file[0] == '/' && file[1];
	return size && strncmp(file, dir, size) == 0 && file[size] == '/' && file[size + 1];
}
