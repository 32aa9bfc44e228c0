/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Verifies format/writer.c, and format/spool.c and format/digest.c through it: whatever order the
 * pages come in, the files hold what came last; the store gets a whole checkpoint under a free
 * name, or nothing.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "format/checkpoint.h"
#include "format/cleanup.h"
#include "format/fdio.h"
#include "format/layout.h"
#include "format/sink.h"
#include "format/store.h"
#include "format/sums.h"
#include "format/writer.h"
#include "record-sink.h"

#define PAGE ((uint64_t)CKPT_PAGE_SIZE)
#define BASE UINT64_C(0x10000000)

struct fixture {
	char dir[64];
	struct ckpt_store *store;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/test-writer-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(ckpt_store_open(f->dir, false, false, &f->store), 0);
	*state = f;
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ckpt_store_free(f->store);
	nftw(f->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static struct ckpt_sink *open_writer(struct fixture *f, const char *name, bool is_default)
{
	const struct ckpt_writer_params params = {
		.store = f->store,
		.name = name,
		.name_is_default = is_default,
		.owner_uid = 1234,
		.cow = "/snap/asked",
	};
	struct ckpt_sink *sink = NULL;

	assert_int_equal(ckpt_writer_new(&params, &sink), 0);
	return sink;
}

static void begin(struct ckpt_sink *sink, const struct ckpt_regions *plan)
{
	const struct ckpt_begin args = { .pid = 1, .plan = plan };

	assert_int_equal(ckpt_sink_begin(sink, &args), 0);
}

static int try_end(struct ckpt_sink *sink)
{
	const struct ckpt_meta meta = { .mode = CKPT_MODE_STOP,
					.created_sec = 1700000000,
					.cow_snapshot = (char *)"/snap/of the source" };
	const struct ckpt_info info = { .pid = 1, .cwd = (char *)"/", .exe = (char *)"/bin/sh" };
	const struct ckpt_end end = { .meta = &meta, .info = &info };

	return ckpt_sink_end(sink, &end);
}

/* Gives the regions, ends it and lets it go. */
static void finish(struct ckpt_sink *sink, const struct ckpt_regions *regions)
{
	assert_int_equal(ckpt_sink_regions(sink, regions), 0);
	assert_int_equal(try_end(sink), 0);
	ckpt_sink_free(sink);
}

static void fill(unsigned char *page, unsigned value)
{
	for (size_t i = 0; i < PAGE; i++)
		page[i] = (unsigned char)(value ? value + i % 251 : 0);
}

/* A page of a pattern; 0 is a page of zeros, as data. */
static void page(struct ckpt_sink *sink, uint64_t addr, unsigned value)
{
	unsigned char data[PAGE];

	fill(data, value);
	assert_int_equal(ckpt_sink_pages(sink, addr, sizeof(data), data), 0);
}

static struct ckpt_region region(uint64_t first, uint64_t n)
{
	return (struct ckpt_region){
		.start = BASE + first * PAGE,
		.end = BASE + (first + n) * PAGE,
		.perms = "rw-p",
	};
}

static int open_in(struct fixture *f, const char *name, const char *path)
{
	cleanup_fd int dirfd = -EBADF;

	assert_int_equal(ckpt_store_lookup(f->store, name, &dirfd), 0);
	return ckpt_fd_open_beneath(dirfd, path, O_RDONLY);
}

static void assert_page(struct fixture *f, const char *path, uint64_t n, unsigned value)
{
	cleanup_fd int fd = open_in(f, "x", path);
	unsigned char want[PAGE], got[PAGE];

	assert_true(fd >= 0);
	fill(want, value);
	assert_int_equal(ckpt_fd_pread(fd, got, sizeof(got), n * PAGE), 0);
	assert_memory_equal(got, want, sizeof(got));
}

static void stat_in(struct fixture *f, const char *path, struct stat *st)
{
	cleanup_fd int fd = open_in(f, "x", path);

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, st), 0);
}

static void assert_pages(struct fixture *f, const char *path, uint64_t n)
{
	struct stat st;

	stat_in(f, path, &st);
	assert_int_equal(st.st_size, n * PAGE);
}

/* Neither a checkpoint nor anything half done. */
static void assert_nothing_left(struct fixture *f, unsigned n_checkpoints)
{
	static const char *const places[] = { "", "/.sandckpt/staging" };
	char path[128];
	unsigned n = 0;

	for (size_t i = 0; i < 2; i++) {
		cleanup_dir DIR *dir = NULL;
		struct dirent *de;

		snprintf(path, sizeof(path), "%s%s", f->dir, places[i]);
		dir = opendir(path);
		while (dir && (de = readdir(dir)))
			n += de->d_name[0] != '.';
	}
	assert_int_equal(n, n_checkpoints);
}

static void planned_pages_come_back(void **state)
{
	struct ckpt_region items[] = { region(0, 4), region(10, 2) };
	const struct ckpt_regions regions = { .items = items, .n = 2 };
	struct fixture *f = *state;
	struct ckpt_sink *sink = open_writer(f, "x", false);

	begin(sink, &regions);
	for (unsigned i = 0; i < 4; i++)
		page(sink, BASE + i * PAGE, i + 1);
	page(sink, BASE + 11 * PAGE, 9);
	finish(sink, &regions);

	assert_pages(f, "process/memory/0.bin", 4);
	assert_pages(f, "process/memory/1.bin", 2);
	for (unsigned i = 0; i < 4; i++)
		assert_page(f, "process/memory/0.bin", i, i + 1);
	assert_page(f, "process/memory/1.bin", 0, 0);
	assert_page(f, "process/memory/1.bin", 1, 9);
}

static void pages_outside_the_plan_in_any_order_come_back(void **state)
{
	/* The last two lie to both sides of a boundary between chunks. */
	const uint64_t edge = (UINT64_C(64) << 20) / PAGE;
	struct ckpt_region planned[] = { region(2, 2) };
	struct ckpt_region items[] = { region(0, 6), region(edge - 1, 2) };
	const struct ckpt_regions plan = { .items = planned, .n = 1 };
	const struct ckpt_regions regions = { .items = items, .n = 2 };
	static const uint64_t order[] = { 5, 3, 0, 4, 2, 1 };
	struct fixture *f = *state;
	struct ckpt_sink *sink = open_writer(f, "x", false);
	unsigned char both[2 * PAGE];

	begin(sink, &plan);
	fill(both, 77);
	fill(both + PAGE, 78);
	assert_int_equal(ckpt_sink_pages(sink, BASE + (edge - 1) * PAGE, sizeof(both), both), 0);
	for (size_t i = 0; i < 6; i++)
		page(sink, BASE + order[i] * PAGE, (unsigned)order[i] + 1);
	finish(sink, &regions);

	for (unsigned i = 0; i < 6; i++)
		assert_page(f, "process/memory/0.bin", i, i + 1);
	assert_page(f, "process/memory/1.bin", 0, 77);
	assert_page(f, "process/memory/1.bin", 1, 78);
}

static void last_page_wins(void **state)
{
	struct ckpt_region items[] = { region(0, 2) };
	const struct ckpt_regions regions = { .items = items, .n = 1 };
	struct fixture *f = *state;
	struct ckpt_sink *sink = open_writer(f, "x", false);

	begin(sink, NULL);
	page(sink, BASE, 1);
	page(sink, BASE + PAGE, 2);
	page(sink, BASE, 3);
	finish(sink, &regions);

	assert_page(f, "process/memory/0.bin", 0, 3);
	assert_page(f, "process/memory/0.bin", 1, 2);
}

static void zeros_over_data_are_zeros(void **state)
{
	struct ckpt_region items[] = { region(0, 4) };
	const struct ckpt_regions regions = { .items = items, .n = 1 };
	struct fixture *f = *state;
	struct ckpt_sink *sink = open_writer(f, "x", false);

	begin(sink, &regions);
	for (unsigned i = 0; i < 4; i++)
		page(sink, BASE + i * PAGE, i + 1);
	page(sink, BASE, 0);
	assert_int_equal(ckpt_sink_zero(sink, BASE + 2 * PAGE, 2 * PAGE), 0);
	page(sink, BASE + 3 * PAGE, 8);
	finish(sink, &regions);

	assert_page(f, "process/memory/0.bin", 0, 0);
	assert_page(f, "process/memory/0.bin", 1, 2);
	assert_page(f, "process/memory/0.bin", 2, 0);
	assert_page(f, "process/memory/0.bin", 3, 8);
}

static void zero_of_all_addresses_is_quick_and_complete(void **state)
{
	struct ckpt_region items[] = { region(0, 2) };
	const struct ckpt_regions regions = { .items = items, .n = 1 };
	struct fixture *f = *state;
	struct ckpt_sink *sink = open_writer(f, "x", false);

	begin(sink, &regions);
	page(sink, BASE, 1);
	page(sink, BASE + 2 * PAGE, 2);
	assert_int_equal(ckpt_sink_zero(sink, 0, CKPT_ADDRESS_MAX), 0);
	finish(sink, &regions);
	assert_page(f, "process/memory/0.bin", 0, 0);
}

static void zero_pages_take_no_space(void **state)
{
	const uint64_t n = (UINT64_C(64) << 20) / PAGE;
	struct ckpt_region items[] = { region(0, n) };
	const struct ckpt_regions regions = { .items = items, .n = 1 };
	struct fixture *f = *state;
	struct ckpt_sink *sink = open_writer(f, "x", false);
	cleanup_free unsigned char *zeros = calloc(256, PAGE);
	struct stat st;

	begin(sink, &regions);
	for (uint64_t i = 0; i < n; i += 256)
		assert_int_equal(ckpt_sink_pages(sink, BASE + i * PAGE, 256 * PAGE, zeros), 0);
	page(sink, BASE + 1000 * PAGE, 5);
	assert_int_equal(ckpt_sink_regions(sink, &regions), 0);
	assert_int_equal(try_end(sink), 0);
	assert_true(ckpt_writer_bytes(sink) >= PAGE && ckpt_writer_bytes(sink) < 64 * PAGE);
	ckpt_sink_free(sink);

	stat_in(f, "process/memory/0.bin", &st);
	assert_int_equal(st.st_size, n * PAGE);
	assert_true(st.st_blocks * 512 < (1 << 20));
	assert_page(f, "process/memory/0.bin", 1000, 5);
}

static void what_lies_outside_the_regions_is_dropped(void **state)
{
	struct ckpt_region items[] = { region(1, 1) };
	const struct ckpt_regions regions = { .items = items, .n = 1 };
	struct fixture *f = *state;
	struct ckpt_sink *sink = open_writer(f, "x", false);

	begin(sink, NULL);
	for (unsigned i = 0; i < 4; i++)
		page(sink, BASE + i * PAGE, i + 1);
	finish(sink, &regions);

	assert_pages(f, "process/memory/0.bin", 1);
	assert_page(f, "process/memory/0.bin", 0, 2);
	assert_int_equal(open_in(f, "x", "process/memory/1.bin"), -ENOENT);
	assert_int_equal(open_in(f, "x", "spool"), -ENOENT);
}

/* Against a model: what every page was given last. */
#define MODEL_PAGES 96
#define MODEL_ROUNDS 60

static size_t random_regions(unsigned short seed[3], struct ckpt_region *items)
{
	size_t n = 0;

	for (uint64_t at = 0; at < MODEL_PAGES;) {
		uint64_t len = 1 + (uint64_t)nrand48(seed) % 20;

		if (len > MODEL_PAGES - at)
			len = MODEL_PAGES - at;
		if (nrand48(seed) % 4)
			items[n++] = region(at, len);
		at += len;
	}
	return n;
}

static void model_step(unsigned short seed[3], struct ckpt_sink *sink, unsigned *model)
{
	uint64_t at = (uint64_t)nrand48(seed) % MODEL_PAGES;
	uint64_t n = 1 + (uint64_t)nrand48(seed) % 8;
	unsigned char data[8 * PAGE];

	if (n > MODEL_PAGES - at)
		n = MODEL_PAGES - at;
	if (nrand48(seed) % 4 == 0) {
		assert_int_equal(ckpt_sink_zero(sink, BASE + at * PAGE, n * PAGE), 0);
		memset(&model[at], 0, n * sizeof(*model));
		return;
	}
	for (uint64_t i = 0; i < n; i++) {
		model[at + i] = nrand48(seed) % 3 ? (unsigned)nrand48(seed) % 200 : 0;
		fill(data + i * PAGE, model[at + i]);
	}
	assert_int_equal(ckpt_sink_pages(sink, BASE + at * PAGE, n * PAGE, data), 0);
}

static void assert_model(struct fixture *f, const char *name, const struct ckpt_regions *regions,
			 const unsigned *model)
{
	for (size_t i = 0; i < regions->n; i++) {
		uint64_t first = (regions->items[i].start - BASE) / PAGE;
		uint64_t n = (regions->items[i].end - regions->items[i].start) / PAGE;
		cleanup_fd int fd = -EBADF;
		unsigned char want[PAGE], got[PAGE];
		char path[64];
		struct stat st;

		snprintf(path, sizeof(path), "process/memory/%zu.bin", i);
		fd = open_in(f, name, path);
		assert_true(fd >= 0);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, n * PAGE);
		for (uint64_t p = 0; p < n; p++) {
			fill(want, model[first + p]);
			assert_int_equal(ckpt_fd_pread(fd, got, PAGE, p * PAGE), 0);
			assert_memory_equal(got, want, PAGE);
		}
	}
}

static void any_order_gives_what_a_model_says(void **state)
{
	unsigned short seed[3] = { 7, 8, 9 };
	struct fixture *f = *state;

	for (unsigned round = 0; round < MODEL_ROUNDS; round++) {
		struct ckpt_region planned[MODEL_PAGES], items[MODEL_PAGES];
		const struct ckpt_regions plan = { .items = planned,
						   .n = random_regions(seed, planned) };
		const struct ckpt_regions regions = { .items = items,
						      .n = random_regions(seed, items) };
		unsigned model[MODEL_PAGES] = {};
		struct ckpt_sink *sink;
		char name[16];

		snprintf(name, sizeof(name), "round%u", round);
		sink = open_writer(f, name, false);
		begin(sink, round % 5 ? &plan : NULL);
		for (unsigned i = 0; i < 60; i++)
			model_step(seed, sink, model);
		finish(sink, &regions);
		assert_model(f, name, &regions, model);
	}
}

static void more_files_than_descriptors_are_no_problem(void **state)
{
	enum { N = 300 };
	struct ckpt_region items[N];
	const struct ckpt_regions regions = { .items = items, .n = N };
	struct fixture *f = *state;
	struct ckpt_sink *sink = open_writer(f, "x", false);
	char path[64];

	for (unsigned i = 0; i < N; i++)
		items[i] = region(i * 3, 2);
	begin(sink, &regions);
	for (unsigned turn = 0; turn < 2; turn++)
		for (unsigned i = 0; i < N; i++)
			page(sink, items[i].start + turn * PAGE, i % 200 + turn + 1);
	finish(sink, &regions);

	for (unsigned i = 0; i < N; i++) {
		snprintf(path, sizeof(path), "process/memory/%u.bin", i);
		assert_page(f, path, 0, i % 200 + 1);
		assert_page(f, path, 1, i % 200 + 2);
	}
}

/* A checkpoint with something of everything. */
static void write_whole(struct fixture *f, const char *name, char *ret_name)
{
	struct ckpt_sink *sink = open_writer(f, name, true);

	assert_int_equal(play_all(sink, 100), 0);
	strcpy(ret_name, ckpt_writer_name(sink));
	assert_true(ckpt_writer_stored(sink) >= 100 * PAGE);
	ckpt_sink_free(sink);
}

static void every_file_is_there_and_no_other(void **state)
{
	static const char *const files[] = {
		"SHA256SUMS",
		"app_state.bin",
		"meta.json",
		"policy.dat",
		"proc/environ",
		"proc/maps",
		"proc/task/4712/comm",
		"process/fds.json",
		"process/info.json",
		"process/memory/0.bin",
		"process/memory_map.json",
		"process/threads/0.bin",
		"process/threads/0.xstate",
		"process/threads/1.bin",
	};
	const size_t n = sizeof(files) / sizeof(files[0]);
	char name[CKPT_NAME_SIZE], command[256], line[256];
	struct fixture *f = *state;
	FILE *p;

	write_whole(f, "x", name);
	snprintf(command, sizeof(command), "cd %s/x && find . -type f | LC_ALL=C sort", f->dir);
	p = popen(command, "r");
	assert_non_null(p);
	for (size_t i = 0; i < n; i++) {
		assert_non_null(fgets(line, sizeof(line), p));
		line[strcspn(line, "\n")] = '\0';
		assert_string_equal(line + 2, files[i]);
	}
	assert_null(fgets(line, sizeof(line), p));
	pclose(p);
}

static void sha256sum_finds_nothing_wrong(void **state)
{
	char name[CKPT_NAME_SIZE], command[256];
	struct fixture *f = *state;

	write_whole(f, "x", name);
	snprintf(command, sizeof(command),
		 "cd %s/x && sha256sum --check --strict --quiet SHA256SUMS >&2 && "
		 "test $(wc -l < SHA256SUMS) = $(find . -type f ! -name SHA256SUMS | wc -l)",
		 f->dir);
	assert_int_equal(system(command), 0);
}

static void nobody_else_can_read_it(void **state)
{
	char name[CKPT_NAME_SIZE], command[256];
	struct fixture *f = *state;

	write_whole(f, "x", name);
	snprintf(command, sizeof(command),
		 "test -z \"$(find %s/x ! '(' -type d -perm 0700 -o -name app_state.bin -perm 0600 "
		 "-o -type f -perm 0400 ')')\"",
		 f->dir);
	assert_int_equal(system(command), 0);
}

static void it_reads_as_what_was_written(void **state)
{
	cleanup_checkpoint struct ckpt_checkpoint *c = NULL;
	cleanup_fd int dirfd = -EBADF;
	char name[CKPT_NAME_SIZE];
	struct fixture *f = *state;

	write_whole(f, "x", name);
	assert_int_equal(ckpt_store_lookup(f->store, "x", &dirfd), 0);
	assert_int_equal(ckpt_layout_read(dirfd, &c), 0);
	assert_string_equal(c->meta.name, "x");
	assert_true(c->meta.ours);
	assert_string_equal(c->meta.sandckpt, SANDCKPT_VERSION);
	assert_int_equal(c->meta.owner_uid, 1234);
	assert_int_equal(c->meta.bytes, 99 * PAGE); /* one of the 100 was made zero */
	assert_int_equal(c->meta.pause_us, 1234);
	assert_int_equal(c->meta.omitted.n, 1);
	assert_int_equal(c->regions.n, 1);
	assert_int_equal(c->threads.n, 2);
	assert_string_equal(c->threads.items[1].comm, "odd \xff one");
	assert_int_equal(c->fds.n, 2);
	assert_string_equal(c->fds.items[1].local, "127.0.0.1:80");
}

static void taken_default_name_gets_a_number(void **state)
{
	cleanup_checkpoint struct ckpt_checkpoint *c = NULL;
	cleanup_fd int dirfd = -EBADF;
	char name[CKPT_NAME_SIZE], path[128];
	struct fixture *f = *state;

	write_whole(f, "x", name);
	assert_string_equal(name, "x");
	snprintf(path, sizeof(path), "%s/x.2", f->dir);
	assert_int_equal(close(creat(path, 0600)), 0); /* a stray takes a name too */
	write_whole(f, "x", name);
	assert_string_equal(name, "x.3");

	assert_int_equal(ckpt_store_lookup(f->store, "x.3", &dirfd), 0);
	assert_int_equal(ckpt_layout_read(dirfd, &c), 0);
	assert_string_equal(c->meta.name, "x.3");
	snprintf(path, sizeof(path), "cd %s/x.3 && sha256sum --check --strict --quiet SHA256SUMS",
		 f->dir);
	assert_int_equal(system(path), 0);
}

static void taken_name_is_eexist_at_once(void **state)
{
	const struct ckpt_begin args = { .pid = 1 };
	char name[CKPT_NAME_SIZE];
	struct fixture *f = *state;
	struct ckpt_sink *sink;

	write_whole(f, "x", name);
	sink = open_writer(f, "x", false);
	assert_int_equal(ckpt_sink_begin(sink, &args), -EEXIST);
	ckpt_sink_free(sink);
	assert_nothing_left(f, 1);
}

static void name_taken_meanwhile_is_eexist(void **state)
{
	const struct ckpt_regions none = {};
	char name[CKPT_NAME_SIZE];
	struct fixture *f = *state;
	struct ckpt_sink *sink = open_writer(f, "x", false);

	begin(sink, NULL);
	page(sink, BASE, 1);
	write_whole(f, "x", name);
	assert_int_equal(ckpt_sink_regions(sink, &none), 0);
	assert_int_equal(try_end(sink), -EEXIST);
	ckpt_sink_free(sink);
	assert_nothing_left(f, 1);
}

static void freed_before_the_end_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct ckpt_sink *sink = open_writer(f, "x", false);

	assert_int_equal(play_until_end(sink, 50), 0);
	ckpt_sink_free(sink);
	assert_nothing_left(f, 0);
}

static int call_begin(struct ckpt_sink *sink)
{
	const struct ckpt_begin args = { .pid = 1 };

	return ckpt_sink_begin(sink, &args);
}

static int call_pages(struct ckpt_sink *sink)
{
	static const char data[PAGE];

	return ckpt_sink_pages(sink, BASE, sizeof(data), data);
}

static int call_zero(struct ckpt_sink *sink)
{
	return ckpt_sink_zero(sink, BASE, PAGE);
}

static int call_thread(struct ckpt_sink *sink)
{
	const struct ckpt_thread thread = { .tid = 1 };

	return ckpt_sink_thread(sink, &thread);
}

static int call_fd(struct ckpt_sink *sink)
{
	const struct ckpt_fd fd = { .path = (char *)"/" };

	return ckpt_sink_fd(sink, &fd);
}

static int call_procfile(struct ckpt_sink *sink)
{
	return ckpt_sink_procfile(sink, "maps", "x", 1);
}

static int call_omitted(struct ckpt_sink *sink)
{
	const struct ckpt_omitted row = { (char *)"a", (char *)"b", (char *)"EIO" };

	return ckpt_sink_omitted(sink, &row);
}

static int call_regions(struct ckpt_sink *sink)
{
	const struct ckpt_regions none = {};

	return ckpt_sink_regions(sink, &none);
}

typedef int (*call_t)(struct ckpt_sink *sink);

static void calls_out_of_order_are_eproto(void **state)
{
	static const call_t before_begin[] = { call_pages,    call_zero,    call_thread,  call_fd,
					       call_procfile, call_omitted, call_regions, try_end };
	static const call_t after_begin[] = { call_begin, try_end };
	static const call_t after_regions[] = { call_begin,   call_pages,    call_zero,
						call_thread,  call_procfile, call_omitted,
						call_regions, call_fd };
	static const call_t after_end[] = { call_begin, call_pages, call_regions, try_end };
	static const struct {
		const call_t *calls;
		size_t n, n_before;
	} table[] = {
		{ before_begin, sizeof(before_begin) / sizeof(call_t), 0 },
		{ after_begin, sizeof(after_begin) / sizeof(call_t), 1 },
		{ after_regions, sizeof(after_regions) / sizeof(call_t), 2 },
		{ after_end, sizeof(after_end) / sizeof(call_t), 3 },
	};
	static const call_t path[] = { call_begin, call_regions, try_end };
	struct fixture *f = *state;

	for (size_t row = 0; row < 4; row++) {
		for (size_t i = 0; i < table[row].n; i++) {
			struct ckpt_sink *sink = open_writer(f, "x", true);

			for (size_t k = 0; k < table[row].n_before; k++)
				assert_int_equal(path[k](sink), 0);
			assert_int_equal(table[row].calls[i](sink), -EPROTO);
			ckpt_sink_free(sink);
		}
	}
}

static void nothing_is_taken_after_an_error(void **state)
{
	struct fixture *f = *state;
	struct ckpt_sink *sink = open_writer(f, "x", false);

	begin(sink, NULL);
	assert_int_equal(ckpt_sink_zero(sink, 1, PAGE), -EINVAL);
	assert_int_equal(call_zero(sink), -EPROTO);
	ckpt_sink_free(sink);
	assert_nothing_left(f, 0);
}

static void ranges_that_cannot_be_are_einval(void **state)
{
	static const struct {
		uint64_t addr, len;
	} table[] = {
		{ 1, PAGE },
		{ PAGE, 1 },
		{ CKPT_ADDRESS_MAX, PAGE },
		{ UINT64_MAX - PAGE + 1, PAGE },
		{ PAGE, UINT64_MAX - PAGE + 1 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct ckpt_sink *sink = open_writer(f, "x", false);

		begin(sink, NULL);
		assert_int_equal(ckpt_sink_zero(sink, table[i].addr, table[i].len), -EINVAL);
		ckpt_sink_free(sink);
	}
}

static void regions_that_overlap_are_ebadmsg(void **state)
{
	struct ckpt_region items[] = { region(0, 2), region(1, 2) };
	const struct ckpt_regions regions = { .items = items, .n = 2 };
	struct fixture *f = *state;
	struct ckpt_sink *sink = open_writer(f, "x", false);

	begin(sink, NULL);
	assert_int_equal(ckpt_sink_regions(sink, &regions), -EBADMSG);
	ckpt_sink_free(sink);
	assert_nothing_left(f, 0);
}

static void paths_that_lead_out_of_proc_are_einval(void **state)
{
	static const char *const paths[] = { "",    "/",    "/maps", "a/",	 "a//b",
					     ".",   "..",   "../x",  "a/../b",	 ".hidden",
					     "a b", "a\nb", "a\xff", "1/2/3/4/5" };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct ckpt_sink *sink = open_writer(f, "x", false);

		begin(sink, NULL);
		assert_int_equal(ckpt_sink_procfile(sink, paths[i], "x", 1), -EINVAL);
		ckpt_sink_free(sink);
	}
	assert_nothing_left(f, 0);
}

static void second_file_of_one_path_is_eexist(void **state)
{
	struct fixture *f = *state;
	struct ckpt_sink *sink = open_writer(f, "x", false);

	begin(sink, NULL);
	assert_int_equal(ckpt_sink_procfile(sink, "task/1/comm", "x", 1), 0);
	assert_int_equal(ckpt_sink_procfile(sink, "task/1/comm", "y", 1), -EEXIST);
	ckpt_sink_free(sink);
}

static void omitted_rows_have_an_end(void **state)
{
	const struct ckpt_regions none = {};
	cleanup_checkpoint struct ckpt_checkpoint *c = NULL;
	cleanup_fd int dirfd = -EBADF;
	struct fixture *f = *state;
	struct ckpt_sink *sink = open_writer(f, "x", false);

	begin(sink, NULL);
	for (unsigned i = 0; i < CKPT_OMITTED_MAX + 10; i++)
		assert_int_equal(call_omitted(sink), 0);
	finish(sink, &none);

	assert_int_equal(ckpt_store_lookup(f->store, "x", &dirfd), 0);
	assert_int_equal(ckpt_layout_read(dirfd, &c), 0);
	assert_int_equal(c->meta.omitted.n, CKPT_OMITTED_MAX);
	assert_string_equal(c->meta.omitted.items[CKPT_OMITTED_MAX - 1].err, "E2BIG");
}

static void cow_snapshot_is_what_was_asked_for(void **state)
{
	const struct ckpt_regions none = {};
	cleanup_checkpoint struct ckpt_checkpoint *c = NULL;
	cleanup_fd int dirfd = -EBADF;
	struct fixture *f = *state;
	struct ckpt_sink *sink = open_writer(f, "x", false);

	begin(sink, NULL);
	finish(sink, &none);
	assert_int_equal(ckpt_store_lookup(f->store, "x", &dirfd), 0);
	assert_int_equal(ckpt_layout_read(dirfd, &c), 0);
	assert_string_equal(c->meta.cow_snapshot, "/snap/asked");
}

static void long_strings_of_the_source_are_einval(void **state)
{
	struct fixture *f = *state;
	struct ckpt_omitted rows[] = { { (char *)"a", (char *)"b", (char *)"c" },
				       { (char *)"a", (char *)"b", (char *)"c" },
				       { (char *)"a", (char *)"b", (char *)"c" } };
	char text[300] = "", path[300];
	struct ckpt_sink *sink;

	memset(text, 'x', 256);
	rows[0].what = rows[1].call = rows[2].err = text;
	for (size_t i = 0; i < 3; i++) {
		sink = open_writer(f, "x", false);
		begin(sink, NULL);
		assert_int_equal(ckpt_sink_omitted(sink, &rows[i]), -EINVAL);
		ckpt_sink_free(sink);
	}

	memset(path, 'p', sizeof(path));
	path[128] = '\0';
	sink = open_writer(f, "x", false);
	begin(sink, NULL);
	assert_int_equal(ckpt_sink_procfile(sink, path + 1, "", 0), 0);
	assert_int_equal(ckpt_sink_procfile(sink, path, "", 0), -EINVAL);
	ckpt_sink_free(sink);
	assert_nothing_left(f, 0);
}

/* The rest of the descriptor is kept, and meta.json says what is not. */
static void fdinfo_beyond_all_bounds_is_omitted(void **state)
{
	const struct ckpt_regions none = {};
	cleanup_checkpoint struct ckpt_checkpoint *c = NULL;
	cleanup_free char *value = malloc(CKPT_FDINFO_MAX);
	cleanup_fd int dirfd = -EBADF;
	struct fixture *f = *state;
	struct ckpt_sink *sink = open_writer(f, "x", false);
	const int n = CKPT_FDINFO_TOTAL_MAX / CKPT_FDINFO_MAX;

	memset(value, 'v', CKPT_FDINFO_MAX - 2);
	value[CKPT_FDINFO_MAX - 2] = '\0';
	begin(sink, NULL);
	for (int i = 0; i <= n; i++) {
		struct ckpt_fd fd = { .fd = i, .path = (char *)"/x", .type = (char *)"file" };

		assert_int_equal(ckpt_fd_add_fdinfo(&fd, "k", value), 0);
		assert_int_equal(ckpt_sink_fd(sink, &fd), 0);
		fd.path = fd.type = NULL;
		ckpt_fd_done(&fd);
	}
	finish(sink, &none);

	assert_int_equal(ckpt_store_lookup(f->store, "x", &dirfd), 0);
	assert_int_equal(ckpt_layout_read(dirfd, &c), 0);
	assert_int_equal(c->fds.n, n + 1);
	assert_int_equal(c->fds.items[n - 1].n_fdinfo, 1);
	assert_int_equal(c->fds.items[n].n_fdinfo, 0);
	assert_string_equal(c->fds.items[n].path, "/x");
	assert_int_equal(c->meta.omitted.n, 1);
	assert_string_equal(c->meta.omitted.items[0].what, "fd/8");
}

static void packed_is_einval(void **state)
{
	struct fixture *f = *state;
	const struct ckpt_writer_params params = { .store = f->store,
						   .name = "x",
						   .form = CKPT_FORM_PACKED };
	struct ckpt_sink *sink = NULL;

	assert_int_equal(ckpt_writer_new(&params, &sink), -EINVAL);
	assert_null(sink);
}

static void reserve_that_would_be_touched_is_enospc(void **state)
{
	const struct ckpt_begin args = { .pid = 1, .expected_bytes = PAGE };
	struct fixture *f = *state;
	const struct ckpt_writer_params params = { .store = f->store,
						   .name = "x",
						   .reserve_percent = 100 };
	struct ckpt_sink *sink = NULL;

	assert_int_equal(ckpt_writer_new(&params, &sink), 0);
	assert_int_equal(ckpt_sink_begin(sink, &args), -ENOSPC);
	ckpt_sink_free(sink);
	assert_nothing_left(f, 0);
}

struct cancel {
	atomic_uint asked; /* by several threads in the end */
	unsigned at;
};

static bool cancelled(void *userdata)
{
	struct cancel *cancel = userdata;

	return atomic_fetch_add(&cancel->asked, 1) + 1 == cancel->at;
}

static void cancelled_at_any_time_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned at = 1;

	for (;; at++) {
		struct cancel cancel = { .at = at };
		const struct ckpt_writer_params params = {
			.store = f->store, .name = "x", .cancelled = cancelled, .userdata = &cancel
		};
		struct ckpt_sink *sink = NULL;
		int r;

		assert_int_equal(ckpt_writer_new(&params, &sink), 0);
		r = play_all(sink, 20);
		ckpt_sink_free(sink);
		if (r == 0)
			break;
		assert_int_equal(r, -ECANCELED);
		assert_nothing_left(f, 0);
	}
	assert_true(at > 5);
	assert_nothing_left(f, 1);
}

/* Calls without a byte count as well. */
static void cancelled_among_zeros_alone_is_ecanceled(void **state)
{
	struct fixture *f = *state;
	struct cancel cancel = { .at = 1 };
	const struct ckpt_writer_params params = {
		.store = f->store, .name = "x", .cancelled = cancelled, .userdata = &cancel
	};
	struct ckpt_sink *sink = NULL;
	int r = 0;

	assert_int_equal(ckpt_writer_new(&params, &sink), 0);
	begin(sink, NULL);
	for (unsigned i = 0; i < 100 && r == 0; i++)
		r = ckpt_sink_zero(sink, BASE, PAGE);
	assert_int_equal(r, -ECANCELED);
	ckpt_sink_free(sink);
	assert_nothing_left(f, 0);
}

/* While the end digests: a block of one file is no more than that. */
static void cancelled_while_it_digests_is_ecanceled(void **state)
{
	const struct ckpt_regions regions = { .items = (struct ckpt_region[]){ region(0, 65536) },
					      .n = 1 };
	struct fixture *f = *state;
	struct cancel cancel = { .at = 100 };
	const struct ckpt_writer_params params = {
		.store = f->store, .name = "x", .cancelled = cancelled, .userdata = &cancel
	};
	struct ckpt_sink *sink = NULL;

	assert_int_equal(ckpt_writer_new(&params, &sink), 0);
	begin(sink, &regions);
	assert_int_equal(ckpt_sink_regions(sink, &regions), 0);
	assert_int_equal(try_end(sink), -ECANCELED);
	ckpt_sink_free(sink);
	assert_nothing_left(f, 0);
}

static int write_until_full(struct ckpt_sink *sink)
{
	cleanup_free unsigned char *data = malloc(256 * PAGE);
	int r = 0;

	memset(data, 1, 256 * PAGE);
	for (uint64_t i = 0; i < 64 && r == 0; i++)
		r = ckpt_sink_pages(sink, BASE + i * 256 * PAGE, 256 * PAGE, data);
	return r;
}

static void full_filesystem_is_enospc_and_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct ckpt_store *outer = f->store;
	struct ckpt_sink *sink;

	if (unshare(CLONE_NEWNS) < 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", f->dir, "tmpfs", 0, "size=8m") < 0)
		skip(); /* a mount needs root */
	assert_int_equal(ckpt_store_open(f->dir, false, false, &f->store), 0);

	sink = open_writer(f, "x", false);
	begin(sink, NULL);
	assert_int_equal(write_until_full(sink), -ENOSPC);
	ckpt_sink_free(sink);
	assert_nothing_left(f, 0);

	ckpt_store_free(f->store);
	f->store = outer;
	assert_int_equal(umount(f->dir), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(planned_pages_come_back),
		TEST(pages_outside_the_plan_in_any_order_come_back),
		TEST(last_page_wins),
		TEST(zeros_over_data_are_zeros),
		TEST(zero_of_all_addresses_is_quick_and_complete),
		TEST(zero_pages_take_no_space),
		TEST(what_lies_outside_the_regions_is_dropped),
		TEST(any_order_gives_what_a_model_says),
		TEST(more_files_than_descriptors_are_no_problem),
		TEST(every_file_is_there_and_no_other),
		TEST(sha256sum_finds_nothing_wrong),
		TEST(nobody_else_can_read_it),
		TEST(it_reads_as_what_was_written),
		TEST(taken_default_name_gets_a_number),
		TEST(taken_name_is_eexist_at_once),
		TEST(name_taken_meanwhile_is_eexist),
		TEST(freed_before_the_end_leaves_nothing),
		TEST(calls_out_of_order_are_eproto),
		TEST(nothing_is_taken_after_an_error),
		TEST(ranges_that_cannot_be_are_einval),
		TEST(regions_that_overlap_are_ebadmsg),
		TEST(paths_that_lead_out_of_proc_are_einval),
		TEST(second_file_of_one_path_is_eexist),
		TEST(omitted_rows_have_an_end),
		TEST(cow_snapshot_is_what_was_asked_for),
		TEST(long_strings_of_the_source_are_einval),
		TEST(fdinfo_beyond_all_bounds_is_omitted),
		TEST(packed_is_einval),
		TEST(reserve_that_would_be_touched_is_enospc),
		TEST(cancelled_at_any_time_leaves_nothing),
		TEST(cancelled_among_zeros_alone_is_ecanceled),
		TEST(cancelled_while_it_digests_is_ecanceled),
		TEST(full_filesystem_is_enospc_and_leaves_nothing),
	};

	alarm(90);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
