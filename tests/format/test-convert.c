/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects and their JSON: sandlock's files come back byte for byte, our keys stand where they
 * should and are read as they were written, and what is out of order or range is refused.
 */
#include "format/convert.h"

#include <errno.h>
#include <malloc.h>

#include "format/json.h"
#include "tests/format/scratch.h"

static struct json_object *parse(const char *text, size_t len)
{
	struct json_object *object = NULL;

	assert_int_equal(ckpt_json_parse(text, len, &object), 0);
	return object;
}

static void assert_prints(struct json_object *object, const char *expected)
{
	char *text;
	size_t len;

	assert_int_equal(ckpt_json_print(object, &text, &len), 0);
	assert_string_equal(text, expected);
	free(text);
}

/* What a file of a checkpoint holds, for all four of them. */
union objects {
	struct ckpt_meta meta;
	struct {
		struct ckpt_info info;
		struct ckpt_threads threads;
	} info;
	struct ckpt_fds fds;
	struct ckpt_regions regions;
};

static int meta_from(struct json_object *json, union objects *ret)
{
	return ckpt_meta_from_json(json, &ret->meta);
}

static int meta_to(const union objects *objects, struct json_object **ret)
{
	return ckpt_meta_to_json(&objects->meta, ret);
}

static void meta_done(union objects *objects)
{
	ckpt_meta_done(&objects->meta);
}

static int info_from(struct json_object *json, union objects *ret)
{
	return ckpt_info_from_json(json, &ret->info.info, &ret->info.threads);
}

static int info_to(const union objects *objects, struct json_object **ret)
{
	return ckpt_info_to_json(&objects->info.info, &objects->info.threads, ret);
}

static void info_done(union objects *objects)
{
	ckpt_info_done(&objects->info.info);
	ckpt_threads_done(&objects->info.threads);
}

static int fds_from(struct json_object *json, union objects *ret)
{
	return ckpt_fds_from_json(json, &ret->fds);
}

static int fds_to(const union objects *objects, struct json_object **ret)
{
	return ckpt_fds_to_json(&objects->fds, ret);
}

static void fds_done(union objects *objects)
{
	ckpt_fds_done(&objects->fds);
}

static int map_from(struct json_object *json, union objects *ret)
{
	return ckpt_regions_from_json(json, &ret->regions);
}

static int map_to(const union objects *objects, struct json_object **ret)
{
	return ckpt_regions_to_json(&objects->regions, ret);
}

static void map_done(union objects *objects)
{
	ckpt_regions_done(&objects->regions);
}

static const struct file {
	const char *prefix, *path;
	int (*from)(struct json_object *json, union objects *ret);
	int (*to)(const union objects *objects, struct json_object **ret);
	void (*done)(union objects *objects);
} files[] = {
	{ "meta-", "meta.json", meta_from, meta_to, meta_done },
	{ "info-", "process/info.json", info_from, info_to, info_done },
	{ "fds-", "process/fds.json", fds_from, fds_to, fds_done },
	{ "map-", "process/memory_map.json", map_from, map_to, map_done },
};
#define N_FILES (sizeof(files) / sizeof(files[0]))

/* Reads @text into objects and expects the text of these to be @expected. */
static void assert_comes_back(const struct file *file, const char *text, const char *expected)
{
	struct json_object *json = parse(text, strlen(text)), *again;
	union objects objects = {};

	assert_int_equal(file->from(json, &objects), 0);
	assert_int_equal(file->to(&objects, &again), 0);
	assert_prints(again, expected);
	file->done(&objects);
	json_object_put(json);
	json_object_put(again);
}

static void assert_sample_comes_back(const char *sample, const struct file *file)
{
	char path[64], *text;
	size_t len;

	snprintf(path, sizeof(path), "%s/%s", sample, file->path);
	text = scratch_load(SAMPLES_DIR, path, &len);
	assert_comes_back(file, text, text);
	free(text);
}

static void samples_are_the_same_bytes_again(void **state)
{
	for (size_t i = 0; i < N_FILES; i++) {
		assert_sample_comes_back("rich", &files[i]);
		assert_sample_comes_back("sleep", &files[i]);
	}
}

/* Its map is another one: it has [vsyscall], above every address of ours. */
static void files_of_sandlock_0_9_are_the_same_bytes_again(void **state)
{
	for (size_t i = 0; i < N_FILES; i++)
		if (files[i].from != map_from)
			assert_sample_comes_back("v3-sleep", &files[i]);
}

/* clang-format off */
static const char full_meta[] =
	"{\n"
	"  \"name\": \"x\",\n"
	"  \"cow_snapshot\": \"/snap\xef\xbf\xbd\",\n"
	"  \"cow_snapshot_hex\": \"2f736e6170ff\",\n"
	"  \"sandckpt\": \"0.1.0\",\n"
	"  \"created\": \"2026-11-23T20:15:00.000056789Z\",\n"
	"  \"owner_uid\": 4294967295,\n"
	"  \"mode\": \"stop\",\n"
	"  \"mode_reason\": null,\n"
	"  \"pause_us\": 1234,\n"
	"  \"bytes\": 18446744073709551615,\n"
	"  \"omitted\": [\n"
	"    {\n"
	"      \"what\": \"fd/7\",\n"
	"      \"call\": \"openat\",\n"
	"      \"errno\": \"EACCES\"\n"
	"    }\n"
	"  ]\n"
	"}";

static const char full_info[] =
	"{\n"
	"  \"pid\": 7,\n"
	"  \"cwd\": \"/\",\n"
	"  \"exe\": \"/bin/x\",\n"
	"  \"ppid\": 1,\n"
	"  \"comm\": \"x\",\n"
	"  \"cmdline\": [\n    \"x\",\n    \"\",\n    \"a\xef\xbf\xbd\"\n  ],\n"
	"  \"cmdline_hex\": [\n    \"78\",\n    \"\",\n    \"61ff\"\n  ],\n"
	"  \"uids\": [\n    0,\n    1,\n    2,\n    4294967295\n  ],\n"
	"  \"gids\": [\n    4,\n    5,\n    6,\n    7\n  ],\n"
	"  \"groups\": [\n    100\n  ],\n"
	"  \"capabilities\": {\n    \"effective\": \"000001ffffffffff\"\n  },\n"
	"  \"seccomp\": 2,\n"
	"  \"namespaces\": {\n    \"mnt\": 4026531841\n  },\n"
	"  \"start_time_ticks\": 12345678901,\n"
	"  \"rlimits\": {\n"
	"    \"nofile\": {\n      \"soft\": 1024,\n      \"hard\": null\n    }\n"
	"  },\n"
	"  \"personality\": 262144,\n"
	"  \"root\": \"/\",\n"
	"  \"threads\": [\n"
	"    {\n"
	"      \"tid\": 7,\n"
	"      \"comm\": \"x\",\n"
	"      \"state\": \"S\",\n"
	"      \"sigmask\": \"8000000000000001\",\n"
	"      \"pending\": \"0000000000000000\",\n"
	"      \"syscall\": \"epoll_wait\"\n"
	"    },\n"
	"    {\n"
	"      \"tid\": 8,\n"
	"      \"comm\": null,\n"
	"      \"state\": null,\n"
	"      \"sigmask\": \"0000000000000000\",\n"
	"      \"pending\": \"0000000000000000\",\n"
	"      \"syscall\": null\n"
	"    }\n"
	"  ]\n"
	"}";

static const char full_fds[] =
	"[\n"
	"  {\n"
	"    \"fd\": 0,\n"
	"    \"path\": \"/dev/null\",\n"
	"    \"flags\": 32768,\n"
	"    \"offset\": 18446744073709551615\n"
	"  },\n"
	"  {\n"
	"    \"fd\": 3,\n"
	"    \"path\": \"socket:[1]\",\n"
	"    \"flags\": 2,\n"
	"    \"offset\": 0,\n"
	"    \"type\": \"socket\",\n"
	"    \"inode\": 1,\n"
	"    \"mode\": 49663,\n"
	"    \"deleted\": false,\n"
	"    \"fdinfo\": {\n      \"mnt_id\": \"10\"\n    },\n"
	"    \"family\": \"unix\",\n"
	"    \"sock_type\": \"stream\",\n"
	"    \"unix_path\": \"@abs\xef\xbf\xbd\",\n"
	"    \"unix_path_hex\": \"40616273ff\"\n"
	"  },\n"
	"  {\n"
	"    \"fd\": 4,\n"
	"    \"path\": \"/x (deleted)\",\n"
	"    \"flags\": 0,\n"
	"    \"offset\": 5,\n"
	"    \"type\": \"file\",\n"
	"    \"inode\": 2,\n"
	"    \"mode\": 33188,\n"
	"    \"deleted\": true,\n"
	"    \"fdinfo\": {}\n"
	"  }\n"
	"]";

static const char full_map[] =
	"[\n"
	"  {\n"
	"    \"start\": 4096,\n"
	"    \"end\": 8192,\n"
	"    \"perms\": \"rw-p\",\n"
	"    \"offset\": 0,\n"
	"    \"path\": null\n"
	"  },\n"
	"  {\n"
	"    \"start\": 8192,\n"
	"    \"end\": 72057594037927936,\n"
	"    \"perms\": \"---s\",\n"
	"    \"offset\": 18446744073709547520,\n"
	"    \"path\": \"/na\xc3\xafve\xef\xbf\xbd\",\n"
	"    \"path_hex\": \"2f6e61c3af7665ff\",\n"
	"    \"dontdump\": true\n"
	"  }\n"
	"]";
/* clang-format on */

static void our_keys_are_the_same_bytes_again(void **state)
{
	assert_comes_back(&files[0], full_meta, full_meta);
	assert_comes_back(&files[1], full_info, full_info);
	assert_comes_back(&files[2], full_fds, full_fds);
	assert_comes_back(&files[3], full_map, full_map);
}

static void our_info_is_read_into_the_objects(void **state)
{
	struct json_object *json = parse(full_info, strlen(full_info));
	struct ckpt_info info = {};
	struct ckpt_threads threads = {};

	assert_int_equal(ckpt_info_from_json(json, &info, &threads), 0);
	assert_true(info.full);
	assert_string_equal(info.cmdline.items[2], "a\xff");
	assert_int_equal(info.uids[3], UINT32_MAX);
	assert_true(info.caps.items[0].value == 0x1ffffffffff);
	assert_int_equal(info.rlimits.items[0].soft, 1024);
	assert_true(info.rlimits.items[0].hard == UINT64_MAX);
	assert_int_equal(threads.n, 2);
	assert_int_equal(threads.items[0].state, 'S');
	assert_true(threads.items[0].sigmask == 0x8000000000000001);
	assert_null(threads.items[1].comm);
	ckpt_info_done(&info);
	ckpt_threads_done(&threads);
	json_object_put(json);
}

static void our_meta_is_read_into_the_object(void **state)
{
	struct json_object *json = parse(full_meta, strlen(full_meta));
	struct ckpt_meta meta = {};

	assert_int_equal(ckpt_meta_from_json(json, &meta), 0);
	assert_true(meta.ours);
	assert_int_equal(meta.created_sec, 1795464900);
	assert_int_equal(meta.created_nsec, 56789);
	assert_int_equal(meta.mode, CKPT_MODE_STOP);
	assert_string_equal(meta.cow_snapshot, "/snap\xff");
	ckpt_meta_done(&meta);
	json_object_put(json);
}

static void keys_we_do_not_know_are_passed_over(void **state)
{
	assert_comes_back(&files[0], "{\"new\": {\"a\": [1.5]}, \"name\": \"x\"}",
			  "{\n  \"name\": \"x\",\n  \"cow_snapshot\": null\n}");
}

static void version_of_sandlock_0_9_is_kept(void **state)
{
	struct json_object *json = parse("{\"name\": \"x\", \"version\": 3}", 27);
	struct ckpt_meta meta = {};

	assert_int_equal(ckpt_meta_from_json(json, &meta), 0);
	assert_int_equal(meta.version, 3);
	assert_false(meta.ours);
	ckpt_meta_done(&meta);
	json_object_put(json);
}

static void unset_strings_of_the_seed_are_empty(void **state)
{
	struct ckpt_info info = { .pid = 7 };
	struct json_object *json;

	assert_int_equal(ckpt_info_to_json(&info, NULL, &json), 0);
	assert_prints(json, "{\n  \"pid\": 7,\n  \"cwd\": \"\",\n  \"exe\": \"\"\n}");
	json_object_put(json);
}

static void a_full_info_without_anything_is_valid(void **state)
{
	struct ckpt_info info = { .full = true }, again = {};
	struct ckpt_threads threads = {};
	struct json_object *json;

	assert_int_equal(ckpt_info_to_json(&info, NULL, &json), 0);
	assert_int_equal(ckpt_info_from_json(json, &again, &threads), 0);
	assert_true(again.full);
	assert_int_equal(threads.n, 0);
	ckpt_info_done(&again);
	json_object_put(json);
}

static void fdinfo_lines_of_one_key_are_all_kept(void **state)
{
	static const char *const lines[][2] = {
		{ "tfd", "5 events: 19" }, { "tfd", "6 events: 1" }, { "mnt_id", "15" },
		{ "tfd", "9 events: 2" },  { "empty", "" },
	};
	struct ckpt_fd fd = {}, again = {};
	struct json_object *json, *map, *value;

	assert_int_equal(ckpt_strdup("epoll", &fd.type), 0);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_int_equal(ckpt_fd_add_fdinfo(&fd, lines[i][0], lines[i][1]), 0);
	assert_int_equal(ckpt_fd_to_json(&fd, &json), 0);
	assert_int_equal(ckpt_json_get(json, "fdinfo", json_type_object, &map), 1);
	assert_int_equal(ckpt_json_get(map, "tfd", json_type_string, &value), 1);
	assert_string_equal(json_object_get_string(value),
			    "5 events: 19\n6 events: 1\n9 events: 2");

	assert_int_equal(ckpt_fd_from_json(json, &again), 0);
	assert_int_equal(again.n_fdinfo, 3);
	assert_string_equal(again.fdinfo[0].key, "tfd");
	assert_string_equal(again.fdinfo[0].value, "5 events: 19\n6 events: 1\n9 events: 2");
	assert_string_equal(again.fdinfo[1].key, "mnt_id");
	assert_string_equal(again.fdinfo[2].value, "");
	ckpt_fd_done(&fd);
	ckpt_fd_done(&again);
	json_object_put(json);
}

/* Each key again and again, with more others between than are looked back for. */
static void fdinfo_lines_far_apart_are_all_kept(void **state)
{
	struct ckpt_fd fd = {}, again = {};
	struct json_object *json;
	char key[16];

	assert_int_equal(ckpt_strdup("x", &fd.type), 0);
	for (int i = 0; i < 3 * 40; i++) {
		snprintf(key, sizeof(key), "k%d", i % 40);
		assert_int_equal(ckpt_fd_add_fdinfo(&fd, key, i < 40 ? "a" : "b"), 0);
	}
	assert_int_equal(ckpt_fd_to_json(&fd, &json), 0);
	assert_int_equal(ckpt_fd_from_json(json, &again), 0);
	assert_int_equal(again.n_fdinfo, 40);
	assert_string_equal(again.fdinfo[39].value, "a\nb\nb");
	ckpt_fd_done(&fd);
	ckpt_fd_done(&again);
	json_object_put(json);
}

/* A line costs its bytes: a long key before many lines is not there once a line. */
static void memory_of_fdinfo_is_linear(void **state)
{
	enum { KEY = 75000, LINES = 75000 };
	static const char head[] = "[{\"fd\":0,\"path\":\"\",\"flags\":0,\"offset\":0,"
				   "\"type\":\"x\",\"fdinfo\":{\"";
	char *text = malloc(sizeof(head) + KEY + 2 * LINES + 16);
	struct json_object *array;
	struct ckpt_fds fds = {};
	size_t len = sizeof(head) - 1, before;

	memcpy(text, head, len);
	memset(text + len, 'k', KEY);
	len += KEY;
	len += (size_t)sprintf(text + len, "\":\"");
	for (int i = 0; i < LINES; i++)
		len += (size_t)sprintf(text + len, "\\n");
	len += (size_t)sprintf(text + len, "\"}}]");
	assert_int_equal(ckpt_json_parse(text, len, &array), 0);

	before = mallinfo2().uordblks + mallinfo2().hblkhd;
	assert_int_equal(ckpt_fds_from_json(array, &fds), 0);
	assert_true(mallinfo2().uordblks + mallinfo2().hblkhd - before < (4U << 20));
	assert_int_equal(fds.items[0].fdinfo_bytes, KEY + LINES + 1);
	ckpt_fds_done(&fds);
	json_object_put(array);
	free(text);
}

static void fdinfo_has_an_end(void **state)
{
	struct ckpt_fd fd = {};
	struct ckpt_fds fds = {};
	char *value = malloc(CKPT_FDINFO_MAX);
	int r = 0;

	memset(value, 'v', CKPT_FDINFO_MAX);
	value[CKPT_FDINFO_MAX - 1] = '\0';
	assert_int_equal(ckpt_fd_add_fdinfo(&fd, "k", value), -E2BIG);
	value[CKPT_FDINFO_MAX - 2] = '\0';
	for (unsigned i = 0; i <= CKPT_FDINFO_TOTAL_MAX / CKPT_FDINFO_MAX; i++) {
		assert_int_equal(ckpt_fd_add_fdinfo(&fd, "k", value), 0);
		assert_int_equal(ckpt_fd_add_fdinfo(&fd, "k", ""), -E2BIG);
		r = ckpt_fds_add(&fds, &fd);
		ckpt_fd_done(&fd);
	}
	assert_int_equal(r, -E2BIG);
	assert_int_equal(fds.n, CKPT_FDINFO_TOTAL_MAX / CKPT_FDINFO_MAX);
	ckpt_fds_done(&fds);
	free(value);
}

static void fdinfo_that_is_not_utf8_is_exact(void **state)
{
	struct ckpt_fd fd = {}, again = {};
	struct json_object *json;

	assert_int_equal(ckpt_strdup("file", &fd.type), 0);
	assert_int_equal(ckpt_fd_add_fdinfo(&fd, "name", "a\xff"), 0);
	assert_int_equal(ckpt_fd_to_json(&fd, &json), 0);
	assert_int_equal(ckpt_fd_from_json(json, &again), 0);
	assert_int_equal(again.n_fdinfo, 1);
	assert_string_equal(again.fdinfo[0].value, "a\xff");
	ckpt_fd_done(&fd);
	ckpt_fd_done(&again);
	json_object_put(json);
}

static void a_time_that_cannot_be_written_is_einval(void **state)
{
	struct ckpt_meta meta = { .ours = true, .created_sec = INT64_MAX };
	struct json_object *json;

	assert_int_equal(ckpt_meta_to_json(&meta, &json), -EINVAL);
	meta.created_sec = 0;
	meta.created_nsec = 1000000000;
	assert_int_equal(ckpt_meta_to_json(&meta, &json), -EINVAL);
}

/* clang-format off */
static const char *const rejects[] = {
	"fds-bool-fd.json", "fds-descending.json", "fds-exponent-fd.json", "fds-fdinfo-number.json",
	"fds-flags-too-big.json", "fds-float-fd.json", "fds-negative-fd.json", "fds-no-offset.json",
	"fds-object.json",
	"fds-of-nulls.json", "fds-of-numbers.json", "fds-offset-beyond-u64.json", "fds-twice.json",
	"fds-twin-nul.json", "fds-twin-odd-length.json", "fds-twin-upper-case.json",
	"fds-type-null.json",
	"info-array.json", "info-cmdline-number.json", "info-control-character.json",
	"info-duplicate-key.json",
	"info-float-pid.json", "info-huge-pid.json", "info-lone-surrogate.json",
	"info-negative-pid.json", "info-nul-in-cwd.json", "info-null-cwd.json",
	"info-null-ppid.json",
	"info-rlimit-number.json", "info-short-capability.json", "info-string-pid.json",
	"info-thread-state-word.json",
	"info-thread-without-tid.json", "info-threads-object.json", "info-three-uids.json",
	"info-trailing-garbage.json", "info-uid-too-big.json",
	"map-beyond-addresses.json", "map-beyond-u64.json", "map-descending.json",
	"map-dontdump-number.json",
	"map-empty-region.json", "map-end-before-start.json", "map-long-perms.json",
	"map-negative.json",
	"map-null.json", "map-odd-perms.json", "map-overlap.json", "map-path-number.json",
	"map-twice.json",
	"map-unaligned-end.json", "map-unaligned-start.json",
	"meta-bad-utf8.json", "meta-blank.json", "meta-comment.json",
	"meta-created-february-30.json",
	"meta-created-no-fraction.json", "meta-created-offset.json", "meta-empty.json",
	"meta-nan.json",
	"meta-negative-owner.json", "meta-no-name.json", "meta-nul-behind.json",
	"meta-nul-in-key.json",
	"meta-omitted-no-errno.json", "meta-omitted-string.json", "meta-surrogate-bytes.json",
	"meta-truncated.json",
	"meta-unknown-mode.json", "meta-version-float.json", "meta-version-negative.json",
};
/* clang-format on */

static const struct file *file_of(const char *name)
{
	for (size_t i = 0; i < N_FILES; i++)
		if (strncmp(name, files[i].prefix, strlen(files[i].prefix)) == 0)
			return &files[i];
	fail_msg("no kind for %s", name);
	return NULL;
}

static int read_reject(const char *name)
{
	const struct file *file = file_of(name);
	struct json_object *json = NULL;
	union objects objects = {};
	static const union objects empty = {};
	size_t len;
	char *text = scratch_load(REJECT_DIR, name, &len);
	int r;

	r = ckpt_json_parse(text, len, &json);
	if (r == 0) {
		r = file->from(json, &objects);
		if (r == 0)
			file->done(&objects);
		/* On error nothing is left behind. */
		assert_memory_equal(&objects, &empty, sizeof(objects));
	}
	json_object_put(json);
	free(text);
	return r;
}

static void reject_files_are_ebadmsg(void **state)
{
	for (size_t i = 0; i < sizeof(rejects) / sizeof(rejects[0]); i++)
		if (read_reject(rejects[i]) != -EBADMSG)
			fail_msg("%s gives %d", rejects[i], read_reject(rejects[i]));
}

static void more_than_four_ids_are_e2big(void **state)
{
	assert_int_equal(read_reject("info-five-uids.json"), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(samples_are_the_same_bytes_again),
		cmocka_unit_test(files_of_sandlock_0_9_are_the_same_bytes_again),
		cmocka_unit_test(our_keys_are_the_same_bytes_again),
		cmocka_unit_test(our_info_is_read_into_the_objects),
		cmocka_unit_test(our_meta_is_read_into_the_object),
		cmocka_unit_test(keys_we_do_not_know_are_passed_over),
		cmocka_unit_test(version_of_sandlock_0_9_is_kept),
		cmocka_unit_test(unset_strings_of_the_seed_are_empty),
		cmocka_unit_test(a_full_info_without_anything_is_valid),
		cmocka_unit_test(fdinfo_lines_of_one_key_are_all_kept),
		cmocka_unit_test(fdinfo_that_is_not_utf8_is_exact),
		cmocka_unit_test(fdinfo_lines_far_apart_are_all_kept),
		cmocka_unit_test(memory_of_fdinfo_is_linear),
		cmocka_unit_test(fdinfo_has_an_end),
		cmocka_unit_test(a_time_that_cannot_be_written_is_einval),
		cmocka_unit_test(reject_files_are_ebadmsg),
		cmocka_unit_test(more_than_four_ids_are_e2big),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
