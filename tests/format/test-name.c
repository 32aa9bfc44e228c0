/* SPDX-License-Identifier: Apache-2.0 */
/* Which names a checkpoint can have, and the name of one that nobody named. */
#include "format/name.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "format/job.h"

#define WHEN 1795464900 /* 2026-11-23T20:15:00Z */

/* clang-format off */
static const struct {
	const char *name;
	int r;
} names[] = {
	{ "a", 0 }, { "nginx-1234-20261123T201500Z", 0 }, { "before", 0 }, { "a.b", 0 },
	{ "with blank", 0 },
	{ "na\xc3\xafve", 0 }, { "\xc2\xa0", 0 }, { "-", 0 }, { "tmp", 0 }, { "a.tmp.2", 0 },
	{ "ctl2", 0 }, { "CTL", 0 },
	{ "", -EINVAL }, { ".", -EINVAL }, { "..", -EINVAL }, { ".hidden", -EINVAL },
	{ ".v3", -EINVAL },
	{ "a/b", -EINVAL }, { "/", -EINVAL }, { "a\nb", -EINVAL }, { "\x1b[31m", -EINVAL },
	{ "a\x7f", -EINVAL },
	{ "\xc2\x80", -EINVAL }, { "\xc2\x9f", -EINVAL }, { "a\xff", -EINVAL },
	{ "\xed\xa0\x80", -EINVAL },
	{ "a.tmp", -EINVAL }, { ".tmp", -EINVAL }, { "ctl", -EINVAL },
};

static const struct {
	const char *comm, *clean;
} comms[] = {
	{ "nginx", "nginx" }, { "a_b-c.d+E9", "a_b-c.d+E9" }, { "tmux: server", "tmux__server" },
	{ "kworker/0:1", "kworker_0_1" }, { ".x", "_x" }, { "..", "_." }, { "", "_" },
	{ "a\nb", "a_b" },
	{ "na\xc3\xafve", "na\xc3\xafve" }, { "cut\xe6\x97", "cut__" }, { "\xff", "_" },
	{ "\xc2\x85" "x", "__x" }, { "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
	{ "(sd-pam)", "_sd-pam_" },
};
/* clang-format on */

static void rules_are_those_of_ctl(void **state)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (ckpt_name_check(names[i].name) != names[i].r)
			fail_msg("\"%s\" gives %d", names[i].name, ckpt_name_check(names[i].name));
}

static void a_name_has_255_bytes_at_most(void **state)
{
	char name[257];

	memset(name, 'x', sizeof(name));
	name[256] = '\0';
	assert_int_equal(ckpt_name_check(name), -ENAMETOOLONG);
	name[255] = '\0';
	assert_int_equal(ckpt_name_check(name), 0);
}

static void default_is_comm_pid_and_time(void **state)
{
	char name[CKPT_NAME_SIZE];

	assert_int_equal(ckpt_name_default("nginx", 1234, WHEN, 1, name, sizeof(name)), 0);
	assert_string_equal(name, "nginx-1234-20261123T201500Z");
}

static void further_attempts_append_their_number(void **state)
{
	char name[CKPT_NAME_SIZE];

	assert_int_equal(ckpt_name_default("x", 1, WHEN, 2, name, sizeof(name)), 0);
	assert_string_equal(name, "x-1-20261123T201500Z.2");
	assert_int_equal(ckpt_name_default("x", 1, WHEN, 4294967295U, name, sizeof(name)), 0);
	assert_string_equal(name, "x-1-20261123T201500Z.4294967295");
}

static void odd_bytes_of_comm_become_underscores(void **state)
{
	for (size_t i = 0; i < sizeof(comms) / sizeof(comms[0]); i++) {
		char name[CKPT_NAME_SIZE], expected[CKPT_NAME_SIZE];

		snprintf(expected, sizeof(expected), "%s-7-20261123T201500Z", comms[i].clean);
		assert_int_equal(ckpt_name_default(comms[i].comm, 7, WHEN, 1, name, sizeof(name)),
				 0);
		assert_string_equal(name, expected);
		assert_int_equal(ckpt_name_check(name), 0);
	}
}

static void default_that_does_not_fit_is_enametoolong(void **state)
{
	char comm[400], name[CKPT_NAME_SIZE];

	memset(comm, 'x', sizeof(comm));
	comm[399] = '\0';
	assert_int_equal(ckpt_name_default(comm, 7, WHEN, 1, name, sizeof(name)), -ENAMETOOLONG);
	comm[250] = '\0';
	assert_int_equal(ckpt_name_default(comm, 7, WHEN, 1, name, sizeof(name)), -ENAMETOOLONG);
	assert_int_equal(ckpt_name_default("x", 1, WHEN, 1, name, 20), -ENAMETOOLONG);
	assert_int_equal(ckpt_name_default("x", 1, WHEN, 1, name, 21), 0);
}

static void a_time_without_a_year_is_einval(void **state)
{
	char name[CKPT_NAME_SIZE];

	assert_int_equal(ckpt_name_default("x", 1, INT64_MAX, 1, name, sizeof(name)), -EINVAL);
	assert_int_equal(ckpt_name_default("x", 1, 253402300800, 1, name, sizeof(name)), -EINVAL);
	assert_int_equal(ckpt_name_default("x", 1, 253402300799, 1, name, sizeof(name)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_are_those_of_ctl),
		cmocka_unit_test(a_name_has_255_bytes_at_most),
		cmocka_unit_test(default_is_comm_pid_and_time),
		cmocka_unit_test(further_attempts_append_their_number),
		cmocka_unit_test(odd_bytes_of_comm_become_underscores),
		cmocka_unit_test(default_that_does_not_fit_is_enametoolong),
		cmocka_unit_test(a_time_without_a_year_is_einval),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
