/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: mount(8)'s way and a user's, and what is refused in a sentence. */
#include "fs/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ARGS_MAX 12

/* @line: words separated by blanks; points into a copy that lives as long as the test. */
static int parse(const char *line, struct ckfs_options *ret)
{
	char *argv[ARGS_MAX] = {}, *copy = test_malloc(strlen(line) + 1), *word;
	int argc = 0;
	int r;

	strcpy(copy, line);
	argv[argc++] = (char *)"mount.sandckpt";
	while (argc < ARGS_MAX - 1 && (word = strsep(&copy, " ")))
		argv[argc++] = word;
	r = ckfs_options_parse(argc, argv, ret);
	ret->mount_ns = ret->mount_ns ? "set" : NULL;
	if (ret->spec)
		assert_string_equal(ret->spec, "S");
	if (ret->dir)
		assert_string_equal(ret->dir, "D");
	test_free(argv[1]);
	return r;
}

static void the_defaults_are_those_of_the_manual(void **state)
{
	struct ckfs_options o;

	assert_int_equal(parse("S D", &o), 0);
	assert_int_equal(o.max_threads, 4);
	assert_int_equal(o.reserve_percent, 5);
	assert_int_equal(o.deadline_s, 10);
	assert_int_equal(o.captures, 8);
	assert_int_equal(o.captures_per_user, 2);
	assert_int_equal(o.idle_timeout_s, 0);
	assert_int_equal(o.mode, CKPT_MODE_AUTO);
	assert_int_equal(o.form, CKPT_FORM_DEFAULT);
	assert_false(o.foreground || o.read_only || o.allow_other || o.fake);
	assert_null(o.passed);
}

static void mount8_is_understood(void **state)
{
	struct ckfs_options o;

	assert_int_equal(parse("S D -sfnv -N 12 -o ro,allow_other -t fuse.sandckpt", &o), 0);
	assert_true(o.sloppy && o.fake && o.verbose && o.read_only && o.allow_other);
	assert_string_equal(o.mount_ns, "set");
}

static void options_come_after_o_and_as_long_ones(void **state)
{
	static const char *const lines[] = {
		"-o foreground,captures=3,copy_limit=2G,reserve=7,mode=stop,store=plain S D",
		"-oforeground,captures=3,copy_limit=2048M -o reserve=7,mode=stop,store=plain S D",
		"--foreground --captures=3 --copy_limit 2097152K --reserve=7 --mode=stop "
		"--store=plain S D",
		"S --foreground D --captures 3 --copy-limit=2147483648 -o reserve=7,mode=stop "
		"--store=plain",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct ckfs_options o;

		if (parse(lines[i], &o) != 0)
			fail_msg("\"%s\": %s", lines[i], o.said);
		assert_true(o.foreground);
		assert_int_equal(o.captures, 3);
		assert_int_equal(o.copy_limit, UINT64_C(2) << 30);
		assert_int_equal(o.reserve_percent, 7);
		assert_int_equal(o.mode, CKPT_MODE_STOP);
		assert_int_equal(o.form, CKPT_FORM_PLAIN);
	}
}

static void what_is_the_kernels_is_passed_on(void **state)
{
	struct ckfs_options o;

	assert_int_equal(parse("S D -o nodev,rw,noexec,noatime", &o), 0);
	assert_string_equal(o.passed, "nodev,noexec,noatime");
	ckfs_options_done(&o);
}

static void what_is_mount8s_is_swallowed(void **state)
{
	struct ckfs_options o;

	assert_int_equal(parse("S D -o auto,noauto,user,nouser,users,owner,group,nofail,_netdev,"
			       "defaults,x-systemd.automount,comment=hi,relatime",
			       &o),
			 0);
	assert_null(o.passed);
}

static void the_last_of_ro_and_rw_holds(void **state)
{
	struct ckfs_options o;

	assert_int_equal(parse("S D -o ro,rw", &o), 0);
	assert_false(o.read_only);
	assert_int_equal(parse("S D -w -r", &o), 0);
	assert_true(o.read_only);
}

static void what_is_wrong_is_refused_in_a_sentence(void **state)
{
	static const struct {
		const char *line, *said;
	} refused[] = {
		{ "S", "needed" },
		{ "S D E", "\"E\"" },
		{ "S D -o colour=red", "\"colour=red\"" },
		{ "S D --colour", "\"--colour\"" },
		{ "S D --nodev", "\"--nodev\"" },
		{ "S D -q", "\"-q\"" },
		{ "S D -o", "\"-o\"" },
		{ "S D -o captures", "\"captures\"" },
		{ "S D --captures", "\"--captures\"" },
		{ "S D -o captures=", "\"captures\"" },
		{ "S D -o captures=0", "\"0\"" },
		{ "S D -o captures=x", "\"x\"" },
		{ "S D -o captures=-1", "\"-1\"" },
		{ "S D -o captures=3K", "\"3K\"" },
		{ "S D -o reserve=100", "\"100\"" },
		{ "S D -o cache_size=1T", "\"1T\"" },
		{ "S D -o cache_size=99999999999G", "\"99999999999G\"" },
		{ "S D -o mode=fast", "\"fast\"" },
		{ "S D -o store=zip", "\"zip\"" },
		{ "S D -o mode=live", "mode=live is not supported" },
		{ "S D --store packed", "store=packed is not supported" },
		{ "S D -o ro=1", "\"ro\"" },
		{ "S D -o remount,ro", "remount" },
	};

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct ckfs_options o;

		if (parse(refused[i].line, &o) != -EINVAL)
			fail_msg("\"%s\" is taken", refused[i].line);
		if (!strstr(o.said, refused[i].said))
			fail_msg("\"%s\": %s", refused[i].line, o.said);
	}
}

static void a_long_value_is_refused_not_cut(void **state)
{
	struct ckfs_options o;
	char *line = test_malloc(6000);

	strcpy(line, "S D --copy-limit ");
	memset(line + strlen("S D --copy-limit "), '0', 5000);
	strcpy(line + 5000, "1");
	assert_int_equal(parse(line, &o), -EINVAL);
	assert_non_null(strstr(o.said, "longer"));
	test_free(line);
}

static void sloppy_ignores_the_unknown_wherever_s_stands(void **state)
{
	static const char *const lines[] = {
		"S D -s -o colour=red",
		"S D -o colour=red -s",
		"S D --colour -fs",
		"S D -o colour=red -vs",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct ckfs_options o;

		if (parse(lines[i], &o) != 0)
			fail_msg("\"%s\": %s", lines[i], o.said);
	}
}

static void an_argument_of_o_is_no_cluster(void **state)
{
	struct ckfs_options o;

	assert_int_equal(parse("S D -o -s,colour", &o), -EINVAL);
	assert_int_equal(parse("S D -osync,colour", &o), -EINVAL);
	ckfs_options_done(&o);
}

static void debug_stays_in_the_foreground(void **state)
{
	struct ckfs_options o;

	assert_int_equal(parse("S D --debug", &o), 0);
	assert_true(o.foreground);
}

static void help_needs_nothing_else_and_fits_80_columns(void **state)
{
	struct ckfs_options o;
	char *text, *line, *rest;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_int_equal(parse("--help", &o), 0);
	assert_true(o.help);
	ckfs_options_help(f);
	fclose(f);
	assert_non_null(strstr(text, "captures_per_user=N"));
	for (rest = text; (line = strsep(&rest, "\n"));)
		if (strlen(line) > 80)
			fail_msg("too long: \"%s\"", line);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_defaults_are_those_of_the_manual),
		cmocka_unit_test(mount8_is_understood),
		cmocka_unit_test(options_come_after_o_and_as_long_ones),
		cmocka_unit_test(what_is_the_kernels_is_passed_on),
		cmocka_unit_test(what_is_mount8s_is_swallowed),
		cmocka_unit_test(the_last_of_ro_and_rw_holds),
		cmocka_unit_test(what_is_wrong_is_refused_in_a_sentence),
		cmocka_unit_test(a_long_value_is_refused_not_cut),
		cmocka_unit_test(sloppy_ignores_the_unknown_wherever_s_stands),
		cmocka_unit_test(an_argument_of_o_is_no_cluster),
		cmocka_unit_test(debug_stays_in_the_foreground),
		cmocka_unit_test(help_needs_nothing_else_and_fits_80_columns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
