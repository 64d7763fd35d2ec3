/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The journal, cut: its writer ends before each of its stores, for histories of many commits, and what is
 * read afterwards is the state before the commit or the one behind it. The same with journals that are
 * deliberately wrong, which must be found; with a writer that is really killed; and with files that must not
 * be believed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static bool cutting;
static unsigned long steps; /* how many more to take */
static int sabotage;
static jmp_buf cut;

static void step(void)
{
	if (cutting && steps-- == 0)
		longjmp(cut, 1);
}

#define JOURNAL_STEP() step()
#define JOURNAL_SABOTAGE(n) (sabotage == (n))
#include "daemon/journal.c"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define KINDS 2u
#define MAX 6u

static const struct journal_kind kinds[KINDS] = {{"big", 24, MAX}, {"small", 8, 3}};

/* What is true: 0: no record, else what it is filled with. */
struct world {
	uint64_t value[KINDS][MAX + 1];
};

struct change {
	unsigned kind;
	uint32_t index;
	uint64_t value;
};

struct commit {
	struct change changes[8];
	unsigned count;
};

static uint64_t random_state;

static unsigned below(unsigned limit)
{
	uint64_t z = (random_state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (unsigned)((z ^ (z >> 31)) % limit);
}

static struct commit random_commit(void)
{
	static uint64_t value = 1;
	struct commit commit = {.count = below(6)};

	for (unsigned i = 0; i < commit.count; i++) {
		unsigned kind = below(KINDS);

		commit.changes[i] = (struct change){kind, 1 + below(kinds[kind].max),
						    below(3) ? value++ : 0};
	}
	return commit;
}

static void apply(struct world *world, const struct commit *commit)
{
	for (unsigned i = 0; i < commit->count; i++)
		world->value[commit->changes[i].kind][commit->changes[i].index] =
			commit->changes[i].value;
}

static void put(struct journal *journal, const struct change *change)
{
	uint64_t record[3] = {change->value, change->value * 3, ~change->value};

	if (change->value)
		journal_put(journal, change->kind, change->index, record);
	else
		journal_drop(journal, change->kind, change->index);
}

static void write_commit(struct journal *journal, const struct commit *commit)
{
	for (unsigned i = 0; i < commit->count; i++)
		put(journal, &commit->changes[i]);
	journal_commit(journal);
}

/* False: a record is torn, or comes out of order. */
static bool read_world(struct journal *journal, struct world *world)
{
	*world = (struct world){0};
	for (unsigned kind = 0; kind < KINDS; kind++) {
		uint32_t index = 0, last = 0;
		const uint64_t *record;

		while ((record = journal_next(journal, kind, &index))) {
			if (index <= last || index > kinds[kind].max || record[0] == 0)
				return false;
			if (kind == 0 && (record[1] != record[0] * 3 || record[2] != ~record[0]))
				return false;
			world->value[kind][index] = record[0];
			last = index;
		}
	}
	return true;
}

static bool same(const struct world *a, const struct world *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static struct journal *reopen(int fd)
{
	struct journal *journal;

	assert_int_equal(journal_open(&journal, dup(fd), kinds, KINDS, 64), 0);
	return journal;
}

/* The writer ends after `count` steps; false: it was done before. */
static bool write_cut(int fd, const struct commit *commit, unsigned long count)
{
	struct journal *volatile journal = reopen(fd);
	volatile bool died = true;

	if (setjmp(cut) == 0) {
		steps = count;
		cutting = true;
		write_commit(journal, commit);
		died = false;
	}
	cutting = false;
	journal_close(journal);
	return died;
}

/* And the one that opens it, while it discards what was not committed. */
static void discard_cut(int fd, unsigned long count)
{
	struct journal *volatile journal;
	int was = sabotage;

	sabotage = 5;
	journal = reopen(fd);
	sabotage = was;
	if (setjmp(cut) == 0) {
		steps = count;
		cutting = true;
		assert_int_equal(discard(journal), 0);
	}
	cutting = false;
	journal_close(journal);
}

/* What is wrong with what is read, if it is not one of the two; and with the commits that follow. */
static const char *judge(int fd, const struct world *before, const struct world *after,
			 bool *is_after)
{
	struct commit next = random_commit();
	struct journal *journal = reopen(fd);
	const char *wrong = NULL;
	struct world found, again;

	if (!read_world(journal, &found))
		wrong = "a record is torn";
	else if (!same(&found, before) && !same(&found, after))
		wrong = "neither the state before nor the one behind";
	else if (*is_after && !same(&found, after))
		wrong = "it was committed, and is not with more steps";
	*is_after = same(&found, after) && !same(before, after);
	apply(&found, &next);
	write_commit(journal, &next);
	journal_close(journal);
	journal = reopen(fd);
	if (!wrong && (!read_world(journal, &again) || !same(&again, &found)))
		wrong = "what was not committed came back with a later commit";
	journal_close(journal);
	return wrong;
}

struct image {
	char bytes[8 * 4096];
	ssize_t size;
};

static void take_image(int fd, struct image *image)
{
	image->size = pread(fd, image->bytes, sizeof(image->bytes), 0);
	assert_true(image->size > 0 && (size_t)image->size < sizeof(image->bytes));
}

static void lay_image(int fd, const struct image *image)
{
	assert_int_equal(pwrite(fd, image->bytes, (size_t)image->size, 0), image->size);
}

/* One commit, cut everywhere; then it is made in full. NULL, or what is wrong. */
static const char *cut_commit(int fd, struct world *world)
{
	struct commit commit = random_commit();
	const struct world before = *world;
	struct image image;
	const char *wrong = NULL;
	bool is_after = false, died = true;

	apply(world, &commit);
	take_image(fd, &image);
	for (unsigned long count = 0; died && !wrong; count++) {
		lay_image(fd, &image);
		died = write_cut(fd, &commit, count);
		if (!died)
			break;
		if (below(4) == 0)
			discard_cut(fd, below(4));
		wrong = judge(fd, &before, world, &is_after);
	}
	if (!wrong) {
		lay_image(fd, &image);
		write_cut(fd, &commit, UINT32_MAX);
		is_after = !same(&before, world);
		take_image(fd, &image);
		wrong = judge(fd, world, world, &is_after);
		lay_image(fd, &image);
	}
	return wrong;
}

static const char *cut_history(uint64_t seed, unsigned commits)
{
	struct world world = {0};
	struct journal *journal;
	const char *wrong = NULL;
	int fd;

	random_state = seed;
	assert_int_equal(journal_new(&journal, kinds, KINDS, 64), 0);
	fd = dup(journal_fd(journal));
	journal_close(journal);
	for (unsigned i = 0; i < commits && !wrong; i++)
		wrong = cut_commit(fd, &world);
	close(fd);
	return wrong;
}

static void a_cut_anywhere(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		const char *wrong = cut_history(seed, 20);

		if (wrong)
			fail_msg("seed %lu: %s", (unsigned long)seed, wrong);
	}
}

static void a_wrong_journal_is_found(void **state)
{
	static const char *const what[] = {
		NULL,
		"what is true is written over",
		"committed before the record is there",
		"the highest index stored too late",
		"a dropped record loses its old copy at once",
		"what was not committed is not discarded",
	};

	(void)state;
	for (sabotage = 1; sabotage < (int)(sizeof(what) / sizeof(*what)); sabotage++) {
		const char *wrong = NULL;

		for (uint64_t seed = 1; seed <= 10 && !wrong; seed++)
			wrong = cut_history(seed, 20);
		if (!wrong)
			fail_msg("not found: %s", what[sabotage]);
	}
	sabotage = 0;
}

/* --- a real death ----------------------------------------------------------------------------- */

#define MANY 200u
static const struct journal_kind many_kinds[KINDS] = {{"a", 112, MANY}, {"b", 40, MANY}};

/* Every commit gives every record its number, but leaves out those whose turn it is not. */
static void write_for_ever(struct journal *journal, uint64_t number)
{
	_Atomic uint64_t *done = journal_extra(journal);
	uint64_t record[14];

	for (;; number++) {
		for (unsigned i = 0; i < 14; i++)
			record[i] = number;
		for (unsigned kind = 0; kind < KINDS; kind++) {
			for (uint32_t index = 1; index <= MANY; index++) {
				if ((index + number) % 3)
					journal_put(journal, kind, index, record);
				else
					journal_drop(journal, kind, index);
			}
		}
		journal_commit(journal);
		*done = number;
	}
}

/* The number they all have. */
static uint64_t read_number(struct journal *journal)
{
	uint64_t number = 0;

	for (unsigned kind = 0; kind < KINDS; kind++) {
		uint32_t index = 0, found = 0;
		const uint64_t *record;

		while ((record = journal_next(journal, kind, &index))) {
			number = number ? number : record[0];
			for (unsigned i = 0; i < many_kinds[kind].size / 8; i++)
				assert_int_equal(record[i], number);
			assert_true((index + number) % 3);
			found++;
		}
		for (index = 1; number && index <= MANY; index++)
			found -= (index + number) % 3 != 0;
		assert_int_equal(found, 0);
	}
	return number;
}

static void a_killed_writer(void **state)
{
	struct journal *journal;
	uint64_t number = 0;
	int fd;

	(void)state;
	assert_int_equal(journal_new(&journal, many_kinds, KINDS, 8), 0);
	fd = dup(journal_fd(journal));
	for (int round = 0; round < 100; round++) {
		_Atomic uint64_t *done = journal_extra(journal);
		pid_t child;
		int status;

		*done = 0;
		child = fork();
		assert_true(child >= 0);
		if (child == 0)
			write_for_ever(journal, number + 1);
		while (*done == 0)
			usleep(50);
		usleep(below(1000));
		assert_int_equal(kill(child, SIGKILL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		assert_true(*done > number);
		number = *done;
		journal_close(journal);
		assert_int_equal(journal_open(&journal, dup(fd), many_kinds, KINDS, 8), 0);
		assert_in_range(read_number(journal), number, number + 1);
		number = read_number(journal);
	}
	journal_close(journal);
	close(fd);
}

/* --- what must not be believed ---------------------------------------------------------------- */

/* A journal with a few records; the caller's. */
static int made(void)
{
	struct journal *journal;
	int fd;

	assert_int_equal(journal_new(&journal, kinds, KINDS, 64), 0);
	for (uint32_t i = 1; i <= 3; i++)
		put(journal, &(struct change){0, i, i});
	put(journal, &(struct change){1, 2, 77});
	journal_commit(journal);
	fd = dup(journal_fd(journal));
	journal_close(journal);
	return fd;
}

static void put_header(int fd, size_t offset, const void *value, size_t size)
{
	assert_int_equal(pwrite(fd, value, size, (off_t)offset), (ssize_t)size);
}

static int try_open(int fd)
{
	struct journal *journal;
	int err = journal_open(&journal, fd, kinds, KINDS, 64);

	if (!err)
		journal_close(journal);
	else
		assert_null(journal);
	return err;
}

#define KIND_FIELD(n, field)                                                                       \
	(offsetof(struct header, kinds) + (n) * sizeof(struct kind_header) +                       \
	 offsetof(struct kind_header, field))

static void a_wrong_header(void **state)
{
	static const struct {
		size_t offset, size;
		uint64_t value;
		int err;
	} cases[] = {
		{offsetof(struct header, magic), 8, 1, -EBADMSG},
		{offsetof(struct header, version), 4, 0, -EBADMSG},
		{offsetof(struct header, version), 4, JOURNAL_VERSION + 1, -ENOTSUP},
		{offsetof(struct header, count), 4, 0, -EBADMSG},
		{offsetof(struct header, count), 4, 17, -EBADMSG},
		{offsetof(struct header, count), 4, UINT32_MAX, -EBADMSG},
		{offsetof(struct header, count), 4, 1, -EBADMSG}, /* its size is another, then */
		{offsetof(struct header, extra), 8, 1u << 20, -EBADMSG},
		{offsetof(struct header, extra), 8, UINT64_MAX, -EBADMSG},
		{offsetof(struct header, committed), 8, UINT64_MAX, -EBADMSG},
		{offsetof(struct header, committed), 8, 0, 0}, /* nothing was committed */
		{KIND_FIELD(0, name), 1, 'B', -EBADMSG},
		{KIND_FIELD(0, size), 4, 0, -EBADMSG},
		{KIND_FIELD(0, size), 4, 23, -EBADMSG},
		{KIND_FIELD(0, size), 4, UINT32_MAX - 7, -EBADMSG},
		{KIND_FIELD(0, size), 4, 32, -ENOTSUP},
		{KIND_FIELD(0, max), 4, UINT32_MAX, -EBADMSG},
		{KIND_FIELD(0, high), 4, MAX + 1, -EBADMSG},
		{KIND_FIELD(1, high), 4, UINT32_MAX, -EBADMSG},
		{PAGE, 8, TAG((uint64_t)3, 1), -EBADMSG}, /* a record of a commit that is far off */
		{PAGE, 8, UINT64_MAX, -EBADMSG},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int fd = made(), err;

		put_header(fd, cases[i].offset, &cases[i].value, cases[i].size);
		err = try_open(fd);
		if (err != cases[i].err)
			fail_msg("case %u: %d, expected %d", i, err, cases[i].err);
		if (err) /* it stayed ours */
			assert_int_equal(close(fd), 0);
	}
}

/* Whatever the header says: an error, or a journal that can be read. */
static void any_header(void **state)
{
	struct image image;
	int fd = made();

	(void)state;
	random_state = 5;
	take_image(fd, &image);
	for (unsigned round = 0; round < 20000; round++) {
		struct journal *journal;
		uint32_t index = 0;

		lay_image(fd, &image);
		for (unsigned n = 0; n <= below(3); n++) {
			unsigned char byte = (unsigned char)below(256);

			put_header(fd, below(2) ? below(sizeof(struct header)) : below(160), &byte,
				   1);
		}
		if (journal_open(&journal, fd, kinds, KINDS, 64) != 0)
			continue;
		for (unsigned kind = 0; kind < KINDS; kind++, index = 0)
			while (journal_next(journal, kind, &index))
				;
		fd = dup(fd);
		journal_close(journal);
	}
	close(fd);
}

static void no_journal(void **state)
{
	struct image image;
	int fd = made(), other, ends[2];
	char path[] = "/tmp/journal_cut.XXXXXX";

	(void)state;
	take_image(fd, &image);
	other = memfd_create("unsealed", MFD_ALLOW_SEALING);
	lay_image(other, &image);
	assert_int_equal(try_open(other), -EBADMSG);
	assert_int_equal(fcntl(other, F_ADD_SEALS, F_SEAL_GROW), 0);
	assert_int_equal(try_open(other), -EBADMSG);
	assert_int_equal(fcntl(other, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	assert_int_equal(try_open(other), 0);

	other = memfd_create("short", MFD_ALLOW_SEALING);
	assert_int_equal(pwrite(other, image.bytes, 100, 0), 100);
	assert_int_equal(fcntl(other, F_ADD_SEALS, SEALS), 0);
	assert_int_equal(try_open(other), -EBADMSG);
	close(other);

	other = mkstemp(path);
	lay_image(other, &image);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(try_open(other), -EBADMSG);
	close(other);

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(try_open(ends[0]), -EBADMSG);
	close(ends[0]);
	close(ends[1]);
	close(fd);
	assert_int_equal(try_open(fd), -EBADF);
}

/* --- versions --------------------------------------------------------------------------------- */

static void an_older_one(void **state)
{
	static const struct journal_kind newer[] = {{"big", 40, 2 * MAX},
						    {"small", 16, 3},
						    {"more", 8, 3}};
	struct journal *journal;
	const uint64_t *record;
	uint32_t index = 0;

	(void)state;
	assert_int_equal(journal_open(&journal, made(), newer, 3, 4096), 0);
	assert_false(journal_writable(journal));
	assert_int_equal(journal_extra_size(journal), 64);
	for (uint32_t i = 1; i <= 3; i++) {
		record = journal_next(journal, 0, &index);
		assert_non_null(record);
		assert_int_equal(index, i);
		assert_int_equal(record[0], i);
		assert_int_equal(record[2], ~(uint64_t)i);
		assert_int_equal(record[3] | record[4], 0);
	}
	assert_null(journal_next(journal, 0, &index));
	index = 0;
	record = journal_next(journal, 1, &index);
	assert_non_null(record);
	assert_true(index == 2 && record[0] == 77 && record[1] == 0);
	index = 0;
	assert_null(journal_next(journal, 2, &index));
	journal_close(journal);

	/* A newer one: with more tables than are known, or larger records. */
	index = (uint32_t)made();
	assert_int_equal(journal_open(&journal, (int)index, kinds, 1, 64), -ENOTSUP);
	close((int)index);
}

static const struct journal_kind later_kinds[] = {{"big", 40, 2 * MAX},
						  {"small", 16, 3},
						  {"more", 8, 3}};

/* What made() has written, with zeros behind it. */
static void check_copy(struct journal *journal)
{
	static const uint64_t small[] = {77, 0};
	const uint64_t *record;
	uint32_t index = 0;

	for (uint32_t i = 1; i <= 3; i++) {
		const uint64_t big[] = {i, (uint64_t)i * 3, ~(uint64_t)i, 0, 0};

		record = journal_next(journal, 0, &index);
		assert_int_equal(index, i);
		assert_memory_equal(record, big, sizeof(big));
	}
	assert_null(journal_next(journal, 0, &index));
	index = 1;
	record = journal_next(journal, 1, &index);
	assert_int_equal(index, 2);
	assert_memory_equal(record, small, sizeof(small));
	index = 0;
	assert_null(journal_next(journal, 2, &index));
}

/* The writer of the copy ends after `count` steps; false: it was done before. */
static bool copy_cut(int from_fd, int to_fd, unsigned long count)
{
	struct journal *volatile from = NULL, *volatile to = NULL;
	struct journal *opened;
	volatile bool died = true;

	assert_int_equal(journal_open(&opened, dup(from_fd), later_kinds, 3, 64), 0);
	from = opened;
	assert_int_equal(journal_open(&opened, dup(to_fd), later_kinds, 3, 64), 0);
	to = opened;
	if (setjmp(cut) == 0) {
		steps = count;
		cutting = true;
		assert_int_equal(journal_copy(to, from), 0);
		died = false;
	}
	cutting = false;
	journal_close(from);
	journal_close(to);
	return died;
}

/* Cut anywhere, the old one says what it said, and the copy has all of it or nothing. */
static void copied_from_an_older_one(void **state)
{
	int from_fd = made();
	bool died = true;
	unsigned long count;

	(void)state;
	for (count = 0; died; count++) {
		struct journal *journal;
		uint32_t index = 0;
		int to_fd;

		assert_int_equal(journal_new(&journal, later_kinds, 3, 64), 0);
		to_fd = dup(journal_fd(journal));
		journal_close(journal);
		died = copy_cut(from_fd, to_fd, count);
		assert_int_equal(journal_open(&journal, to_fd, later_kinds, 3, 64), 0);
		assert_true(journal_writable(journal));
		if (journal_next(journal, 0, &index))
			check_copy(journal);
		else
			assert_true(died);
		journal_close(journal);
		assert_int_equal(journal_open(&journal, dup(from_fd), later_kinds, 3, 64), 0);
		check_copy(journal);
		journal_close(journal);
	}
	assert_true(count > 20);
	close(from_fd);
}

static void a_copy_without_room(void **state)
{
	static const struct journal_kind narrow[] = {{"big", 24, 2}, {"small", 8, 3}};
	struct journal *from, *to;
	uint32_t index = 0;

	(void)state;
	assert_int_equal(journal_open(&from, made(), narrow, KINDS, 64), 0);
	assert_int_equal(journal_new(&to, narrow, KINDS, 64), 0);
	assert_int_equal(journal_copy(to, from), -ENOLCK);
	assert_null(journal_next(to, 0, &index));
	journal_close(from);
	journal_close(to);
}

static void its_own_geometry(void **state)
{
	static const struct journal_kind wider[] = {{"big", 24, MAX + 1}, {"small", 8, 3}};
	struct journal *journal;

	(void)state;
	assert_int_equal(journal_open(&journal, made(), kinds, KINDS, 64), 0);
	assert_true(journal_writable(journal));
	journal_close(journal);
	assert_int_equal(journal_open(&journal, made(), wider, KINDS, 64), 0);
	assert_false(journal_writable(journal));
	journal_close(journal);
	assert_int_equal(journal_open(&journal, made(), kinds, KINDS, 65), 0);
	assert_false(journal_writable(journal));
	journal_close(journal);
}

/* --- memory ----------------------------------------------------------------------------------- */

static uint64_t memory_of(const struct journal *journal)
{
	struct stat st;

	assert_int_equal(fstat(journal_fd(journal), &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void memory_is_taken_ahead(void **state)
{
	static const struct journal_kind wide[] = {{"leases", 112, 4u << 20},
						   {"ops", 112, 1u << 20}};
	static const char record[112];
	struct journal *journal;
	uint64_t before;

	(void)state;
	assert_int_equal(journal_new(&journal, wide, 2, 100000), 0);
	assert_in_range(memory_of(journal), 100000, 200000);
	assert_int_equal(journal_reserve(journal, 0, 100000), 0);
	before = memory_of(journal);
	assert_in_range(before, 24000000, 25000000);
	for (uint32_t i = 1; i <= 100000; i++)
		journal_put(journal, 0, i, record);
	journal_commit(journal);
	for (uint32_t i = 1; i <= 100000; i++)
		journal_drop(journal, 0, i);
	journal_commit(journal);
	assert_int_equal(memory_of(journal), before);
	assert_int_equal(journal_reserve(journal, 0, 4u << 20), 0);
	assert_int_equal(journal_reserve(journal, 0, (4u << 20) + 1), -ENOLCK);
	assert_int_equal(journal_reserve(journal, 1, UINT32_MAX), -ENOLCK);
	journal_close(journal);
}

static void no_room_for_it(void **state)
{
	const struct rlimit tight = {4096, RLIM_INFINITY};
	struct journal *journal;
	struct rlimit was;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	assert_int_equal(journal_new(&journal, kinds, KINDS, 64), -EFBIG);
	assert_null(journal);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	signal(SIGXFSZ, SIG_DFL);
}

static void wrong_kinds(void **state)
{
	static const struct journal_kind odd = {"odd", 12, 3}, none = {"none", 0, 3},
					 big = {"big", 4104, 3};
	static const struct journal_kind named = {"0123456789abcdef", 8, 3};
	struct journal *journal;

	(void)state;
	assert_int_equal(journal_new(&journal, &odd, 1, 0), -EINVAL);
	assert_int_equal(journal_new(&journal, &none, 1, 0), -EINVAL);
	assert_int_equal(journal_new(&journal, &big, 1, 0), -EINVAL);
	assert_int_equal(journal_new(&journal, &named, 1, 0), -EINVAL);
	assert_int_equal(journal_new(&journal, kinds, 0, 0), -EINVAL);
	assert_int_equal(journal_new(&journal, kinds, 17, 0), -EINVAL);
	assert_int_equal(journal_new(&journal, kinds, KINDS, 0), 0);
	assert_null(journal_extra(journal));
	journal_close(journal);
	journal_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cut_anywhere),
		cmocka_unit_test(a_wrong_journal_is_found),
		cmocka_unit_test(a_killed_writer),
		cmocka_unit_test(a_wrong_header),
		cmocka_unit_test(any_header),
		cmocka_unit_test(no_journal),
		cmocka_unit_test(an_older_one),
		cmocka_unit_test(copied_from_an_older_one),
		cmocka_unit_test(a_copy_without_room),
		cmocka_unit_test(its_own_geometry),
		cmocka_unit_test(memory_is_taken_ahead),
		cmocka_unit_test(no_room_for_it),
		cmocka_unit_test(wrong_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
