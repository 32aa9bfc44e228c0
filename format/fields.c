/* SPDX-License-Identifier: Apache-2.0 */
#include "format/fields.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/cleanup.h"
#include "format/json.h"

/**
 * ckpt_fields_put() - add the keys of a table
 * @base: the struct that the table's offsets are of
 *
 * Return: 0; -ENOMEM; what else a kind says of a member that cannot be written.
 */
int ckpt_fields_put(struct json_object *object, const struct ckpt_field *fields, size_t n,
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

/**
 * ckpt_fields_get() - read the keys of a table
 * @object: anything from a file
 * @base: zeroed before; on error it holds what came before it, to be released
 *
 * Return: 0; -EBADMSG; -E2BIG; -ENOMEM.
 */
int ckpt_fields_get(struct json_object *object, const struct ckpt_field *fields, size_t n,
		    void *base)
{
	for (size_t i = 0; i < n; i++) {
		void *member = (char *)base + fields[i].offset;
		int r = fields[i].kind->get(object, &fields[i], member);

		if (r < 0)
			return r;
		if (r == 0 && (fields[i].flags & CKPT_REQUIRED))
			return -EBADMSG;
	}
	return 0;
}

/* Adds @value under @field's key; takes it, on failure too. Return: 0; -ENOMEM. */
int ckpt_field_add(struct json_object *object, const struct ckpt_field *field,
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

/**
 * ckpt_fields_make() - an object of the keys of a table
 *
 * Return: 0; as ckpt_fields_put().
 */
int ckpt_fields_make(const struct ckpt_field *fields, size_t n, const void *base,
		     struct json_object **ret)
{
	cleanup_json struct json_object *object = json_object_new_object();
	int r;

	if (!object)
		return -ENOMEM;
	r = ckpt_fields_put(object, fields, n, base);
	if (r < 0)
		return r;

	*ret = steal_pointer(object);
	return 0;
}

/**
 * ckpt_array_make() - an array of what @make gives for each item
 * @items: @n of them, @item_size bytes each
 *
 * Return: 0; -ENOMEM; as @make.
 */
int ckpt_array_make(const void *items, size_t n, size_t item_size, ckpt_item_make_t make,
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

/**
 * ckpt_array_each() - call @take with each item of an array
 * @array: anything from a file
 * @max: the most items it may have
 *
 * Return: 0; -EBADMSG when it is no array; -E2BIG above @max; as @take.
 */
int ckpt_array_each(struct json_object *array, size_t max, ckpt_item_take_t take, void *userdata)
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

/**
 * ckpt_field_each() - the same of the array under a key
 *
 * Return: 1; 0 when the key is absent or null; as ckpt_array_each().
 */
int ckpt_field_each(struct json_object *object, const char *key, size_t max, ckpt_item_take_t take,
		    void *userdata)
{
	struct json_object *array;
	int r;

	r = ckpt_json_get(object, key, json_type_array, &array);
	if (r <= 0)
		return r;
	r = ckpt_array_each(array, max, take, userdata);
	return r < 0 ? r : 1;
}

static int put_str(struct json_object *object, const struct ckpt_field *field, const void *member)
{
	const char *s = *(char *const *)member;

	if (!s && (field->flags & CKPT_OPTIONAL))
		return 0;
	if (!s && (field->flags & CKPT_REQUIRED))
		s = "";
	return ckpt_json_add_str(object, field->key, s);
}

static int get_str(struct json_object *object, const struct ckpt_field *field, void *member)
{
	return ckpt_json_get_str(object, field->key, member);
}

static int put_i32(struct json_object *object, const struct ckpt_field *field, const void *member)
{
	return ckpt_json_add_i64(object, field->key, *(const int32_t *)member);
}

/* None of ours is ever negative. */
static int get_i32(struct json_object *object, const struct ckpt_field *field, void *member)
{
	int64_t value;
	int r;

	r = ckpt_json_get_i64(object, field->key, 0, INT32_MAX, &value);
	if (r > 0)
		*(int32_t *)member = (int32_t)value;
	return r;
}

static int put_u32(struct json_object *object, const struct ckpt_field *field, const void *member)
{
	return ckpt_json_add_u64(object, field->key, *(const uint32_t *)member);
}

static int get_u32(struct json_object *object, const struct ckpt_field *field, void *member)
{
	uint64_t value;
	int r;

	r = ckpt_json_get_u64(object, field->key, UINT32_MAX, &value);
	if (r > 0)
		*(uint32_t *)member = (uint32_t)value;
	return r;
}

static int put_u64(struct json_object *object, const struct ckpt_field *field, const void *member)
{
	return ckpt_json_add_u64(object, field->key, *(const uint64_t *)member);
}

static int get_u64(struct json_object *object, const struct ckpt_field *field, void *member)
{
	return ckpt_json_get_u64(object, field->key, UINT64_MAX, member);
}

static int put_bool(struct json_object *object, const struct ckpt_field *field, const void *member)
{
	bool value = *(const bool *)member;

	if (!value && (field->flags & CKPT_OPTIONAL))
		return 0;
	return ckpt_json_add_bool(object, field->key, value);
}

static int get_bool(struct json_object *object, const struct ckpt_field *field, void *member)
{
	return ckpt_json_get_bool(object, field->key, member);
}

#define HEX64_DIGITS 16

/* 16 lower-case hex digits; NULL without memory. */
struct json_object *ckpt_hex64_new(uint64_t value)
{
	char text[HEX64_DIGITS + 1];

	snprintf(text, sizeof(text), "%016" PRIx64, value);
	return json_object_new_string(text);
}

/* Return: 0; -EBADMSG when it is not what ckpt_hex64_new() makes. */
int ckpt_hex64_get(struct json_object *value, uint64_t *ret)
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

static int put_hex64(struct json_object *object, const struct ckpt_field *field, const void *member)
{
	return ckpt_field_add(object, field, ckpt_hex64_new(*(const uint64_t *)member));
}

static int get_hex64(struct json_object *object, const struct ckpt_field *field, void *member)
{
	struct json_object *value;
	int r;

	r = ckpt_json_get(object, field->key, json_type_string, &value);
	if (r <= 0)
		return r;
	r = ckpt_hex64_get(value, member);
	return r < 0 ? r : 1;
}

/* clang-format off */
const struct ckpt_field_kind ckpt_field_str = { put_str, get_str };
const struct ckpt_field_kind ckpt_field_i32 = { put_i32, get_i32 };
const struct ckpt_field_kind ckpt_field_u32 = { put_u32, get_u32 };
const struct ckpt_field_kind ckpt_field_u64 = { put_u64, get_u64 };
const struct ckpt_field_kind ckpt_field_bool = { put_bool, get_bool };
const struct ckpt_field_kind ckpt_field_hex64 = { put_hex64, get_hex64 };
/* clang-format on */
