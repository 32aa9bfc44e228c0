/* SPDX-License-Identifier: Apache-2.0 */
#include "format/json.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/checkpoint.h"
#include "format/cleanup.h"
#include "format/jsonscan.h"
#include "format/utf8.h"

#define JSON_TWIN "_hex" /* a key's twin: the exact bytes of what is not UTF-8, lower-case hex */

static size_t json_count_members(struct json_object *object)
{
	size_t n = 0;

	if (json_object_is_type(object, json_type_object)) {
		n = (size_t)json_object_object_length(object);
		json_object_object_foreach (object, key, value) {
			(void)key;
			n += json_count_members(value);
		}
	} else if (json_object_is_type(object, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(object); i++)
			n += json_count_members(json_object_array_get_idx(object, i));
	}
	return n;
}

static int json_tokenise(const char *text, size_t len, struct json_object **ret)
{
	struct json_tokener *tok;
	enum json_tokener_error error;
	cleanup_json struct json_object *object = NULL;
	size_t end;

	tok = json_tokener_new_ex(CKPT_JSON_DEPTH);
	if (!tok)
		return -ENOMEM;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);

	object = json_tokener_parse_ex(tok, text, (int)len);
	end = json_tokener_get_parse_end(tok);
	error = json_tokener_get_error(tok);
	/* A number ends only where something follows it. */
	if (error == json_tokener_continue) {
		object = json_tokener_parse_ex(tok, "", 1);
		error = json_tokener_get_error(tok);
	}
	json_tokener_free(tok);

	if (error != json_tokener_success || end != len)
		return -EBADMSG;

	*ret = steal_pointer(object);
	return 0;
}

/**
 * ckpt_json_parse() - read a JSON text, strictly
 * @ret: the tree, NULL for a lone null; the caller puts it
 *
 * Refused besides bad grammar: anything behind the value, depth above CKPT_JSON_DEPTH, integers
 * that 64 bits don't hold, a key twice in one object, a NUL in a key, broken UTF-8.
 *
 * Return: 0; -EBADMSG; -EFBIG above CKPT_JSON_MAX bytes; -E2BIG when it is made of too many
 * objects; -ENOMEM (json-c 0.16 tells only some of its own as such).
 */
int ckpt_json_parse(const char *text, size_t len, struct json_object **ret)
{
	cleanup_json struct json_object *object = NULL;
	size_t n_members;
	int r;

	if (len > CKPT_JSON_MAX)
		return -EFBIG;

	r = ckpt_json_scan(text, len, &n_members);
	if (r < 0)
		return r;
	r = json_tokenise(text, len, &object);
	if (r < 0)
		return r;
	if (json_count_members(object) != n_members)
		return -EBADMSG;

	*ret = steal_pointer(object);
	return 0;
}

static void json_print_string(FILE *f, const char *s, size_t len)
{
	static const char escapes[0x20] = {
		['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'
	};

	putc_unlocked('"', f);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '"' || c == '\\')
			fprintf(f, "\\%c", c);
		else if (c >= 0x20)
			putc_unlocked(c, f);
		else if (escapes[c])
			fprintf(f, "\\%c", escapes[c]);
		else
			fprintf(f, "\\u%04x", c);
	}
	putc_unlocked('"', f);
}

static void json_print_indent(FILE *f, unsigned depth)
{
	fprintf(f, "\n%*s", (int)(2 * depth), "");
}

static void json_print_value(FILE *f, struct json_object *value, unsigned depth);

static void json_print_object(FILE *f, struct json_object *object, unsigned depth)
{
	bool first = true;

	putc_unlocked('{', f);
	json_object_object_foreach (object, key, value) {
		if (!first)
			putc_unlocked(',', f);
		first = false;
		json_print_indent(f, depth + 1);
		json_print_string(f, key, strlen(key));
		fputs(": ", f);
		json_print_value(f, value, depth + 1);
	}
	if (!first)
		json_print_indent(f, depth);
	putc_unlocked('}', f);
}

static void json_print_array(FILE *f, struct json_object *array, unsigned depth)
{
	size_t n = json_object_array_length(array);

	putc_unlocked('[', f);
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			putc_unlocked(',', f);
		json_print_indent(f, depth + 1);
		json_print_value(f, json_object_array_get_idx(array, i), depth + 1);
	}
	if (n > 0)
		json_print_indent(f, depth);
	putc_unlocked(']', f);
}

static void json_print_value(FILE *f, struct json_object *value, unsigned depth)
{
	switch (json_object_get_type(value)) {
	case json_type_object:
		json_print_object(f, value, depth);
		break;
	case json_type_array:
		json_print_array(f, value, depth);
		break;
	case json_type_string:
		json_print_string(f, json_object_get_string(value),
				  (size_t)json_object_get_string_len(value));
		break;
	default:
		/* Nothing to escape or to space; a fraction stays as it came. */
		fputs(json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN), f);
	}
}

/**
 * ckpt_json_print() - the text that serde_json::to_string_pretty gives
 * @object: NULL prints null
 * @ret: no newline at its end, one NUL behind it; the caller frees
 *
 * Return: 0; -ENOMEM.
 */
int ckpt_json_print(struct json_object *object, char **ret, size_t *ret_len)
{
	char *text = NULL;
	size_t len = 0;
	bool bad;
	FILE *f;

	f = open_memstream(&text, &len);
	if (!f)
		return -ENOMEM;

	json_print_value(f, object, 0);
	bad = ferror(f) != 0;
	if (fclose(f) != 0 || bad) {
		free(text);
		return -ENOMEM;
	}

	*ret = text;
	*ret_len = len;
	return 0;
}

/**
 * ckpt_json_add() - put a value under a key
 * @key: bytes; what is not UTF-8 in it is lost
 * @value: owned by the object from here on, on failure too; NULL: -ENOMEM, so that a constructor
 *	that failed can be passed on unseen
 */
int ckpt_json_add(struct json_object *object, const char *key, struct json_object *value)
{
	cleanup_json struct json_object *owned = value;
	cleanup_free char *text = NULL;
	size_t len;
	int r;

	if (!value)
		return -ENOMEM;
	if (!ckpt_utf8_valid(key, strlen(key))) {
		r = ckpt_utf8_lossy(key, strlen(key), &text, &len);
		if (r < 0)
			return r;
		key = text;
	}
	if (json_object_object_add(object, key, value) < 0)
		return -ENOMEM;

	steal_pointer(owned);
	return 0;
}

/* A string of @len bytes; NULL without memory. */
static struct json_object *json_new_string(const char *s, size_t len)
{
	return len > INT_MAX ? NULL : json_object_new_string_len(s, (int)len);
}

/* The JSON form of bytes: U+FFFD where they are not UTF-8. NULL without memory. */
struct json_object *ckpt_json_str(const char *bytes)
{
	cleanup_free char *text = NULL;
	size_t len = strlen(bytes);

	if (ckpt_utf8_valid(bytes, len))
		return json_new_string(bytes, len);
	if (ckpt_utf8_lossy(bytes, len, &text, &len) < 0)
		return NULL;
	return json_new_string(text, len);
}

/* The exact bytes, two lower-case hex digits each. NULL without memory. */
struct json_object *ckpt_json_hex(const char *bytes)
{
	size_t len = strlen(bytes);
	cleanup_free char *text = malloc(2 * len + 1);

	if (!text)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		text[2 * i] = "0123456789abcdef"[(unsigned char)bytes[i] >> 4];
		text[2 * i + 1] = "0123456789abcdef"[(unsigned char)bytes[i] & 15];
	}
	return json_new_string(text, 2 * len);
}

/* The key of @key's twin; NULL without memory. The caller frees. */
static char *json_twin_key(const char *key)
{
	char *twin;

	return asprintf(&twin, "%s" JSON_TWIN, key) < 0 ? NULL : twin;
}

/**
 * ckpt_json_add_str() - put bytes under a key, and under its twin where they are not UTF-8
 * @bytes: NULL: null
 *
 * Return: 0; -ENOMEM.
 */
int ckpt_json_add_str(struct json_object *object, const char *key, const char *bytes)
{
	cleanup_free char *twin = NULL;
	int r;

	if (!bytes)
		return json_object_object_add(object, key, NULL) < 0 ? -ENOMEM : 0;

	r = ckpt_json_add(object, key, ckpt_json_str(bytes));
	if (r < 0 || ckpt_utf8_valid(bytes, strlen(bytes)))
		return r;
	twin = json_twin_key(key);
	if (!twin)
		return -ENOMEM;
	return ckpt_json_add(object, twin, ckpt_json_hex(bytes));
}

int ckpt_json_add_u64(struct json_object *object, const char *key, uint64_t value)
{
	return ckpt_json_add(object, key, json_object_new_uint64(value));
}

int ckpt_json_add_i64(struct json_object *object, const char *key, int64_t value)
{
	return ckpt_json_add(object, key, json_object_new_int64(value));
}

int ckpt_json_add_bool(struct json_object *object, const char *key, bool value)
{
	return ckpt_json_add(object, key, json_object_new_boolean(value));
}

/**
 * ckpt_json_get() - the value of a key
 * @object: anything from a file; what is no object has no keys: -EBADMSG
 * @ret: stays the object's
 *
 * Return: 1; 0 when it is absent or null; -EBADMSG when it is of another type.
 */
int ckpt_json_get(struct json_object *object, const char *key, enum json_type type,
		  struct json_object **ret)
{
	struct json_object *value;

	if (!json_object_is_type(object, json_type_object))
		return -EBADMSG;
	if (!json_object_object_get_ex(object, key, &value) || !value)
		return 0;
	if (!json_object_is_type(value, type))
		return -EBADMSG;

	*ret = value;
	return 1;
}

/**
 * ckpt_json_to_str() - a string value as a C string
 * @value: NULL is null
 * @ret: the caller frees
 *
 * Return: 0; -EBADMSG when it is no string or holds a NUL; -ENOMEM.
 */
int ckpt_json_to_str(struct json_object *value, char **ret)
{
	const char *s;

	if (!json_object_is_type(value, json_type_string))
		return -EBADMSG;
	s = json_object_get_string(value);
	if (strlen(s) != (size_t)json_object_get_string_len(value))
		return -EBADMSG;

	return ckpt_strdup(s, ret);
}

static int json_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -EBADMSG;
}

/**
 * ckpt_json_to_bytes() - a string value of hex digits, as ckpt_json_hex() made it, as a C string
 * @ret: the caller frees
 *
 * Return: 0; -EBADMSG when it is no such string or a byte is NUL; -ENOMEM.
 */
int ckpt_json_to_bytes(struct json_object *value, char **ret)
{
	cleanup_free char *bytes = NULL;
	const char *s;
	size_t len;

	if (!json_object_is_type(value, json_type_string))
		return -EBADMSG;
	s = json_object_get_string(value);
	len = (size_t)json_object_get_string_len(value);
	if (len % 2)
		return -EBADMSG;

	bytes = malloc(len / 2 + 1);
	if (!bytes)
		return -ENOMEM;
	for (size_t i = 0; i < len; i += 2) {
		int high = json_hex_digit(s[i]), low = json_hex_digit(s[i + 1]);

		if (high < 0 || low < 0 || high + low == 0)
			return -EBADMSG;
		bytes[i / 2] = (char)(high << 4 | low);
	}
	bytes[len / 2] = '\0';

	*ret = steal_pointer(bytes);
	return 0;
}

/**
 * ckpt_json_get_str() - the bytes of a key: its twin's where it has one
 * @ret: NUL ended; the caller frees
 *
 * Return: 1; 0 when it is absent or null; -EBADMSG of another type or with a NUL inside; -ENOMEM.
 */
int ckpt_json_get_str(struct json_object *object, const char *key, char **ret)
{
	cleanup_free char *twin = NULL;
	struct json_object *value, *hex;
	int r;

	r = ckpt_json_get(object, key, json_type_string, &value);
	if (r <= 0)
		return r;
	twin = json_twin_key(key);
	if (!twin)
		return -ENOMEM;
	r = ckpt_json_get(object, twin, json_type_string, &hex);
	if (r < 0)
		return r;

	r = r > 0 ? ckpt_json_to_bytes(hex, ret) : ckpt_json_to_str(value, ret);
	return r < 0 ? r : 1;
}

/* Whether @key is the twin of another key of @object: no entry of its own. */
bool ckpt_json_is_twin(struct json_object *object, const char *key)
{
	size_t len = strlen(key), tail = strlen(JSON_TWIN);
	cleanup_free char *base = NULL;

	if (len <= tail || strcmp(key + len - tail, JSON_TWIN) != 0)
		return false;
	base = strndup(key, len - tail);
	return base && json_object_object_get_ex(object, base, NULL);
}

/**
 * ckpt_json_to_u64() - a number's value
 *
 * Return: 0; -EBADMSG when it is no integer, negative or above @max.
 */
int ckpt_json_to_u64(struct json_object *value, uint64_t max, uint64_t *ret)
{
	uint64_t u;

	if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0)
		return -EBADMSG;
	u = json_object_get_uint64(value);
	if (u > max)
		return -EBADMSG;

	*ret = u;
	return 0;
}

/* Return: 1; 0 when the key is absent or null; -EBADMSG of another type, negative, above @max. */
int ckpt_json_get_u64(struct json_object *object, const char *key, uint64_t max, uint64_t *ret)
{
	struct json_object *value;
	int r;

	r = ckpt_json_get(object, key, json_type_int, &value);
	if (r <= 0)
		return r;
	r = ckpt_json_to_u64(value, max, ret);
	return r < 0 ? r : 1;
}

/* Return: 1; 0 when the key is absent or null; -EBADMSG of another type or out of range. */
int ckpt_json_get_i64(struct json_object *object, const char *key, int64_t min, int64_t max,
		      int64_t *ret)
{
	struct json_object *value;
	int64_t i;
	int r;

	r = ckpt_json_get(object, key, json_type_int, &value);
	if (r <= 0)
		return r;

	i = json_object_get_int64(value);
	/* json-c clips what only a uint64_t holds. */
	if (i == INT64_MAX && json_object_get_uint64(value) > INT64_MAX)
		return -EBADMSG;
	if (i < min || i > max)
		return -EBADMSG;

	*ret = i;
	return 1;
}

/* Return: 1; 0 when the key is absent or null; -EBADMSG of another type. */
int ckpt_json_get_bool(struct json_object *object, const char *key, bool *ret)
{
	struct json_object *value;
	int r;

	r = ckpt_json_get(object, key, json_type_boolean, &value);
	if (r > 0)
		*ret = json_object_get_boolean(value);
	return r;
}
