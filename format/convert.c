/* SPDX-License-Identifier: Apache-2.0 */
#include "format/convert.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "format/cleanup.h"
#include "format/json.h"

/*
 * A struct's keys are rows of one table, in the order they are printed; a kind knows how a
 * member is put under its key and got from there. Keys we don't know are passed over.
 */

#define FIELD_REQUIRED 1U /* -EBADMSG where it is absent or null; printed "" where it is NULL */
#define FIELD_OPTIONAL 2U /* not printed where it is NULL or false; else NULL is null */

struct field;

struct field_kind {
	int (*put)(struct json_object *object, const struct field *field, const void *member);
	/* 1 got it, 0 absent or null: the member stays zero. */
	int (*get)(struct json_object *object, const struct field *field, void *member);
};

struct field {
	const char *key;
	const struct field_kind *kind;
	size_t offset;
	unsigned flags;
};

#define N_FIELDS(table) (sizeof(table) / sizeof((table)[0]))

static int fields_put(struct json_object *object, const struct field *fields, size_t n,
		      const void *base)
{
	for (size_t i = 0; i < n; i++) {
		const void *member = (const char *)base + fields[i].offset;
		int r = fields[i].kind->put(object, &fields[i], member);

		if (r < 0)
			return r;
	}
	return 0;
}

static int fields_get(struct json_object *object, const struct field *fields, size_t n, void *base)
{
	for (size_t i = 0; i < n; i++) {
		void *member = (char *)base + fields[i].offset;
		int r = fields[i].kind->get(object, &fields[i], member);

		if (r < 0)
			return r;
		if (r == 0 && (fields[i].flags & FIELD_REQUIRED))
			return -EBADMSG;
	}
	return 0;
}

/* Adds @value under @field's key; takes it, on failure too. */
static int field_add(struct json_object *object, const struct field *field,
		     struct json_object *value)
{
	return ckpt_json_add(object, field->key, value);
}

/* Adds to an array; takes @value, on failure too. */
static int array_add(struct json_object *array, struct json_object *value)
{
	if (!value)
		return -ENOMEM;
	if (json_object_array_add(array, value) < 0) {
		json_object_put(value);
		return -ENOMEM;
	}
	return 0;
}

/* An array of what @make gives for each of @n items. */
static int array_make(const void *items, size_t n, size_t item_size,
		      int (*make)(const void *item, struct json_object **ret),
		      struct json_object **ret)
{
	cleanup_json struct json_object *array = json_object_new_array();

	if (!array)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct json_object *value;
		int r = make((const char *)items + i * item_size, &value);

		if (r < 0)
			return r;
		r = array_add(array, value);
		if (r < 0)
			return r;
	}

	*ret = steal_pointer(array);
	return 0;
}

/* Calls @take with each item of an array that has @max of them at most. */
static int array_each(struct json_object *array, size_t max,
		      int (*take)(struct json_object *item, void *userdata), void *userdata)
{
	size_t n;

	if (!json_object_is_type(array, json_type_array))
		return -EBADMSG;
	n = json_object_array_length(array);
	if (n > max)
		return -E2BIG;

	for (size_t i = 0; i < n; i++) {
		int r = take(json_object_array_get_idx(array, i), userdata);

		if (r < 0)
			return r;
	}
	return 0;
}

/* The same of the array under a key; 1 when it is there. */
static int field_each(struct json_object *object, const char *key, size_t max,
		      int (*take)(struct json_object *item, void *userdata), void *userdata)
{
	struct json_object *array;
	int r;

	r = ckpt_json_get(object, key, json_type_array, &array);
	if (r <= 0)
		return r;
	r = array_each(array, max, take, userdata);
	return r < 0 ? r : 1;
}

static int put_str(struct json_object *object, const struct field *field, const void *member)
{
	const char *s = *(char *const *)member;

	if (!s && (field->flags & FIELD_OPTIONAL))
		return 0;
	if (!s && (field->flags & FIELD_REQUIRED))
		s = "";
	return ckpt_json_add_str(object, field->key, s);
}

static int get_str(struct json_object *object, const struct field *field, void *member)
{
	return ckpt_json_get_str(object, field->key, member);
}

static int put_i32(struct json_object *object, const struct field *field, const void *member)
{
	return ckpt_json_add_i64(object, field->key, *(const int32_t *)member);
}

/* None of ours is ever negative. */
static int get_i32(struct json_object *object, const struct field *field, void *member)
{
	int64_t value;
	int r;

	r = ckpt_json_get_i64(object, field->key, 0, INT32_MAX, &value);
	if (r > 0)
		*(int32_t *)member = (int32_t)value;
	return r;
}

static int put_u32(struct json_object *object, const struct field *field, const void *member)
{
	return ckpt_json_add_u64(object, field->key, *(const uint32_t *)member);
}

static int get_u32(struct json_object *object, const struct field *field, void *member)
{
	uint64_t value;
	int r;

	r = ckpt_json_get_u64(object, field->key, UINT32_MAX, &value);
	if (r > 0)
		*(uint32_t *)member = (uint32_t)value;
	return r;
}

static int put_u64(struct json_object *object, const struct field *field, const void *member)
{
	return ckpt_json_add_u64(object, field->key, *(const uint64_t *)member);
}

static int get_u64(struct json_object *object, const struct field *field, void *member)
{
	return ckpt_json_get_u64(object, field->key, UINT64_MAX, member);
}

static int put_bool(struct json_object *object, const struct field *field, const void *member)
{
	bool value = *(const bool *)member;

	if (!value && (field->flags & FIELD_OPTIONAL))
		return 0;
	return ckpt_json_add_bool(object, field->key, value);
}

static int get_bool(struct json_object *object, const struct field *field, void *member)
{
	return ckpt_json_get_bool(object, field->key, member);
}

#define HEX64_DIGITS 16

static struct json_object *hex64_new(uint64_t value)
{
	char text[HEX64_DIGITS + 1];

	snprintf(text, sizeof(text), "%016" PRIx64, value);
	return json_object_new_string(text);
}

static int hex64_get(struct json_object *value, uint64_t *ret)
{
	const char *s;
	size_t len;

	if (!json_object_is_type(value, json_type_string))
		return -EBADMSG;
	s = json_object_get_string(value);
	len = (size_t)json_object_get_string_len(value);
	if (len != HEX64_DIGITS || strspn(s, "0123456789abcdef") != len)
		return -EBADMSG;

	*ret = strtoull(s, NULL, 16);
	return 0;
}

static int put_hex64(struct json_object *object, const struct field *field, const void *member)
{
	return field_add(object, field, hex64_new(*(const uint64_t *)member));
}

static int get_hex64(struct json_object *object, const struct field *field, void *member)
{
	struct json_object *value;
	int r;

	r = ckpt_json_get(object, field->key, json_type_string, &value);
	if (r <= 0)
		return r;
	r = hex64_get(value, member);
	return r < 0 ? r : 1;
}

static int put_perms(struct json_object *object, const struct field *field, const void *member)
{
	return ckpt_json_add_str(object, field->key, member);
}

static int get_perms(struct json_object *object, const struct field *field, void *member)
{
	static const char *const letters[] = { "r-", "w-", "x-", "ps" };
	cleanup_free char *s = NULL;
	int r;

	r = ckpt_json_get_str(object, field->key, &s);
	if (r <= 0)
		return r;
	if (strlen(s) != N_FIELDS(letters))
		return -EBADMSG;
	for (size_t i = 0; i < N_FIELDS(letters); i++)
		if (!strchr(letters[i], s[i]))
			return -EBADMSG;

	memcpy(member, s, N_FIELDS(letters) + 1);
	return 1;
}

static int put_state(struct json_object *object, const struct field *field, const void *member)
{
	char text[2] = { *(const char *)member };

	return ckpt_json_add_str(object, field->key, text[0] ? text : NULL);
}

static int get_state(struct json_object *object, const struct field *field, void *member)
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

static int put_ids(struct json_object *object, const struct field *field, const void *member)
{
	struct json_object *array;
	int r;

	r = array_make(member, N_IDS, sizeof(uint32_t), u32_new, &array);
	return r < 0 ? r : field_add(object, field, array);
}

static int get_ids(struct json_object *object, const struct field *field, void *member)
{
	struct u32_list list = { .items = member };
	int r;

	r = field_each(object, field->key, N_IDS, u32_take, &list);
	return r > 0 && list.n != N_IDS ? -EBADMSG : r;
}

static int put_groups(struct json_object *object, const struct field *field, const void *base)
{
	const struct ckpt_info *info = base;
	struct json_object *array;
	int r;

	r = array_make(info->groups, info->n_groups, sizeof(uint32_t), u32_new, &array);
	return r < 0 ? r : field_add(object, field, array);
}

static int get_groups(struct json_object *object, const struct field *field, void *base)
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
	r = array_each(array, n, u32_take, &list);
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
static int put_cmdline(struct json_object *object, const struct field *field, const void *member)
{
	const struct ckpt_strings *strings = member;
	struct json_object *array;
	bool exact = true;
	int r;

	r = array_make(strings->items, strings->n, sizeof(char *), str_new, &array);
	if (r < 0)
		return r;
	for (size_t i = 0; i < strings->n && exact; i++)
		exact = strcmp(strings->items[i],
			       json_object_get_string(json_object_array_get_idx(array, i))) == 0;
	r = field_add(object, field, array);
	if (r < 0 || exact)
		return r;

	r = array_make(strings->items, strings->n, sizeof(char *), hex_new, &array);
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

static int get_cmdline(struct json_object *object, const struct field *field, void *member)
{
	int r;

	r = field_each(object, CMDLINE_TWIN, CKPT_STRINGS_MAX, hex_take, member);
	if (r != 0)
		return r;
	return field_each(object, field->key, CKPT_STRINGS_MAX, str_take, member);
}

static int named_put(struct json_object *object, const struct field *field,
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
	return field_add(object, field, steal_pointer(map));
}

static int named_get(struct json_object *object, const struct field *field,
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

static int put_caps(struct json_object *object, const struct field *field, const void *member)
{
	return named_put(object, field, member, hex64_new);
}

static int get_caps(struct json_object *object, const struct field *field, void *member)
{
	return named_get(object, field, member, hex64_get);
}

static int u64_get(struct json_object *value, uint64_t *ret)
{
	return ckpt_json_to_u64(value, UINT64_MAX, ret);
}

static int put_named(struct json_object *object, const struct field *field, const void *member)
{
	return named_put(object, field, member, json_object_new_uint64);
}

static int get_named(struct json_object *object, const struct field *field, void *member)
{
	return named_get(object, field, member, u64_get);
}

static int rlimit_add(struct json_object *object, const char *key, uint64_t value)
{
	return value == UINT64_MAX ? ckpt_json_add_str(object, key, NULL)
				   : ckpt_json_add_u64(object, key, value);
}

static int put_rlimits(struct json_object *object, const struct field *field, const void *member)
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
	return field_add(object, field, steal_pointer(map));
}

static int get_rlimits(struct json_object *object, const struct field *field, void *member)
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

/*
 * A key that the kernel shows in several lines (an epoll's tfd, an inotify's wd) is one string
 * with a newline between them: an object has room for one.
 */
static int fdinfo_join(const char *before, const struct ckpt_fdinfo *lines, size_t n, char **ret)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f;

	f = open_memstream(&text, &len);
	if (!f)
		return -ENOMEM;
	if (before)
		fprintf(f, "%s\n", before);
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%s%s", i > 0 ? "\n" : "", lines[i].value);
	if (fclose(f) != 0) {
		free(text);
		return -ENOMEM;
	}

	*ret = text;
	return 0;
}

static int put_fdinfo(struct json_object *object, const struct field *field, const void *base)
{
	const struct ckpt_fd *fd = base;
	cleanup_json struct json_object *map = json_object_new_object();
	size_t run;

	if (!map)
		return -ENOMEM;
	for (size_t i = 0; i < fd->n_fdinfo; i += run) {
		const struct ckpt_fdinfo *lines = &fd->fdinfo[i];
		cleanup_free char *before = NULL;
		cleanup_free char *text = NULL;
		int r;

		run = 1;
		while (i + run < fd->n_fdinfo && strcmp(lines[run].key, lines[0].key) == 0)
			run++;
		r = ckpt_json_get_str(map, lines[0].key, &before);
		if (r < 0)
			return r;
		r = fdinfo_join(before, lines, run, &text);
		if (r < 0)
			return r;
		r = ckpt_json_add_str(map, lines[0].key, text);
		if (r < 0)
			return r;
	}
	return field_add(object, field, steal_pointer(map));
}

static int get_fdinfo(struct json_object *object, const struct field *field, void *base)
{
	struct json_object *map;
	int r;

	r = ckpt_json_get(object, field->key, json_type_object, &map);
	if (r <= 0)
		return r;

	json_object_object_foreach (map, key, value) {
		cleanup_free char *text = NULL;
		char *rest, *line;

		(void)value;
		if (ckpt_json_is_twin(map, key))
			continue;
		r = ckpt_json_get_str(map, key, &text);
		if (r <= 0)
			return r < 0 ? r : -EBADMSG;
		for (rest = text; (line = strsep(&rest, "\n"));) {
			r = ckpt_fd_add_fdinfo(base, key, line);
			if (r < 0)
				return r;
		}
	}
	return 1;
}

static int put_mode(struct json_object *object, const struct field *field, const void *member)
{
	const char *name = ckpt_mode_name(*(const enum ckpt_mode *)member);

	return name ? ckpt_json_add_str(object, field->key, name) : -EINVAL;
}

static int get_mode(struct json_object *object, const struct field *field, void *member)
{
	cleanup_free char *name = NULL;
	enum ckpt_mode mode;
	int r;

	r = ckpt_json_get_str(object, field->key, &name);
	if (r <= 0)
		return r;
	mode = ckpt_mode_parse(name);
	if (mode < 0)
		return -EBADMSG;
	*(enum ckpt_mode *)member = mode;
	return 1;
}

#define CREATED_SIZE 64
#define NSEC_PER_SEC 1000000000U

/* RFC 3339, UTC, nanoseconds; the years it has room for. */
static int created_print(const struct ckpt_meta *meta, char ret[CREATED_SIZE])
{
	time_t when = meta->created_sec;
	struct tm tm;

	if (!gmtime_r(&when, &tm) || tm.tm_year < 1 - 1900 || tm.tm_year > 9999 - 1900 ||
	    meta->created_nsec >= NSEC_PER_SEC)
		return -EINVAL;
	snprintf(ret, CREATED_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%09" PRIu32 "Z",
		 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		 meta->created_nsec);
	return 0;
}

/* What is printed again as it came is what we print: no other form passes. */
static int created_parse(const char *text, struct ckpt_meta *meta)
{
	char again[CREATED_SIZE];
	struct tm tm = {};

	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%9" SCNu32 "Z", &tm.tm_year, &tm.tm_mon,
		   &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &meta->created_nsec) != 7)
		return -EBADMSG;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	meta->created_sec = timegm(&tm);
	if (created_print(meta, again) < 0 || strcmp(again, text) != 0)
		return -EBADMSG;
	return 0;
}

static int put_created(struct json_object *object, const struct field *field, const void *base)
{
	char text[CREATED_SIZE];
	int r;

	r = created_print(base, text);
	return r < 0 ? r : ckpt_json_add_str(object, field->key, text);
}

static int get_created(struct json_object *object, const struct field *field, void *base)
{
	cleanup_free char *text = NULL;
	int r;

	r = ckpt_json_get_str(object, field->key, &text);
	if (r <= 0)
		return r;
	r = created_parse(text, base);
	return r < 0 ? r : 1;
}

static int omitted_new(const void *item, struct json_object **ret)
{
	return ckpt_omitted_to_json(item, ret);
}

static int put_omitted(struct json_object *object, const struct field *field, const void *member)
{
	const struct ckpt_omitteds *omitted = member;
	struct json_object *array;
	int r;

	r = array_make(omitted->items, omitted->n, sizeof(omitted->items[0]), omitted_new, &array);
	return r < 0 ? r : field_add(object, field, array);
}

static int omitted_take(struct json_object *item, void *userdata)
{
	return ckpt_omitted_from_json(item, userdata);
}

static int get_omitted(struct json_object *object, const struct field *field, void *member)
{
	return field_each(object, field->key, CKPT_OMITTED_MAX, omitted_take, member);
}

/* clang-format off */
static const struct field_kind k_str = { put_str, get_str };
static const struct field_kind k_i32 = { put_i32, get_i32 };
static const struct field_kind k_u32 = { put_u32, get_u32 };
static const struct field_kind k_u64 = { put_u64, get_u64 };
static const struct field_kind k_bool = { put_bool, get_bool };
static const struct field_kind k_hex64 = { put_hex64, get_hex64 };
static const struct field_kind k_perms = { put_perms, get_perms };
static const struct field_kind k_state = { put_state, get_state };
static const struct field_kind k_ids = { put_ids, get_ids };
static const struct field_kind k_groups = { put_groups, get_groups };
static const struct field_kind k_cmdline = { put_cmdline, get_cmdline };
static const struct field_kind k_caps = { put_caps, get_caps };
static const struct field_kind k_named = { put_named, get_named };
static const struct field_kind k_rlimits = { put_rlimits, get_rlimits };
static const struct field_kind k_fdinfo = { put_fdinfo, get_fdinfo };
static const struct field_kind k_mode = { put_mode, get_mode };
static const struct field_kind k_created = { put_created, get_created };
static const struct field_kind k_omitted = { put_omitted, get_omitted };

static const struct field meta_fields[] = {
	{ "name",         &k_str, offsetof(struct ckpt_meta, name), FIELD_REQUIRED },
	{ "cow_snapshot", &k_str, offsetof(struct ckpt_meta, cow_snapshot) },
};

static const struct field meta_version[] = {
	{ "version", &k_u32, offsetof(struct ckpt_meta, version) },
};

static const struct field meta_ours[] = {
	{ "sandckpt",    &k_str,     offsetof(struct ckpt_meta, sandckpt), FIELD_REQUIRED },
	{ "created",     &k_created, 0, FIELD_REQUIRED },
	{ "owner_uid",   &k_u32,     offsetof(struct ckpt_meta, owner_uid), FIELD_REQUIRED },
	{ "mode",        &k_mode,    offsetof(struct ckpt_meta, mode), FIELD_REQUIRED },
	{ "mode_reason", &k_str,     offsetof(struct ckpt_meta, mode_reason) },
	{ "pause_us",    &k_u64,     offsetof(struct ckpt_meta, pause_us) },
	{ "bytes",       &k_u64,     offsetof(struct ckpt_meta, bytes) },
	{ "omitted",     &k_omitted, offsetof(struct ckpt_meta, omitted) },
};

static const struct field info_fields[] = {
	{ "pid", &k_i32, offsetof(struct ckpt_info, pid), FIELD_REQUIRED },
	{ "cwd", &k_str, offsetof(struct ckpt_info, cwd), FIELD_REQUIRED },
	{ "exe", &k_str, offsetof(struct ckpt_info, exe), FIELD_REQUIRED },
};

static const struct field info_ours[] = {
	{ "ppid",             &k_i32,     offsetof(struct ckpt_info, ppid), FIELD_REQUIRED },
	{ "comm",             &k_str,     offsetof(struct ckpt_info, comm) },
	{ "cmdline",          &k_cmdline, offsetof(struct ckpt_info, cmdline) },
	{ "uids",             &k_ids,     offsetof(struct ckpt_info, uids) },
	{ "gids",             &k_ids,     offsetof(struct ckpt_info, gids) },
	{ "groups",           &k_groups,  0 },
	{ "capabilities",     &k_caps,    offsetof(struct ckpt_info, caps) },
	{ "seccomp",          &k_i32,     offsetof(struct ckpt_info, seccomp) },
	{ "namespaces",       &k_named,   offsetof(struct ckpt_info, namespaces) },
	{ "start_time_ticks", &k_u64,     offsetof(struct ckpt_info, start_time_ticks) },
	{ "rlimits",          &k_rlimits, offsetof(struct ckpt_info, rlimits) },
	{ "personality",      &k_u32,     offsetof(struct ckpt_info, personality) },
	{ "root",             &k_str,     offsetof(struct ckpt_info, root) },
};

static const struct field thread_fields[] = {
	{ "tid",     &k_i32,   offsetof(struct ckpt_thread, tid), FIELD_REQUIRED },
	{ "comm",    &k_str,   offsetof(struct ckpt_thread, comm) },
	{ "state",   &k_state, offsetof(struct ckpt_thread, state) },
	{ "sigmask", &k_hex64, offsetof(struct ckpt_thread, sigmask) },
	{ "pending", &k_hex64, offsetof(struct ckpt_thread, pending) },
	{ "syscall", &k_str,   offsetof(struct ckpt_thread, syscall) },
};

static const struct field fd_fields[] = {
	{ "fd",     &k_i32, offsetof(struct ckpt_fd, fd), FIELD_REQUIRED },
	{ "path",   &k_str, offsetof(struct ckpt_fd, path), FIELD_REQUIRED },
	{ "flags",  &k_i32, offsetof(struct ckpt_fd, flags), FIELD_REQUIRED },
	{ "offset", &k_u64, offsetof(struct ckpt_fd, offset), FIELD_REQUIRED },
};

static const struct field fd_ours[] = {
	{ "type",       &k_str,    offsetof(struct ckpt_fd, type), FIELD_REQUIRED },
	{ "inode",      &k_u64,    offsetof(struct ckpt_fd, inode) },
	{ "mode",       &k_u32,    offsetof(struct ckpt_fd, mode) },
	{ "deleted",    &k_bool,   offsetof(struct ckpt_fd, deleted) },
	{ "fdinfo",     &k_fdinfo, 0 },
	{ "family",     &k_str,    offsetof(struct ckpt_fd, family), FIELD_OPTIONAL },
	{ "sock_type",  &k_str,    offsetof(struct ckpt_fd, sock_type), FIELD_OPTIONAL },
	{ "sock_state", &k_str,    offsetof(struct ckpt_fd, sock_state), FIELD_OPTIONAL },
	{ "local",      &k_str,    offsetof(struct ckpt_fd, local), FIELD_OPTIONAL },
	{ "peer",       &k_str,    offsetof(struct ckpt_fd, peer), FIELD_OPTIONAL },
	{ "unix_path",  &k_str,    offsetof(struct ckpt_fd, unix_path), FIELD_OPTIONAL },
};

static const struct field region_fields[] = {
	{ "start",    &k_u64,   offsetof(struct ckpt_region, start), FIELD_REQUIRED },
	{ "end",      &k_u64,   offsetof(struct ckpt_region, end), FIELD_REQUIRED },
	{ "perms",    &k_perms, offsetof(struct ckpt_region, perms), FIELD_REQUIRED },
	{ "offset",   &k_u64,   offsetof(struct ckpt_region, offset), FIELD_REQUIRED },
	{ "path",     &k_str,   offsetof(struct ckpt_region, path) },
	{ "dontdump", &k_bool,  offsetof(struct ckpt_region, dontdump), FIELD_OPTIONAL },
};

static const struct field omitted_fields[] = {
	{ "what",  &k_str, offsetof(struct ckpt_omitted, what), FIELD_REQUIRED },
	{ "call",  &k_str, offsetof(struct ckpt_omitted, call), FIELD_REQUIRED },
	{ "errno", &k_str, offsetof(struct ckpt_omitted, err), FIELD_REQUIRED },
};
/* clang-format on */

/* An object of one table. */
static int object_make(const struct field *fields, size_t n, const void *base,
		       struct json_object **ret)
{
	cleanup_json struct json_object *object = json_object_new_object();
	int r;

	if (!object)
		return -ENOMEM;
	r = fields_put(object, fields, n, base);
	if (r < 0)
		return r;

	*ret = steal_pointer(object);
	return 0;
}

/**
 * ckpt_omitted_to_json() - a row of meta.json's omitted
 *
 * Return: 0; -ENOMEM.
 */
int ckpt_omitted_to_json(const struct ckpt_omitted *omitted, struct json_object **ret)
{
	return object_make(omitted_fields, N_FIELDS(omitted_fields), omitted, ret);
}

/**
 * ckpt_omitted_from_json() - append a row of meta.json's omitted to a list
 *
 * Return: 0; -EBADMSG; -E2BIG above CKPT_OMITTED_MAX; -ENOMEM.
 */
int ckpt_omitted_from_json(struct json_object *object, struct ckpt_omitteds *omitted)
{
	struct ckpt_omitted row = {};
	int r;

	r = fields_get(object, omitted_fields, N_FIELDS(omitted_fields), &row);
	if (r == 0)
		r = ckpt_omitteds_add_row(omitted, &row);

	free(row.what);
	free(row.call);
	free(row.err);
	return r;
}

/**
 * ckpt_meta_to_json() - meta.json
 * @meta: ours are printed only where .ours is set
 *
 * Return: 0; -EINVAL for a mode or a time that cannot be written; -ENOMEM.
 */
int ckpt_meta_to_json(const struct ckpt_meta *meta, struct json_object **ret)
{
	cleanup_json struct json_object *object = NULL;
	int r;

	r = object_make(meta_fields, N_FIELDS(meta_fields), meta, &object);
	if (r == 0 && meta->version)
		r = fields_put(object, meta_version, N_FIELDS(meta_version), meta);
	if (r == 0 && meta->ours)
		r = fields_put(object, meta_ours, N_FIELDS(meta_ours), meta);
	if (r < 0)
		return r;

	*ret = steal_pointer(object);
	return 0;
}

/**
 * ckpt_meta_from_json() - meta.json; it is ours where it has the key sandckpt
 * @ret: zeroed before; ckpt_meta_done() frees
 *
 * Return: 0; -EBADMSG; -E2BIG; -ENOMEM.
 */
int ckpt_meta_from_json(struct json_object *object, struct ckpt_meta *ret)
{
	int r;

	r = fields_get(object, meta_fields, N_FIELDS(meta_fields), ret);
	if (r == 0)
		r = fields_get(object, meta_version, N_FIELDS(meta_version), ret);
	if (r == 0)
		ret->ours = json_object_object_get_ex(object, "sandckpt", NULL);
	if (r == 0 && ret->ours)
		r = fields_get(object, meta_ours, N_FIELDS(meta_ours), ret);
	if (r < 0)
		ckpt_meta_done(ret);
	return r;
}

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

	r = object_make(info_fields, N_FIELDS(info_fields), info, &object);
	if (r < 0)
		return r;

	if (info->full) {
		threads = threads ? threads : &none;
		r = fields_put(object, info_ours, N_FIELDS(info_ours), info);
		if (r < 0)
			return r;
		r = array_make(threads->items, threads->n, sizeof(threads->items[0]), thread_new,
			       &array);
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

	r = fields_get(object, info_fields, N_FIELDS(info_fields), ret);
	if (r == 0)
		ret->full = json_object_object_get_ex(object, "ppid", NULL);
	if (r == 0 && ret->full)
		r = fields_get(object, info_ours, N_FIELDS(info_ours), ret);
	if (r == 0 && ret->full && ret_threads)
		r = field_each(object, "threads", CKPT_THREADS_MAX, thread_take, ret_threads);
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
	return object_make(thread_fields, N_FIELDS(thread_fields), thread, ret);
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

	r = fields_get(object, thread_fields, N_FIELDS(thread_fields), ret);
	if (r < 0)
		ckpt_thread_done(ret);
	return r;
}

/**
 * ckpt_fd_to_json() - an entry of process/fds.json
 * @fd: ours are printed only where .type is set
 *
 * Return: 0; -ENOMEM.
 */
int ckpt_fd_to_json(const struct ckpt_fd *fd, struct json_object **ret)
{
	cleanup_json struct json_object *object = NULL;
	int r;

	r = object_make(fd_fields, N_FIELDS(fd_fields), fd, &object);
	if (r == 0 && fd->type)
		r = fields_put(object, fd_ours, N_FIELDS(fd_ours), fd);
	if (r < 0)
		return r;

	*ret = steal_pointer(object);
	return 0;
}

/**
 * ckpt_fd_from_json() - an entry of process/fds.json; it is ours where it has the key type
 * @ret: zeroed before; ckpt_fd_done() frees
 *
 * Return: 0; -EBADMSG; -E2BIG; -ENOMEM.
 */
int ckpt_fd_from_json(struct json_object *object, struct ckpt_fd *ret)
{
	int r;

	r = fields_get(object, fd_fields, N_FIELDS(fd_fields), ret);
	if (r == 0 && json_object_object_get_ex(object, "type", NULL))
		r = fields_get(object, fd_ours, N_FIELDS(fd_ours), ret);
	if (r < 0)
		ckpt_fd_done(ret);
	return r;
}

static int fd_new(const void *item, struct json_object **ret)
{
	return ckpt_fd_to_json(item, ret);
}

/**
 * ckpt_fds_to_json() - process/fds.json
 *
 * Return: 0; -ENOMEM.
 */
int ckpt_fds_to_json(const struct ckpt_fds *fds, struct json_object **ret)
{
	return array_make(fds->items, fds->n, sizeof(fds->items[0]), fd_new, ret);
}

static int fd_take(struct json_object *item, void *userdata)
{
	struct ckpt_fds *fds = userdata;
	struct ckpt_fd fd = {};
	int r;

	r = ckpt_fd_from_json(item, &fd);
	if (r < 0)
		return r;
	if (fds->n > 0 && fds->items[fds->n - 1].fd >= fd.fd)
		r = -EBADMSG;
	else
		r = ckpt_fds_add(fds, &fd);
	ckpt_fd_done(&fd);
	return r;
}

/**
 * ckpt_fds_from_json() - process/fds.json
 * @ret: zeroed before; ckpt_fds_done() frees
 *
 * Return: 0; -EBADMSG, also when the numbers do not ascend; -E2BIG; -ENOMEM.
 */
int ckpt_fds_from_json(struct json_object *array, struct ckpt_fds *ret)
{
	int r;

	r = array_each(array, CKPT_FDS_MAX, fd_take, ret);
	if (r < 0)
		ckpt_fds_done(ret);
	return r;
}

static int region_new(const void *item, struct json_object **ret)
{
	return object_make(region_fields, N_FIELDS(region_fields), item, ret);
}

/**
 * ckpt_regions_to_json() - process/memory_map.json
 *
 * Return: 0; -ENOMEM.
 */
int ckpt_regions_to_json(const struct ckpt_regions *regions, struct json_object **ret)
{
	return array_make(regions->items, regions->n, sizeof(regions->items[0]), region_new, ret);
}

static int region_take(struct json_object *item, void *userdata)
{
	struct ckpt_region region = {};
	int r;

	r = fields_get(item, region_fields, N_FIELDS(region_fields), &region);
	if (r == 0)
		r = ckpt_regions_add(userdata, &region);
	ckpt_region_done(&region);
	return r;
}

/**
 * ckpt_regions_from_json() - process/memory_map.json
 * @ret: zeroed before, in order as ckpt_regions_check() has it; ckpt_regions_done() frees
 *
 * Return: 0; -EBADMSG; -E2BIG; -ENOMEM.
 */
int ckpt_regions_from_json(struct json_object *array, struct ckpt_regions *ret)
{
	int r;

	r = array_each(array, CKPT_REGIONS_MAX, region_take, ret);
	if (r == 0)
		r = ckpt_regions_check(ret);
	if (r < 0)
		ckpt_regions_done(ret);
	return r;
}
