// SPDX-License-Identifier: LGPL-2.1-or-later
#include "bench/subject.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define CALLS_MAX 1000000

unsigned subject_batch = 1;

uint64_t subject_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void subject_fail(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(1);
}

unsigned subject_number(const char *text)
{
	unsigned long number = strtoul(text, NULL, 10);

	if (number == 0 || number > CALLS_MAX) {
		errno = EINVAL;
		subject_fail(text);
	}
	return (unsigned)number;
}

static unsigned count_words(const char *text)
{
	unsigned words = 0;

	for (bool inside = false; *text; text++) {
		words += *text != ' ' && !inside;
		inside = *text != ' ';
	}
	return words;
}

static const struct subject *find(const char *name, int arguments)
{
	for (const struct subject *one = subjects; one->name; one++) {
		if (strcmp(one->name, name) == 0 && (int)count_words(one->arguments) == arguments)
			return one;
	}
	return NULL;
}

static uint64_t time_one(const struct subject *subject)
{
	uint64_t begin, end;

	if (subject->before)
		subject->before();
	begin = subject_now_ns();
	for (unsigned i = 0; i < subject_batch; i++)
		subject->call();
	end = subject_now_ns();
	if (subject->after)
		subject->after();
	return (end - begin) / subject_batch;
}

static void print_block(const uint64_t *times, unsigned calls)
{
	for (unsigned i = 0; i < calls; i++)
		printf("%llu%c", (unsigned long long)times[i], i + 1 < calls ? ' ' : '\n');
	if (fflush(stdout) != 0)
		subject_fail("stdout");
}

static void serve(const struct subject *subject)
{
	static uint64_t times[CALLS_MAX];
	char line[32];

	puts("ready");
	if (fflush(stdout) != 0)
		subject_fail("stdout");
	while (fgets(line, sizeof(line), stdin)) {
		unsigned calls = subject_number(line);

		for (unsigned i = 0; i < calls; i++)
			times[i] = time_one(subject);
		print_block(times, calls);
	}
}

int main(int argc, char **argv)
{
	const struct subject *subject = argc > 1 ? find(argv[1], argc - 2) : NULL;

	if (!subject) {
		for (const struct subject *one = subjects; one->name; one++)
			fprintf(stderr, "%s %s %s\n    %s\n", program_invocation_short_name,
				one->name, one->arguments, one->what);
		return 2;
	}
	/* No subject outlives whoever compares it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	subject->start(argv + 2);
	serve(subject);
	return 0;
}
