// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/config.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <ini.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define NSEC_PER_MSEC UINT64_C(1000000)
#define NSEC_PER_SEC UINT64_C(1000000000)

#define KERNEL_BREAK_TIME "/proc/sys/fs/lease-break-time"
#define BREAK_TIME_DEFAULT (45 * NSEC_PER_SEC) /* the kernel's, where it cannot be asked */
#define MARGIN_DEFAULT (2 * NSEC_PER_SEC)
#define FENCE_DEFAULT (5 * NSEC_PER_SEC)

enum section_kind { SECTION_NONE, SECTION_DAEMON, SECTION_POOL, SECTION_BAD };

#define MAX_KEYS 16 /* of all sections together */

struct loader {
	const char *file;
	FILE *in;
	FILE *errors;
	unsigned mistakes;
	int fatal; /* -ENOMEM */

	char *text; /* the line last read */
	size_t text_size;
	unsigned line;
	bool awaited; /* it is neither empty nor a section: inih has to find a key in it */

	enum section_kind kind;
	unsigned daemon_line;	 /* where [daemon] was, 0: not yet */
	unsigned seen[MAX_KEYS]; /* lines where the keys of this section were set */

	struct config *config;
};

__attribute__((format(printf, 3, 4))) static void refuse(struct loader *loader, unsigned line,
							 const char *format, ...)
{
	va_list args;

	loader->mistakes++;
	if (line)
		fprintf(loader->errors, "%s:%u: ", loader->file, line);
	else
		fprintf(loader->errors, "%s: ", loader->file);
	va_start(args, format);
	vfprintf(loader->errors, format, args);
	va_end(args);
	fputc('\n', loader->errors);
}

static struct config_pool *current_pool(struct loader *loader)
{
	return &loader->config->pools[loader->config->pool_count - 1];
}

/* --- values ----------------------------------------------------------------------------------- */

struct key {
	enum section_kind section;
	const char *name;
	/* Parses the value into `to`; it has told what is wrong when it says false. */
	bool (*parse)(struct loader *loader, const struct key *key, const char *value, void *to);
	size_t offset;	   /* in struct config or struct config_pool */
	uint64_t min, max; /* of durations in ns, of counts */
};

static const struct {
	const char *name;
	uint64_t ns;
} duration_units[] = {
	{"", NSEC_PER_SEC},
	{"ms", NSEC_PER_MSEC},
	{"s", NSEC_PER_SEC},
	{"min", 60 * NSEC_PER_SEC},
};

/* Digits, with at most one point among them; NULL if it is none. Not strtod(): that takes signs,
 * exponents, "inf", and a comma in some locales. Six digits each side, so that times a minute in
 * ns it still fits. */
static const char *parse_decimal(const char *text, uint64_t *whole, uint64_t *fraction,
				 uint64_t *scale)
{
	const char *start = text;

	*whole = *fraction = 0;
	*scale = 1;
	for (; isdigit((unsigned char)*text) && text - start < 6; text++)
		*whole = *whole * 10 + (uint64_t)(*text - '0');
	if (text == start)
		return NULL;
	if (*text != '.')
		return text;
	for (start = ++text; isdigit((unsigned char)*text) && text - start < 6; text++) {
		*fraction = *fraction * 10 + (uint64_t)(*text - '0');
		*scale *= 10;
	}
	return text == start ? NULL : text;
}

static void print_duration(char *to, size_t size, uint64_t ns)
{
	if (ns % (60 * NSEC_PER_SEC) == 0)
		snprintf(to, size, "%umin", (unsigned)(ns / NSEC_PER_SEC / 60));
	else if (ns % NSEC_PER_SEC == 0)
		snprintf(to, size, "%us", (unsigned)(ns / NSEC_PER_SEC));
	else
		snprintf(to, size, "%ums", (unsigned)(ns / NSEC_PER_MSEC));
}

static bool parse_duration(struct loader *loader, const struct key *key, const char *value,
			   void *to)
{
	uint64_t whole, fraction, scale, ns;
	char min[32], max[32];
	const char *unit = parse_decimal(value, &whole, &fraction, &scale);
	size_t i = 0;

	while (unit && isblank((unsigned char)*unit))
		unit++;
	while (unit && i < sizeof(duration_units) / sizeof(duration_units[0]) &&
	       strcmp(unit, duration_units[i].name) != 0)
		i++;
	if (!unit || i == sizeof(duration_units) / sizeof(duration_units[0])) {
		refuse(loader, loader->line,
		       "%s: \"%s\" is not a duration such as 500ms, 45s, 1.5s or 2min", key->name,
		       value);
		return false;
	}
	ns = whole * duration_units[i].ns + fraction * duration_units[i].ns / scale;
	if (ns < key->min || ns > key->max) {
		print_duration(min, sizeof(min), key->min);
		print_duration(max, sizeof(max), key->max);
		refuse(loader, loader->line, "%s: \"%s\" is not between %s and %s", key->name,
		       value, min, max);
		return false;
	}
	*(uint64_t *)to = ns;
	return true;
}

struct word {
	const char *name;
	int value;
};

/* `all`: what they are, for people. */
static bool find_word(struct loader *loader, const struct key *key, const char *value,
		      const struct word *words, size_t count, const char *all, int *found)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(value, words[i].name) == 0) {
			*found = words[i].value;
			return true;
		}
	}
	refuse(loader, loader->line, "%s: \"%s\" is not %s", key->name, value, all);
	return false;
}

static bool parse_type(struct loader *loader, const struct key *key, const char *value, void *to)
{
	static const struct word words[] = {
		{"fsdax", DLP_POOL_FSDAX},
		{"devdax", DLP_POOL_DEVDAX},
		{"mount", DLP_POOL_MOUNT},
		{"directory", DLP_POOL_DIRECTORY},
	};
	int found;

	if (!find_word(loader, key, value, words, sizeof(words) / sizeof(words[0]),
		       "fsdax, devdax, mount or directory", &found))
		return false;
	*(enum dlp_pool_type *)to = (enum dlp_pool_type)found;
	return true;
}

static bool parse_fence(struct loader *loader, const struct key *key, const char *value, void *to)
{
	static const struct word words[] = {
		{"full", CONFIG_FENCE_FULL},
		{"kill", CONFIG_FENCE_KILL},
		{"report", CONFIG_FENCE_REPORT},
	};
	int found;

	if (!find_word(loader, key, value, words, sizeof(words) / sizeof(words[0]),
		       "full, kill or report", &found))
		return false;
	*(enum config_fence *)to = (enum config_fence)found;
	return true;
}

static bool parse_guard(struct loader *loader, const struct key *key, const char *value, void *to)
{
	static const struct word words[] = {
		{"pre-content", CONFIG_GUARD_PRE_CONTENT},
		{"kernel-lease", CONFIG_GUARD_KERNEL_LEASE},
		{"none", CONFIG_GUARD_NONE},
	};
	int found;

	if (!find_word(loader, key, value, words, sizeof(words) / sizeof(words[0]),
		       "pre-content, kernel-lease or none", &found))
		return false;
	*(enum config_guard *)to = (enum config_guard)found;
	return true;
}

static bool parse_o_trunc(struct loader *loader, const struct key *key, const char *value, void *to)
{
	static const struct word words[] = {
		{"wait", 0},
		{"deny", -EAGAIN},
		{"deny-EAGAIN", -EAGAIN},
		{"deny-ETXTBSY", -ETXTBSY},
	};
	int found;

	if (!find_word(loader, key, value, words, sizeof(words) / sizeof(words[0]),
		       "wait, deny, deny-EAGAIN or deny-ETXTBSY", &found))
		return false;
	*(int *)to = found;
	return true;
}

/* A whole number between the key's limits. */
static bool parse_count(struct loader *loader, const struct key *key, const char *value, void *to)
{
	char *end;
	unsigned long long number;

	errno = 0;
	number = isdigit((unsigned char)value[0]) ? strtoull(value, &end, 10) : ULLONG_MAX;
	if (number == ULLONG_MAX || *end || number < key->min || number > key->max) {
		refuse(loader, loader->line, "%s: \"%s\" is not a number from %llu to %llu",
		       key->name, value, (unsigned long long)key->min,
		       (unsigned long long)key->max);
		return false;
	}
	*(uint32_t *)to = (uint32_t)number;
	return true;
}

static bool has_control(const char *text)
{
	for (; *text; text++)
		if (iscntrl((unsigned char)*text))
			return true;
	return false;
}

/* Checks an absolute path and makes it canonical as far as the text goes: single slashes, no
 * ".", none at the end. "to" has room for the value. False if it has told what is wrong. */
static bool normalise_path(struct loader *loader, const struct key *key, const char *value,
			   char *to)
{
	char *end = to;

	if (value[0] != '/') {
		refuse(loader, loader->line, "%s: \"%s\" is not an absolute path", key->name,
		       value);
		return false;
	}
	if (has_control(value)) {
		refuse(loader, loader->line, "%s: control characters in a path", key->name);
		return false;
	}
	while (*value) {
		const size_t length = strcspn(value, "/");

		if (length == 2 && strncmp(value, "..", 2) == 0) {
			refuse(loader, loader->line, "%s: \"..\" in a path; write where it leads",
			       key->name);
			return false;
		}
		if (length > 0 && !(length == 1 && *value == '.')) {
			*end++ = '/';
			memcpy(end, value, length);
			end += length;
		}
		value += length + (value[length] == '/');
	}
	if (end == to)
		*end++ = '/';
	*end = '\0';
	return true;
}

/* Of a pool. The kernel names mounts and files by resolved paths, so symbolic links are resolved
 * where the path exists already. */
static bool parse_path(struct loader *loader, const struct key *key, const char *value, void *to)
{
	const struct config *config = loader->config;
	char *path = malloc(strlen(value) + 2), *resolved;

	if (!path) {
		loader->fatal = -ENOMEM;
		return false;
	}
	if (!normalise_path(loader, key, value, path)) {
		free(path);
		return false;
	}
	resolved = realpath(path, NULL);
	if (resolved) {
		free(path);
		path = resolved;
	}
	if (strlen(path) >= DLP_MAX_PATH) {
		refuse(loader, loader->line, "%s: longer than %u bytes", key->name,
		       DLP_MAX_PATH - 1);
		free(path);
		return false;
	}
	for (size_t i = 0; i + 1 < config->pool_count; i++) {
		if (config->pools[i].path && strcmp(config->pools[i].path, path) == 0) {
			refuse(loader, loader->line,
			       "%s: %s is the path of pool \"%s\" (line %u) already", key->name,
			       path, config->pools[i].name, config->pools[i].line);
			free(path);
			return false;
		}
	}
	*(char **)to = path;
	return true;
}

static bool parse_socket(struct loader *loader, const struct key *key, const char *value, void *to)
{
	struct sockaddr_un address;
	char *path = malloc(strlen(value) + 2);

	if (!path) {
		loader->fatal = -ENOMEM;
		return false;
	}
	if (!normalise_path(loader, key, value, path)) {
		free(path);
		return false;
	}
	if (strlen(path) >= sizeof(address.sun_path)) {
		refuse(loader, loader->line,
		       "%s: longer than the %zu bytes a socket's path may have", key->name,
		       sizeof(address.sun_path) - 1);
		free(path);
		return false;
	}
	free(*(char **)to);
	*(char **)to = path;
	return true;
}

/* A command that is missing is found now, and not when it is needed. */
static bool parse_command(struct loader *loader, const struct key *key, const char *value, void *to)
{
	char *command;

	if (value[0] != '/') {
		refuse(loader, loader->line, "%s: \"%s\" does not start with an absolute path",
		       key->name, value);
		return false;
	}
	if (has_control(value)) {
		refuse(loader, loader->line, "%s: control characters in a command", key->name);
		return false;
	}
	command = strdup(value);
	if (!command) {
		loader->fatal = -ENOMEM;
		return false;
	}
	command[strcspn(command, " ")] = '\0';
	if (access(command, X_OK) < 0) {
		refuse(loader, loader->line, "%s: %s cannot be executed: %s", key->name, command,
		       strerror(errno));
		free(command);
		return false;
	}
	memcpy(command, value, strlen(value) + 1);
	free(*(char **)to);
	*(char **)to = command;
	return true;
}

static bool parse_group(struct loader *loader, const struct key *key, const char *value, void *to)
{
	const struct group *group;
	unsigned long long number;
	char *end;

	if (isdigit((unsigned char)value[0])) {
		errno = 0;
		number = strtoull(value, &end, 10);
		if (errno || *end || number >= (gid_t)-1) {
			refuse(loader, loader->line, "%s: \"%s\" is not a group", key->name, value);
			return false;
		}
		*(gid_t *)to = (gid_t)number;
		return true;
	}
	group = getgrnam(value);
	if (!group) {
		refuse(loader, loader->line, "%s: there is no group \"%s\"", key->name, value);
		return false;
	}
	*(gid_t *)to = group->gr_gid;
	return true;
}

static const struct key keys[] = {
	{SECTION_DAEMON, "socket", parse_socket, offsetof(struct config, socket), 0, 0},
	{SECTION_DAEMON, "admin-group", parse_group, offsetof(struct config, admin_gid), 0, 0},
	{SECTION_DAEMON, "lease-break-time", parse_duration, offsetof(struct config, break_time_ns),
	 10 * NSEC_PER_MSEC, 3600 * NSEC_PER_SEC},
	{SECTION_DAEMON, "revoke-margin", parse_duration, offsetof(struct config, margin_ns),
	 10 * NSEC_PER_MSEC, 60 * NSEC_PER_SEC},
	{SECTION_DAEMON, "fence-time", parse_duration, offsetof(struct config, fence_ns),
	 10 * NSEC_PER_MSEC, 60 * NSEC_PER_SEC},
	{SECTION_DAEMON, "fence", parse_fence, offsetof(struct config, fence), 0, 0},
	{SECTION_DAEMON, "fence-hook", parse_command, offsetof(struct config, fence_hook), 0, 0},
	{SECTION_POOL, "fence", parse_fence, offsetof(struct config_pool, fence), 0, 0},
	{SECTION_DAEMON, "waiting-limit", parse_count, offsetof(struct config, waiting_limit), 1,
	 UINT32_MAX / 8},
	{SECTION_POOL, "type", parse_type, offsetof(struct config_pool, type), 0, 0},
	{SECTION_POOL, "path", parse_path, offsetof(struct config_pool, path), 0, 0},
	{SECTION_POOL, "lease-break-time", parse_duration,
	 offsetof(struct config_pool, break_time_ns), 10 * NSEC_PER_MSEC, 3600 * NSEC_PER_SEC},
	{SECTION_POOL, "guard", parse_guard, offsetof(struct config_pool, guard), 0, 0},
	{SECTION_POOL, "o-trunc", parse_o_trunc, offsetof(struct config_pool, deny_trunc), 0, 0},
};
#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))
_Static_assert(KEY_COUNT <= MAX_KEYS, "struct loader has no room to note where each key was set");

/* --- sections --------------------------------------------------------------------------------- */

static unsigned line_of_key(const struct loader *loader, enum section_kind kind, const char *name)
{
	for (size_t i = 0; i < KEY_COUNT; i++)
		if (keys[i].section == kind && strcmp(keys[i].name, name) == 0)
			return loader->seen[i];
	return 0;
}

static bool is_guarded(enum dlp_pool_type type)
{
	return type == DLP_POOL_FSDAX || type == DLP_POOL_MOUNT;
}

/* What a guard cannot do is not promised. */
static void check_guard(struct loader *loader, const struct config_pool *pool)
{
	const unsigned line = line_of_key(loader, SECTION_POOL, "guard");

	if (pool->type == DLP_POOL_DIRECTORY && line && pool->guard != CONFIG_GUARD_NONE)
		refuse(loader, line, "guard: a directory cannot be guarded, only a whole file system (type mount or fsdax)");
	if (pool->type == DLP_POOL_DEVDAX && line && pool->guard != CONFIG_GUARD_NONE)
		refuse(loader, line, "guard: only administrators can break leases on a device: there is nobody to guard it from");
	if (pool->guard == CONFIG_GUARD_KERNEL_LEASE && pool->deny_trunc)
		refuse(loader, line_of_key(loader, SECTION_POOL, "o-trunc"),
		       "o-trunc: with guard = kernel-lease nobody can be denied, only made to wait");
}

static void end_section(struct loader *loader)
{
	static const char *const required[] = {"type", "path"};

	if (loader->kind != SECTION_POOL)
		return;
	for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++)
		if (!line_of_key(loader, SECTION_POOL, required[i]))
			refuse(loader, current_pool(loader)->line, "pool \"%s\" has no %s",
			       current_pool(loader)->name, required[i]);
	check_guard(loader, current_pool(loader));
}

static enum section_kind begin_pool(struct loader *loader, const char *name)
{
	struct config *config = loader->config;
	struct config_pool *pools;

	if (strlen(name) >= DLP_NAME_SIZE) {
		refuse(loader, loader->line, "a pool's name may have %d characters at most",
		       DLP_NAME_SIZE - 1);
		return SECTION_BAD;
	}
	for (const char *c = name; *c; c++) {
		/* So that it needs no quoting in any shell, log or table. */
		if (!isascii(*c) ||
		    !(isalnum((unsigned char)*c) || (c > name && strchr("._-", *c)))) {
			refuse(loader, loader->line,
			       "a pool's name consists of letters, digits, \".\", \"_\" and \"-\", "
			       "and starts with a letter or digit");
			return SECTION_BAD;
		}
	}
	for (size_t i = 0; i < config->pool_count; i++) {
		if (strcmp(config->pools[i].name, name) == 0) {
			refuse(loader, loader->line, "pool \"%s\" is defined on line %u already",
			       name, config->pools[i].line);
			return SECTION_BAD;
		}
	}
	pools = reallocarray(config->pools, config->pool_count + 1, sizeof(*pools));
	if (!pools) {
		loader->fatal = -ENOMEM;
		return SECTION_BAD;
	}
	config->pools = pools;
	pools[config->pool_count] = (struct config_pool){.line = loader->line};
	memcpy(pools[config->pool_count].name, name, strlen(name) + 1);
	config->pool_count++;
	return SECTION_POOL;
}

static enum section_kind begin_daemon(struct loader *loader)
{
	if (loader->daemon_line) {
		refuse(loader, loader->line, "[daemon] appears on line %u already",
		       loader->daemon_line);
		return SECTION_BAD;
	}
	loader->daemon_line = loader->line;
	return SECTION_DAEMON;
}

/* "[...]" in `text`, which is changed. inih tells of sections only with their first key and cuts
 * their names, so they are read here. */
static enum section_kind begin_section(struct loader *loader, char *text)
{
	char *end = strchr(text, ']'), *name = text + 1, *behind;

	if (!end) {
		refuse(loader, loader->line, "\"[\" without \"]\"");
		return SECTION_BAD;
	}
	behind = end + 1 + strspn(end + 1, " \t\r\n");
	if (*behind && !strchr(";#", *behind)) {
		refuse(loader, loader->line, "more on the line of a section");
		return SECTION_BAD;
	}
	while (end > name && isblank((unsigned char)end[-1]))
		end--;
	*end = '\0';
	name += strspn(name, " \t");
	if (strcmp(name, "daemon") == 0)
		return begin_daemon(loader);
	if (strncmp(name, "pool", 4) == 0 && isblank((unsigned char)name[4]))
		return begin_pool(loader, name + 4 + strspn(name + 4, " \t"));
	if (strcmp(name, "pool") == 0)
		refuse(loader, loader->line, "a pool needs a name: [pool NAME]");
	else
		refuse(loader, loader->line,
		       "unknown section [%s]; there are [daemon] and [pool NAME]", name);
	return SECTION_BAD;
}

/* --- reading ---------------------------------------------------------------------------------- */

static int handle_key(void *user, const char *section, const char *name, const char *value)
{
	struct loader *loader = user;

	(void)section;
	loader->awaited = false;
	if (loader->kind == SECTION_BAD)
		return 1;
	if (loader->kind == SECTION_NONE) {
		refuse(loader, loader->line, "\"%s\" before the first section", name);
		return 1;
	}
	for (size_t i = 0; i < KEY_COUNT; i++) {
		const struct key *key = &keys[i];
		char *base = (char *)loader->config;

		if (key->section != loader->kind || strcmp(key->name, name) != 0)
			continue;
		if (loader->kind == SECTION_POOL)
			base = (char *)current_pool(loader);
		if (loader->seen[i]) {
			refuse(loader, loader->line, "%s: set on line %u already", name,
			       loader->seen[i]);
			return 1;
		}
		loader->seen[i] = loader->line;
		if (!*value)
			refuse(loader, loader->line, "%s: no value", name);
		else
			key->parse(loader, key, value, base + key->offset);
		return 1;
	}
	refuse(loader, loader->line, "unknown key \"%s\" in [%s]", name,
	       loader->kind == SECTION_POOL ? "pool" : "daemon");
	return 1;
}

/* inih reports only the first line it cannot read; this finds all of them. */
static void check_awaited(struct loader *loader)
{
	if (loader->awaited)
		refuse(loader, loader->line, "neither [section] nor key = value");
	loader->awaited = false;
}

/*
 * As fgets(3), for inih: one whole line without what stands before it, or an empty one for what
 * inih would misread: it would cut a line longer than its buffer into several, and take an indented
 * one as the continuation of the last value.
 */
static char *read_line(char *to, int size, void *stream)
{
	struct loader *loader = stream;
	char *text;
	ssize_t length;

	check_awaited(loader);
	errno = 0;
	length = loader->fatal ? -1 : getline(&loader->text, &loader->text_size, loader->in);
	if (length < 0) {
		if (!loader->fatal && !feof(loader->in))
			loader->fatal = errno ? -errno : -EIO;
		return NULL;
	}
	loader->line++;
	text = loader->text;
	if (loader->line == 1 && strncmp(text, "\xef\xbb\xbf", 3) == 0)
		text += 3;
	to[0] = '\0';
	if (strlen(loader->text) != (size_t)length) {
		refuse(loader, loader->line, "a NUL byte");
		return to;
	}
	text += strspn(text, " \t\r\n");
	if (!*text || strchr(";#", *text))
		return to;
	if (*text == '[') {
		end_section(loader);
		memset(loader->seen, 0, sizeof(loader->seen));
		loader->kind = begin_section(loader, text);
		return to;
	}
	if (strlen(text) >= (size_t)size) {
		refuse(loader, loader->line, "a line may have %d bytes at most", size - 1);
		return to;
	}
	memcpy(to, text, strlen(text) + 1);
	loader->awaited = true;
	return to;
}

/* What the file leaves out. */
static uint64_t kernel_break_time(void)
{
	FILE *file = fopen(KERNEL_BREAK_TIME, "re");
	unsigned seconds = 0;

	if (!file)
		return BREAK_TIME_DEFAULT;
	if (fscanf(file, "%u", &seconds) != 1 || seconds == 0 || seconds > 3600)
		seconds = BREAK_TIME_DEFAULT / NSEC_PER_SEC;
	fclose(file);
	return seconds * NSEC_PER_SEC;
}

static int set_defaults(struct config *config)
{
	*config = (struct config){
		.socket = strdup(DLP_SOCKET_DEFAULT),
		.admin_gid = (gid_t)-1,
		.break_time_ns = kernel_break_time(),
		.margin_ns = MARGIN_DEFAULT,
		.fence_ns = FENCE_DEFAULT,
		.fence = CONFIG_FENCE_FULL,
	};
	return config->socket ? 0 : -ENOMEM;
}

int config_load(const char *file, struct config *config, FILE *errors)
{
	struct loader loader = {.file = file, .errors = errors, .config = config};

	loader.fatal = set_defaults(config);
	if (!loader.fatal) {
		loader.in = fopen(file, "re");
		if (!loader.in)
			loader.fatal = -errno;
	}
	if (loader.in) {
		/* Its result names the first bad line only; read_line() and handle_key() have
		 * told them all. */
		if (ini_parse_stream(read_line, &loader, handle_key, &loader) == -2)
			loader.fatal = -ENOMEM;
		check_awaited(&loader);
		end_section(&loader);
		fclose(loader.in);
	}
	free(loader.text);
	if (loader.fatal)
		refuse(&loader, 0, "%s", strerror(-loader.fatal));
	if (loader.mistakes) {
		config_free(config);
		return loader.fatal ? loader.fatal : -EINVAL;
	}
	for (size_t i = 0; i < config->pool_count; i++) {
		if (!config->pools[i].break_time_ns)
			config->pools[i].break_time_ns = config->break_time_ns;
		if (!config->pools[i].guard)
			config->pools[i].guard = is_guarded(config->pools[i].type) ? CONFIG_GUARD_PRE_CONTENT : CONFIG_GUARD_NONE;
		if (!config->pools[i].fence)
			config->pools[i].fence = config->fence;
	}
	return 0;
}

void config_free(struct config *config)
{
	for (size_t i = 0; i < config->pool_count; i++)
		free(config->pools[i].path);
	free(config->pools);
	free(config->socket);
	free(config->fence_hook);
	*config = (struct config){.admin_gid = (gid_t)-1};
}
