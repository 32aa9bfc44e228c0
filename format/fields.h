/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A struct's keys are rows of one table, in the order they are printed; a kind knows how a
 * member is put under its key and got from there. Keys we don't know are passed over. Private
 * to format/convert*.c.
 */

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>

#define CKPT_REQUIRED 1U /* -EBADMSG where it is absent or null; printed "" where it is NULL */
#define CKPT_OPTIONAL 2U /* not printed where it is NULL or false; else NULL is null */

struct ckpt_field;

struct ckpt_field_kind {
	int (*put)(struct json_object *object, const struct ckpt_field *field, const void *member);
	/* 1 got it, 0 absent or null: the member stays zero. */
	int (*get)(struct json_object *object, const struct ckpt_field *field, void *member);
};

struct ckpt_field {
	const char *key;
	const struct ckpt_field_kind *kind;
	size_t offset; /* of the member; 0 for a kind that takes several members of its struct */
	unsigned flags;
};

#define CKPT_N_FIELDS(table) (sizeof(table) / sizeof((table)[0]))

extern const struct ckpt_field_kind ckpt_field_str; /* char *, in exact bytes */
extern const struct ckpt_field_kind ckpt_field_i32; /* int32_t, never negative */
extern const struct ckpt_field_kind ckpt_field_u32;
extern const struct ckpt_field_kind ckpt_field_u64;
extern const struct ckpt_field_kind ckpt_field_bool;
extern const struct ckpt_field_kind ckpt_field_hex64; /* uint64_t as a string of 16 hex digits */

int ckpt_fields_put(struct json_object *object, const struct ckpt_field *fields, size_t n,
		    const void *base);
int ckpt_fields_get(struct json_object *object, const struct ckpt_field *fields, size_t n,
		    void *base);
int ckpt_fields_make(const struct ckpt_field *fields, size_t n, const void *base,
		     struct json_object **ret);
int ckpt_field_add(struct json_object *object, const struct ckpt_field *field,
		   struct json_object *value);

typedef int (*ckpt_item_make_t)(const void *item, struct json_object **ret);
typedef int (*ckpt_item_take_t)(struct json_object *item, void *userdata);

int ckpt_array_make(const void *items, size_t n, size_t item_size, ckpt_item_make_t make,
		    struct json_object **ret);
int ckpt_array_each(struct json_object *array, size_t max, ckpt_item_take_t take, void *userdata);
int ckpt_field_each(struct json_object *object, const char *key, size_t max, ckpt_item_take_t take,
		    void *userdata);

struct json_object *ckpt_hex64_new(uint64_t value);
int ckpt_hex64_get(struct json_object *value, uint64_t *ret);
