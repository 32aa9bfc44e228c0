/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy.dat: what sandlock-core 0.4.2 wrote decodes and encodes to the same bytes, our default
 * is its default, and what is no policy is refused.
 */
#include "format/policy.h"

#include <errno.h>

#include "format/json.h"
#include "tests/format/scratch.h"

static struct json_object *decode(const void *data, size_t len)
{
	struct json_object *policy = NULL;

	assert_int_equal(ckpt_policy_decode(data, len, &policy), 0);
	return policy;
}

static void assert_round_trip(const char *name)
{
	size_t len, again_len;
	void *again;
	char *data = scratch_load(SAMPLES_DIR, name, &len);
	struct json_object *policy = decode(data, len);

	assert_int_equal(ckpt_policy_encode(policy, &again, &again_len), 0);
	assert_int_equal(again_len, len);
	assert_memory_equal(again, data, len);
	json_object_put(policy);
	free(again);
	free(data);
}

static void samples_are_the_same_bytes_again(void **state)
{
	assert_round_trip("sleep/policy.dat");
	assert_round_trip("rich/policy.dat");
}

static void default_is_what_sandlock_writes(void **state)
{
	size_t len, sample_len;
	void *data;
	char *sample = scratch_load(SAMPLES_DIR, "sleep/policy.dat", &sample_len);

	assert_int_equal(ckpt_policy_default(&data, &len), 0);
	assert_int_equal(len, sample_len);
	assert_memory_equal(data, sample, len);
	free(data);
	free(sample);
}

/* The values are those that the program which made the sample had set. */
static const char rich_json[] =
    "{\n"
    "  \"fs_writable\": [\n    \"/tmp/w\",\n    \"/var/na\xc3\xafve\"\n  ],\n"
    "  \"fs_readable\": [\n    \"/usr\"\n  ],\n"
    "  \"fs_denied\": [\n    \"/etc/shadow\"\n  ],\n"
    "  \"deny_syscalls\": [\n    \"ptrace\",\n    \"mount\"\n  ],\n"
    "  \"allow_syscalls\": null,\n"
    "  \"net_allow_hosts\": [\n    \"example.org\"\n  ],\n"
    "  \"net_bind\": [\n    8080,\n    65535\n  ],\n"
    "  \"net_connect\": [\n    443\n  ],\n"
    "  \"no_raw_sockets\": false,\n"
    "  \"no_udp\": true,\n"
    "  \"isolate_ipc\": true,\n"
    "  \"isolate_signals\": true,\n"
    "  \"isolate_pids\": true,\n"
    "  \"max_memory\": 5368709120,\n"
    "  \"max_processes\": 7,\n"
    "  \"max_open_files\": 256,\n"
    "  \"max_cpu\": 50,\n"
    "  \"random_seed\": 18446744073709551615,\n"
    "  \"time_start\": {\n"
    "    \"secs_since_epoch\": 1234567890,\n"
    "    \"nanos_since_epoch\": 123456789\n"
    "  },\n"
    "  \"no_randomize_memory\": true,\n"
    "  \"no_huge_pages\": true,\n"
    "  \"deterministic_dirs\": true,\n"
    "  \"hostname\": \"sandbox-1\",\n"
    "  \"fs_isolation\": \"BranchFs\",\n"
    "  \"workdir\": \"/work dir\",\n"
    "  \"fs_storage\": \"/storage\",\n"
    "  \"max_disk\": 3145728,\n"
    "  \"on_exit\": \"Keep\",\n"
    "  \"on_error\": \"Abort\",\n"
    "  \"chroot\": \"/jail\",\n"
    "  \"clean_env\": true,\n"
    "  \"env\": {\n    \"LANG\": \"C.UTF-8\"\n  },\n"
    "  \"close_fds\": false,\n"
    "  \"gpu_devices\": [\n    0,\n    3\n  ],\n"
    "  \"cpu_cores\": [\n    0,\n    1\n  ],\n"
    "  \"num_cpus\": 2,\n"
    "  \"port_remap\": true,\n"
    "  \"privileged\": true\n"
    "}";

static void rich_sample_has_the_shape_serde_gives(void **state)
{
	size_t len, text_len;
	char *text, *data = scratch_load(SAMPLES_DIR, "rich/policy.dat", &len);
	struct json_object *policy = decode(data, len);

	assert_int_equal(ckpt_json_print(policy, &text, &text_len), 0);
	assert_string_equal(text, rich_json);
	json_object_put(policy);
	free(text);
	free(data);
}

static void bytes_behind_the_last_field_are_passed_over(void **state)
{
	size_t len;
	char *data = scratch_load(SAMPLES_DIR, "sleep/policy.dat", &len);
	char *longer = malloc(len + 3);
	struct json_object *policy;

	memcpy(longer, data, len);
	memcpy(longer + len, "abc", 3);
	policy = decode(longer, len + 3);
	assert_int_equal(json_object_object_length(policy), 38);
	json_object_put(policy);
	free(longer);
	free(data);
}

/* clang-format off */
static const char *const rejects[] = {
	"policy-bool-2.dat", "policy-count-absurd.dat", "policy-count-beyond.dat",
	"policy-empty.dat",
	"policy-env-nul-key.dat", "policy-isolation-3.dat", "policy-not-utf8.dat",
	"policy-option-tag-2.dat",
	"policy-rich-truncated.dat", "policy-string-absurd.dat", "policy-string-beyond.dat",
	"policy-time-nanos.dat",
	"policy-time-secs.dat", "policy-truncated.dat",
};

static const struct {
	const char *key, *value; /* NULL: taken away */
} unencodable[] = {
	{ "fs_writable", NULL }, { "fs_writable", "null" }, { "fs_writable", "{}" },
	{ "fs_writable", "[1]" },
	{ "net_bind", "[65536]" }, { "net_bind", "[-1]" }, { "net_bind", "[1.0]" },
	{ "no_udp", "1" }, { "max_cpu", "256" },
	{ "max_processes", "4294967296" }, { "max_processes", "null" }, { "hostname", "7" },
	{ "fs_isolation", "\"Zfs\"" },
	{ "fs_isolation", "1" }, { "on_exit", "null" }, { "env", "[]" }, { "env", "{\"A\": 1}" },
	{ "time_start", "{\"secs_since_epoch\": 1}" }, { "time_start", "5" },
	{ "time_start", "{\"secs_since_epoch\": 1, \"nanos_since_epoch\": 1000000000}" },
};
/* clang-format on */

static void what_is_no_policy_is_ebadmsg(void **state)
{
	for (size_t i = 0; i < sizeof(rejects) / sizeof(rejects[0]); i++) {
		size_t len;
		char *data = scratch_load(REJECT_DIR, rejects[i], &len);
		struct json_object *policy = NULL;

		if (ckpt_policy_decode(data, len, &policy) != -EBADMSG)
			fail_msg("taken: %s", rejects[i]);
		assert_null(policy);
		free(data);
	}
}

static void every_truncation_is_ebadmsg(void **state)
{
	size_t len;
	char *data = scratch_load(SAMPLES_DIR, "rich/policy.dat", &len);

	for (size_t cut = 0; cut < len; cut++) {
		char *copy =
		    malloc(cut ? cut : 1); /* exact, so that a sanitizer sees a step too far */
		struct json_object *policy;

		memcpy(copy, data, cut);
		assert_int_equal(ckpt_policy_decode(copy, cut, &policy), -EBADMSG);
		free(copy);
	}
	free(data);
}

static void size_is_limited(void **state)
{
	size_t len = (size_t)CKPT_POLICY_MAX + 1;
	char *data = calloc(len, 1);
	struct json_object *policy;

	assert_int_equal(ckpt_policy_decode(data, len, &policy), -EFBIG);
	free(data);
}

static void fields_of_another_type_do_not_encode(void **state)
{
	for (size_t i = 0; i < sizeof(unencodable) / sizeof(unencodable[0]); i++) {
		struct json_object *policy, *value = NULL;
		size_t len;
		void *data;

		assert_int_equal(ckpt_policy_default(&data, &len), 0);
		policy = decode(data, len);
		free(data);
		json_object_object_del(policy, unencodable[i].key);
		if (unencodable[i].value) {
			assert_int_equal(ckpt_json_parse(unencodable[i].value,
							 strlen(unencodable[i].value), &value),
					 0);
			json_object_object_add(policy, unencodable[i].key, value);
		}
		if (ckpt_policy_encode(policy, &data, &len) != -EBADMSG)
			fail_msg("encoded: %s", unencodable[i].key);
		json_object_put(policy);
	}
	assert_int_equal(ckpt_policy_encode(NULL, NULL, NULL), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(samples_are_the_same_bytes_again),
		cmocka_unit_test(default_is_what_sandlock_writes),
		cmocka_unit_test(rich_sample_has_the_shape_serde_gives),
		cmocka_unit_test(bytes_behind_the_last_field_are_passed_over),
		cmocka_unit_test(what_is_no_policy_is_ebadmsg),
		cmocka_unit_test(every_truncation_is_ebadmsg),
		cmocka_unit_test(size_is_limited),
		cmocka_unit_test(fields_of_another_type_do_not_encode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
