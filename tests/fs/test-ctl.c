/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of ctl: what is a command, what is none, and that a refusal says why. */
#include "fs/ctl.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct accepted {
	const char *text;
	pid_t pid;
	const char *name;
	enum ckpt_mode mode;
	enum ckpt_store_form form;
	const char *cow;
};

#define UNSAID _CKPT_MODE_INVALID, CKPT_FORM_DEFAULT

static const struct accepted accepted[] = {
	{ "1234\n", 1234, "", UNSAID, "" },
	{ "1234", 1234, "", UNSAID, "" },
	{ "  1234\t \n", 1234, "", UNSAID, "" },
	{ "2147483647", 2147483647, "", UNSAID, "" },
	{ "1 name=before", 1, "before", UNSAID, "" },
	{ "1 name=caf\xc3\xa9", 1, "caf\xc3\xa9", UNSAID, "" },
	{ "1 mode=auto", 1, "", CKPT_MODE_AUTO, CKPT_FORM_DEFAULT, "" },
	{ "1 mode=live", 1, "", CKPT_MODE_LIVE, CKPT_FORM_DEFAULT, "" },
	{ "1 mode=stop store=plain", 1, "", CKPT_MODE_STOP, CKPT_FORM_PLAIN, "" },
	{ "1 store=packed", 1, "", _CKPT_MODE_INVALID, CKPT_FORM_PACKED, "" },
	{ "1 cow=/snap/a=b", 1, "", UNSAID, "/snap/a=b" },
	{ "7 cow=/c store=plain mode=stop name=n", 7, "n", CKPT_MODE_STOP, CKPT_FORM_PLAIN, "/c" },
};

static const char *const rejected[] = {
	"",
	"\n",
	" ",
	"0",
	"-1",
	"+1",
	"01",
	"1x",
	"0x10",
	"2147483648",
	"99999999999999999999",
	"1\n2\n",
	"1\n\n",
	"1\r\n",
	"self",
	"1 2",
	"name=a 1",
	"1 name=",
	"1 name=a/b",
	"1 name=.hidden",
	"1 name=a.tmp",
	"1 name=ctl",
	"1 name=a name=b",
	"1 name=\xff",
	"1 mode=",
	"1 mode=fast",
	"1 mode=Stop",
	"1 mode=stop mode=stop",
	"1 store=",
	"1 store=zip",
	"1 store=plain store=plain",
	"1 cow=",
	"1 cow=/a cow=/b",
	"1 colour=red",
	"1 name",
	"1 =",
};

static void commands_are_taken(void **state)
{
	for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) {
		const struct accepted *a = &accepted[i];
		char said[CKPT_SAID_SIZE] = "";
		struct ckfs_command c;

		if (ckfs_command_parse(a->text, strlen(a->text), &c, said) != 0)
			fail_msg("\"%s\" is refused: %s", a->text, said);
		assert_int_equal(c.pid, a->pid);
		assert_string_equal(c.name, a->name);
		assert_int_equal(c.mode, a->mode);
		assert_int_equal(c.form, a->form);
		assert_string_equal(c.cow, a->cow);
	}
}

static void what_is_no_command_is_einval_with_a_sentence(void **state)
{
	for (size_t i = 0; i < sizeof(rejected) / sizeof(rejected[0]); i++) {
		char said[CKPT_SAID_SIZE] = "";
		struct ckfs_command c;

		if (ckfs_command_parse(rejected[i], strlen(rejected[i]), &c, said) != -EINVAL)
			fail_msg("\"%s\" is taken", rejected[i]);
		if (!said[0])
			fail_msg("\"%s\" is refused without a word", rejected[i]);
	}
}

static void a_nul_byte_is_einval(void **state)
{
	char said[CKPT_SAID_SIZE] = "";
	struct ckfs_command c;

	assert_int_equal(ckfs_command_parse("1\0002", 3, &c, said), -EINVAL);
	assert_int_equal(ckfs_command_parse("1\0", 2, &c, said), -EINVAL);
}

static void a_command_has_4096_bytes_at_most(void **state)
{
	char text[CKFS_COMMAND_MAX + 1], said[CKPT_SAID_SIZE] = "";
	struct ckfs_command c;

	memset(text, ' ', sizeof(text));
	text[0] = '9';
	assert_int_equal(ckfs_command_parse(text, CKFS_COMMAND_MAX, &c, said), 0);
	assert_int_equal(c.pid, 9);
	assert_int_equal(ckfs_command_parse(text, CKFS_COMMAND_MAX + 1, &c, said), -EINVAL);
}

static void a_path_that_fills_the_command_fits(void **state)
{
	char text[CKFS_COMMAND_MAX], said[CKPT_SAID_SIZE] = "";
	struct ckfs_command c;

	memset(text, 'x', sizeof(text));
	memcpy(text, "1 cow=", 6);
	assert_int_equal(ckfs_command_parse(text, sizeof(text), &c, said), 0);
	assert_int_equal(strlen(c.cow), sizeof(text) - 6);
}

static void what_was_understood_before_the_error_is_kept(void **state)
{
	char said[CKPT_SAID_SIZE] = "";
	struct ckfs_command c;

	assert_int_equal(ckfs_command_parse("12 name=a shape=round", 21, &c, said), -EINVAL);
	assert_int_equal(c.pid, 12);
	assert_string_equal(c.name, "a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_are_taken),
		cmocka_unit_test(what_is_no_command_is_einval_with_a_sentence),
		cmocka_unit_test(a_nul_byte_is_einval),
		cmocka_unit_test(a_command_has_4096_bytes_at_most),
		cmocka_unit_test(a_path_that_fills_the_command_fits),
		cmocka_unit_test(what_was_understood_before_the_error_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
