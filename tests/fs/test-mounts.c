/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a mount in the text of mountinfo. */
#include "fs/mounts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char mountinfo[] =
    "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    "30 22 0:44 / /mnt/a rw,nosuid master:2 shared:9 - fuse.sandckpt store rw,user_id=0\n"
    "31 22 0:45 / /mnt/with\\040blank rw - fuse.sandckpt store rw\n"
    "32 22 0:46 / /mnt/b rw - fuse.sandckpt store rw\n"
    "33 32 0:47 / /mnt/b rw - tmpfs tmpfs rw\n"
    "34 22 0:48 / /mnt/c rw - fuse.sandckptx store rw\n"
    "broken\n"
    "35 22 0:49 /\n";

static void a_mount_of_ours_is_found(void **state)
{
	struct ckfs_mount mount;

	assert_int_equal(ckfs_mounts_parse(mountinfo, "/mnt/a", &mount), 1);
	assert_true(mount.ours);
	assert_int_equal(mount.major, 0);
	assert_int_equal(mount.minor, 44);
}

static void blanks_in_a_path_are_understood(void **state)
{
	struct ckfs_mount mount;

	assert_int_equal(ckfs_mounts_parse(mountinfo, "/mnt/with blank", &mount), 1);
	assert_int_equal(mount.minor, 45);
}

static void the_topmost_is_meant(void **state)
{
	struct ckfs_mount mount;

	assert_int_equal(ckfs_mounts_parse(mountinfo, "/mnt/b", &mount), 1);
	assert_false(mount.ours);
	assert_int_equal(mount.minor, 47);
}

static void a_device_is_found_wherever_it_lies(void **state)
{
	static const char moved[] = "30 22 0:44 / /old rw - fuse.sandckpt store rw\n"
				    "31 22 0:45 / /mnt/moved\\040here rw - fuse.sandckpt store rw\n"
				    "32 22 0:46 / /old rw - fuse.sandckpt store rw\n"
				    "33 22 0:44 / /bound rw - fuse.sandckpt store rw\n"
				    "34 22 0:50 / /mnt/x rw - tmpfs store rw\n";
	const struct ckfs_mount first = { .minor = 44, .ours = true };
	const struct ckfs_mount second = { .minor = 45, .ours = true };
	const struct ckfs_mount tmpfs = { .minor = 50, .ours = true };
	char place[PATH_MAX];

	assert_int_equal(ckfs_mounts_parse_device(moved, &second, place), 1);
	assert_string_equal(place, "/mnt/moved here");
	/* Where it is covered is passed over. */
	assert_int_equal(ckfs_mounts_parse_device(moved, &first, place), 1);
	assert_string_equal(place, "/bound");
	assert_int_equal(ckfs_mounts_parse_device(moved, &tmpfs, place), 0);
}

static void a_covered_device_is_ebusy(void **state)
{
	const struct ckfs_mount below = { .minor = 46, .ours = true };
	char place[PATH_MAX];

	assert_int_equal(ckfs_mounts_parse_device(mountinfo, &below, place), -EBUSY);
	assert_int_equal(ckfs_mounts_parse_device("", &below, place), 0);
}

static void another_type_is_not_ours(void **state)
{
	struct ckfs_mount mount;

	assert_int_equal(ckfs_mounts_parse(mountinfo, "/mnt/c", &mount), 1);
	assert_false(mount.ours);
	assert_int_equal(ckfs_mounts_parse(mountinfo, "/", &mount), 1);
	assert_false(mount.ours);
}

static void a_part_of_a_path_is_nothing(void **state)
{
	struct ckfs_mount mount;

	assert_int_equal(ckfs_mounts_parse(mountinfo, "/mnt", &mount), 0);
	assert_int_equal(ckfs_mounts_parse(mountinfo, "/mnt/ab", &mount), 0);
	assert_int_equal(ckfs_mounts_parse("", "/mnt/a", &mount), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mount_of_ours_is_found),
		cmocka_unit_test(blanks_in_a_path_are_understood),
		cmocka_unit_test(the_topmost_is_meant),
		cmocka_unit_test(a_device_is_found_wherever_it_lies),
		cmocka_unit_test(a_covered_device_is_ebusy),
		cmocka_unit_test(another_type_is_not_ours),
		cmocka_unit_test(a_part_of_a_path_is_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
