/* SPDX-License-Identifier: Apache-2.0 */
/* Which bytes are UTF-8, and that the others become what Rust's from_utf8_lossy makes of them. */
#include "format/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define R "\xef\xbf\xbd"

/* clang-format off */
static const struct lossy {
	const char *in, *out;
} lossy[] = {
	{ "", "" },
	{ "plain", "plain" },
	{ "na\xc3\xafve \xe6\x97\xa5 \xf0\x9f\x98\x80",
	  "na\xc3\xafve \xe6\x97\xa5 \xf0\x9f\x98\x80" },
	{ "a\xff" "b", "a" R "b" },
	{ "\x80\xbf", R R },
	{ "\xc0\x80", R R },                         /* overlong NUL: no lead byte */
	{ "\xe0\x80\x80", R R R },                   /* overlong: the second byte is out */
	{ "\xed\xa0\x80", R R R },                   /* a surrogate */
	{ "\xf4\x90\x80\x80", R R R R },             /* above U+10FFFF */
	{ "\xf5\x80", R R },
	{ "\xe6\x97", R },                           /* cut at the end: one maximal subpart */
	{ "\xe6\x97" "x", R "x" },
	{ "\xf0\x9f\x98", R },
	{ "\xf0\x9f\x98" "x\xf0\x9f", R "x" R },
	{ "\xf0\x80\x80\x41", R R R "A" },
	{ "Hello \xf0\x90\x80World", "Hello " R "World" }, /* the example of Rust's manual */
	/* Unicode 15, table 3-11 */
	{ "\xf1\x80\x80\xe1\x80\xc2" "b\x80" "c\x80\xbf" "d", R R R "b" R "c" R R "d" },
};

static const char *const valid[] = {
	"", "a", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
	"\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf",
};
/* clang-format on */

static void lossy_is_what_rust_gives(void **state)
{
	for (size_t i = 0; i < sizeof(lossy) / sizeof(lossy[0]); i++) {
		char *out;
		size_t len;

		assert_int_equal(ckpt_utf8_lossy(lossy[i].in, strlen(lossy[i].in), &out, &len), 0);
		assert_string_equal(out, lossy[i].out);
		assert_int_equal(len, strlen(lossy[i].out));
		free(out);
	}
}

static void what_lossy_changes_is_not_valid(void **state)
{
	for (size_t i = 0; i < sizeof(lossy) / sizeof(lossy[0]); i++)
		assert_int_equal(ckpt_utf8_valid(lossy[i].in, strlen(lossy[i].in)),
				 strcmp(lossy[i].in, lossy[i].out) == 0);
}

static void the_ends_of_every_range_are_valid(void **state)
{
	for (size_t i = 0; i < sizeof(valid) / sizeof(valid[0]); i++)
		assert_true(ckpt_utf8_valid(valid[i], strlen(valid[i])));
}

static void a_nul_is_a_character_like_others(void **state)
{
	char *out;
	size_t len;

	assert_true(ckpt_utf8_valid("a\0b", 3));
	assert_int_equal(ckpt_utf8_lossy("\0\xff", 2, &out, &len), 0);
	assert_int_equal(len, 4);
	assert_memory_equal(out, "\0" R, 5);
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lossy_is_what_rust_gives),
		cmocka_unit_test(what_lossy_changes_is_not_valid),
		cmocka_unit_test(the_ends_of_every_range_are_valid),
		cmocka_unit_test(a_nul_is_a_character_like_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
