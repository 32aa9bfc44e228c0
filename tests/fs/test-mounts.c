/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a mount in the text of mountinfo. */
#include "fs/mounts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

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
		cmocka_unit_test(another_type_is_not_ours),
		cmocka_unit_test(a_part_of_a_path_is_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
