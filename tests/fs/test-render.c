/* SPDX-License-Identifier: Apache-2.0 */
/* meta.json and SHA256SUMS as they are shown under the name a directory has. */
#include "fs/render.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/sums.h"

static void assert_meta(const char *stored, const char *name, const char *expected)
{
	char *text;
	size_t len;

	assert_int_equal(ckfs_render_meta(stored, strlen(stored), name, &text, &len), 0);
	assert_string_equal(text, expected);
	assert_int_equal(len, strlen(expected));
	free(text);
}

static void the_name_is_the_directorys(void **state)
{
	assert_meta("{\n  \"name\": \"old\",\n  \"cow_snapshot\": null\n}", "new \xc3\xa9",
		    "{\n  \"name\": \"new \xc3\xa9\",\n  \"cow_snapshot\": null\n}");
}

static void other_keys_stay_in_their_place(void **state)
{
	assert_meta("{\"a\": [1, {\"b\": \"/x\"}], \"name\": \"old\", \"z\": 18446744073709551615}",
		    "n",
		    "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"/x\"\n    }\n  ],\n"
		    "  \"name\": \"n\",\n  \"z\": 18446744073709551615\n}");
}

static void the_right_name_leaves_every_byte(void **state)
{
	const char *stored = "{ \"cow_snapshot\":null,   \"name\":\"same\" }\n";

	assert_meta(stored, "same", stored);
}

static void a_twin_of_the_old_name_goes(void **state)
{
	assert_meta("{\"name\": \"\xef\xbf\xbd\", \"name_hex\": \"ff\", \"cow_snapshot\": null}",
		    "n", "{\n  \"name\": \"n\",\n  \"cow_snapshot\": null\n}");
}

static void what_does_not_parse_is_shown_as_it_is(void **state)
{
	static const char *const damaged[] = { "", "{", "[1, 2]", "{\"name\": \"x\"", "\x01\x02" };

	for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++)
		assert_meta(damaged[i], "n", damaged[i]);
}

static void line(const char *data, const char *path, char *ret)
{
	uint8_t digest[CKPT_SHA256_SIZE];

	assert_int_equal(ckpt_sha256(data, strlen(data), digest), 0);
	for (size_t i = 0; i < sizeof(digest); i++)
		sprintf(ret + 2 * i, "%02x", digest[i]);
	sprintf(ret + 2 * sizeof(digest), "  %s\n", path);
}

static void assert_sums(const char *stored, const char *meta, const char *rendered,
			const char *expected)
{
	char *text;
	size_t len;

	assert_int_equal(ckfs_render_sums(stored, strlen(stored), meta, strlen(meta), rendered,
					  strlen(rendered), &text, &len),
			 0);
	assert_string_equal(text, expected);
	assert_int_equal(len, strlen(stored));
	free(text);
}

static void metas_line_is_that_of_the_rendered_text(void **state)
{
	char stored[512] = "", expected[512] = "";

	line("state", "app_state.bin", stored);
	line("old", "meta.json", stored + strlen(stored));
	line("meta", "proc/meta.json", stored + strlen(stored));
	line("state", "app_state.bin", expected);
	line("new", "meta.json", expected + strlen(expected));
	line("meta", "proc/meta.json", expected + strlen(expected));
	assert_sums(stored, "old", "new", expected);
}

static void a_damaged_meta_is_not_made_whole(void **state)
{
	char stored[256];

	line("old", "meta.json", stored);
	assert_sums(stored, "o1d", "new", stored);
}

static void a_list_that_is_none_is_shown_as_it_is(void **state)
{
	assert_sums("", "old", "new", "");
	assert_sums("  meta.json\n", "old", "new", "  meta.json\n");
	assert_sums("meta.json", "old", "new", "meta.json");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_name_is_the_directorys),
		cmocka_unit_test(other_keys_stay_in_their_place),
		cmocka_unit_test(the_right_name_leaves_every_byte),
		cmocka_unit_test(a_twin_of_the_old_name_goes),
		cmocka_unit_test(what_does_not_parse_is_shown_as_it_is),
		cmocka_unit_test(metas_line_is_that_of_the_rendered_text),
		cmocka_unit_test(a_damaged_meta_is_not_made_whole),
		cmocka_unit_test(a_list_that_is_none_is_shown_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
