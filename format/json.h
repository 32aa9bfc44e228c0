/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* JSON as serde_json prints it, read strictly and within bounds. Trees are json-c's. */

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void ckpt_cleanup_json_p(struct json_object **o)
{
	json_object_put(*o);
}
#define cleanup_json __attribute__((cleanup(ckpt_cleanup_json_p)))

int ckpt_json_parse(const char *text, size_t len, struct json_object **ret);
int ckpt_json_print(struct json_object *object, char **ret, size_t *ret_len);

/* Building; -ENOMEM is the only failure. add_str with NULL adds null. */
int ckpt_json_add(struct json_object *object, const char *key, struct json_object *value);
int ckpt_json_add_str(struct json_object *object, const char *key, const char *bytes);
int ckpt_json_add_u64(struct json_object *object, const char *key, uint64_t value);
int ckpt_json_add_i64(struct json_object *object, const char *key, int64_t value);
int ckpt_json_add_bool(struct json_object *object, const char *key, bool value);
struct json_object *ckpt_json_str(const char *bytes);
struct json_object *ckpt_json_hex(const char *bytes);

/* Taking: 1 found, 0 absent or null, -EBADMSG of another type or out of range. */
int ckpt_json_get(struct json_object *object, const char *key, enum json_type type,
		  struct json_object **ret);
int ckpt_json_get_str(struct json_object *object, const char *key, char **ret);
int ckpt_json_get_u64(struct json_object *object, const char *key, uint64_t max, uint64_t *ret);
int ckpt_json_get_i64(struct json_object *object, const char *key, int64_t min, int64_t max,
		      int64_t *ret);
int ckpt_json_get_bool(struct json_object *object, const char *key, bool *ret);
bool ckpt_json_is_twin(struct json_object *object, const char *key);

/* The same of a value at hand, an array's element say: 0 or -EBADMSG. */
int ckpt_json_to_str(struct json_object *value, char **ret);
int ckpt_json_to_bytes(struct json_object *value, char **ret);
int ckpt_json_to_u64(struct json_object *value, uint64_t max, uint64_t *ret);
