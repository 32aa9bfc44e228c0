/* SPDX-License-Identifier: Apache-2.0 */

/* Memory of each kind that a capture must tell apart. */

#include "helpers/mkproc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define PAGE ((size_t)MKPROC_PAGE)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define TIB ((size_t)1 << 40)

/* A line that names the mapping and the page, over and over: found by grep, checked by page. */
static void fill(unsigned char *page, const char *name, size_t number)
{
	char line[80];
	size_t len = snprintf(line, sizeof(line), "%s page %zu\n", name, number);

	for (size_t i = 0; i < PAGE; i++)
		page[i] = line[i % len];
}

static void fill_pages(unsigned char *start, const char *name, size_t first, size_t count)
{
	for (size_t i = first; i < first + count; i++)
		fill(start + i * PAGE, name, i);
}

static struct json_object *report(struct json_object *facts, const void *start, size_t size,
				  const char *name)
{
	struct json_object *row = mkproc_row(facts, "maps");

	mkproc_int(row, "start", (uintptr_t)start);
	mkproc_int(row, "end", (uintptr_t)start + size);
	mkproc_string(row, "name", name);
	json_object_object_add(row, "pattern", json_object_new_array());
	return row;
}

static void report_pattern(struct json_object *row, size_t first, size_t count)
{
	struct json_object *range = json_object_new_array();

	json_object_array_add(range, json_object_new_uint64(first));
	json_object_array_add(range, json_object_new_uint64(count));
	json_object_array_add(json_object_object_get(row, "pattern"), range);
}

static int map(size_t n_pages, int prot, int flags, int fd, unsigned char **ret)
{
	void *start = mmap(NULL, n_pages * PAGE, prot, flags, fd, 0);

	if (start == MAP_FAILED)
		return -errno;

	*ret = start;
	return 0;
}

static int map_anonymous(size_t n_pages, unsigned char **ret)
{
	return map(n_pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, ret);
}

/* A file of n pages of pattern in the working directory, then "tail" bytes more. */
static int make_file(const char *name, size_t n_pages, size_t tail, int *ret)
{
	unsigned char page[MKPROC_PAGE];
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;

	for (size_t i = 0; i < n_pages + (tail > 0); i++) {
		size_t len = i < n_pages ? PAGE : tail;

		fill(page, name, i);
		if (write(fd, page, len) != (ssize_t)len)
			return -EIO;
	}

	*ret = fd;
	return 0;
}

/* Runs in another process, so that this one never touches the pages. */
static int fill_by_child(unsigned char *start, const char *name, size_t first, size_t count)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		fill_pages(start, name, first, count);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) < 0)
		return -errno;

	return status ? -EIO : 0;
}

/* Every other page is left alone: absent, hence zero. */
static int make_anon(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row;
	unsigned char *start = NULL;
	int r;

	r = map_anonymous(64, &start);
	if (r < 0)
		return r;

	row = report(facts, start, 64 * PAGE, "anon");
	for (size_t i = 0; i < 64; i += 2) {
		fill_pages(start, "anon", i, 1);
		report_pattern(row, i, 1);
	}
	return 0;
}

/* The lower half is read and so shows the zero page, the upper half is random. */
static int make_big(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	size_t size = argument ? (size_t)strtoull(argument, NULL, 0) : 4 * MIB;
	struct json_object *row;
	unsigned char *start = NULL;
	int r;

	if (size < 2 * MIB || size % (2 * MIB))
		return -EINVAL;

	r = map_anonymous(size / PAGE, &start);
	if (r < 0)
		return r;

	for (size_t i = size / 2; i < size; i += MIB)
		for (size_t done = 0; done < MIB;) {
			ssize_t n = getrandom(start + i + done, MIB - done, 0);

			if (n < 0)
				return -errno;
			done += n;
		}

	row = report(facts, start, size, "big");
	mkproc_flag(row, "random", true);
	return 0;
}

static int make_zero_page(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	volatile unsigned char *look;
	unsigned char *start = NULL, sum = 0;
	struct json_object *row;
	int r;

	r = map_anonymous(16, &start);
	if (r < 0)
		return r;

	look = start;
	for (size_t i = 0; i < 16; i++)
		sum |= look[i * PAGE];
	start[3 * PAGE] = 1; /* written and made zero again: present, and zero */
	start[3 * PAGE] = sum;
	fill_pages(start, "zero-page", 15, 1);

	row = report(facts, start, 16 * PAGE, "zero-page");
	report_pattern(row, 15, 1);
	return 0;
}

static int make_dropped(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row;
	unsigned char *start = NULL;
	int r;

	r = map_anonymous(16, &start);
	if (r < 0)
		return r;

	fill_pages(start, "dropped", 0, 16);
	if (madvise(start + 4 * PAGE, 8 * PAGE, MADV_DONTNEED) < 0)
		return -errno;

	row = report(facts, start, 16 * PAGE, "dropped");
	report_pattern(row, 0, 4);
	report_pattern(row, 12, 4);
	return 0;
}

static int make_shared(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row;
	unsigned char *start = NULL;
	int r;

	r = map(64, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, &start);
	if (r < 0)
		return r;
	r = fill_by_child(start, "shared", 8, 40);
	if (r < 0)
		return r;

	row = report(facts, start, 64 * PAGE, "shared");
	report_pattern(row, 8, 40);
	return 0;
}

static int map_memfd(const char *name, bool keep_fd, struct json_object *facts)
{
	unsigned char page[MKPROC_PAGE], *start = NULL;
	struct json_object *row;
	int fd, r;

	fd = memfd_create(name, MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 32 * PAGE) < 0)
		return -errno;

	for (size_t i = 16; i < 24; i++) {
		fill(page, name, i);
		if (pwrite(fd, page, PAGE, i * PAGE) != (ssize_t)PAGE)
			return -EIO;
	}

	r = map(32, PROT_READ | PROT_WRITE, MAP_SHARED, fd, &start);
	if (r < 0)
		return r;
	if (!keep_fd)
		close(fd);

	row = report(facts, start, 32 * PAGE, name);
	report_pattern(row, 16, 8);
	return 0;
}

static int make_memfd(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	return map_memfd("memfd-map", true, facts);
}

static int make_memfd_closed(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	return map_memfd("memfd-closed", false, facts);
}

/* Data far inside: what is cut out there starts at another offset of the file. */
static int make_sparse_memfd(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	const size_t n_pages = GIB / PAGE, middle = n_pages / 2;
	unsigned char page[MKPROC_PAGE], *start = NULL;
	struct json_object *row;
	int fd, r;

	fd = memfd_create("sparse-memfd", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, GIB) < 0)
		return -errno;
	fill(page, "sparse-memfd", middle);
	if (pwrite(fd, page, PAGE, middle * PAGE) != (ssize_t)PAGE)
		return -EIO;

	r = map(n_pages, PROT_READ | PROT_WRITE, MAP_SHARED, fd, &start);
	if (r < 0)
		return r;

	row = report(facts, start, GIB, "sparse-memfd");
	report_pattern(row, middle, 1);
	mkproc_flag(row, "cut", true);
	return 0;
}

static int make_sysv(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	int id = shmget(IPC_PRIVATE, 16 * PAGE, IPC_CREAT | 0600);
	struct json_object *row;
	unsigned char *start = NULL;
	int r;

	if (id < 0)
		return -errno;

	start = shmat(id, NULL, 0);
	r = start == (void *)-1 ? -errno : 0;
	(void)shmctl(id, IPC_RMID, NULL);
	if (r < 0)
		return r;

	r = fill_by_child(start, "sysv", 2, 5);
	if (r < 0)
		return r;

	row = report(facts, start, 16 * PAGE, "sysv");
	report_pattern(row, 2, 5);
	return 0;
}

static int map_deleted(const char *name, int prot, int flags, struct json_object *facts)
{
	struct json_object *row;
	unsigned char *start = NULL;
	int fd, r;

	r = make_file(name, 8, 0, &fd);
	if (r < 0)
		return r;
	r = map(8, prot, flags, fd, &start);
	if (r < 0)
		return r;

	close(fd);
	if (unlink(name) < 0)
		return -errno;

	row = report(facts, start, 8 * PAGE, name);
	report_pattern(row, 0, 8);
	return 0;
}

static int make_deleted_shared(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	return map_deleted("deleted-shared", PROT_READ | PROT_WRITE, MAP_SHARED, facts);
}

static int make_deleted_private(struct mkproc *proc, const char *argument,
				struct json_object *facts)
{
	return map_deleted("deleted-private", PROT_READ | PROT_WRITE, MAP_PRIVATE, facts);
}

static int make_deleted_text(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	return map_deleted("deleted-text", PROT_READ | PROT_EXEC, MAP_PRIVATE, facts);
}

static int make_prot_none(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row;
	unsigned char *start = NULL;
	int r;

	r = map_anonymous(8, &start);
	if (r < 0)
		return r;

	fill_pages(start, "prot-none", 2, 1);
	if (mprotect(start, 8 * PAGE, PROT_NONE) < 0)
		return -errno;

	row = report(facts, start, 8 * PAGE, "prot-none");
	report_pattern(row, 2, 1);
	return 0;
}

static int make_guard(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row;
	unsigned char *start = NULL;
	int r;

	r = map_anonymous(16, &start);
	if (r < 0)
		return r;

	fill_pages(start, "guard", 0, 16);
	if (madvise(start + 5 * PAGE, PAGE, MADV_GUARD_INSTALL) < 0)
		return -errno;

	row = report(facts, start, 16 * PAGE, "guard");
	report_pattern(row, 0, 5);
	report_pattern(row, 6, 10);
	return 0;
}

/* As RELRO: written once, then read-only, so rw-p no longer tells that it matters. */
static int make_dirty_ro(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row;
	unsigned char *start = NULL;
	int fd, r;

	r = make_file("dirty-ro", 8, 0, &fd);
	if (r < 0)
		return r;
	r = map(8, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, &start);
	if (r < 0)
		return r;
	close(fd);

	memset(start + 3 * PAGE, 0xd1, PAGE);
	if (mprotect(start, 8 * PAGE, PROT_READ) < 0)
		return -errno;

	row = report(facts, start, 8 * PAGE, "dirty-ro");
	report_pattern(row, 0, 3);
	report_pattern(row, 4, 4);
	mkproc_int(row, "dirty_page", 3);
	return 0;
}

static int make_half_read(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	volatile unsigned char *look;
	struct json_object *row;
	unsigned char *start = NULL;
	int fd, r;

	r = make_file("half-read", 64, 0, &fd);
	if (r < 0)
		return r;
	r = map(64, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, &start);
	if (r < 0)
		return r;
	close(fd);

	/* A fault maps up to sixteen pages: some of the upper half stay absent all the same. */
	look = start;
	for (size_t i = 0; i < 32; i++)
		(void)look[i * PAGE];

	row = report(facts, start, 64 * PAGE, "half-read");
	report_pattern(row, 0, 64);
	return 0;
}

/* Two and a half pages of file under eight of mapping: beyond the third there is nothing. */
static int make_past_eof(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row;
	unsigned char *start = NULL;
	int fd, r;

	r = make_file("past-eof", 2, PAGE / 2, &fd);
	if (r < 0)
		return r;
	r = map(8, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, &start);
	if (r < 0)
		return r;
	close(fd);

	row = report(facts, start, 8 * PAGE, "past-eof");
	report_pattern(row, 0, 2);
	mkproc_int(row, "half_page", 2);
	return 0;
}

/* Memory that its file gives back whole, and so is not in the image. */
static int make_file_only(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row;
	unsigned char *start = NULL;
	int fd, r;

	r = make_file("file-only", 8, 0, &fd);
	if (r < 0)
		return r;
	r = map(8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, &start);
	if (r < 0)
		return r;
	row = report(facts, start, 8 * PAGE, "file-only");
	mkproc_flag(row, "absent", true);

	r = map(8, PROT_READ, MAP_PRIVATE, fd, &start);
	if (r < 0)
		return r;
	close(fd);
	row = report(facts, start, 8 * PAGE, "file-only");
	mkproc_flag(row, "absent", true);
	return 0;
}

static int make_reserve_none(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row;
	unsigned char *start = NULL;
	int r;

	r = map(TIB / PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, &start);
	if (r < 0)
		return r;

	row = report(facts, start, TIB, "reserve-none");
	mkproc_flag(row, "absent", true);
	return 0;
}

static int make_reserve_rw(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	const size_t middle = TIB / PAGE / 2;
	struct json_object *row;
	unsigned char *start = NULL;
	int r;

	r = map(TIB / PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		&start);
	if (r < 0)
		return r;

	fill_pages(start, "reserve-rw", middle, 3);
	row = report(facts, start, TIB, "reserve-rw");
	report_pattern(row, middle, 3);
	mkproc_flag(row, "cut", true);
	return 0;
}

static int make_dontdump(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row;
	unsigned char *start = NULL;
	int r;

	r = map_anonymous(8, &start);
	if (r < 0)
		return r;

	fill_pages(start, "dontdump", 0, 8);
	if (madvise(start, 8 * PAGE, MADV_DONTDUMP) < 0)
		return -errno;

	row = report(facts, start, 8 * PAGE, "dontdump");
	report_pattern(row, 0, 8);
	mkproc_flag(row, "dontdump", true);
	return 0;
}

const struct mkproc_factory mkproc_memory[] = {
	{ "anon", "private anonymous, every other page untouched", make_anon },
	{ "big", "=SIZE private anonymous, half zero, half random", make_big },
	{ "zero-page", "the zero page, and a page that became zero", make_zero_page },
	{ "dropped", "the middle given back with MADV_DONTNEED", make_dropped },
	{ "shared", "shared anonymous, filled by a child alone", make_shared },
	{ "memfd-map", "a memfd's mapping, its fd open", make_memfd },
	{ "memfd-closed", "a memfd's mapping, its fd closed", make_memfd_closed },
	{ "sparse-memfd", "a large memfd's mapping with a page of data amidst", make_sparse_memfd },
	{ "sysv", "SysV shared memory, removed, filled by a child alone", make_sysv },
	{ "deleted-shared", "a shared mapping of a deleted file", make_deleted_shared },
	{ "deleted-private", "a private one, never touched", make_deleted_private },
	{ "deleted-text", "a private executable one, never touched", make_deleted_text },
	{ "prot-none", "a page with data under PROT_NONE", make_prot_none },
	{ "guard", "MADV_GUARD_INSTALL inside a mapping", make_guard, .optional = true },
	{ "dirty-ro", "a dirty page of a read-only private file mapping", make_dirty_ro },
	{ "half-read", "a private file mapping, half of it never read", make_half_read },
	{ "past-eof", "a private file mapping that goes on past its end", make_past_eof },
	{ "file-only", "what the file gives back whole", make_file_only },
	{ "reserve-none", "1 TiB of PROT_NONE", make_reserve_none },
	{ "reserve-rw", "1 TiB writable, three pages of data amidst", make_reserve_rw },
	{ "dontdump", "a MADV_DONTDUMP region", make_dontdump },
	{},
};
