/* SPDX-License-Identifier: Apache-2.0 */
#include "format/convert.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "format/cleanup.h"
#include "format/fields.h"
#include "format/json.h"

static int put_perms(struct json_object *object, const struct ckpt_field *field, const void *member)
{
	return ckpt_json_add_str(object, field->key, member);
}

static int get_perms(struct json_object *object, const struct ckpt_field *field, void *member)
{
	static const char *const letters[] = { "r-", "w-", "x-", "ps" };
	cleanup_free char *s = NULL;
	int r;

	r = ckpt_json_get_str(object, field->key, &s);
	if (r <= 0)
		return r;
	if (strlen(s) != CKPT_N_FIELDS(letters))
		return -EBADMSG;
	for (size_t i = 0; i < CKPT_N_FIELDS(letters); i++)
		if (!strchr(letters[i], s[i]))
			return -EBADMSG;

	memcpy(member, s, CKPT_N_FIELDS(letters) + 1);
	return 1;
}

static int put_mode(struct json_object *object, const struct ckpt_field *field, const void *member)
{
	const char *name = ckpt_mode_name(*(const enum ckpt_mode *)member);

	return name ? ckpt_json_add_str(object, field->key, name) : -EINVAL;
}

static int get_mode(struct json_object *object, const struct ckpt_field *field, void *member)
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

static int put_created(struct json_object *object, const struct ckpt_field *field, const void *base)
{
	char text[CREATED_SIZE];
	int r;

	r = created_print(base, text);
	return r < 0 ? r : ckpt_json_add_str(object, field->key, text);
}

static int get_created(struct json_object *object, const struct ckpt_field *field, void *base)
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

static int put_omitted(struct json_object *object, const struct ckpt_field *field,
		       const void *member)
{
	const struct ckpt_omitteds *omitted = member;
	struct json_object *array;
	int r;

	r = ckpt_array_make(omitted->items, omitted->n, sizeof(omitted->items[0]), omitted_new,
			    &array);
	return r < 0 ? r : ckpt_field_add(object, field, array);
}

static int omitted_take(struct json_object *item, void *userdata)
{
	return ckpt_omitted_from_json(item, userdata);
}

static int get_omitted(struct json_object *object, const struct ckpt_field *field, void *member)
{
	return ckpt_field_each(object, field->key, CKPT_OMITTED_MAX, omitted_take, member);
}

/* clang-format off */
static const struct ckpt_field_kind k_perms = { put_perms, get_perms };
static const struct ckpt_field_kind k_mode = { put_mode, get_mode };
static const struct ckpt_field_kind k_created = { put_created, get_created };
static const struct ckpt_field_kind k_omitted = { put_omitted, get_omitted };

static const struct ckpt_field meta_fields[] = {
	{ "name",         &ckpt_field_str, offsetof(struct ckpt_meta, name), CKPT_REQUIRED },
	{ "cow_snapshot", &ckpt_field_str, offsetof(struct ckpt_meta, cow_snapshot) },
};

static const struct ckpt_field meta_version[] = {
	{ "version", &ckpt_field_u32, offsetof(struct ckpt_meta, version) },
};

static const struct ckpt_field meta_ours[] = {
	{ "sandckpt",    &ckpt_field_str, offsetof(struct ckpt_meta, sandckpt), CKPT_REQUIRED },
	{ "created",     &k_created,      0, CKPT_REQUIRED },
	{ "owner_uid",   &ckpt_field_u32, offsetof(struct ckpt_meta, owner_uid), CKPT_REQUIRED },
	{ "mode",        &k_mode,         offsetof(struct ckpt_meta, mode), CKPT_REQUIRED },
	{ "mode_reason", &ckpt_field_str, offsetof(struct ckpt_meta, mode_reason) },
	{ "pause_us",    &ckpt_field_u64, offsetof(struct ckpt_meta, pause_us) },
	{ "bytes",       &ckpt_field_u64, offsetof(struct ckpt_meta, bytes) },
	{ "omitted",     &k_omitted,      offsetof(struct ckpt_meta, omitted) },
};

static const struct ckpt_field region_fields[] = {
	{ "start",    &ckpt_field_u64,  offsetof(struct ckpt_region, start), CKPT_REQUIRED },
	{ "end",      &ckpt_field_u64,  offsetof(struct ckpt_region, end), CKPT_REQUIRED },
	{ "perms",    &k_perms,         offsetof(struct ckpt_region, perms), CKPT_REQUIRED },
	{ "offset",   &ckpt_field_u64,  offsetof(struct ckpt_region, offset), CKPT_REQUIRED },
	{ "path",     &ckpt_field_str,  offsetof(struct ckpt_region, path) },
	{ "dontdump", &ckpt_field_bool, offsetof(struct ckpt_region, dontdump), CKPT_OPTIONAL },
};

static const struct ckpt_field omitted_fields[] = {
	{ "what",  &ckpt_field_str, offsetof(struct ckpt_omitted, what), CKPT_REQUIRED },
	{ "call",  &ckpt_field_str, offsetof(struct ckpt_omitted, call), CKPT_REQUIRED },
	{ "errno", &ckpt_field_str, offsetof(struct ckpt_omitted, err), CKPT_REQUIRED },
};
/* clang-format on */

/**
 * ckpt_omitted_to_json() - a row of meta.json's omitted
 *
 * Return: 0; -ENOMEM.
 */
int ckpt_omitted_to_json(const struct ckpt_omitted *omitted, struct json_object **ret)
{
	return ckpt_fields_make(omitted_fields, CKPT_N_FIELDS(omitted_fields), omitted, ret);
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

	r = ckpt_fields_get(object, omitted_fields, CKPT_N_FIELDS(omitted_fields), &row);
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

	r = ckpt_fields_make(meta_fields, CKPT_N_FIELDS(meta_fields), meta, &object);
	if (r == 0 && meta->version)
		r = ckpt_fields_put(object, meta_version, CKPT_N_FIELDS(meta_version), meta);
	if (r == 0 && meta->ours)
		r = ckpt_fields_put(object, meta_ours, CKPT_N_FIELDS(meta_ours), meta);
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

	r = ckpt_fields_get(object, meta_fields, CKPT_N_FIELDS(meta_fields), ret);
	if (r == 0)
		r = ckpt_fields_get(object, meta_version, CKPT_N_FIELDS(meta_version), ret);
	if (r == 0)
		ret->ours = json_object_object_get_ex(object, "sandckpt", NULL);
	if (r == 0 && ret->ours)
		r = ckpt_fields_get(object, meta_ours, CKPT_N_FIELDS(meta_ours), ret);
	if (r < 0)
		ckpt_meta_done(ret);
	return r;
}

static int region_new(const void *item, struct json_object **ret)
{
	return ckpt_fields_make(region_fields, CKPT_N_FIELDS(region_fields), item, ret);
}

/**
 * ckpt_regions_to_json() - process/memory_map.json
 *
 * Return: 0; -ENOMEM.
 */
int ckpt_regions_to_json(const struct ckpt_regions *regions, struct json_object **ret)
{
	return ckpt_array_make(regions->items, regions->n, sizeof(regions->items[0]), region_new,
			       ret);
}

static int region_take(struct json_object *item, void *userdata)
{
	struct ckpt_region region = {};
	int r;

	r = ckpt_fields_get(item, region_fields, CKPT_N_FIELDS(region_fields), &region);
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

	r = ckpt_array_each(array, CKPT_REGIONS_MAX, region_take, ret);
	if (r == 0)
		r = ckpt_regions_check(ret);
	if (r < 0)
		ckpt_regions_done(ret);
	return r;
}
