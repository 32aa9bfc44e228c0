/* SPDX-License-Identifier: Apache-2.0 */
#include "format/convert.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format/cleanup.h"
#include "format/fields.h"
#include "format/json.h"

static int put_state(struct json_object *object, const struct ckpt_field *field, const void *member)
{
	char text[2] = { *(const char *)member };

	return ckpt_json_add_str(object, field->key, text[0] ? text : NULL);
}

static int get_state(struct json_object *object, const struct ckpt_field *field, void *member)
{
	cleanup_free char *s = NULL;
	int r;

	r = ckpt_json_get_str(object, field->key, &s);
	if (r <= 0)
		return r;
	if (s[0] <= ' ' || s[0] > '~' || s[1] != '\0')
		return -EBADMSG;
	*(char *)member = s[0];
	return 1;
}

static int u32_new(const void *item, struct json_object **ret)
{
	*ret = json_object_new_uint64(*(const uint32_t *)item);
	return *ret ? 0 : -ENOMEM;
}

struct u32_list {
	uint32_t *items;
	size_t n;
};

static int u32_take(struct json_object *item, void *userdata)
{
	struct u32_list *list = userdata;
	uint64_t value;
	int r;

	r = ckpt_json_to_u64(item, UINT32_MAX, &value);
	if (r < 0)
		return r;
	list->items[list->n++] = (uint32_t)value;
	return 0;
}

/* Real, effective, saved, filesystem. */
#define N_IDS 4U

static int put_ids(struct json_object *object, const struct ckpt_field *field, const void *member)
{
	struct json_object *array;
	int r;

	r = ckpt_array_make(member, N_IDS, sizeof(uint32_t), u32_new, &array);
	return r < 0 ? r : ckpt_field_add(object, field, array);
}

static int get_ids(struct json_object *object, const struct ckpt_field *field, void *member)
{
	struct u32_list list = { .items = member };
	int r;

	r = ckpt_field_each(object, field->key, N_IDS, u32_take, &list);
	return r > 0 && list.n != N_IDS ? -EBADMSG : r;
}

static int put_groups(struct json_object *object, const struct ckpt_field *field, const void *base)
{
	const struct ckpt_info *info = base;
	struct json_object *array;
	int r;

	r = ckpt_array_make(info->groups, info->n_groups, sizeof(uint32_t), u32_new, &array);
	return r < 0 ? r : ckpt_field_add(object, field, array);
}

static int get_groups(struct json_object *object, const struct ckpt_field *field, void *base)
{
	struct ckpt_info *info = base;
	struct u32_list list = {};
	struct json_object *array;
	size_t n;
	int r;

	r = ckpt_json_get(object, field->key, json_type_array, &array);
	if (r <= 0)
		return r;
	n = json_object_array_length(array);
	if (n > CKPT_GROUPS_MAX)
		return -E2BIG;
	info->groups = calloc(n ? n : 1, sizeof(uint32_t));
	if (!info->groups)
		return -ENOMEM;

	list.items = info->groups;
	r = ckpt_array_each(array, n, u32_take, &list);
	info->n_groups = list.n;
	return r < 0 ? r : 1;
}

static int str_new(const void *item, struct json_object **ret)
{
	*ret = ckpt_json_str(*(char *const *)item);
	return *ret ? 0 : -ENOMEM;
}

static int hex_new(const void *item, struct json_object **ret)
{
	*ret = ckpt_json_hex(*(char *const *)item);
	return *ret ? 0 : -ENOMEM;
}

#define CMDLINE_TWIN "cmdline_hex"

/* As soon as one word is not UTF-8 the twin array holds the exact bytes of all. */
static int put_cmdline(struct json_object *object, const struct ckpt_field *field,
		       const void *member)
{
	const struct ckpt_strings *strings = member;
	struct json_object *array;
	bool exact = true;
	int r;

	r = ckpt_array_make(strings->items, strings->n, sizeof(char *), str_new, &array);
	if (r < 0)
		return r;
	for (size_t i = 0; i < strings->n && exact; i++)
		exact = strcmp(strings->items[i],
			       json_object_get_string(json_object_array_get_idx(array, i))) == 0;
	r = ckpt_field_add(object, field, array);
	if (r < 0 || exact)
		return r;

	r = ckpt_array_make(strings->items, strings->n, sizeof(char *), hex_new, &array);
	return r < 0 ? r : ckpt_json_add(object, CMDLINE_TWIN, array);
}

static int str_take(struct json_object *item, void *userdata)
{
	cleanup_free char *s = NULL;
	int r;

	r = ckpt_json_to_str(item, &s);
	return r < 0 ? r : ckpt_strings_add(userdata, s);
}

static int hex_take(struct json_object *item, void *userdata)
{
	cleanup_free char *s = NULL;
	int r;

	r = ckpt_json_to_bytes(item, &s);
	return r < 0 ? r : ckpt_strings_add(userdata, s);
}

static int get_cmdline(struct json_object *object, const struct ckpt_field *field, void *member)
{
	int r;

	r = ckpt_field_each(object, CMDLINE_TWIN, CKPT_STRINGS_MAX, hex_take, member);
	if (r != 0)
		return r;
	return ckpt_field_each(object, field->key, CKPT_STRINGS_MAX, str_take, member);
}

static int named_put(struct json_object *object, const struct ckpt_field *field,
		     const struct ckpt_named_u64s *named, struct json_object *(*make)(uint64_t))
{
	cleanup_json struct json_object *map = json_object_new_object();

	if (!map)
		return -ENOMEM;
	for (size_t i = 0; i < named->n; i++) {
		int r = ckpt_json_add(map, named->items[i].name, make(named->items[i].value));

		if (r < 0)
			return r;
	}
	return ckpt_field_add(object, field, steal_pointer(map));
}

static int named_get(struct json_object *object, const struct ckpt_field *field,
		     struct ckpt_named_u64s *named,
		     int (*take)(struct json_object *value, uint64_t *ret))
{
	struct json_object *map;
	int r;

	r = ckpt_json_get(object, field->key, json_type_object, &map);
	if (r <= 0)
		return r;

	json_object_object_foreach (map, name, item) {
		uint64_t value;

		r = take(item, &value);
		if (r < 0)
			return r;
		r = ckpt_named_add(named, name, value);
		if (r < 0)
			return r;
	}
	return 1;
}

static int put_caps(struct json_object *object, const struct ckpt_field *field, const void *member)
{
	return named_put(object, field, member, ckpt_hex64_new);
}

static int get_caps(struct json_object *object, const struct ckpt_field *field, void *member)
{
	return named_get(object, field, member, ckpt_hex64_get);
}

static int u64_get(struct json_object *value, uint64_t *ret)
{
	return ckpt_json_to_u64(value, UINT64_MAX, ret);
}

static int put_named(struct json_object *object, const struct ckpt_field *field, const void *member)
{
	return named_put(object, field, member, json_object_new_uint64);
}

static int get_named(struct json_object *object, const struct ckpt_field *field, void *member)
{
	return named_get(object, field, member, u64_get);
}

static int rlimit_add(struct json_object *object, const char *key, uint64_t value)
{
	return value == UINT64_MAX ? ckpt_json_add_str(object, key, NULL)
				   : ckpt_json_add_u64(object, key, value);
}

static int put_rlimits(struct json_object *object, const struct ckpt_field *field,
		       const void *member)
{
	const struct ckpt_rlimits *rlimits = member;
	cleanup_json struct json_object *map = json_object_new_object();

	if (!map)
		return -ENOMEM;
	for (size_t i = 0; i < rlimits->n; i++) {
		struct json_object *pair = json_object_new_object();
		int r = ckpt_json_add(map, rlimits->items[i].name, pair);

		if (r == 0)
			r = rlimit_add(pair, "soft", rlimits->items[i].soft);
		if (r == 0)
			r = rlimit_add(pair, "hard", rlimits->items[i].hard);
		if (r < 0)
			return r;
	}
	return ckpt_field_add(object, field, steal_pointer(map));
}

static int get_rlimits(struct json_object *object, const struct ckpt_field *field, void *member)
{
	struct json_object *map;
	int r;

	r = ckpt_json_get(object, field->key, json_type_object, &map);
	if (r <= 0)
		return r;

	json_object_object_foreach (map, name, pair) {
		uint64_t soft = UINT64_MAX, hard = UINT64_MAX;

		r = ckpt_json_get_u64(pair, "soft", UINT64_MAX, &soft);
		if (r < 0)
			return r;
		r = ckpt_json_get_u64(pair, "hard", UINT64_MAX, &hard);
		if (r < 0)
			return r;
		r = ckpt_rlimits_add(member, name, soft, hard);
		if (r < 0)
			return r;
	}
	return 1;
}

/* clang-format off */
static const struct ckpt_field_kind k_state = { put_state, get_state };
static const struct ckpt_field_kind k_ids = { put_ids, get_ids };
static const struct ckpt_field_kind k_groups = { put_groups, get_groups };
static const struct ckpt_field_kind k_cmdline = { put_cmdline, get_cmdline };
static const struct ckpt_field_kind k_caps = { put_caps, get_caps };
static const struct ckpt_field_kind k_named = { put_named, get_named };
static const struct ckpt_field_kind k_rlimits = { put_rlimits, get_rlimits };

static const struct ckpt_field info_fields[] = {
	{ "pid", &ckpt_field_i32, offsetof(struct ckpt_info, pid), CKPT_REQUIRED },
	{ "cwd", &ckpt_field_str, offsetof(struct ckpt_info, cwd), CKPT_REQUIRED },
	{ "exe", &ckpt_field_str, offsetof(struct ckpt_info, exe), CKPT_REQUIRED },
};

static const struct ckpt_field info_ours[] = {
	{ "ppid",             &ckpt_field_i32, offsetof(struct ckpt_info, ppid), CKPT_REQUIRED },
	{ "comm",             &ckpt_field_str, offsetof(struct ckpt_info, comm) },
	{ "cmdline",          &k_cmdline,      offsetof(struct ckpt_info, cmdline) },
	{ "uids",             &k_ids,          offsetof(struct ckpt_info, uids) },
	{ "gids",             &k_ids,          offsetof(struct ckpt_info, gids) },
	{ "groups",           &k_groups,       0 },
	{ "capabilities",     &k_caps,         offsetof(struct ckpt_info, caps) },
	{ "seccomp",          &ckpt_field_i32, offsetof(struct ckpt_info, seccomp) },
	{ "namespaces",       &k_named,        offsetof(struct ckpt_info, namespaces) },
	{ "start_time_ticks", &ckpt_field_u64, offsetof(struct ckpt_info, start_time_ticks) },
	{ "rlimits",          &k_rlimits,      offsetof(struct ckpt_info, rlimits) },
	{ "personality",      &ckpt_field_u32, offsetof(struct ckpt_info, personality) },
	{ "root",             &ckpt_field_str, offsetof(struct ckpt_info, root) },
};

static const struct ckpt_field thread_fields[] = {
	{ "tid",     &ckpt_field_i32,   offsetof(struct ckpt_thread, tid), CKPT_REQUIRED },
	{ "comm",    &ckpt_field_str,   offsetof(struct ckpt_thread, comm) },
	{ "state",   &k_state,          offsetof(struct ckpt_thread, state) },
	{ "sigmask", &ckpt_field_hex64, offsetof(struct ckpt_thread, sigmask) },
	{ "pending", &ckpt_field_hex64, offsetof(struct ckpt_thread, pending) },
	{ "syscall", &ckpt_field_str,   offsetof(struct ckpt_thread, syscall) },
};
/* clang-format on */

static int thread_new(const void *item, struct json_object **ret)
{
	return ckpt_thread_to_json(item, ret);
}

/**
 * ckpt_info_to_json() - process/info.json
 * @info: ours are printed only where .full is set
 * @threads: printed then too, without their registers; NULL: none known
 *
 * Return: 0; -ENOMEM.
 */
int ckpt_info_to_json(const struct ckpt_info *info, const struct ckpt_threads *threads,
		      struct json_object **ret)
{
	static const struct ckpt_threads none = {};
	cleanup_json struct json_object *object = NULL;
	struct json_object *array;
	int r;

	r = ckpt_fields_make(info_fields, CKPT_N_FIELDS(info_fields), info, &object);
	if (r < 0)
		return r;

	if (info->full) {
		threads = threads ? threads : &none;
		r = ckpt_fields_put(object, info_ours, CKPT_N_FIELDS(info_ours), info);
		if (r < 0)
			return r;
		r = ckpt_array_make(threads->items, threads->n, sizeof(threads->items[0]),
				    thread_new, &array);
		if (r < 0)
			return r;
		r = ckpt_json_add(object, "threads", array);
		if (r < 0)
			return r;
	}

	*ret = steal_pointer(object);
	return 0;
}

static int thread_take(struct json_object *item, void *userdata)
{
	struct ckpt_thread thread = {};
	int r;

	r = ckpt_thread_from_json(item, &thread);
	if (r < 0)
		return r;
	r = ckpt_threads_add(userdata, &thread);
	ckpt_thread_done(&thread);
	return r;
}

/**
 * ckpt_info_from_json() - process/info.json; it is full where it has the key ppid
 * @ret: zeroed before; ckpt_info_done() frees
 * @ret_threads: zeroed before; empty for sandlock's; ckpt_threads_done() frees; may be NULL
 *
 * Return: 0; -EBADMSG; -E2BIG; -ENOMEM.
 */
int ckpt_info_from_json(struct json_object *object, struct ckpt_info *ret,
			struct ckpt_threads *ret_threads)
{
	int r;

	r = ckpt_fields_get(object, info_fields, CKPT_N_FIELDS(info_fields), ret);
	if (r == 0)
		ret->full = json_object_object_get_ex(object, "ppid", NULL);
	if (r == 0 && ret->full)
		r = ckpt_fields_get(object, info_ours, CKPT_N_FIELDS(info_ours), ret);
	if (r == 0 && ret->full && ret_threads)
		r = ckpt_field_each(object, "threads", CKPT_THREADS_MAX, thread_take, ret_threads);
	if (r < 0) {
		ckpt_info_done(ret);
		if (ret_threads)
			ckpt_threads_done(ret_threads);
		return r;
	}
	return 0;
}

/**
 * ckpt_thread_to_json() - a row of info.json's threads
 *
 * Return: 0; -ENOMEM.
 */
int ckpt_thread_to_json(const struct ckpt_thread *thread, struct json_object **ret)
{
	return ckpt_fields_make(thread_fields, CKPT_N_FIELDS(thread_fields), thread, ret);
}

/**
 * ckpt_thread_from_json() - a row of info.json's threads
 * @ret: zeroed before; ckpt_thread_done() frees
 *
 * Return: 0; -EBADMSG; -ENOMEM.
 */
int ckpt_thread_from_json(struct json_object *object, struct ckpt_thread *ret)
{
	int r;

	r = ckpt_fields_get(object, thread_fields, CKPT_N_FIELDS(thread_fields), ret);
	if (r < 0)
		ckpt_thread_done(ret);
	return r;
}
