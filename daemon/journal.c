/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The test cuts at every step, and breaks what must not be (tests/unit/journal_cut.c). */
#ifndef JOURNAL_STEP
#define JOURNAL_STEP() ((void)0)
#define JOURNAL_SABOTAGE(n) 0
#endif

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u
#endif

#define JOURNAL_MAGIC 0x6a657361656c6178u /* "xaleasej" */
#define JOURNAL_VERSION 1u
#define PAGE 4096u
/* Memory is taken in pieces of this size: a system call for many records. */
#define CHUNK ((uint64_t)256 * 1024)

struct kind_header {
	char name[16];
	uint32_t size, max;
	/* No record above it was ever staged. Not part of any commit: it only grows, and too high is
	 * not wrong. Stored before the record's tag. */
	uint32_t high;
	uint32_t reserved;
};

struct header {
	uint64_t magic;
	uint32_t version;
	uint32_t count;
	uint64_t extra;	    /* bytes */
	uint64_t committed; /* number of the last commit; storing it is the commit */
	struct kind_header kinds[JOURNAL_MAX_KINDS];
};
_Static_assert(sizeof(struct header) <= PAGE, "the header has a page");

/* A copy of a record is its tag and the record. The tag: number of the commit * 2, + 1 if there is a
 * record. A slot has two. All zeros: never used. */
#define TAG(number, used) ((number) << 1 | (used))
#define TAG_NUMBER(tag) ((tag) >> 1)
#define TAG_USED(tag) ((tag)&1)
#define TAG_SIZE sizeof(uint64_t)

struct table {
	char *slots; /* of index 1 */
	uint64_t offset, stride;
	uint32_t max;
	uint32_t size;	   /* in the file */
	uint32_t asked;	   /* by this program */
	uint64_t reserved; /* bytes from `offset` on that have their memory */
};

struct journal {
	int fd;
	struct header *header; /* the whole file, mapped */
	uint64_t bytes;
	uint64_t extra_offset;
	struct table tables[JOURNAL_MAX_KINDS];
	bool staged, writable;
	uint64_t record[JOURNAL_MAX_RECORD / 8]; /* a shorter one, filled up with zeros */
};

/* --- geometry --------------------------------------------------------------------------------- */

static uint64_t page_up(uint64_t bytes)
{
	return (bytes + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

static bool is_size(uint32_t size)
{
	return size && size % 8 == 0 && size <= JOURNAL_MAX_RECORD;
}

static bool are_kinds(const struct journal_kind *kinds, unsigned count)
{
	if (count == 0 || count > JOURNAL_MAX_KINDS)
		return false;
	for (unsigned i = 0; i < count; i++)
		if (!is_size(kinds[i].size) || strlen(kinds[i].name) >= 16)
			return false;
	return true;
}

/* Where everything is, from what the header says. No sum can overflow: 16 tables of 2^32 records of
 * 2 * 4104 bytes are less than 2^50. */
static int lay_out(struct journal *journal, const struct header *header)
{
	uint64_t at = PAGE;

	if (header->extra > (uint64_t)1 << 50)
		return -EINVAL;
	for (unsigned i = 0; i < header->count; i++) {
		struct table *table = &journal->tables[i];

		table->size = table->asked = header->kinds[i].size;
		table->max = header->kinds[i].max;
		table->stride = 2 * (TAG_SIZE + table->size);
		table->offset = at;
		at = page_up(at + table->stride * table->max);
	}
	journal->extra_offset = at;
	journal->bytes = page_up(at + header->extra);
	return 0;
}

static int map(struct journal *journal)
{
	void *at = mmap(NULL, journal->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, journal->fd, 0);

	if (at == MAP_FAILED)
		return -errno;
	journal->header = at;
	for (unsigned i = 0; i < JOURNAL_MAX_KINDS; i++)
		journal->tables[i].slots = (char *)at + journal->tables[i].offset;
	return 0;
}

/* --- the steps that a death can come between -------------------------------------------------- */

/*
 * A SIGKILL takes effect between two instructions: all stores before it have happened, none behind
 * it has. So it is the compiler's order alone that matters, and the processor's does not; but the
 * exchange costs little, and then nobody has to know that.
 */
static void store(uint64_t *at, uint64_t value)
{
	JOURNAL_STEP();
	/* Nothing before it comes later, nothing behind it earlier. (GCC refuses fences with the thread
	 * sanitizer.) */
	(void)__atomic_exchange_n(at, value, __ATOMIC_SEQ_CST);
	JOURNAL_STEP();
}

static void copy(char *to, const char *from, uint32_t size)
{
	for (uint32_t i = 0; i < size; i += 8) {
		JOURNAL_STEP();
		memcpy(to + i, from + i, 8);
	}
}

static void raise_high(struct kind_header *kind, uint32_t index)
{
	if (index <= kind->high)
		return;
	JOURNAL_STEP();
	__atomic_store_n(&kind->high, index, __ATOMIC_RELEASE);
}

/* --- copies ----------------------------------------------------------------------------------- */

static char *copy_at(const struct table *table, uint32_t index, unsigned which)
{
	return table->slots + (uint64_t)(index - 1) * table->stride +
	       which * (TAG_SIZE + table->size);
}

static uint64_t *tag_at(const struct table *table, uint32_t index, unsigned which)
{
	return (uint64_t *)copy_at(table, index, which);
}

/* The copy that is true: the newer one of those that are committed. */
static unsigned current(const struct journal *journal, const struct table *table, uint32_t index)
{
	uint64_t first = TAG_NUMBER(*tag_at(table, index, 0));
	uint64_t second = TAG_NUMBER(*tag_at(table, index, 1));

	if (second > journal->header->committed)
		return 0;
	return first > journal->header->committed || second > first;
}

static bool is_staged(const struct journal *journal, uint64_t tag)
{
	return TAG_NUMBER(tag) > journal->header->committed;
}

/* The copy to write into. */
static unsigned spare(const struct journal *journal, const struct table *table, uint32_t index)
{
	return JOURNAL_SABOTAGE(1) ? current(journal, table, index)
				   : !current(journal, table, index);
}

void journal_put(struct journal *journal, unsigned kind, uint32_t index, const void *record)
{
	const struct table *table = &journal->tables[kind];
	unsigned which = spare(journal, table, index);
	uint64_t number = journal->header->committed + 1;

	if (JOURNAL_SABOTAGE(2))
		store(tag_at(table, index, which), TAG(number - 1, 1));
	if (!JOURNAL_SABOTAGE(3))
		raise_high(&journal->header->kinds[kind], index);
	copy(copy_at(table, index, which) + TAG_SIZE, record, table->size);
	store(tag_at(table, index, which), TAG(number, 1));
	if (JOURNAL_SABOTAGE(3))
		raise_high(&journal->header->kinds[kind], index);
	journal->staged = true;
}

void journal_drop(struct journal *journal, unsigned kind, uint32_t index)
{
	const struct table *table = &journal->tables[kind];
	unsigned which = spare(journal, table, index);

	/* What was never put, nor is to be, is not there anyway. */
	if (!is_staged(journal, *tag_at(table, index, which)) &&
	    !TAG_USED(*tag_at(table, index, current(journal, table, index))))
		return;
	if (JOURNAL_SABOTAGE(4))
		store(tag_at(table, index, !which), 0);
	store(tag_at(table, index, which), TAG(journal->header->committed + 1, 0));
	journal->staged = true;
}

void journal_commit(struct journal *journal)
{
	if (!journal->staged)
		return;
	store(&journal->header->committed, journal->header->committed + 1);
	journal->staged = false;
}

const void *journal_next(struct journal *journal, unsigned kind, uint32_t *cursor)
{
	const struct table *table = &journal->tables[kind];
	uint32_t high = kind < journal->header->count ? journal->header->kinds[kind].high : 0;

	while (*cursor < high) {
		unsigned which = current(journal, table, ++*cursor);
		const char *at = copy_at(table, *cursor, which);

		if (!TAG_USED(*tag_at(table, *cursor, which)))
			continue;
		if (table->size == table->asked)
			return at + TAG_SIZE;
		memset(journal->record, 0, table->asked);
		return memcpy(journal->record, at + TAG_SIZE, table->size);
	}
	return NULL;
}

/* --- memory ----------------------------------------------------------------------------------- */

int journal_reserve(struct journal *journal, unsigned kind, uint32_t index)
{
	struct table *table = &journal->tables[kind];
	uint64_t need = table->stride * index, all = page_up(table->stride * table->max);

	if (index > table->max)
		return -ENOLCK;
	if (need <= table->reserved)
		return 0;
	need = (need + CHUNK - 1) / CHUNK * CHUNK;
	if (need > all)
		need = all;
	/* posix_fallocate() might write zeros instead. */
	while (fallocate(journal->fd, 0, (off_t)(table->offset + table->reserved),
			 (off_t)(need - table->reserved)) < 0)
		if (errno != EINTR)
			return -errno;
	table->reserved = need;
	return 0;
}

static int take_memory(const struct journal *journal, uint64_t offset, uint64_t bytes)
{
	while (bytes && fallocate(journal->fd, 0, (off_t)offset, (off_t)bytes) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int journal_copy(struct journal *to, struct journal *from)
{
	for (unsigned kind = 0; kind < to->header->count; kind++) {
		const void *record;
		uint32_t index = 0;

		while ((record = journal_next(from, kind, &index))) {
			int err = journal_reserve(to, kind, index);

			if (err)
				return err;
			journal_put(to, kind, index, record);
		}
	}
	journal_commit(to);
	return 0;
}

void journal_moved(struct journal *journal, int fd)
{
	journal->fd = fd;
}

/* --- making and opening ----------------------------------------------------------------------- */

static int new_memfd(void)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create("daxlease-journal", flags | MFD_NOEXEC_SEAL);

	/* Linux before 6.3 does not know it; newer ones may be set to demand it. */
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("daxlease-journal", flags);
	return fd < 0 ? -errno : fd;
}

/* Nobody can make it shorter, so that it cannot be a SIGBUS either. */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

static int make(struct journal *journal, const struct header *header)
{
	int err = lay_out(journal, header);

	if (err)
		return err;
	journal->fd = new_memfd();
	if (journal->fd < 0)
		return journal->fd;
	if (ftruncate(journal->fd, (off_t)journal->bytes) < 0 ||
	    fcntl(journal->fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) < 0)
		return -errno;
	err = take_memory(journal, 0, PAGE);
	if (!err)
		err = take_memory(journal, journal->extra_offset, page_up(header->extra));
	if (!err)
		err = map(journal);
	if (!err)
		*journal->header = *header;
	return err;
}

static void fill_header(struct header *header, const struct journal_kind *kinds, unsigned count,
			size_t extra)
{
	*header = (struct header){.magic = JOURNAL_MAGIC,
				  .version = JOURNAL_VERSION,
				  .count = count,
				  .extra = extra};
	for (unsigned i = 0; i < count; i++) {
		strcpy(header->kinds[i].name, kinds[i].name);
		header->kinds[i].size = kinds[i].size;
		header->kinds[i].max = kinds[i].max;
	}
}

int journal_new(struct journal **out, const struct journal_kind *kinds, unsigned count,
		size_t extra)
{
	struct journal *journal;
	struct header header;
	int err;

	*out = NULL;
	if (!are_kinds(kinds, count))
		return -EINVAL;
	fill_header(&header, kinds, count, extra);
	journal = calloc(1, sizeof(*journal));
	if (!journal)
		return -ENOMEM;
	journal->fd = -1;
	journal->writable = true;
	err = make(journal, &header);
	if (err) {
		journal_close(journal);
		return err;
	}
	*out = journal;
	return 0;
}

/* Can the header be believed, and the file be what it says? It is a copy, and stays as it is. */
static int check_header(struct journal *journal, const struct header *header,
			const struct journal_kind *kinds, unsigned count)
{
	if (header->magic != JOURNAL_MAGIC || header->version == 0)
		return -EBADMSG;
	if (header->version > JOURNAL_VERSION)
		return -ENOTSUP;
	if (header->count == 0 || header->count > JOURNAL_MAX_KINDS)
		return -EBADMSG;
	if (header->committed >= UINT64_MAX >> 2)
		return -EBADMSG;
	for (unsigned i = 0; i < header->count; i++) {
		const struct kind_header *kind = &header->kinds[i];

		if (!is_size(kind->size) || kind->high > kind->max ||
		    memchr(kind->name, 0, sizeof(kind->name)) == NULL)
			return -EBADMSG;
		if (i < count && strcmp(kind->name, kinds[i].name) != 0)
			return -EBADMSG;
		if (i >= count || kind->size > kinds[i].size)
			return -ENOTSUP;
	}
	return lay_out(journal, header) ? -EBADMSG : 0;
}

static int read_header(struct journal *journal, const struct journal_kind *kinds, unsigned count)
{
	int seals = fcntl(journal->fd, F_GET_SEALS);
	struct header header;
	struct stat st;
	ssize_t got;
	int err;

	if (seals < 0)
		return errno == EBADF ? -EBADF : -EBADMSG;
	if ((seals & SEALS) != SEALS || fstat(journal->fd, &st) < 0)
		return -EBADMSG;
	got = pread(journal->fd, &header, sizeof(header), 0);
	if (got != (ssize_t)sizeof(header))
		return -EBADMSG;
	err = check_header(journal, &header, kinds, count);
	if (!err && (uint64_t)st.st_size != journal->bytes)
		err = -EBADMSG;
	return err ? err : map(journal);
}

/* Discards what was staged by a writer that died before its commit: the next commit would make it
 * true. Dying here leaves the rest to the next one. */
static int discard(struct journal *journal)
{
	uint64_t committed = journal->header->committed;

	for (unsigned kind = 0; kind < journal->header->count; kind++) {
		const struct table *table = &journal->tables[kind];
		uint32_t high = journal->header->kinds[kind].high;

		for (uint64_t slot = 0; slot < (uint64_t)high * 2; slot++) {
			uint64_t *tag = tag_at(table, (uint32_t)(slot / 2) + 1, slot % 2);

			if (TAG_NUMBER(*tag) > committed + 1)
				return -EBADMSG;
			if (TAG_NUMBER(*tag) > committed && !JOURNAL_SABOTAGE(5))
				store(tag, 0);
		}
	}
	return 0;
}

/* How this program knows the tables; those that the file does not have stay empty. */
static void ask(struct journal *journal, const struct journal_kind *kinds, unsigned count,
		size_t extra)
{
	journal->writable = journal->header->count == count && journal->header->extra == extra;
	for (unsigned i = 0; i < count && i < journal->header->count; i++) {
		journal->tables[i].asked = kinds[i].size;
		/* Its writer had reserved them. */
		journal->tables[i].reserved = journal->tables[i].stride *
					      journal->header->kinds[i].high;
		if (journal->tables[i].size != kinds[i].size ||
		    journal->tables[i].max != kinds[i].max)
			journal->writable = false;
	}
}

int journal_open(struct journal **out, int fd, const struct journal_kind *kinds, unsigned count,
		 size_t extra)
{
	struct journal *journal;
	int err;

	*out = NULL;
	if (!are_kinds(kinds, count))
		return -EINVAL;
	journal = calloc(1, sizeof(*journal));
	if (!journal)
		return -ENOMEM;
	journal->fd = fd;
	err = read_header(journal, kinds, count);
	if (!err)
		err = discard(journal);
	if (err) {
		journal->fd = -1;
		journal_close(journal);
		return err;
	}
	ask(journal, kinds, count, extra);
	*out = journal;
	return 0;
}

void journal_close(struct journal *journal)
{
	if (!journal)
		return;
	if (journal->header)
		munmap(journal->header, journal->bytes);
	if (journal->fd >= 0)
		close(journal->fd);
	free(journal);
}

int journal_fd(const struct journal *journal)
{
	return journal->fd;
}

bool journal_writable(const struct journal *journal)
{
	return journal->writable;
}

void *journal_extra(const struct journal *journal)
{
	return journal->header->extra ? (char *)journal->header + journal->extra_offset : NULL;
}

size_t journal_extra_size(const struct journal *journal)
{
	return journal->header->extra;
}
