// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * daxlease-run: runs a program with the shim preloaded, or says in words why that cannot work for
 * it.
 *
 * Exit status: the program's; 1 it cannot work (mode require, or --check); 125 wrong usage; 126 the
 * program cannot be executed; 127 it is not found.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <link.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "proto/protocol.h"

#ifndef PKGLIBDIR
#define PKGLIBDIR "/usr/lib/daxlease"
#endif

#define SHIM "libdaxlease-shim.so"
#define INTERPRETERS 5 /* as many as the kernel follows */

enum status { CANNOT_WORK = 1, USAGE = 125, NOT_EXECUTABLE = 126, NOT_FOUND = 127 };

static const char usage[] =
	"usage: daxlease-run [OPTION...] [--] PROGRAM [ARGUMENT...]\n"
	"Runs PROGRAM so that its shared mappings of files in pools of daxleased are leased.\n\n"
	"  -m, --mode=MODE     without a lease: prefer (go on, say so once; default), require "
	"(fail), off\n"
	"  -s, --signal=SIG    send SIG when a lease is being broken, instead of a line on stderr\n"
	"  -S, --socket=PATH   the daemon's socket\n"
	"  -q, --quiet         nothing on stderr\n"
	"  -c, --check         do not run PROGRAM: say whether it would work, and what the daemon "
	"has\n"
	"  -h, --help          this text\n";

struct program {
	char path[PATH_MAX];
	bool quiet;
};

static void warn_user(const struct program *program, const char *text)
{
	if (!program->quiet)
		fprintf(stderr, "daxlease-run: %s: %s\n", program->path, text);
}

/* As execvp(3) looks: 0 or an exit status. */
static int find(const char *name, char path[PATH_MAX])
{
	const char *dirs = getenv("PATH");
	int status = NOT_FOUND;

	if (strchr(name, '/')) {
		if (strlen(name) >= PATH_MAX)
			return NOT_FOUND;
		struct stat st;

		strcpy(path, name);
		if (stat(path, &st) < 0)
			return errno == ENOENT || errno == ENOTDIR ? NOT_FOUND : NOT_EXECUTABLE;
		return S_ISREG(st.st_mode) && access(path, X_OK) == 0 ? 0 : NOT_EXECUTABLE;
	}
	if (!dirs)
		dirs = "/usr/local/bin:/usr/bin:/bin";
	for (const char *dir = dirs; dir; dir = strchr(dir, ':') ? strchr(dir, ':') + 1 : NULL) {
		int length = (int)strcspn(dir, ":");
		struct stat st;

		if (snprintf(path, PATH_MAX, "%.*s%s%s", length, dir, length ? "/" : "", name) >=
			    PATH_MAX ||
		    stat(path, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		if (access(path, X_OK) == 0)
			return 0;
		status = NOT_EXECUTABLE;
	}
	if (strlen(name) < PATH_MAX)
		strcpy(path, name);
	return status;
}

/* --- can a preload work ---------------------------------------------------------------------- */

/* The first bytes of a file, terminated. Their number, or -1. */
static ssize_t read_start(const char *path, char *buffer, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return -1;
	got = pread(fd, buffer, size - 1, 0);
	close(fd);
	if (got >= 0)
		buffer[got] = '\0';
	return got;
}

/* Whether an ELF file of our own class has an interpreter, that is a dynamic linker. */
static bool has_interpreter(const char *path, const ElfW(Ehdr) * head)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool found = false;

	for (unsigned i = 0; fd >= 0 && i < head->e_phnum && !found; i++) {
		ElfW(Phdr) segment;
		off_t at = (off_t)(head->e_phoff + (uint64_t)i * head->e_phentsize);

		found = pread(fd, &segment, sizeof(segment), at) == (ssize_t)sizeof(segment) &&
			segment.p_type == PT_INTERP;
	}
	if (fd >= 0)
		close(fd);
	return found;
}

/* NULL, or why the dynamic linker would not take the preload for this ELF file. */
static const char *elf_obstacle(const char *path, const char *start, size_t size)
{
	ElfW(Ehdr) head, own;
	char self[sizeof(own) + 1];

	if (size < sizeof(head))
		return "it is no complete ELF file";
	memcpy(&head, start, sizeof(head));
	if (read_start("/proc/self/exe", self, sizeof(self)) != (ssize_t)sizeof(own))
		return NULL;
	memcpy(&own, self, sizeof(own));
	if (head.e_ident[EI_CLASS] != own.e_ident[EI_CLASS] || head.e_machine != own.e_machine)
		return "it is built for another architecture than the shim";
	if (!has_interpreter(path, &head))
		return "it is linked statically, so nothing can be preloaded into it";
	return NULL;
}

/* The kernel runs it with other rights than ours: the dynamic linker then ignores LD_PRELOAD. */
static const char *rights_obstacle(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return NULL;
	if ((st.st_mode & S_ISUID) && st.st_uid != geteuid())
		return "it is setuid, so the dynamic linker ignores the preload";
	if ((st.st_mode & S_ISGID) && (st.st_mode & S_IXGRP) && st.st_gid != getegid())
		return "it is setgid, so the dynamic linker ignores the preload";
	if (geteuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0)
		return "it has file capabilities, so the dynamic linker ignores the preload";
	return NULL;
}

/* "#!/path/to/interpreter argument": what is really run. For env(1) that is its argument. false:
 * none found. */
static bool interpreter_of(char *line, char path[PATH_MAX])
{
	char *save, *word, *end = strchr(line, '\n');

	if (end)
		*end = '\0';
	word = strtok_r(line + 2, " \t", &save);
	if (!word)
		return false;
	end = strrchr(word, '/');
	if (end && strcmp(end, "/env") == 0) {
		word = strtok_r(NULL, " \t", &save);
		while (word && (*word == '-' || strchr(word, '=')))
			word = strtok_r(NULL, " \t", &save);
		if (!word)
			return false;
	}
	return find(word, path) == 0;
}

/* NULL, or what stands in the way; then `path` is the program or the interpreter that it concerns.
 */
static const char *obstacle(const char *program_path, bool check, char path[PATH_MAX])
{
	char start[512];

	strcpy(path, program_path);
	for (unsigned i = 0; i < INTERPRETERS; i++) {
		const char *why;
		ssize_t size = read_start(path, start, sizeof(start));

		if (size < 0)
			/* Executable but not readable: only running it will tell. */
			return check ? "it is not readable, so only running it would tell" : NULL;
		if (size >= SELFMAG && memcmp(start, ELFMAG, SELFMAG) == 0) {
			why = rights_obstacle(path);
			return why ? why : elf_obstacle(path, start, (size_t)size);
		}
		if (size < 2 || start[0] != '#' || start[1] != '!')
			return NULL; /* the shell runs it, or binfmt_misc */
		if (!interpreter_of(start, path))
			return "its interpreter is not found";
	}
	return "its interpreters are scripts themselves, too many of them";
}

/* --- the shim and the daemon ----------------------------------------------------------------- */

/* In a build tree it is next to us, in libtool's folder; else where it is installed. */
static bool find_shim(char shim[PATH_MAX])
{
	char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (length > 0) {
		self[length] = '\0';
		*strrchr(self, '/') = '\0';
		if (snprintf(shim, PATH_MAX, "%s/.libs/" SHIM, self) < PATH_MAX &&
		    access(shim, R_OK) == 0)
			return true;
	}
	snprintf(shim, PATH_MAX, "%s/" SHIM, PKGLIBDIR);
	return access(shim, R_OK) == 0;
}

/* 0 or errno. */
static int daemon_error(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, error;

	if (strlen(path) >= sizeof(address.sun_path))
		return ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return errno;
	error = connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
	close(fd);
	return error == EAGAIN ? 0 : error; /* there, and busy */
}

/* To the front of a list in the environment. */
static void put_first(const char *variable, const char *value)
{
	const char *before = getenv(variable);
	char *both;

	if (!before || !*before) {
		setenv(variable, value, 1);
	} else if (asprintf(&both, "%s:%s", value, before) >= 0) {
		setenv(variable, both, 1);
		free(both);
	}
}

/*
 * A program with gcc's address sanitizer ends at its start if anything is loaded before the
 * sanitizer's library, for fear of what that intercepts. We intercept nothing of malloc's, and
 * call the sanitizer's functions behind ours. What the user says about it comes later and counts.
 */
static void preload(const char *shim)
{
	put_first("LD_PRELOAD", shim);
	put_first("ASAN_OPTIONS", "verify_asan_link_order=0");
}

static bool is_signal(const char *name)
{
	char *end;
	long number = strtol(name, &end, 10);

	if (*name && !*end)
		return number > 0 && number <= SIGRTMAX;
	if (strncmp(name, "SIG", 3) == 0)
		name += 3;
	if (strncmp(name, "RTMIN", 5) == 0) {
		if (!name[5])
			return true;
		if (name[5] != '+' || name[6] < '0' || name[6] > '9')
			return false;
		number = strtol(name + 6, &end, 10);
		return !*end && number <= SIGRTMAX - SIGRTMIN;
	}
	for (int sig = 1; sig < NSIG; sig++) {
		const char *known = sigabbrev_np(sig);

		if (known && strcmp(known, name) == 0)
			return true;
	}
	return false;
}

static int bad_usage(const char *what, const char *value)
{
	fprintf(stderr, "daxlease-run: %s%s%s\n%s", what, value ? ": " : "", value ? value : "",
		usage);
	return USAGE;
}

/* Everything that stands in the way, in words. How many. */
static unsigned look(const struct program *program, const char *shim, bool shim_found, bool check)
{
	char about[PATH_MAX], text[PATH_MAX + 128];
	const char *socket_path = getenv("DAXLEASE_SOCKET");
	const char *why = obstacle(program->path, check, about);
	unsigned count = 0;
	int error;

	if (!socket_path || !*socket_path)
		socket_path = DLP_SOCKET_DEFAULT;
	if (!shim_found) {
		snprintf(text, sizeof(text), "the shim is not there: %s", shim);
		warn_user(program, text);
		count++;
	} else if (strpbrk(shim, ": ")) {
		snprintf(text, sizeof(text),
			 "the shim's path has a space or colon, which ends it in LD_PRELOAD: %s",
			 shim);
		warn_user(program, text);
		count++;
	}
	if (why && strcmp(about, program->path) != 0) {
		snprintf(text, sizeof(text), "its interpreter %s: %s", about, why);
		warn_user(program, text);
		count++;
	} else if (why) {
		warn_user(program, why);
		count++;
	}
	error = daemon_error(socket_path);
	if (error) {
		snprintf(text, sizeof(text), "no daemon at %s (%s): without one nothing is leased",
			 socket_path, strerror(error));
		warn_user(program, text);
		count++;
	}
	return count;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"mode", required_argument, NULL, 'm'},
		{"signal", required_argument, NULL, 's'},
		{"socket", required_argument, NULL, 'S'},
		{"quiet", no_argument, NULL, 'q'},
		{"check", no_argument, NULL, 'c'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct program program = {0};
	const char *mode = getenv("DAXLEASE_MODE");
	char shim[PATH_MAX];
	bool check = false, shim_found;
	unsigned obstacles;
	int option, status;

	while ((option = getopt_long(argc, argv, "+m:s:S:qch", options, NULL)) != -1) {
		switch (option) {
		case 'm':
			mode = optarg;
			break;
		case 's':
			if (!is_signal(optarg))
				return bad_usage("no such signal", optarg);
			setenv("DAXLEASE_SIGNAL", optarg, 1);
			break;
		case 'S':
			setenv("DAXLEASE_SOCKET", optarg, 1);
			break;
		case 'q':
			program.quiet = true;
			break;
		case 'c':
			check = true;
			break;
		case 'h':
			return fputs(usage, stdout) < 0 || fflush(stdout) != 0;
		default:
			fputs(usage, stderr);
			return USAGE;
		}
	}
	if (!mode || !*mode)
		mode = "prefer";
	if (strcmp(mode, "prefer") != 0 && strcmp(mode, "require") != 0 && strcmp(mode, "off") != 0)
		return bad_usage("no such mode", mode);
	if (optind == argc)
		return bad_usage("no program to run", NULL);
	status = find(argv[optind], program.path);
	if (status) {
		fprintf(stderr, "daxlease-run: %s: %s\n", argv[optind],
			status == NOT_FOUND ? "not found" : "cannot be executed");
		return check ? CANNOT_WORK : status;
	}
	setenv("DAXLEASE_MODE", mode, 1);
	if (program.quiet)
		setenv("DAXLEASE_QUIET", "1", 1);
	unsetenv("DAXLEASE_CHECK");

	shim_found = find_shim(shim);
	if (strcmp(mode, "off") != 0 || check) {
		obstacles = look(&program, shim, shim_found, check);
		if (obstacles && !check && strcmp(mode, "require") == 0)
			warn_user(&program, "not run, because of --mode=require");
		if (obstacles && (check || strcmp(mode, "require") == 0))
			return CANNOT_WORK;
		if (shim_found)
			preload(shim);
	}
	if (check)
		setenv("DAXLEASE_CHECK", "1", 1);
	execvp(program.path, argv + optind); /* which knows scripts without an interpreter line */
	status = errno == ENOENT ? NOT_FOUND : NOT_EXECUTABLE;
	fprintf(stderr, "daxlease-run: %s: %s\n", program.path, strerror(errno));
	return check ? CANNOT_WORK : status;
}
