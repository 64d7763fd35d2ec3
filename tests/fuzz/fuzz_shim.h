/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon that fuzz_shim.c has the shim talk to: it does well, or lies, as the input says. One thread plays all: so
 * what both sides must know are plain variables. */
#ifndef DAXLEASE_TESTS_FUZZ_SHIM_H
#define DAXLEASE_TESTS_FUZZ_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/proto.h"

#define FILE_PAGES 16

/* With FUZZ_TRACE in the environment each step of a case is told: to read one that went wrong. */
#define TRACE(...) (tracing ? (void)fprintf(stderr, __VA_ARGS__) : (void)0)
extern bool tracing;
void require(bool condition, const char *what);

extern size_t page;
extern uint64_t dev, ino; /* of the one file */

/* How the next request is answered. */
enum manner {
	ANSWER_WELL,
	ANSWER_REFUSE,
	ANSWER_TWICE,
	ANSWER_RAW,
	ANSWER_LATE_EVENT,
	ANSWER_EARLY_EVENT,
	ANSWER_END
};
extern uint8_t manner, manner_argument[2];
extern const uint8_t *raw; /* what of the input is left for raw packets */
extern size_t raw_size;

extern bool lied;
extern bool knows;     /* what the shim must have taken away by now, and what it must not */
extern bool listening; /* the shim has started its listener */
extern bool refused;   /* the last request for a lease */
extern bool held[FILE_PAGES];
extern uint64_t granted[FILE_PAGES]; /* epoch of the last grant of each */

void daemon_start(const char *path); /* listens there */
void daemon_begin(void);	     /* a new case: nobody is connected, nothing is held */
/* Everything the shim has sent is read and answered. */
void turn(void);
/* The shim's listener runs until there is nothing more to hear. */
void listen_now(void);
/* kind: opcode, epoch, whose file, once or twice; where: the range. */
void aimed_event(uint8_t kind, uint8_t where);
void raw_event(uint8_t kind, uint8_t length);

/* fuzz_shim.c: the shim has answered the event for pages [first, end) of the file. And a look at all of them. */
void program_answered(const struct dlp_ev_break *event, int error, unsigned first, unsigned end);
void look_at_pages(void);

#endif
