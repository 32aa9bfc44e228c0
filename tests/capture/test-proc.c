/* SPDX-License-Identifier: Apache-2.0 */

/* Reading of /proc: what a process may choose itself does not lead astray; pagemap both ways. */

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
#include <unistd.h>

#include <cmocka.h>

#include "capture/maps.h"
#include "capture/pagemap.h"
#include "capture/proc.h"

#define PAGE ((size_t)4096)

static void a_name_with_parentheses_does_not_shift_stat(void **state)
{
	char stat[] = "12 (a) Z (b)) S 7 8 9 0 -1 4194304 1";
	uint64_t value;

	assert_int_equal(*capture_stat_state(stat), 'S');
	assert_int_equal(capture_stat_u64(stat, 4, &value), 0);
	assert_int_equal(value, 7);
	assert_int_equal(capture_stat_u64(stat, 9, &value), 0);
	assert_int_equal(value, 4194304);
}

static void a_cut_off_stat_is_refused(void **state)
{
	char stat[] = "12 (a", end[] = "12 (a) S 7";
	uint64_t value;

	assert_null(capture_stat_state(stat));
	assert_int_equal(capture_stat_u64(stat, 4, &value), -EBADMSG);
	assert_int_equal(capture_stat_u64(end, 5, &value), -EBADMSG);
}

static void a_status_key_is_found_at_a_lines_start_only(void **state)
{
	const char *status =
	    "Name:\tPid: 5\nPPid:\t3\nPid:\t17\nSigPnd:\t00000000000000ff\nEmpty:\n";
	const char *value_text;
	uint64_t value;
	size_t len;

	assert_int_equal(capture_status_u64(status, "Pid", 10, &value), 0);
	assert_int_equal(value, 17);
	assert_int_equal(capture_status_u64(status, "SigPnd", 16, &value), 0);
	assert_int_equal(value, 255);
	assert_int_equal(capture_status_u64(status, "Tgid", 10, &value), -ENOENT);
	assert_int_equal(capture_status_u64(status, "Name", 10, &value), -EBADMSG);
	assert_true(capture_status_find(status, "Empty", &value_text, &len));
	assert_int_equal(len, 0);
	assert_int_equal(capture_status_u64(status, "Empty", 10, &value), -EBADMSG);
}

/* A directory that stands for /proc/PID, with one file in it. */
static int fake_proc(const char *name, const char *text)
{
	char dir[] = "/tmp/sandckpt-test-XXXXXX";
	int dirfd, fd;

	assert_non_null(mkdtemp(dir));
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
	return dirfd;
}

static void drop_proc(int dirfd, const char *name)
{
	char link[32], dir[64] = "";

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", dirfd);
	assert_true(readlink(link, dir, sizeof(dir) - 1) > 0);
	(void)unlinkat(dirfd, name, 0);
	(void)rmdir(dir);
	(void)close(dirfd);
}

static void smaps_gives_mappings_with_flags(void **state)
{
	int proc = fake_proc("smaps",
			     "1000-3000 rw-p 00002000 08:01 77                 /a file (deleted)\n"
			     "Size: 8 kB\nRss: 4 kB\nSwap: 8 kB\nSwapPss: 4 kB\n"
			     "VmFlags: rd wr mr mw me dd \n"
			     "4000-5000 ---s 00000000 00:00 0 \n"
			     "Rss: 0 kB\nVmFlags: mr mw me io pf ht \n");
	struct capture_maps maps;

	assert_int_equal(capture_maps_read(proc, "smaps", &maps), 0);
	assert_int_equal(maps.n, 2);
	assert_int_equal(maps.items[0].start, 0x1000);
	assert_int_equal(maps.items[0].end, 0x3000);
	assert_int_equal(maps.items[0].offset, 0x2000);
	assert_int_equal(maps.items[0].major, 8);
	assert_int_equal(maps.items[0].inode, 77);
	assert_string_equal(maps.items[0].perms, "rw-p");
	assert_string_equal(maps.items[0].path, "/a file (deleted)");
	assert_int_equal(maps.items[0].resident, 12 * 1024);
	assert_true(maps.items[0].dontdump && !maps.items[0].io && !maps.items[0].pfn);
	assert_null(maps.items[1].path);
	assert_true(maps.items[1].io && maps.items[1].pfn && maps.items[1].hugetlb);
	capture_maps_done(&maps);
	drop_proc(proc, "smaps");
}

static void odd_mappings_are_refused(void **state)
{
	static const char *const texts[] = {
		"3000-1000 rw-p 00000000 00:00 0 \n", /* ends before it starts */
		"1000-1800 rw-p 00000000 00:00 0 \n", /* no whole page */
		"1000-2000 rw 00000000 00:00 0 \n",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		int proc = fake_proc("maps", texts[i]);
		struct capture_maps maps;

		assert_int_equal(capture_maps_read(proc, "maps", &maps), -EBADMSG);
		drop_proc(proc, "maps");
	}
}

static void flags_are_adopted_where_nothing_changed(void **state)
{
	int old_proc = fake_proc("smaps", "1000-2000 rw-p 0 00:00 0 \nVmFlags: rd dd \n"
					  "3000-4000 rw-p 0 00:00 0 \nVmFlags: rd dd \n");
	int new_proc = fake_proc("maps", "1000-2000 rw-p 0 00:00 0 \n"
					 "3000-5000 rw-p 0 00:00 0 \n");
	struct capture_maps old, new;

	assert_int_equal(capture_maps_read(old_proc, "smaps", &old), 0);
	assert_int_equal(capture_maps_read(new_proc, "maps", &new), 0);
	assert_int_equal(capture_maps_adopt(&new, &old), 1);
	assert_true(new.items[0].flags_known &&new.items[0].dontdump);
	assert_true(!new.items[1].flags_known && !new.items[1].dontdump);
	capture_maps_done(&old);
	capture_maps_done(&new);
	drop_proc(old_proc, "smaps");
	drop_proc(new_proc, "maps");
}

struct seen {
	uint64_t pages, first, last, n_disorder;
};

static int see(void *userdata, const struct capture_run *run)
{
	struct seen *seen = userdata;

	seen->n_disorder += run->start < seen->last || run->start >= run->end;
	seen->first = seen->pages ? seen->first : run->start;
	seen->pages += (run->end - run->start) / PAGE;
	seen->last = run->end;
	return 0;
}

static void pagemap_shows_the_same_with_and_without_the_ioctl(void **state)
{
	size_t len = 300 * (size_t)(1 << 20); /* more than one buffer of entries */
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct capture_pagemap pagemap = { .fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC) };
	struct seen scanned = {}, entries = {};
	uint64_t start = (uintptr_t)p;

	assert_true(p != MAP_FAILED && pagemap.fd >= 0);
	assert_int_equal(madvise(p, len, MADV_NOHUGEPAGE), 0);
	p[5 * PAGE] = 1;
	p[6 * PAGE] = 1;
	p[len - PAGE] = 1;

	assert_int_equal(capture_pagemap_scan(&pagemap, start, start + len, false, see, &scanned),
			 0);
	pagemap.no_scan = true;
	assert_int_equal(capture_pagemap_scan(&pagemap, start, start + len, false, see, &entries),
			 0);
	assert_int_equal(entries.pages, 3);
	assert_int_equal(entries.first, start + 5 * PAGE);
	assert_int_equal(entries.last, start + len);
	assert_memory_equal(&scanned, &entries, sizeof(entries));
	(void)close(pagemap.fd);
	(void)munmap(p, len);
}

/* Every other page of a mapping, in runs of one: as many as the kernel takes several goes for. */
static void many_runs_come_once_and_in_order(void **state)
{
	struct capture_pagemap pagemap = { .fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC) };

	for (size_t n = 100; n <= 3000; n += 100) {
		size_t len = n * 2 * PAGE;
		char *p =
		    mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		uint64_t start = (uintptr_t)p;
		struct seen seen = {};

		assert_true(p != MAP_FAILED && pagemap.fd >= 0);
		assert_int_equal(madvise(p, len, MADV_NOHUGEPAGE), 0);
		for (size_t i = 0; i < n; i++)
			p[i * 2 * PAGE] = 1;
		assert_int_equal(
		    capture_pagemap_scan(&pagemap, start, start + len, false, see, &seen), 0);
		assert_int_equal(seen.pages, n);
		assert_int_equal(seen.n_disorder, 0);
		(void)munmap(p, len);
	}
	(void)close(pagemap.fd);
}

static void without_a_pagemap_nothing_is_known(void **state)
{
	struct capture_pagemap pagemap = { .fd = -EBADF };

	assert_int_equal(capture_pagemap_scan(&pagemap, 0, PAGE, false, see, NULL), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_with_parentheses_does_not_shift_stat),
		cmocka_unit_test(a_cut_off_stat_is_refused),
		cmocka_unit_test(a_status_key_is_found_at_a_lines_start_only),
		cmocka_unit_test(smaps_gives_mappings_with_flags),
		cmocka_unit_test(odd_mappings_are_refused),
		cmocka_unit_test(flags_are_adopted_where_nothing_changed),
		cmocka_unit_test(pagemap_shows_the_same_with_and_without_the_ioctl),
		cmocka_unit_test(many_runs_come_once_and_in_order),
		cmocka_unit_test(without_a_pagemap_nothing_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
