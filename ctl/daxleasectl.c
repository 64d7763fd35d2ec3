// SPDX-License-Identifier: LGPL-2.1-or-later
/* The command line of daxleasectl(1). */

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/commands.h"
#include "proto/protocol.h"

static int command_help(const struct options *options);

enum {
	FOR_LISTS = 1 << 0,
	FOR_BREAK = 1 << 1,
	FOR_STATS = 1 << 2,
	FOR_DOCTOR = 1 << 3,
	FOR_DRAIN = 1 << 4, /* and a command may follow */
	FOR_PREPARE = 1 << 5,
};

static const struct command {
	const char *name;
	const char *argument; /* how it is called, or NULL if there is none */
	unsigned options;     /* FOR_*: what it takes besides the general ones */
	int (*run)(const struct options *options);
	const char *help;
} commands[] = {
	{"list", NULL, FOR_LISTS, command_list, "show leases: who holds what"},
	{"show", "LEASE|PATH", 0, command_show,
	 "show all of a lease or file: holders, who waits, what escapes"},
	{"waiting", NULL, FOR_LISTS, command_waiting, "show breakers: who waits for what"},
	{"pools", NULL, FOR_LISTS, command_pools, "show what the daemon manages"},
	{"break", "PATH", FOR_BREAK, command_break,
	 "ask the holders of a file to let go, and wait"},
	{"revoke", "LEASE", 0, command_revoke, "take one lease away now"},
	{"forget", "LEASE", 0, command_forget,
	 "end a dead holder's leases though no proof of its end can be had: see doctor"},
	{"drain", "POOL|PATH", FOR_DRAIN, command_drain,
	 "break all leases there, and let nobody take one [-- COMMAND...]"},
	{"prepare", "FILE", FOR_PREPARE, command_prepare,
	 "allocate and write a file, so that it can be leased; keeps what is in it"},
	{"status", NULL, 0, command_status, "show the daemon's counters and times"},
	{"stats", NULL, FOR_LISTS | FOR_STATS, command_stats, "show what it counted, by pool"},
	{"watch", NULL, 0, command_watch, "show what happens, as it does"},
	{"doctor", NULL, FOR_DOCTOR, command_doctor,
	 "look for what is missing, and for what escapes the guard"},
	{"help", NULL, 0, command_help, "show this"},
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static const struct {
	struct option option;
	const char *argument;
	unsigned only; /* FOR_*, or 0: general */
	const char *help;
} option_table[] = {
	{{"socket", required_argument, NULL, 'S'}, "PATH", 0, "the daemon's socket"},
	{{"json", no_argument, NULL, 'j'}, NULL, 0, "print JSON"},
	{{"output", required_argument, NULL, 'o'},
	 "COLUMNS",
	 FOR_LISTS,
	 "list, waiting, pools, stats: what to show"},
	{{"offset", required_argument, NULL, 'O'}, "N", FOR_BREAK, "break: where the range starts"},
	{{"length", required_argument, NULL, 'l'}, "N", FOR_BREAK, "break: how long it is"},
	{{"openmetrics", no_argument, NULL, 'M'},
	 NULL,
	 FOR_STATS,
	 "stats: in the text format of OpenMetrics, for Prometheus"},
	{{"config", required_argument, NULL, 'C'},
	 "FILE",
	 FOR_DOCTOR,
	 "doctor: pools where no daemon answers"},
	{{"size", required_argument, NULL, 'z'},
	 "N",
	 FOR_PREPARE,
	 "prepare: how large the file is to be"},
	{{"reopen", no_argument, NULL, 'R'}, NULL, FOR_DRAIN, "drain: let leases be taken again"},
	{{"help", no_argument, NULL, 'h'}, NULL, 0, "show this"},
	{{"version", no_argument, NULL, 'V'}, NULL, 0, "show the version"},
};
#define OPTION_COUNT (sizeof(option_table) / sizeof(option_table[0]))

/* Those that have one letter, too; the others' val is only a number. */
static const char letters[] = "S:jo:hV";

static int command_help(const struct options *options)
{
	char text[64];

	(void)options;
	puts("usage: daxleasectl [OPTION...] COMMAND\n\nCommands:");
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		snprintf(text, sizeof(text), "%s %s", commands[i].name,
			 commands[i].argument ? commands[i].argument : "");
		printf("  %-22s %s\n", text, commands[i].help);
	}
	puts("\nOptions:");
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const struct option *option = &option_table[i].option;
		const bool has_letter = strchr(letters, option->val) != NULL;

		snprintf(text, sizeof(text), "%c%c%c --%s %s", has_letter ? '-' : ' ',
			 has_letter ? option->val : ' ', has_letter ? ',' : ' ', option->name,
			 option_table[i].argument ? option_table[i].argument : "");
		printf("  %-22s %s\n", text, option_table[i].help);
	}
	puts("\nN is a number of bytes, or with K, M, G or T behind it of powers of 1024.\n"
	     "The socket is $DAXLEASE_SOCKET, else " DLP_SOCKET_DEFAULT ".");
	print_columns();
	print_stats_columns();
	return EXIT_SUCCESS;
}

static int usage_hint(void)
{
	fputs("See 'daxleasectl help'.\n", stderr);
	return EXIT_USAGE;
}

/* "123", "4K", "1T". False: it is no size, or does not fit a file's offset. */
static bool parse_size(const char *text, uint64_t *bytes)
{
	static const char suffixes[] = "KMGT";
	const char *suffix;
	unsigned shift = 0;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*bytes = strtoull(text, &end, 10);
	if (errno)
		return false;
	if (*end) {
		suffix = strchr(suffixes, *end);
		if (!suffix || end[1])
			return false;
		shift = 10 * (unsigned)(suffix - suffixes + 1);
	}
	if (*bytes > (uint64_t)INT64_MAX >> shift)
		return false;
	*bytes <<= shift;
	return true;
}

/* Reads one option into *options. `given` collects the FOR_* of those that are not general.
 * False: told. */
static bool take_option(int letter, struct options *options, unsigned *given)
{
	uint64_t *size = letter == 'O'	 ? &options->offset
			 : letter == 'z' ? &options->size
					 : &options->length;

	for (size_t i = 0; i < OPTION_COUNT; i++)
		if (option_table[i].option.val == letter)
			*given |= option_table[i].only;
	switch (letter) {
	case 'S':
		options->socket = optarg;
		return true;
	case 'j':
		options->json = true;
		return true;
	case 'C':
		options->config = optarg;
		return true;
	case 'R':
		options->reopen = true;
		return true;
	case 'M':
		options->openmetrics = true;
		return true;
	case 'o':
		options->output = optarg;
		return true;
	case 'O':
	case 'l':
	case 'z':
		if (parse_size(optarg, size) && (letter == 'O' || *size > 0))
			return true;
		warnx("\"%s\" is not a size such as 4096, 64K or 2G", optarg);
		return false;
	default:
		return false; /* getopt_long() has told */
	}
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

/* behind: how many of the arguments come behind "--". */
static int run_command(int argc, char **argv, int behind, struct options *options, unsigned given)
{
	const struct command *command;
	int status;

	if (optind == argc) {
		warnx("no command given");
		return usage_hint();
	}
	command = find_command(argv[optind]);
	if (!command) {
		warnx("there is no command \"%s\"", argv[optind]);
		return usage_hint();
	}
	if ((command->options & FOR_DRAIN) && behind > 0) {
		options->command = argv + argc - behind;
		argc -= behind;
	}
	if (argc - optind - 1 != (command->argument ? 1 : 0)) {
		if (command->argument)
			warnx("%s takes one %s", command->name, command->argument);
		else
			warnx("%s takes no arguments", command->name);
		return usage_hint();
	}
	if (given & ~command->options) {
		warnx("not all of these options are for %s", command->name);
		return usage_hint();
	}
	options->argument = argv[optind + 1];
	status = command->run(options);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		warn("cannot write the output");
		return EXIT_FAILURE;
	}
	return status;
}

int main(int argc, char **argv)
{
	struct option long_options[OPTION_COUNT + 1] = {{0}};
	struct options options = {.socket = secure_getenv("DAXLEASE_SOCKET")};
	unsigned given = 0;
	int letter, behind = argc - 1;

	/* Before getopt_long() moves them; what is behind stays there. */
	while (behind > 0 && strcmp(argv[argc - behind], "--") != 0)
		behind--;
	behind -= behind > 0;

	if (!options.socket || !*options.socket)
		options.socket = DLP_SOCKET_DEFAULT;
	for (size_t i = 0; i < OPTION_COUNT; i++)
		long_options[i] = option_table[i].option;
	while ((letter = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
		if (letter == 'h')
			return command_help(&options);
		if (letter == 'V') {
			puts("daxleasectl " PACKAGE_VERSION);
			return EXIT_SUCCESS;
		}
		if (!take_option(letter, &options, &given))
			return usage_hint();
	}
	if (options.length && options.length > (uint64_t)INT64_MAX - options.offset) {
		warnx("--offset and --length go beyond the largest file");
		return usage_hint();
	}
	return run_command(argc, argv, behind, &options, given);
}
