// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ctl/table.h"

#include <err.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/sysmacros.h>
#include <time.h>

#define NSEC_PER_SEC UINT64_C(1000000000)
#define MAX_COLUMNS 32
#define CELL_SIZE (4 * 4096 + 1) /* the longest path, all of it escaped */

/* This program has nothing to clean up when it has no memory. */
static void *check_memory(void *memory)
{
	if (!memory)
		errx(EXIT_FAILURE, "out of memory");
	return memory;
}

/* --- cells --------------------------------------------------------------------------------- */

/* The length of the UTF-8 sequence at text: 1 to 4 bytes, or 0 if it is none. Overlong ones,
 * surrogates and what is beyond Unicode are none. *code: the character. */
static size_t utf8_length(const unsigned char *text, uint32_t *code)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length;

	if (text[0] < 0x80)
		length = 1;
	else if ((text[0] & 0xe0) == 0xc0)
		length = 2;
	else if ((text[0] & 0xf0) == 0xe0)
		length = 3;
	else if ((text[0] & 0xf8) == 0xf0)
		length = 4;
	else
		return 0;
	*code = length == 1 ? text[0] : text[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (text[i] & 0x3f);
	}
	if (*code < least[length] || *code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000))
		return 0;
	return length;
}

/* Characters that move a terminal's cursor or change its state; those of the second range have
 * two bytes. */
static bool is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

/* controls: escape control characters, too, and the backslash, so that it stays clear what is
 * what. */
static void copy_escaped(char *to, size_t size, const char *text, bool controls)
{
	const unsigned char *from = (const unsigned char *)text;
	char *const end = to + size - 1;

	while (*from) {
		uint32_t code = 0;
		size_t length = utf8_length(from, &code);

		if (length && controls && code == '\\') {
			if (end - to < 2)
				break;
			to = stpcpy(to, "\\\\");
		} else if (length && !(controls && is_control(code))) {
			if (end - to < (ptrdiff_t)length)
				break;
			memcpy(to, from, length);
			to += length;
		} else {
			length = length ? length : 1;
			if (end - to < 4 * (ptrdiff_t)length)
				break;
			for (size_t i = 0; i < length; i++)
				to += sprintf(to, "\\x%02x", from[i]);
		}
		from += length;
	}
	*to = '\0';
}

void format_escaped(char *to, size_t size, const char *text)
{
	copy_escaped(to, size, text, true);
}

static int format_size(char *to, size_t size, uint64_t bytes)
{
	static const char suffixes[] = "KMGT";
	size_t i = 0;

	if (bytes == 0 || bytes % 1024 != 0)
		return snprintf(to, size, "%" PRIu64, bytes);
	for (bytes /= 1024; bytes % 1024 == 0 && suffixes[i + 1]; i++)
		bytes /= 1024;
	return snprintf(to, size, "%" PRIu64 "%c", bytes, suffixes[i]);
}

void format_range(char *to, size_t size, uint64_t start, uint64_t end)
{
	char from[32], until[32] = "end";

	format_size(from, sizeof(from), start);
	if (end != UINT64_MAX)
		format_size(until, sizeof(until), end);
	snprintf(to, size, "%s-%s", from, until);
}

void format_duration(char *to, size_t size, uint64_t ns)
{
	const uint64_t seconds = ns / NSEC_PER_SEC;

	if (ns == UINT64_MAX)
		snprintf(to, size, "-");
	else if (ns > 0 && ns < NSEC_PER_SEC / 10)
		snprintf(to, size, "%.1fms", (double)ns / 1e6);
	else if (seconds < 60)
		snprintf(to, size, "%.1fs", (double)ns / (double)NSEC_PER_SEC);
	else if (seconds < 3600)
		snprintf(to, size, "%" PRIu64 "min %us", seconds / 60, (unsigned)(seconds % 60));
	else if (seconds < 86400)
		snprintf(to, size, "%" PRIu64 "h %umin", seconds / 3600,
			 (unsigned)(seconds / 60 % 60));
	else
		snprintf(to, size, "%" PRIu64 "d %uh", seconds / 86400,
			 (unsigned)(seconds / 3600 % 24));
}

void format_user(char *to, size_t size, uint32_t uid)
{
	const struct passwd *user = getpwuid(uid);

	if (user)
		format_escaped(to, size, user->pw_name);
	else
		snprintf(to, size, "%" PRIu32, uid);
}

static void format_time(char *to, size_t size, uint64_t ns)
{
	const time_t seconds = (time_t)(ns / NSEC_PER_SEC);
	struct tm tm;

	if (!localtime_r(&seconds, &tm) || strftime(to, size, "%Y-%m-%dT%H:%M:%S%z", &tm) == 0)
		snprintf(to, size, "?");
}

/* A member of a row, whose address need not be aligned for anything here. */
static uint64_t member_u64(const struct column *column, const void *row, size_t behind)
{
	uint64_t value;

	memcpy(&value, (const char *)row + column->offset + behind, sizeof(value));
	return value;
}

static uint32_t member_u32(const struct column *column, const void *row)
{
	uint32_t value;

	memcpy(&value, (const char *)row + column->offset, sizeof(value));
	return value;
}

static void format_cell(char *to, size_t size, const struct column *column, const void *row)
{
	switch (column->kind) {
	case COLUMN_U64:
		snprintf(to, size, "%" PRIu64, member_u64(column, row, 0));
		break;
	case COLUMN_U32:
		snprintf(to, size, "%" PRIu32, member_u32(column, row));
		break;
	case COLUMN_PID:
		snprintf(to, size, "%" PRId32, (int32_t)member_u32(column, row));
		break;
	case COLUMN_TEXT:
		format_escaped(to, size, (const char *)row + column->offset);
		break;
	case COLUMN_WORD:
		/* Our words start at 1; 0 is where none applies. */
		snprintf(to, size, "%s",
			 member_u32(column, row) ? column->word(member_u32(column, row)) : "");
		break;
	case COLUMN_WORD_OF_0:
		snprintf(to, size, "%s", column->word(member_u32(column, row)));
		break;
	case COLUMN_USER:
		format_user(to, size, member_u32(column, row));
		break;
	case COLUMN_DEVICE:
		snprintf(to, size, "%u:%u", major(member_u64(column, row, 0)),
			 minor(member_u64(column, row, 0)));
		break;
	case COLUMN_RANGE:
		format_range(to, size, member_u64(column, row, 0),
			     member_u64(column, row, sizeof(uint64_t)));
		break;
	case COLUMN_DURATION:
		format_duration(to, size, member_u64(column, row, 0));
		break;
	case COLUMN_TIME:
		format_time(to, size, member_u64(column, row, 0));
		break;
	}
	if (!*to)
		snprintf(to, size, "-"); /* so that columns can be counted */
}

static bool is_number(enum column_kind kind)
{
	return kind == COLUMN_U64 || kind == COLUMN_U32 || kind == COLUMN_PID ||
	       kind == COLUMN_DURATION;
}

/* --- JSON ---------------------------------------------------------------------------------- */

static void set(json_object *object, const char *key, json_object *value)
{
	if (json_object_object_add(object, key, value) != 0)
		errx(EXIT_FAILURE, "out of memory");
}

static json_object *new_number(uint64_t value)
{
	return check_memory(json_object_new_uint64(value));
}

static json_object *new_text(const char *text)
{
	return check_memory(json_object_new_string(text));
}

static json_object *new_duration(uint64_t ns)
{
	return ns == UINT64_MAX ? NULL : new_number(ns);
}

static void set_member(json_object *object, const struct column *column, const void *row)
{
	char text[CELL_SIZE];

	switch (column->kind) {
	case COLUMN_U64:
	case COLUMN_TIME:
		set(object, column->key, new_number(member_u64(column, row, 0)));
		break;
	case COLUMN_U32:
		set(object, column->key, new_number(member_u32(column, row)));
		break;
	case COLUMN_PID:
		set(object, column->key,
		    check_memory(json_object_new_int((int32_t)member_u32(column, row))));
		break;
	case COLUMN_TEXT:
		/* json-c escapes control characters as JSON does; but JSON has to be UTF-8. */
		copy_escaped(text, sizeof(text), (const char *)row + column->offset, false);
		set(object, column->key, new_text(text));
		break;
	case COLUMN_WORD:
		set(object, column->key,
		    member_u32(column, row) ? new_text(column->word(member_u32(column, row)))
					    : NULL);
		break;
	case COLUMN_WORD_OF_0:
	case COLUMN_USER:
	case COLUMN_DEVICE:
		format_cell(text, sizeof(text), column, row);
		set(object, column->key, new_text(text));
		break;
	case COLUMN_RANGE:
		set(object, "start", new_number(member_u64(column, row, 0)));
		set(object, "end", new_number(member_u64(column, row, sizeof(uint64_t))));
		break;
	case COLUMN_DURATION:
		set(object, column->key, new_duration(member_u64(column, row, 0)));
		break;
	}
}

json_object *row_to_json(const struct column *columns, const void *row)
{
	json_object *object = check_memory(json_object_new_object());

	for (const struct column *column = columns; column->name; column++)
		set_member(object, column, row);
	return object;
}

void json_print(json_object *object)
{
	puts(check_memory(
		(void *)json_object_to_json_string_ext(object,
						       JSON_C_TO_STRING_PRETTY |
							       JSON_C_TO_STRING_NOSLASHESCAPE)));
	json_object_put(object);
}

/* --- tables -------------------------------------------------------------------------------- */

struct table {
	const struct column *columns;
	const struct column *shown[MAX_COLUMNS];
	size_t shown_count;
	char **cells; /* shown_count for each row */
	size_t rows;
	json_object *array;
};

static const struct column *find_column(const struct column *columns, const char *name,
					size_t length)
{
	for (; columns->name; columns++)
		if (strlen(columns->name) == length &&
		    strncasecmp(columns->name, name, length) == 0)
			return columns;
	return NULL;
}

/* Fills shown. False: it has told what is wrong. */
static bool choose_columns(struct table *table, const char *output)
{
	if (!output) {
		for (const struct column *column = table->columns; column->name; column++)
			if (!column->extra)
				table->shown[table->shown_count++] = column;
		return true;
	}
	for (;;) {
		const size_t length = strcspn(output, ",");
		const struct column *column = find_column(table->columns, output, length);

		if (!column || table->shown_count == MAX_COLUMNS) {
			warnx("there is no column \"%.*s\"; see 'daxleasectl help'", (int)length,
			      output);
			return false;
		}
		table->shown[table->shown_count++] = column;
		if (!output[length])
			return true;
		output += length + 1;
	}
}

struct table *table_new(const struct column *columns, const char *output)
{
	struct table *table = check_memory(calloc(1, sizeof(*table)));

	table->columns = columns;
	table->array = check_memory(json_object_new_array());
	if (choose_columns(table, output))
		return table;
	table_free(table);
	return NULL;
}

void table_free(struct table *table)
{
	for (size_t i = 0; i < table->rows * table->shown_count; i++)
		free(table->cells[i]);
	free(table->cells);
	json_object_put(table->array);
	free(table);
}

void table_add(struct table *table, const void *row)
{
	char text[CELL_SIZE];
	char **cells;

	cells = reallocarray(table->cells, (table->rows + 1) * table->shown_count, sizeof(*cells));
	table->cells = check_memory(cells);
	cells += table->rows * table->shown_count;
	for (size_t i = 0; i < table->shown_count; i++) {
		format_cell(text, sizeof(text), table->shown[i], row);
		cells[i] = check_memory(strdup(text));
	}
	table->rows++;
	if (json_object_array_add(table->array, row_to_json(table->columns, row)) != 0)
		errx(EXIT_FAILURE, "out of memory");
}

/* In characters; not all terminals agree how many places some of them take. */
static int text_width(const char *text)
{
	int width = 0;

	for (; *text; text++)
		width += (*text & 0xc0) != 0x80;
	return width;
}

static void print_line(const struct table *table, const int *widths, char *const *cells)
{
	for (size_t i = 0; i < table->shown_count; i++) {
		const char *text = cells ? cells[i] : table->shown[i]->name;
		const int padding = widths[i] - text_width(text);
		const bool last = i + 1 == table->shown_count;

		if (is_number(table->shown[i]->kind))
			printf("%*s%s", padding, "", text);
		else
			printf("%s%*s", text, last ? 0 : padding, "");
		fputs(last ? "\n" : "  ", stdout);
	}
}

void table_print(const struct table *table, const char *key, bool json)
{
	int widths[MAX_COLUMNS];

	if (json) {
		json_object *object = check_memory(json_object_new_object());

		set(object, key, json_object_get(table->array));
		json_print(object);
		return;
	}
	for (size_t i = 0; i < table->shown_count; i++) {
		widths[i] = text_width(table->shown[i]->name);
		for (size_t row = 0; row < table->rows; row++) {
			const int width = text_width(table->cells[row * table->shown_count + i]);

			widths[i] = width > widths[i] ? width : widths[i];
		}
	}
	print_line(table, widths, NULL);
	for (size_t row = 0; row < table->rows; row++)
		print_line(table, widths, table->cells + row * table->shown_count);
}

void record_print(const struct column *columns, const void *row, const char *key, bool json)
{
	char text[CELL_SIZE];

	if (json) {
		json_object *object = check_memory(json_object_new_object());

		set(object, key, row_to_json(columns, row));
		json_print(object);
		return;
	}
	for (; columns->name; columns++) {
		format_cell(text, sizeof(text), columns, row);
		printf("%-20s  %s\n", columns->name, text);
	}
}

void columns_print_help(const struct column *columns)
{
	for (; columns->name; columns++)
		printf("  %-11s %s%s\n", columns->name, columns->help,
		       columns->extra ? " (not usually)" : "");
}
