// SPDX-License-Identifier: LGPL-2.1-or-later
/* Escapes that the kernel itself works for: what others have it do with files of a pool. */
#include "ctl/escapes.h"

#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <linux/loop.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define ESCAPE(member) offsetof(struct escape, member)
#define NAMESPACES_MAX 4096

/* clang-format off */
const struct column escape_columns[] = {
	{ "ESCAPE",  "escape",  COLUMN_WORD, ESCAPE(kind),   escape_text, false, "what kind it is" },
	{ "POOL",    "pool",    COLUMN_TEXT, ESCAPE(pool),   NULL, false, "whose files" },
	{ "PATH",    "path",    COLUMN_TEXT, ESCAPE(path),   NULL, false, "the file or directory" },
	{ "PID",     "pid",     COLUMN_PID,  ESCAPE(pid),    NULL, false, "by which process; 0: by the kernel" },
	{ "COMMAND", "command", COLUMN_TEXT, ESCAPE(comm),   NULL, false, "that process's name" },
	{ "DETAIL",  "detail",  COLUMN_TEXT, ESCAPE(detail), NULL, false, "how" },
	{ 0 }
};

static const struct {
	const char *word, *remedy;
} kinds[ESCAPE_KINDS] = {
	[ESCAPE_LOOP] = {"loop-device", "detach it (losetup -d): what writes to the device writes to the file unseen"},
	[ESCAPE_TARGET] = {"scsi-target", "remove that backstore (targetcli): initiators write to the file unseen"},
	[ESCAPE_NFS] = {"nfs-export", "do not export it (exportfs -u): clients' truncations are not seen"},
	[ESCAPE_OVERLAY] = {"overlayfs", "unmount the overlay: truncations through it are not seen"},
	[ESCAPE_DESCRIPTOR] = {"old-descriptor", "restart the program: the descriptor is older than the guard, which does not see what is done through it"},
	[ESCAPE_PARKED] = {"parked-writer", "end the thread or feed its pipe: it is past the guard and writes when data comes"},
	[ESCAPE_MOUNT] = {"mounted-elsewhere", "no escape, but umount here does not free the device: unmount it there too"},
};
/* clang-format on */

const char *escape_text(uint32_t kind)
{
	return kind < ESCAPE_KINDS && kinds[kind].word ? kinds[kind].word : "unknown";
}

const char *escape_remedy(uint32_t kind)
{
	return kind < ESCAPE_KINDS && kinds[kind].remedy ? kinds[kind].remedy : "";
}

/* --- for both files ------------------------------------------------------------------------ */

const struct place *search_place(const struct search *search, uint64_t dev, uint64_t ino)
{
	for (size_t i = 0; i < search->count; i++) {
		const struct place *place = &search->places[i];

		if (place->dev == dev && (!place->ino || !ino || place->ino == ino))
			return place;
	}
	return NULL;
}

bool look_at(const char *path, uint64_t *dev, uint64_t *ino)
{
	struct statx stx;

	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &stx) != 0)
		return false;
	*dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
	*ino = stx.stx_ino;
	return true;
}

void name_of(int32_t pid, char *comm)
{
	char path[32];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = fopen(path, "re");
	if (!file || !fgets(comm, 16, file))
		strcpy(comm, "?");
	comm[strcspn(comm, "\n")] = '\0';
	if (file)
		fclose(file);
}

void search_report(struct search *search, enum escape_kind kind, const struct place *place,
		   int32_t pid, uint64_t ino, const char *path, const char *format, ...)
{
	struct escape escape = {.kind = kind, .pid = pid, .dev = place->dev, .ino = ino};
	va_list args;

	snprintf(escape.pool, sizeof(escape.pool), "%s", place->pool);
	snprintf(escape.path, sizeof(escape.path), "%s", path);
	if (pid)
		name_of(pid, escape.comm);
	va_start(args, format);
	vsnprintf(escape.detail, sizeof(escape.detail), format, args);
	va_end(args);
	search->found(search->arg, &escape);
}

/* The first line of a file, without its end; false: it cannot be read. */
static bool read_line(const char *path, char *line, size_t size)
{
	FILE *file = fopen(path, "re");
	const bool got = file && fgets(line, (int)size, file);

	if (file)
		fclose(file);
	if (got)
		line[strcspn(line, "\n")] = '\0';
	return got;
}

/* --- loop devices, SCSI targets ------------------------------------------------------------ */

static void look_at_loop(struct search *search, const char *sysfs)
{
	char backing[DLP_MAX_PATH], name[41], device[64];
	const struct place *place;
	struct loop_info64 info;
	uint64_t dev, ino;
	int fd;

	if (!read_line(sysfs, backing, sizeof(backing)) ||
	    sscanf(sysfs, "/sys/block/%40[^/]", name) != 1)
		return;
	snprintf(device, sizeof(device), "/dev/%s", name);
	/* The device knows which file it is; its name is only what it was called, somewhere. */
	fd = open(device, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0 && ioctl(fd, LOOP_GET_STATUS64, &info) == 0) {
		dev = info.lo_device;
		ino = info.lo_inode;
	} else if (!look_at(backing, &dev, &ino)) {
		ino = 0;
	}
	if (fd >= 0)
		close(fd);
	place = ino ? search_place(search, dev, ino) : NULL;
	if (place)
		search_report(search, ESCAPE_LOOP, place, 0, ino, backing, "%s", device);
}

static void look_at_target(struct search *search, const char *configfs)
{
	char backing[DLP_MAX_PATH];
	const struct place *place;
	uint64_t dev, ino;

	if (!read_line(configfs, backing, sizeof(backing)) || !look_at(backing, &dev, &ino))
		return;
	place = search_place(search, dev, ino);
	if (place)
		search_report(search, ESCAPE_TARGET, place, 0, ino, backing, "%.200s", configfs);
}

static void for_each(struct search *search, const char *pattern,
		     void (*look)(struct search *search, const char *path))
{
	glob_t found;

	if (glob(pattern, 0, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc; i++)
		look(search, found.gl_pathv[i]);
	globfree(&found);
}

/* --- NFS ----------------------------------------------------------------------------------- */

/* "\040" as /proc and exportfs(8) write a space; in place. */
static void unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' &&
		    text[2] <= '7' && text[3] >= '0' && text[3] <= '7') {
			*to++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 |
				       (text[3] - '0'));
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = '\0';
}

static bool is_under(const char *path, const char *directory)
{
	const size_t length = strlen(directory);

	return strncmp(path, directory, length) == 0 &&
	       (path[length] == '/' || path[length] == '\0' ||
		(length && directory[length - 1] == '/'));
}

/* Either list: "PATH CLIENT(OPTIONS)..." a line. An export of a directory above a pool's mount point shows the pool
 * with crossmnt only. */
static void look_at_exports(struct search *search, const char *list)
{
	FILE *file = fopen(list, "re");
	char *line = NULL;
	size_t room = 0;

	while (file && getline(&line, &room, file) > 0) {
		const size_t length = strcspn(line, " \t\n");
		const bool crosses = strstr(line + length, "crossmnt") != NULL;
		uint64_t dev = 0, ino;

		if (line[0] != '/')
			continue;
		line[strcspn(line, "\n")] = '\0';
		line[length] = '\0';
		unescape(line);
		look_at(line, &dev, &ino);
		for (size_t i = 0; i < search->count; i++) {
			const struct place *place = &search->places[i];

			if (dev == place->dev || (crosses && is_under(place->path, line)))
				search_report(search, ESCAPE_NFS, place, 0, 0, line, "%s", list);
		}
	}
	free(line);
	if (file)
		fclose(file);
}

/* --- mounts, in every namespace ------------------------------------------------------------ */

/* One layer; `root`: of the namespace, as we reach it. */
static void look_at_layer(struct search *search, int32_t pid, const char *root, const char *layer,
			  const char *mount)
{
	char path[2 * DLP_MAX_PATH];
	const struct place *place;
	uint64_t dev, ino;

	snprintf(path, sizeof(path), "%s%s", root, layer);
	if (layer[0] != '/' || !look_at(path, &dev, &ino))
		return;
	place = search_place(search, dev, 0);
	if (place)
		search_report(search, ESCAPE_OVERLAY, place, pid, 0, layer, "layer of %.200s",
			      mount);
}

/* "lowerdir=/a:/b,upperdir=/c,...": commas and colons of paths are escaped with a backslash. */
static void look_at_layers(struct search *search, int32_t pid, const char *root, char *options,
			   const char *mount)
{
	bool layers = false;
	char word[DLP_MAX_PATH];
	size_t length = 0;

	for (const char *c = options;; c++) {
		if (*c == '\\' && c[1]) {
			c++;
		} else if (*c == '=' && !layers) {
			word[length] = '\0';
			layers = strncmp(word, "lowerdir", 8) == 0 ||
				 strcmp(word, "upperdir") == 0 || strncmp(word, "datadir", 7) == 0;
			length = 0;
			continue;
		} else if (*c == ',' || *c == '\0' || (*c == ':' && layers)) {
			word[length] = '\0';
			if (layers && length)
				look_at_layer(search, pid, root, word, mount);
			layers = layers && *c == ':';
			length = 0;
			if (*c == '\0')
				return;
			continue;
		}
		if (length + 1 < sizeof(word))
			word[length++] = *c;
	}
}

/* An overlay is mounted in many namespaces, and shown once. */
static bool is_new(struct search *search, uint64_t overlay)
{
	for (size_t i = 0; i < search->overlay_count; i++)
		if (search->overlays[i] == overlay)
			return false;
	if (search->overlay_count < sizeof(search->overlays) / sizeof(search->overlays[0]))
		search->overlays[search->overlay_count++] = overlay;
	return true;
}

/* One line of mountinfo; see proc(5). pid 0: our own namespace. */
static void look_at_mount(struct search *search, int32_t pid, const char *root, char *line)
{
	char *mount, *options, *fstype, *rest = strstr(line, " - ");
	bool follows; /* what is unmounted here goes there, too */
	unsigned maj, min;
	int at = 0;

	if (!rest)
		return;
	*rest = '\0';
	follows = strstr(line, " shared:") || strstr(line, " master:");
	if (sscanf(line, "%*u %*u %u:%u %*s %n", &maj, &min, &at) != 2 || at == 0)
		return;
	mount = line + at;
	mount[strcspn(mount, " ")] = '\0';
	unescape(mount);
	fstype = rest + 3;
	options = strchr(fstype, ' ');
	options = options ? strchr(options + 1, ' ') : NULL;
	if (!options)
		return;
	options++;
	options[strcspn(options, "\n")] = '\0';
	unescape(options);
	if (strncmp(fstype, "overlay ", 8) == 0 && is_new(search, makedev(maj, min)))
		look_at_layers(search, pid, root, options, mount);
	if (pid && !follows && search_place(search, makedev(maj, min), 0))
		search_report(search, ESCAPE_MOUNT, search_place(search, makedev(maj, min), 0), pid,
			      0, mount, "in another mount namespace");
}

static void look_at_namespace(struct search *search, int32_t pid)
{
	char path[48], root[48] = "", *line = NULL;
	size_t room = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", pid ? pid : getpid());
	if (pid)
		snprintf(root, sizeof(root), "/proc/%d/root", pid);
	file = fopen(path, "re");
	while (file && getline(&line, &room, file) > 0)
		look_at_mount(search, pid, root, line);
	free(line);
	if (file)
		fclose(file);
}

/* Each namespace once, by the first process in it that we meet. */
static void look_at_namespaces(struct search *search)
{
	uint64_t known[NAMESPACES_MAX], dev, ino;
	const struct dirent *entry;
	size_t count = 0;
	DIR *proc = opendir("/proc");

	if (look_at("/proc/self/ns/mnt", &dev, &ino))
		known[count++] = ino;
	look_at_namespace(search, 0);
	while (proc && (entry = readdir(proc))) {
		const int pid = atoi(entry->d_name);
		char path[48];
		size_t i = 0;

		snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
		if (pid <= 0 || !look_at(path, &dev, &ino))
			continue;
		while (i < count && known[i] != ino)
			i++;
		if (i < count || count == NAMESPACES_MAX)
			continue;
		known[count++] = ino;
		look_at_namespace(search, pid);
	}
	if (proc)
		closedir(proc);
}

void escapes_of_kernel(struct search *search)
{
	for_each(search, "/sys/block/loop*/loop/backing_file", look_at_loop);
	for_each(search, "/sys/kernel/config/target/core/fileio_*/*/udev_path", look_at_target);
	look_at_exports(search, "/proc/fs/nfsd/exports");
	look_at_exports(search, "/var/lib/nfs/etab");
	look_at_namespaces(search);
}
