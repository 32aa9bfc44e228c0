/* SPDX-License-Identifier: Apache-2.0 */
/* The objects: what lists own, where they end, and when regions are in order. */
#include "format/checkpoint.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGE ((uint64_t)CKPT_PAGE_SIZE)

static void empty_objects_can_be_released(void **state)
{
	struct ckpt_region region = {};
	struct ckpt_regions regions = {};
	struct ckpt_thread thread = {};
	struct ckpt_threads threads = {};
	struct ckpt_fd fd = {};
	struct ckpt_fds fds = {};
	struct ckpt_omitteds omitted = {};
	struct ckpt_info info = {};
	struct ckpt_meta meta = {};

	ckpt_region_done(&region);
	ckpt_regions_done(&regions);
	ckpt_thread_done(&thread);
	ckpt_threads_done(&threads);
	ckpt_fd_done(&fd);
	ckpt_fds_done(&fds);
	ckpt_omitteds_done(&omitted);
	ckpt_info_done(&info);
	ckpt_meta_done(&meta);
	assert_null(ckpt_checkpoint_free(NULL));
	assert_null(ckpt_checkpoint_free(calloc(1, sizeof(struct ckpt_checkpoint))));
}

static void regions_are_copied_with_their_path(void **state)
{
	char path[] = "[heap]";
	struct ckpt_region region = { .start = 0, .end = PAGE, .perms = "rw-p", .path = path };
	struct ckpt_regions regions = {};

	for (int i = 0; i < 100; i++)
		assert_int_equal(ckpt_regions_add(&regions, &region), 0);
	path[0] = '?';
	assert_int_equal(regions.n, 100);
	assert_string_equal(regions.items[99].path, "[heap]");
	ckpt_regions_done(&regions);
	assert_int_equal(regions.n, 0);
}

static void threads_and_fds_move_into_their_list(void **state)
{
	struct ckpt_thread thread = { .tid = 7 };
	struct ckpt_threads threads = {};
	struct ckpt_fd fd = { .fd = 3 };
	struct ckpt_fds fds = {};

	assert_int_equal(ckpt_strdup("worker", &thread.comm), 0);
	assert_int_equal(ckpt_threads_add(&threads, &thread), 0);
	assert_null(thread.comm);
	assert_string_equal(threads.items[0].comm, "worker");

	assert_int_equal(ckpt_strdup("/x", &fd.path), 0);
	assert_int_equal(ckpt_fd_add_fdinfo(&fd, "mnt_id", "29"), 0);
	assert_int_equal(ckpt_fds_add(&fds, &fd), 0);
	assert_null(fd.path);
	assert_int_equal(fd.n_fdinfo, 0);
	assert_string_equal(fds.items[0].fdinfo[0].value, "29");

	ckpt_threads_done(&threads);
	ckpt_fds_done(&fds);
}

static void omitted_rows_name_the_errno(void **state)
{
	struct ckpt_omitteds omitted = {};

	assert_int_equal(ckpt_omitteds_add(&omitted, "fd/7", "openat", EACCES), 0);
	assert_int_equal(ckpt_omitteds_add(&omitted, "proc/io", "read", -EPERM), 0);
	assert_int_equal(ckpt_omitteds_add(&omitted, "x", "y", 99999), 0);
	assert_string_equal(omitted.items[0].err, "EACCES");
	assert_string_equal(omitted.items[1].err, "EPERM");
	assert_string_equal(omitted.items[2].err, "EIO");
	ckpt_omitteds_done(&omitted);
}

static void omitted_rows_are_limited(void **state)
{
	struct ckpt_omitteds omitted = {};

	for (size_t i = 0; i < CKPT_OMITTED_MAX; i++)
		assert_int_equal(ckpt_omitteds_add(&omitted, "a", "b", EIO), 0);
	assert_int_equal(ckpt_omitteds_add(&omitted, "a", "b", EIO), -E2BIG);
	assert_int_equal(omitted.n, CKPT_OMITTED_MAX);
	ckpt_omitteds_done(&omitted);
}

static void modes_have_names(void **state)
{
	for (int mode = 0; mode < _CKPT_MODE_MAX; mode++)
		assert_int_equal(ckpt_mode_parse(ckpt_mode_name((enum ckpt_mode)mode)), mode);
	assert_string_equal(ckpt_mode_name(CKPT_MODE_STOP), "stop");
	assert_int_equal(ckpt_mode_parse("Stop"), -EINVAL);
	assert_int_equal(ckpt_mode_parse(""), -EINVAL);
	assert_null(ckpt_mode_name(_CKPT_MODE_MAX));
	assert_null(ckpt_mode_name(_CKPT_MODE_INVALID));
}

/* clang-format off */
static const struct {
	struct { uint64_t start, end; } rows[2];
	int r;
} lists[] = {
	{ { { PAGE, 2 * PAGE }, { 2 * PAGE, 4 * PAGE } }, 0 },
	{ { { 0, PAGE }, { 3 * PAGE, CKPT_ADDRESS_MAX } }, 0 },
	{ { { PAGE, 3 * PAGE }, { 2 * PAGE, 4 * PAGE } }, -EBADMSG },
	{ { { PAGE, 2 * PAGE }, { PAGE, 2 * PAGE } }, -EBADMSG },
	{ { { 2 * PAGE, 3 * PAGE }, { 0, PAGE } }, -EBADMSG },
	{ { { PAGE, PAGE }, { 2 * PAGE, 3 * PAGE } }, -EBADMSG },
	{ { { 2 * PAGE, PAGE }, { 2 * PAGE, 3 * PAGE } }, -EBADMSG },
	{ { { 1, PAGE }, { PAGE, 2 * PAGE } }, -EBADMSG },
	{ { { 0, PAGE + 1 }, { 2 * PAGE, 3 * PAGE } }, -EBADMSG },
	{ { { 0, PAGE }, { PAGE, CKPT_ADDRESS_MAX + PAGE } }, -EBADMSG },
	{ { { 0, PAGE }, { UINT64_MAX - PAGE + 1, 0 } }, -EBADMSG },
};
/* clang-format on */

static void regions_must_ascend_in_whole_pages(void **state)
{
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct ckpt_regions regions = {};

		for (size_t k = 0; k < 2; k++) {
			struct ckpt_region region = { .start = lists[i].rows[k].start,
						      .end = lists[i].rows[k].end };

			assert_int_equal(ckpt_regions_add(&regions, &region), 0);
		}
		if (ckpt_regions_check(&regions) != lists[i].r)
			fail_msg("list %zu gives %d", i, ckpt_regions_check(&regions));
		ckpt_regions_done(&regions);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_objects_can_be_released),
		cmocka_unit_test(regions_are_copied_with_their_path),
		cmocka_unit_test(threads_and_fds_move_into_their_list),
		cmocka_unit_test(omitted_rows_name_the_errno),
		cmocka_unit_test(omitted_rows_are_limited),
		cmocka_unit_test(modes_have_names),
		cmocka_unit_test(regions_must_ascend_in_whole_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
