/* SPDX-License-Identifier: Apache-2.0 */

/* Each kind of memory is in the image as the process has it, and nothing else is read. */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "capture/kernel.h"
#include "tests/capture/child.h"

#define PAGE ((size_t)CKPT_PAGE_SIZE)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define TIB ((size_t)1 << 40)

static void *map(size_t len, int prot, int flags, int fd)
{
	void *p = mmap(NULL, len, prot, flags, fd, 0);

	child_need(p != MAP_FAILED);
	return p;
}

static void fill(void *at, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		((unsigned char *)at)[i] = (unsigned char)(i / PAGE * 7 + i * 13 + seed + 1);
}

static void expect_pattern(const struct memory_sink *sink, uint64_t addr, size_t len, unsigned seed)
{
	unsigned char *want = malloc(len);

	fill(want, len, seed);
	for (size_t at = 0; at < len; at += PAGE) {
		const unsigned char *page = memory_sink_page(sink, addr + at);

		assert_non_null(page);
		assert_memory_equal(page, want + at, PAGE);
		assert_non_null(memory_sink_region(sink, addr + at));
	}
	free(want);
}

static uint64_t file_of(size_t len, unsigned seed, int *ret_fd, char path[64])
{
	void *data = malloc(len);

	strcpy(path, "/tmp/sandckpt-test-XXXXXX");
	*ret_fd = mkostemp(path, O_CLOEXEC);
	child_need(*ret_fd >= 0 && data);
	fill(data, len, seed);
	child_need(write(*ret_fd, data, len) == (ssize_t)len);
	free(data);
	return len;
}

static struct memory_sink *capture(struct child *child)
{
	struct memory_sink *sink;
	struct capture_result result;

	assert_int_equal(child_capture(child, &sink, &result), 0);
	assert_true(result.bytes <= sink->n_pages * PAGE);
	return sink;
}

static void child_plain(struct child *child)
{
	char *p = map(64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	fill(p + 3 * PAGE, 5 * PAGE, 1);
	child->facts[0] = (uintptr_t)p;
	child_wait(child);
}

/* Whether each row's bytes are those of /proc/PID/mem, its holes zeros. */
static void expect_same(const struct memory_sink *sink, pid_t pid)
{
	static const unsigned char zeros[PAGE];
	unsigned char page[PAGE];
	char path[32];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	for (size_t i = 0; i < sink->regions.n; i++) {
		const struct ckpt_region *region = &sink->regions.items[i];

		for (uint64_t at = region->start; at < region->end; at += PAGE) {
			const unsigned char *got = memory_sink_page(sink, at);

			assert_int_equal(pread(fd, page, PAGE, (off_t)at), PAGE);
			assert_memory_equal(got ? got : zeros, page, PAGE);
		}
	}
	(void)close(fd);
}

static void every_segment_equals_the_stopped_process(void **state)
{
	struct child child = child_start(child_plain);
	struct memory_sink *sink;

	child_stop(&child);
	sink = capture(&child);
	assert_true(sink->regions.n > 5);
	expect_same(sink, child.pid);
	expect_pattern(sink, child.facts[0] + 3 * PAGE, 5 * PAGE, 1);
	memory_sink_free(sink);
	child_end(&child);
}

static void an_absent_page_is_a_hole_and_stays_absent(void **state)
{
	struct child child = child_start(child_plain);
	struct memory_sink *sink = capture(&child);
	uint64_t entry = 1;
	char path[32];
	int fd;

	assert_null(memory_sink_page(sink, child.facts[0]));
	assert_non_null(memory_sink_region(sink, child.facts[0]));
	(void)snprintf(path, sizeof(path), "/proc/%d/pagemap", child.pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, &entry, 8, (off_t)(child.facts[0] / PAGE * 8)), 8);
	assert_int_equal(entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED), 0);
	(void)close(fd);
	memory_sink_free(sink);
	child_end(&child);
}

static void a_sink_without_room_of_its_own_gets_the_same(void **state)
{
	struct child child = child_start(child_plain);
	struct memory_sink *sink = memory_sink_new(false);
	struct capture_params params = child_params(&child, &sink);
	struct capture_result result;

	child_stop(&child);
	assert_int_equal(capture_process(&params, &result), 0);
	expect_same(sink, child.pid);
	memory_sink_free(sink);
	child_end(&child);
}

static void child_shared(struct child *child)
{
	char *p = map(16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	pid_t pid = fork();

	child_need(pid >= 0);
	if (pid == 0) {
		fill(p + 2 * PAGE, 3 * PAGE, 9);
		_exit(0);
	}
	child_need(waitpid(pid, NULL, 0) == pid);
	child->facts[0] = (uintptr_t)p;
	child_wait(child);
}

static void shared_memory_filled_by_another_process_is_there(void **state)
{
	struct child child = child_start(child_shared);
	struct memory_sink *sink = capture(&child);

	expect_pattern(sink, child.facts[0] + 2 * PAGE, 3 * PAGE, 9);
	assert_null(memory_sink_page(sink, child.facts[0]));
	memory_sink_free(sink);
	child_end(&child);
}

static void child_memfd(struct child *child)
{
	int fd = memfd_create("data", MFD_CLOEXEC);
	char *data = malloc(4 * PAGE);

	child_need(fd >= 0 && ftruncate(fd, 16 * (off_t)PAGE) == 0);
	fill(data, 4 * PAGE, 5);
	child_need(pwrite(fd, data, 4 * PAGE, 8 * (off_t)PAGE) == 4 * (ssize_t)PAGE);
	child_need(lseek(fd, 123, SEEK_SET) == 123);
	child->facts[0] = (uintptr_t)map(16 * PAGE, PROT_READ, MAP_SHARED, fd);
	child->facts[1] = (uint64_t)fd;
	child_wait(child);
}

static void a_memfd_is_there_and_its_offset_does_not_move(void **state)
{
	struct child child = child_start(child_memfd);
	struct memory_sink *sink = capture(&child);
	const struct ckpt_fd *fd = memory_sink_fd(sink, (int)child.facts[1]);
	char path[64], text[256] = "";
	int file;

	expect_pattern(sink, child.facts[0] + 8 * PAGE, 4 * PAGE, 5);
	assert_null(memory_sink_page(sink, child.facts[0]));
	assert_int_equal(fd->offset, 123);
	(void)snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", child.pid, (int)child.facts[1]);
	file = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(read(file, text, sizeof(text) - 1) > 0);
	assert_non_null(strstr(text, "pos:\t123\n"));
	(void)close(file);
	memory_sink_free(sink);
	child_end(&child);
}

static void child_sysv(struct child *child)
{
	int id = shmget(IPC_PRIVATE, 8 * PAGE, IPC_CREAT | 0600);
	char *p = shmat(id, NULL, 0);

	child_need(p != (void *)-1 && shmctl(id, IPC_RMID, NULL) == 0);
	fill(p + PAGE, 2 * PAGE, 3);
	child->facts[0] = (uintptr_t)p;
	child_wait(child);
}

static void sysv_memory_is_there(void **state)
{
	struct child child = child_start(child_sysv);
	struct memory_sink *sink = capture(&child);

	expect_pattern(sink, child.facts[0] + PAGE, 2 * PAGE, 3);
	memory_sink_free(sink);
	child_end(&child);
}

static void child_none(struct child *child)
{
	char *p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	fill(p, 4 * PAGE, 2);
	child_need(mprotect(p + PAGE, 2 * PAGE, PROT_NONE) == 0);
	child->facts[0] = (uintptr_t)p;
	child_wait(child);
}

static void a_page_without_access_keeps_its_data(void **state)
{
	struct child child = child_start(child_none);
	struct memory_sink *sink = capture(&child);

	expect_pattern(sink, child.facts[0], 4 * PAGE, 2);
	assert_string_equal(memory_sink_region(sink, child.facts[0] + PAGE)->perms, "---p");
	memory_sink_free(sink);
	child_end(&child);
}

static void child_guard(struct child *child)
{
	char *p = map(8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	fill(p, 8 * PAGE, 4);
	child->facts[0] = (uintptr_t)p;
	child->facts[1] = madvise(p + 3 * PAGE, 2 * PAGE, MADV_GUARD_INSTALL) == 0;
	child_wait(child);
}

static void a_guard_page_is_read_around_and_told_of(void **state)
{
	struct child child = child_start(child_guard);
	struct memory_sink *sink;
	char what[64];

	if (!child.facts[1]) {
		child_end(&child);
		skip();
	}
	sink = capture(&child);
	expect_pattern(sink, child.facts[0], 3 * PAGE, 4);
	assert_null(memory_sink_page(sink, child.facts[0] + 3 * PAGE));
	assert_null(memory_sink_page(sink, child.facts[0] + 4 * PAGE));
	assert_non_null(memory_sink_page(sink, child.facts[0] + 5 * PAGE));
	assert_non_null(memory_sink_page(sink, child.facts[0] + 7 * PAGE));
	(void)snprintf(what, sizeof(what), "memory/%lx-%lx", child.facts[0] + 3 * PAGE,
		       child.facts[0] + 5 * PAGE);
	assert_non_null(memory_sink_omitted(sink, what));
	assert_string_equal(memory_sink_omitted(sink, what)->err, "EFAULT");
	memory_sink_free(sink);
	child_end(&child);
}

static void child_deleted(struct child *child)
{
	char path[64];
	int fd;

	file_of(6 * PAGE, 6, &fd, path);
	child->facts[0] = (uintptr_t)map(6 * PAGE, PROT_READ, MAP_SHARED, fd);
	child->facts[1] = (uintptr_t)map(6 * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd);
	child_need(unlink(path) == 0 && close(fd) == 0);
	child_wait(child);
}

static void a_deleted_files_mappings_are_there(void **state)
{
	struct child child = child_start(child_deleted);
	struct memory_sink *sink = capture(&child);

	expect_pattern(sink, child.facts[0], 6 * PAGE, 6);
	expect_pattern(sink, child.facts[1], 6 * PAGE, 6);
	memory_sink_free(sink);
	child_end(&child);
}

static void child_readonly_dirty(struct child *child)
{
	char path[64], *p;
	int fd;

	file_of(4 * PAGE, 7, &fd, path);
	p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	fill(p + PAGE, PAGE, 99);
	child_need(mprotect(p, 4 * PAGE, PROT_READ) == 0);
	child->facts[0] = (uintptr_t)p;
	/* The same without a page of its own: the file gives it back. */
	child->facts[1] = (uintptr_t)map(4 * PAGE, PROT_READ, MAP_PRIVATE, fd);
	child_need(*(volatile char *)child->facts[1] != 0);
	child_wait(child);
}

static void a_dirty_page_of_a_read_only_private_mapping_is_there(void **state)
{
	struct child child = child_start(child_readonly_dirty);
	struct memory_sink *sink = capture(&child);
	const unsigned char *page = memory_sink_page(sink, child.facts[0] + PAGE);
	unsigned char want[PAGE], file[4 * PAGE];

	fill(want, PAGE, 99);
	fill(file, sizeof(file), 7);
	assert_non_null(page);
	assert_memory_equal(page, want, PAGE);
	assert_memory_equal(memory_sink_page(sink, child.facts[0] + 3 * PAGE), file + 3 * PAGE,
			    PAGE);
	assert_null(memory_sink_region(sink, child.facts[1]));
	assert_int_equal(unlink(memory_sink_region(sink, child.facts[0])->path), 0);
	memory_sink_free(sink);
	child_end(&child);
}

static void child_half_read(struct child *child)
{
	char path[64], *p;
	int fd;

	file_of(8 * PAGE, 8, &fd, path);
	p = map(8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	for (size_t i = 0; i < 4; i++)
		(void)*(volatile char *)(p + i * PAGE);
	p[2 * PAGE] = 'x';
	child->facts[0] = (uintptr_t)p;
	child_need(unlink(path) == 0);
	child_wait(child);
}

static void a_private_file_mapping_half_read_is_whole(void **state)
{
	struct child child = child_start(child_half_read);
	struct memory_sink *sink;

	child_stop(&child);
	sink = capture(&child);
	assert_int_equal(memory_sink_page(sink, child.facts[0] + 2 * PAGE)[0], 'x');
	for (size_t i = 0; i < 8; i++)
		assert_non_null(memory_sink_page(sink, child.facts[0] + i * PAGE));
	expect_same(sink, child.pid);
	memory_sink_free(sink);
	child_end(&child);
}

static void child_past_eof(struct child *child)
{
	char path[64], *p;
	int fd;

	file_of(PAGE + 100, 8, &fd, path);
	p = map(8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	child->facts[0] = (uintptr_t)p;
	child_need(unlink(path) == 0);
	child_wait(child);
}

static void past_the_end_of_a_file_nothing_is_missed(void **state)
{
	struct child child = child_start(child_past_eof);
	struct memory_sink *sink = capture(&child);
	const unsigned char *last = memory_sink_page(sink, child.facts[0] + PAGE);

	assert_non_null(memory_sink_page(sink, child.facts[0]));
	assert_non_null(last);
	assert_true(last[99] != 0 && last[100] == 0 && last[PAGE - 1] == 0);
	assert_null(memory_sink_page(sink, child.facts[0] + 2 * PAGE));
	for (size_t i = 0; i < sink->omitted.n; i++)
		assert_int_not_equal(strncmp(sink->omitted.items[i].what, "memory/", 7), 0);
	memory_sink_free(sink);
	child_end(&child);
}

static void child_reserve(struct child *child)
{
	char *p = map(TIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1), *q;

	q = map(TIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	child_need(madvise(q, TIB, MADV_NOHUGEPAGE) == 0);
	fill(q + TIB / 2, 3 * PAGE, 11);
	child->facts[0] = (uintptr_t)p;
	child->facts[1] = (uintptr_t)q;
	child_wait(child);
}

static void a_terabyte_of_reservation_costs_nothing(void **state)
{
	struct child child = child_start(child_reserve);
	struct memory_sink *sink;
	uint64_t data = child.facts[1] + TIB / 2, rows = 0;

	sink = capture(&child);
	expect_pattern(sink, data, 3 * PAGE, 11);
	assert_null(memory_sink_region(sink, child.facts[0] + TIB / 2));
	assert_int_equal(memory_sink_region(sink, data)->start, data);
	assert_int_equal(memory_sink_region(sink, data)->end, data + 3 * PAGE);
	/* Of the other mappings nothing is asked here: a sanitizer's are large. */
	for (size_t i = 0; i < sink->regions.n; i++) {
		const struct ckpt_region *region = &sink->regions.items[i];

		if (region->start < child.facts[1] + TIB && region->end > child.facts[1])
			rows += region->end - region->start;
		assert_true(region->start >= child.facts[0] + TIB || region->end <= child.facts[0]);
	}
	assert_int_equal(rows, 3 * PAGE);
	memory_sink_free(sink);
	child_end(&child);
}

static void child_cut(struct child *child)
{
	char *p = map(GIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	int fd = memfd_create("sparse", MFD_CLOEXEC);
	char *q;

	child_need(madvise(p, GIB, MADV_NOHUGEPAGE) == 0);
	fill(p + MIB, PAGE, 1);	     /* a hole of 63 MiB follows: the row goes on */
	fill(p + 64 * MIB, PAGE, 2); /* one of 64 MiB: the row ends */
	fill(p + 128 * MIB + PAGE, PAGE, 3);
	child->facts[0] = (uintptr_t)p;

	child_need(fd >= 0 && ftruncate(fd, (off_t)GIB) == 0);
	q = map(GIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	fill(q + 512 * MIB, PAGE, 4);
	child->facts[1] = (uintptr_t)q;
	child_wait(child);
}

static void a_row_ends_at_a_hole_of_64_mib(void **state)
{
	struct child child = child_start(child_cut);
	struct memory_sink *sink = capture(&child);
	uint64_t p = child.facts[0], q = child.facts[1];
	const struct ckpt_region *first = memory_sink_region(sink, p);
	const struct ckpt_region *second = memory_sink_region(sink, p + 128 * MIB + PAGE);
	const struct ckpt_region *shared = memory_sink_region(sink, q + 512 * MIB);

	assert_int_equal(first->start, p);
	assert_int_equal(first->end, p + 64 * MIB + PAGE);
	assert_int_equal(second->start, p + 128 * MIB + PAGE);
	assert_int_equal(second->end, p + 128 * MIB + 2 * PAGE);
	assert_int_equal(second->offset, 0);
	assert_null(memory_sink_region(sink, p + 100 * MIB));
	assert_int_equal(shared->start, q + 512 * MIB);
	assert_int_equal(shared->end, q + 512 * MIB + PAGE);
	assert_int_equal(shared->offset, 512 * MIB);
	expect_pattern(sink, p + 128 * MIB + PAGE, PAGE, 3);
	expect_pattern(sink, q + 512 * MIB, PAGE, 4);
	memory_sink_free(sink);
	child_end(&child);
}

static void child_dontdump(struct child *child)
{
	char *p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	fill(p, 4 * PAGE, 1);
	child_need(madvise(p, 4 * PAGE, MADV_DONTDUMP) == 0);
	child->facts[0] = (uintptr_t)p;
	p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	child_need(mprotect(p, PAGE, PROT_READ) == 0); /* not one mapping with the other */
	fill(p + PAGE, PAGE, 1);
	child->facts[1] = (uintptr_t)p + PAGE;
	child_wait(child);
}

static void a_dontdump_region_is_there_and_marked(void **state)
{
	struct child child = child_start(child_dontdump);
	struct memory_sink *sink = capture(&child);

	expect_pattern(sink, child.facts[0], 4 * PAGE, 1);
	assert_true(memory_sink_region(sink, child.facts[0])->dontdump);
	assert_false(memory_sink_region(sink, child.facts[1])->dontdump);
	memory_sink_free(sink);
	child_end(&child);
}

static void an_elf_image_has_its_first_page(void **state)
{
	struct child child = child_start(child_plain);
	struct memory_sink *sink = capture(&child);
	size_t n = 0;

	for (size_t i = 0; i < sink->regions.n; i++) {
		const struct ckpt_region *region = &sink->regions.items[i];

		if (region->offset == 0 && region->end == region->start + PAGE && region->path &&
		    strstr(region->path, "libc.so"))
			n += memcmp(memory_sink_page(sink, region->start), "\177ELF", 4) == 0;
		assert_true(!region->path || !strstr(region->path, "[v"));
	}
	assert_int_equal(n, 1);
	memory_sink_free(sink);
	child_end(&child);
}

static int no_space(void *userdata)
{
	(void)userdata;
	return -ENOSPC;
}

static void a_failing_sink_leaves_the_process_running(void **state)
{
	struct child child = child_start(child_plain);
	struct memory_sink *sink = memory_sink_new(true);
	struct capture_params params = child_params(&child, &sink);
	struct capture_result result;

	sink->on_pages = no_space;
	assert_int_equal(capture_process(&params, &result), -ENOSPC);
	assert_true(result.said[0] != '\0');
	assert_true(child_await_state(child.pid, "S"));
	memory_sink_free(sink);
	child_end(&child);
}

/* As an ordinary user, in a process of its own: what is given up is not had back. */
static void as_nobody(void (*fn)(void))
{
	pid_t pid;
	int status;

	if (geteuid() != 0)
		skip();
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		child_need(setresgid(65534, 65534, 65534) == 0 &&
			   setresuid(65534, 65534, 65534) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void shared_as_nobody(void)
{
	struct child child = child_start(child_shared);
	struct memory_sink *sink;
	struct capture_result result;
	char what[64];

	child_need(child_capture(&child, &sink, &result) == 0);
	(void)snprintf(what, sizeof(what), "memory/%lx-%lx", child.facts[0],
		       child.facts[0] + 16 * PAGE);
	child_need(memory_sink_omitted(sink, what) != NULL);
	child_need(memory_sink_page(sink, child.facts[0] + 2 * PAGE)[0] == 10);
	child_need(memory_sink_page(sink, child.facts[0] + 15 * PAGE) != NULL);
	child_end(&child);
}

static void memfd_as_nobody(void)
{
	struct child child = child_start(child_memfd);
	struct memory_sink *sink;
	struct capture_result result;

	child_need(child_capture(&child, &sink, &result) == 0);
	child_need(memory_sink_page(sink, child.facts[0] + 8 * PAGE)[0] == 6);
	child_need(memory_sink_page(sink, child.facts[0]) == NULL);
	child_need(memory_sink_fd(sink, (int)child.facts[1])->offset == 123);
	child_end(&child);
}

static void past_eof_as_nobody(void)
{
	struct child child = child_start(child_past_eof);
	struct memory_sink *sink;
	struct capture_result result;
	char what[64];

	child_need(child_capture(&child, &sink, &result) == 0);
	child_need(memory_sink_page(sink, child.facts[0] + PAGE) != NULL);
	child_need(memory_sink_page(sink, child.facts[0] + 2 * PAGE) == NULL);
	(void)snprintf(what, sizeof(what), "memory/%lx-%lx", child.facts[0] + 2 * PAGE,
		       child.facts[0] + 8 * PAGE);
	child_need(memory_sink_omitted(sink, what) == NULL);
	child_end(&child);
}

static void an_ordinary_user_reads_shared_memory_whole_and_is_told(void **state)
{
	as_nobody(shared_as_nobody);
}

static void an_ordinary_user_finds_the_data_of_a_memfd(void **state)
{
	as_nobody(memfd_as_nobody);
}

static void an_ordinary_user_misses_nothing_past_the_end_of_a_file(void **state)
{
	as_nobody(past_eof_as_nobody);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_segment_equals_the_stopped_process),
		cmocka_unit_test(an_absent_page_is_a_hole_and_stays_absent),
		cmocka_unit_test(a_sink_without_room_of_its_own_gets_the_same),
		cmocka_unit_test(shared_memory_filled_by_another_process_is_there),
		cmocka_unit_test(a_memfd_is_there_and_its_offset_does_not_move),
		cmocka_unit_test(sysv_memory_is_there),
		cmocka_unit_test(a_page_without_access_keeps_its_data),
		cmocka_unit_test(a_guard_page_is_read_around_and_told_of),
		cmocka_unit_test(a_deleted_files_mappings_are_there),
		cmocka_unit_test(a_dirty_page_of_a_read_only_private_mapping_is_there),
		cmocka_unit_test(a_private_file_mapping_half_read_is_whole),
		cmocka_unit_test(past_the_end_of_a_file_nothing_is_missed),
		cmocka_unit_test(a_terabyte_of_reservation_costs_nothing),
		cmocka_unit_test(a_row_ends_at_a_hole_of_64_mib),
		cmocka_unit_test(a_dontdump_region_is_there_and_marked),
		cmocka_unit_test(an_elf_image_has_its_first_page),
		cmocka_unit_test(a_failing_sink_leaves_the_process_running),
		cmocka_unit_test(an_ordinary_user_reads_shared_memory_whole_and_is_told),
		cmocka_unit_test(an_ordinary_user_finds_the_data_of_a_memfd),
		cmocka_unit_test(an_ordinary_user_misses_nothing_past_the_end_of_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
