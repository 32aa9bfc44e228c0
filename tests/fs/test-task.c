/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc says of the thread that waits in a write to ctl. */
#include "fs/task.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define STATUS(pnd, shd, blk)                                                                      \
	"Name:\tsh\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t41\nPid:\t42\n"                     \
	"Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nFDSize:\t64\nGroups:\t5 27 1000 \n"                   \
	"SigPnd:\t" pnd "\nShdPnd:\t" shd "\nSigBlk:\t" blk "\n"                                   \
	"CapPrm:\t000003ffffffffff\nCapEff:\t000001ffffffffff\nSeccomp:\t2\n"
#define NONE "0000000000000000"

static void a_status_is_read(void **state)
{
	struct ckfs_task task;

	assert_int_equal(
	    ckfs_task_parse(STATUS("0000000000000002", "0000000000000100", NONE), &task), 0);
	assert_int_equal(task.tgid, 41);
	assert_int_equal(task.uids[0], 1);
	assert_int_equal(task.uids[3], 4);
	assert_int_equal(task.gids[1], 6);
	assert_int_equal(task.n_groups, 3);
	assert_int_equal(task.groups[2], 1000);
	assert_int_equal(task.cap_permitted, 0x3ffffffffff);
	assert_int_equal(task.cap_effective, 0x1ffffffffff);
	assert_int_equal(task.seccomp, 2);
	assert_int_equal(task.pending, 0x102);
	ckfs_task_done(&task);
}

static void no_groups_are_none(void **state)
{
	char text[] = STATUS(NONE, NONE, NONE), *groups = strstr(text, "5 27 1000 ");
	struct ckfs_task task;

	memset(groups, ' ', strlen("5 27 1000 "));
	assert_int_equal(ckfs_task_parse(text, &task), 0);
	assert_int_equal(task.n_groups, 0);
	ckfs_task_done(&task);
}

static void a_missing_line_is_ebadmsg(void **state)
{
	static const char *const keys[] = {
		"Tgid:",   "Uid:",    "Gid:",	 "Groups:", "SigPnd:",
		"ShdPnd:", "SigBlk:", "CapPrm:", "CapEff:", "Seccomp:"
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		char text[] = STATUS(NONE, NONE, NONE);
		struct ckfs_task task = {};

		*strstr(text, keys[i]) = '_';
		if (ckfs_task_parse(text, &task) != -EBADMSG)
			fail_msg("no \"%s\", and nobody cares", keys[i]);
	}
}

static void a_name_cannot_pass_for_a_line(void **state)
{
	char text[] = "Name:\tUid:\t0\nTgid:\t1\n";
	struct ckfs_task task = {};

	assert_int_equal(ckfs_task_parse(text, &task), -EBADMSG);
}

static void signals_that_end_a_write(void **state)
{
	static const struct {
		const char *text;
		bool ends;
	} cases[] = {
		{ STATUS(NONE, NONE, NONE), false },
		{ STATUS(NONE, "0000000000000002", NONE), true },		 /* INT */
		{ STATUS("0000000000000100", NONE, NONE), true },		 /* KILL */
		{ STATUS(NONE, "0000000000010000", NONE), false },		 /* CHLD */
		{ STATUS(NONE, "0000000008000000", NONE), false },		 /* WINCH */
		{ STATUS(NONE, "0000000000400000", NONE), false },		 /* URG */
		{ STATUS(NONE, "0000000000020000", NONE), false },		 /* CONT */
		{ STATUS(NONE, "0000000010000000", NONE), false },		 /* IO */
		{ STATUS("0000000000040000", NONE, NONE), false },		 /* STOP */
		{ STATUS(NONE, "0000000000010002", NONE), true },		 /* CHLD, INT */
		{ STATUS(NONE, "0000000000000002", "0000000000000002"), false }, /* blocked */
		{ STATUS("8000000000000000", NONE, NONE), true },		 /* RTMAX */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ckfs_task task;

		assert_int_equal(ckfs_task_parse(cases[i].text, &task), 0);
		if (ckfs_task_is_interrupted(&task) != cases[i].ends)
			fail_msg("case %zu", i);
		ckfs_task_done(&task);
	}
}

static void we_are_a_process_of_our_own_namespaces(void **state)
{
	struct ckfs_task task;
	char comm[32];

	assert_int_equal(ckfs_task_read(getpid(), &task), 0);
	assert_int_equal(task.tgid, getpid());
	assert_int_equal(task.uids[1], geteuid());
	ckfs_task_done(&task);
	assert_int_equal(ckfs_task_check_namespaces(getpid()), 0);
	assert_int_equal(ckfs_task_is_kthread(getpid()), 0);
	assert_int_equal(ckfs_task_comm(getpid(), comm, sizeof(comm)), 0);
	assert_string_equal(comm, "test-fs-task");
}

static void tasks_are_alike_by_user_group_and_groups(void **state)
{
	gid_t groups[] = { 1, 2 }, others[] = { 1, 3 };
	const struct ckfs_task a = {
		.uids = { 5, 5, 5, 7 }, .gids = { 5, 5, 5, 8 }, .groups = groups, .n_groups = 2
	};
	struct ckfs_task b = a;

	assert_true(ckfs_task_is_like(&a, &b));
	b.uids[3] = 5;
	assert_false(ckfs_task_is_like(&a, &b));
	b = a;
	b.gids[3] = 5;
	assert_false(ckfs_task_is_like(&a, &b));
	b = a;
	b.groups = others;
	assert_false(ckfs_task_is_like(&a, &b));
	b.n_groups = 1;
	assert_false(ckfs_task_is_like(&a, &b));
}

static void nobody_is_esrch(void **state)
{
	struct ckfs_task task;

	assert_int_equal(ckfs_task_read(0x7fffffff, &task), -ESRCH);
	assert_int_equal(ckfs_task_is_kthread(0x7fffffff), -ESRCH);
	assert_int_equal(ckfs_task_check_namespaces(0x7fffffff), -ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_status_is_read),
		cmocka_unit_test(no_groups_are_none),
		cmocka_unit_test(a_missing_line_is_ebadmsg),
		cmocka_unit_test(a_name_cannot_pass_for_a_line),
		cmocka_unit_test(signals_that_end_a_write),
		cmocka_unit_test(we_are_a_process_of_our_own_namespaces),
		cmocka_unit_test(tasks_are_alike_by_user_group_and_groups),
		cmocka_unit_test(nobody_is_esrch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
