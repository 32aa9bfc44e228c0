/* SPDX-License-Identifier: Apache-2.0 */
/*
 * That texts are printed as serde_json::to_string_pretty does, that only RFC 8259 is read, and
 * that values are taken with their type and range, strings with their exact bytes.
 */
#include "format/json.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "format/checkpoint.h"
#include "format/jsonscan.h"
#include "tests/format/scratch.h"

static struct json_object *parse(const char *text)
{
	struct json_object *object = NULL;

	if (ckpt_json_parse(text, strlen(text), &object) < 0)
		fail_msg("does not parse: %s", text);
	return object;
}

static void assert_prints(struct json_object *object, const char *expected)
{
	char *text;
	size_t len;

	assert_int_equal(ckpt_json_print(object, &text, &len), 0);
	assert_string_equal(text, expected);
	assert_int_equal(len, strlen(expected));
	free(text);
}

/* clang-format off */
static const struct {
	const char *in, *out;
} printed[] = {
	{ "{}", "{}" },
	{ "[]", "[]" },
	{ "null", "null" },
	{ "7", "7" },
	{ " [ 1 , 2 ] ", "[\n  1,\n  2\n]" },
	{ "{\"b\":1,\"a\":{\"c\":[]}}", "{\n  \"b\": 1,\n  \"a\": {\n    \"c\": []\n  }\n}" },
	{ "[{},[null,true,false]]", "[\n  {},\n  [\n    null,\n    true,\n    false\n  ]\n]" },
	{ "\"\\/usr\\/lib\"", "\"/usr/lib\"" },
	{ "\"na\xc3\xafve \xe6\x97\xa5\"", "\"na\xc3\xafve \xe6\x97\xa5\"" },
	{ "\"\\u00ef\\ud83d\\ude00\"", "\"\xc3\xaf\xf0\x9f\x98\x80\"" },
	{ "\"\\\"\\\\\\b\\f\\n\\r\\t\"", "\"\\\"\\\\\\b\\f\\n\\r\\t\"" },
	{ "\"\\u0000\\u001F\\u007f\"", "\"\\u0000\\u001f\x7f\"" },
	{ "18446744073709551615", "18446744073709551615" },
	{ "-9223372036854775808", "-9223372036854775808" },
	{ "9223372036854775808", "9223372036854775808" },
	{ "{\"a/b\\n\":\"\"}", "{\n  \"a/b\\n\": \"\"\n}" },
	{ "[1.50,1e5,-2.5E-3]", "[\n  1.50,\n  1e5,\n  -2.5E-3\n]" },
	{ "\t[\r\n]\n", "[]" },
};

static const char *const malformed[] = {
	"", " ", "{", "[", "[1", "{}x", "[] []", "[1,]", "{\"a\":1,}", "{\"a\"}", "{a:1}", "[,]",
	"]", "{]",
	"[NaN]", "[Infinity]", "[-Infinity]", "NaN", "[nan]", "[TRUE]", "[nulll]", "[tru]",
	"[01]", "[-]", "[+1]", "[.5]", "[1.]", "[1e]", "[1.e5]", "[0x10]", "[1_000]", "[-01]",
	"[18446744073709551616]", "[-9223372036854775809]", "[99999999999999999999999]",
	"['a']", "[\"a]", "[\"\\x\"]", "[\"\\u12\"]", "[\"\\u12g4\"]", "[\"a\nb\"]", "[\"\x01\"]",
	"[\"\\ud800\"]", "[\"\\udc00\"]", "[\"\\ud800\\u0041\"]", "[\"\\ud800x\"]",
	"[\"\xff\"]", "[\"\xed\xa0\x80\"]", "[\"\xc0\x80\"]", "[\"\xf4\x90\x80\x80\"]",
	"\xef\xbb\xbf[]",
	"/*c*/[]", "[] // c", "[1 2]", "[\"a\" \"b\"]", "{\"a\" 1}", "[:]", "{\"a\":1,\"a\":2}",
	"{\"a\":{\"b\":1,\"b\":1}}", "[{\"\\u0061\":1,\"a\":2}]", "{\"\\u0000\":1}",
	"{\"a\\u0000\" :1}",
};
/* clang-format on */

static void prints_as_serde_does(void **state)
{
	for (size_t i = 0; i < sizeof(printed) / sizeof(printed[0]); i++) {
		struct json_object *object = parse(printed[i].in);

		assert_prints(object, printed[i].out);
		json_object_put(object);
	}
}

static void what_serde_printed_is_the_same_bytes_again(void **state)
{
	static const char *const files[] = { "v3-default-policy.json", "v3-rich-policy.json" };

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		size_t len;
		char *text = scratch_load(SAMPLES_DIR, files[i], &len);
		struct json_object *object = parse(text);

		assert_prints(object, text);
		json_object_put(object);
		free(text);
	}
}

static void malformed_text_is_ebadmsg(void **state)
{
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		struct json_object *object = NULL;

		if (ckpt_json_parse(malformed[i], strlen(malformed[i]), &object) != -EBADMSG)
			fail_msg("taken: %s", malformed[i]);
		assert_null(object);
	}
}

static void bytes_behind_a_nul_are_ebadmsg(void **state)
{
	struct json_object *object;

	assert_int_equal(ckpt_json_parse("[]\0", 3, &object), -EBADMSG);
	assert_int_equal(ckpt_json_parse("[]\0[]", 5, &object), -EBADMSG);
	assert_int_equal(ckpt_json_parse("[\0]", 3, &object), -EBADMSG);
	assert_int_equal(ckpt_json_parse("1\0", 2, &object), -EBADMSG);
}

static void text_need_not_end_with_a_nul(void **state)
{
	char text[4] = { '1', '2', '3', '4' };
	struct json_object *object;

	assert_int_equal(ckpt_json_parse(text, 3, &object), 0);
	assert_prints(object, "123");
	json_object_put(object);
}

static char *nested(size_t depth)
{
	char *text = malloc(2 * depth + 1);

	assert_non_null(text);
	memset(text, '[', depth);
	memset(text + depth, ']', depth);
	text[2 * depth] = '\0';
	return text;
}

static void depth_is_limited(void **state)
{
	char *fits = nested(CKPT_JSON_DEPTH - 1), *over = nested(CKPT_JSON_DEPTH + 1);
	char *far_over = nested(500000);
	struct json_object *object = parse(fits);

	json_object_put(object);
	assert_int_equal(ckpt_json_parse(over, strlen(over), &object), -EBADMSG);
	assert_int_equal(ckpt_json_parse(far_over, strlen(far_over), &object), -EBADMSG);
	free(fits);
	free(over);
	free(far_over);
}

static void size_is_limited(void **state)
{
	size_t len = (size_t)CKPT_JSON_MAX + 1;
	char *text = malloc(len);
	struct json_object *object;

	assert_non_null(text);
	memset(text, ' ', len);
	text[0] = '1';
	assert_int_equal(ckpt_json_parse(text, len, &object), -EFBIG);
	assert_int_equal(ckpt_json_parse(text, len - 1, &object), 0);
	json_object_put(object);
	free(text);
}

static void number_of_objects_is_limited(void **state)
{
	size_t n = (size_t)CKPT_JSON_CONTAINERS_MAX + 1;
	char *text = malloc(3 * n + 2);
	struct json_object *object;

	assert_non_null(text);
	text[0] = '[';
	for (size_t i = 0; i < n; i++)
		memcpy(text + 1 + 3 * i, "{},", 3);
	text[3 * n] = ']';
	assert_int_equal(ckpt_json_parse(text, 3 * n + 1, &object), -E2BIG);
	free(text);
}

static bool memory_can_be_limited(void)
{
#if defined(__SANITIZE_ADDRESS__)
	return false; /* its shadow takes more addresses than there is memory */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
	return false;
#endif
#endif
	return true;
}

/* The errno of parsing as much of @unit as a file may hold, with 256 MiB beyond the text. */
static int parse_many(const char *open, const char *unit, const char *close)
{
	const struct rlimit limit = { CKPT_JSON_MAX + (256U << 20), CKPT_JSON_MAX + (256U << 20) };
	size_t n = (CKPT_JSON_MAX - 16) / strlen(unit), len = 0;
	int status;
	pid_t pid;

	pid = fork();
	if (pid == 0) {
		struct json_object *object;
		char *text = malloc(CKPT_JSON_MAX + 1);

		if (!text || (memory_can_be_limited() && setrlimit(RLIMIT_AS, &limit) < 0))
			_exit(1);
		len += (size_t)sprintf(text, "%s", open);
		for (size_t i = 0; i < n; i++, len += strlen(unit))
			memcpy(text + len, unit, strlen(unit));
		len += (size_t)sprintf(text + len, "%s", close);
		_exit(-ckpt_json_parse(text, len, &object));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void number_of_values_is_limited_before_they_take_memory(void **state)
{
	assert_int_equal(parse_many("[", "0,", "0]"), E2BIG);
	assert_int_equal(parse_many("[", "\"\",", "0]"), E2BIG);
	assert_int_equal(parse_many("{", "\"\":0,", "\"\":0}"), E2BIG);
	assert_int_equal(parse_many("[", "null,", "0]"), E2BIG);
}

/* As short as rows can be, all its keys there. */
static void map_of_as_many_rows_as_there_may_be_fits(void **state)
{
	static const char row[] = "{\"start\":0,\"end\":1,\"perms\":\"\",\"offset\":0,\"path\":0},";
	size_t n = (size_t)CKPT_JSON_CONTAINERS_MAX - 1, n_members, len = sizeof(row) - 1;
	char *text = malloc(n * len + 2);

	assert_non_null(text);
	text[0] = '[';
	for (size_t i = 0; i < n; i++)
		memcpy(text + 1 + i * len, row, len);
	text[n * len] = ']'; /* over the last comma */
	assert_true(n * len + 1 <= CKPT_JSON_MAX);
	assert_int_equal(ckpt_json_scan(text, n * len + 1, &n_members), 0);
	assert_int_equal(n_members, 5 * n);
	free(text);
}

static void unknown_keys_keep_their_place(void **state)
{
	struct json_object *object = parse("{\"x\": [1], \"name\": \"a\", \"y\": null}");

	assert_int_equal(ckpt_json_add_str(object, "name", "b"), 0);
	assert_prints(object, "{\n  \"x\": [\n    1\n  ],\n  \"name\": \"b\",\n  \"y\": null\n}");
	json_object_put(object);
}

static void bytes_that_are_not_utf8_get_a_twin(void **state)
{
	struct json_object *object = json_object_new_object();
	char *bytes;

	assert_int_equal(ckpt_json_add_str(object, "path", "/a\xff\n"), 0);
	assert_int_equal(ckpt_json_add_str(object, "utf8", "\xc3\xaf"), 0);
	assert_int_equal(ckpt_json_add_str(object, "none", NULL), 0);
	assert_prints(object,
		      "{\n  \"path\": \"/a\xef\xbf\xbd\\n\",\n  \"path_hex\": \"2f61ff0a\",\n"
		      "  \"utf8\": \"\xc3\xaf\",\n  \"none\": null\n}");

	assert_int_equal(ckpt_json_get_str(object, "path", &bytes), 1);
	assert_string_equal(bytes, "/a\xff\n");
	free(bytes);
	assert_true(ckpt_json_is_twin(object, "path_hex"));
	assert_false(ckpt_json_is_twin(object, "path"));
	assert_false(ckpt_json_is_twin(object, "other_hex"));
	assert_false(ckpt_json_is_twin(object, "_hex"));
	json_object_put(object);
}

static void absent_and_null_are_0(void **state)
{
	struct json_object *object = parse("{\"n\": null}"), *value;
	uint64_t u;
	int64_t i;
	bool b;
	char *s;

	for (int k = 0; k < 2; k++) {
		const char *key = k ? "n" : "absent";

		assert_int_equal(ckpt_json_get(object, key, json_type_array, &value), 0);
		assert_int_equal(ckpt_json_get_str(object, key, &s), 0);
		assert_int_equal(ckpt_json_get_u64(object, key, UINT64_MAX, &u), 0);
		assert_int_equal(ckpt_json_get_i64(object, key, INT64_MIN, INT64_MAX, &i), 0);
		assert_int_equal(ckpt_json_get_bool(object, key, &b), 0);
	}
	json_object_put(object);
}

static void another_type_is_ebadmsg(void **state)
{
	struct json_object *object = parse("{\"f\": 1.0, \"s\": \"1\", \"b\": true, \"i\": 1, "
					   "\"a\": [1], \"nul\": \"a\\u0000b\"}");
	struct json_object *value;
	uint64_t u;
	int64_t i;
	bool b;
	char *s;

	assert_int_equal(ckpt_json_get_u64(object, "f", 9, &u), -EBADMSG);
	assert_int_equal(ckpt_json_get_u64(object, "s", 9, &u), -EBADMSG);
	assert_int_equal(ckpt_json_get_u64(object, "b", 9, &u), -EBADMSG);
	assert_int_equal(ckpt_json_get_i64(object, "f", 0, 9, &i), -EBADMSG);
	assert_int_equal(ckpt_json_get_bool(object, "i", &b), -EBADMSG);
	assert_int_equal(ckpt_json_get_str(object, "i", &s), -EBADMSG);
	assert_int_equal(ckpt_json_get_str(object, "nul", &s), -EBADMSG);
	assert_int_equal(ckpt_json_get(object, "a", json_type_object, &value), -EBADMSG);
	assert_int_equal(ckpt_json_get(object, "a", json_type_array, &value), 1);
	assert_int_equal(ckpt_json_get(value, "a", json_type_int, &value), -EBADMSG);
	assert_int_equal(ckpt_json_get(NULL, "a", json_type_int, &value), -EBADMSG);
	json_object_put(object);
}

static void numbers_are_taken_within_their_range(void **state)
{
	struct json_object *object = parse("{\"max\": 18446744073709551615, \"big\": "
					   "9223372036854775807, \"over\": 9223372036854775808, "
					   "\"min\": -9223372036854775808, \"neg\": -1}");
	uint64_t u;
	int64_t i;

	assert_int_equal(ckpt_json_get_u64(object, "max", UINT64_MAX, &u), 1);
	assert_true(u == UINT64_MAX);
	assert_int_equal(ckpt_json_get_u64(object, "max", UINT64_MAX - 1, &u), -EBADMSG);
	assert_int_equal(ckpt_json_get_u64(object, "neg", UINT64_MAX, &u), -EBADMSG);
	assert_int_equal(ckpt_json_get_i64(object, "big", INT64_MIN, INT64_MAX, &i), 1);
	assert_true(i == INT64_MAX);
	assert_int_equal(ckpt_json_get_i64(object, "over", INT64_MIN, INT64_MAX, &i), -EBADMSG);
	assert_int_equal(ckpt_json_get_i64(object, "max", INT64_MIN, INT64_MAX, &i), -EBADMSG);
	assert_int_equal(ckpt_json_get_i64(object, "min", INT64_MIN, INT64_MAX, &i), 1);
	assert_true(i == INT64_MIN);
	assert_int_equal(ckpt_json_get_i64(object, "neg", 0, 9, &i), -EBADMSG);
	json_object_put(object);
}

static void bad_twins_are_ebadmsg(void **state)
{
	static const char *const bad[] = { "\"2f7\"", "\"2f00\"", "\"2F\"",
					   "\"zz\"",  "7",	  "\"2f\\u0000\"" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[64], *s;
		struct json_object *object;

		snprintf(text, sizeof(text), "{\"p\": \"/\", \"p_hex\": %s}", bad[i]);
		object = parse(text);
		assert_int_equal(ckpt_json_get_str(object, "p", &s), -EBADMSG);
		json_object_put(object);
	}
}

static void a_failed_constructor_is_enomem(void **state)
{
	struct json_object *object = json_object_new_object();

	assert_int_equal(ckpt_json_add(object, "k", NULL), -ENOMEM);
	assert_prints(object, "{}");
	json_object_put(object);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prints_as_serde_does),
		cmocka_unit_test(what_serde_printed_is_the_same_bytes_again),
		cmocka_unit_test(malformed_text_is_ebadmsg),
		cmocka_unit_test(bytes_behind_a_nul_are_ebadmsg),
		cmocka_unit_test(text_need_not_end_with_a_nul),
		cmocka_unit_test(depth_is_limited),
		cmocka_unit_test(size_is_limited),
		cmocka_unit_test(number_of_objects_is_limited),
		cmocka_unit_test(number_of_values_is_limited_before_they_take_memory),
		cmocka_unit_test(map_of_as_many_rows_as_there_may_be_fits),
		cmocka_unit_test(unknown_keys_keep_their_place),
		cmocka_unit_test(bytes_that_are_not_utf8_get_a_twin),
		cmocka_unit_test(absent_and_null_are_0),
		cmocka_unit_test(another_type_is_ebadmsg),
		cmocka_unit_test(numbers_are_taken_within_their_range),
		cmocka_unit_test(bad_twins_are_ebadmsg),
		cmocka_unit_test(a_failed_constructor_is_enomem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
