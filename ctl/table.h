/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Listings: one table of columns says what a row shows, for people as aligned text and for programs
 * as JSON. What comes from others (paths, names of programs) cannot move the terminal or break the
 * JSON.
 */
#ifndef DAXLEASE_CTL_TABLE_H
#define DAXLEASE_CTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What a member of a row is, how people read it, and what JSON has. */
enum column_kind {
	COLUMN_U64,	  /* uint64_t: number */
	COLUMN_U32,	  /* uint32_t: number */
	COLUMN_PID,	  /* int32_t: number */
	COLUMN_TEXT,	  /* char[]: text, escaped */
	COLUMN_WORD,	  /* uint32_t: word(value); 0: "-", JSON null */
	COLUMN_WORD_OF_0, /* the same where 0 has a word, too */
	COLUMN_USER,	  /* uint32_t: the user's name */
	COLUMN_DEVICE,	  /* uint64_t, a dev_t: "major:minor" */
	COLUMN_RANGE,	  /* uint64_t start, right behind it end: "4K-2M"; JSON: two numbers */
	COLUMN_DURATION,  /* uint64_t ns: "2.5 s"; UINT64_MAX: "-", JSON null */
	COLUMN_TIME,	  /* uint64_t ns of CLOCK_REALTIME: local time; JSON ns */
};

struct column {
	const char *name; /* of the heading, and for --output */
	const char *key;  /* in JSON; COLUMN_RANGE: "start" and "end" */
	enum column_kind kind;
	size_t offset; /* of the member in a row */
	const char *(*word)(uint32_t value);
	bool extra; /* shown to people only when asked for */
	const char *help;
};

struct table; /* rows being collected */

/* `columns` ends with one without a name, and outlives the table. `output`: names, separated by
 * commas, or NULL for those that are not extra. NULL: an unknown name (told). */
struct table *table_new(const struct column *columns, const char *output);
void table_free(struct table *table);
void table_add(struct table *table, const void *row);

/* Writes the rows to stdout: with headings, or as {"KEY": [ ... ]}. */
void table_print(const struct table *table, const char *key, bool json);

/* Writes one row to stdout: a line for each column, or as {"KEY": { ... }}. */
void record_print(const struct column *columns, const void *row, const char *key, bool json);

/* Writes the names and purposes of columns for --help. */
void columns_print_help(const struct column *columns);

/*
 * Formats into `to`, always terminated, cut where it does not fit. escape: text of others for a
 * terminal, control characters and what is no UTF-8 as \xNN.
 */
void format_escaped(char *to, size_t size, const char *text);
void format_range(char *to, size_t size, uint64_t start, uint64_t end);
void format_duration(char *to, size_t size, uint64_t ns);
void format_user(char *to, size_t size, uint32_t uid);

struct json_object;
/* A row as a JSON object, the caller's. */
struct json_object *row_to_json(const struct column *columns, const void *row);
/* Writes an object to stdout and frees it. */
void json_print(struct json_object *object);

#endif
