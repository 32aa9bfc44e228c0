/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/render.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "format/checkpoint.h"
#include "format/cleanup.h"
#include "format/json.h"
#include "format/layout.h"
#include "format/sums.h"

#define RENDER_HEX_SIZE (2 * CKPT_SHA256_SIZE)

static int render_copy(const char *text, size_t len, char **ret, size_t *ret_len)
{
	char *copy = malloc(len + 1);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, text, len);
	copy[len] = '\0';
	*ret = copy;
	*ret_len = len;
	return 0;
}

/* The stored tree with another name in it; every other key where it was, as it was. */
static int render_meta_named(struct json_object *object, const char *name, char **ret,
			     size_t *ret_len)
{
	int r;

	r = ckpt_json_add(object, "name", json_object_new_string(name));
	if (r < 0)
		return r;
	json_object_object_del(object, "name_hex"); /* a name of ours is UTF-8 */

	return ckpt_json_print(object, ret, ret_len);
}

/**
 * ckfs_render_meta() - meta.json as it is shown: its name is the directory's
 * @stored: what the store holds, @len bytes
 * @name: the directory's, of ckpt_name_check()
 * @ret: the text, NUL behind; the caller frees
 *
 * What does not parse, and what has the right name already, comes out as it is stored.
 *
 * Return: 0; -ENOMEM.
 */
int ckfs_render_meta(const char *stored, size_t len, const char *name, char **ret, size_t *ret_len)
{
	cleanup_json struct json_object *object = NULL;
	cleanup_free char *old = NULL;
	int r;

	r = ckpt_json_parse(stored, len, &object);
	if (r == -ENOMEM)
		return r;
	if (r < 0 || !json_object_is_type(object, json_type_object))
		return render_copy(stored, len, ret, ret_len);

	r = ckpt_json_get_str(object, "name", &old);
	if (r == -ENOMEM)
		return r;
	if (r > 0 && !strcmp(old, name))
		return render_copy(stored, len, ret, ret_len);

	return render_meta_named(object, name, ret, ret_len);
}

static void render_hex(const uint8_t digest[CKPT_SHA256_SIZE], char ret[RENDER_HEX_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < CKPT_SHA256_SIZE; i++) {
		ret[2 * i] = digits[digest[i] >> 4];
		ret[2 * i + 1] = digits[digest[i] & 0xf];
	}
}

/* Where the line "HEX  meta.json" begins; NULL: there is none. */
static char *render_find_meta(char *text, size_t len)
{
	static const char tail[] = "  " CKPT_PATH_META "\n";
	size_t line_len = RENDER_HEX_SIZE + sizeof(tail) - 1;

	for (char *line = text, *end; (end = memchr(line, '\n', len - (size_t)(line - text)));
	     line = end + 1)
		if ((size_t)(end - line) + 1 == line_len &&
		    !memcmp(line + RENDER_HEX_SIZE, tail, sizeof(tail) - 1))
			return line;
	return NULL;
}

/**
 * ckfs_render_sums() - SHA256SUMS as it is shown: meta.json's line is that of the rendered text
 * @stored: what the store holds; @meta: meta.json as it is stored; @rendered: as it is shown
 * @ret: the text, as long as @stored; the caller frees
 *
 * Where the stored meta.json is not what its line says, the line stays: damage is not to look
 * whole.
 *
 * Return: 0; -ENOMEM; -EIO.
 */
int ckfs_render_sums(const char *stored, size_t len, const char *meta, size_t meta_len,
		     const char *rendered, size_t rendered_len, char **ret, size_t *ret_len)
{
	uint8_t digest[CKPT_SHA256_SIZE];
	cleanup_free char *text = NULL;
	char hex[RENDER_HEX_SIZE];
	size_t text_len;
	char *line;
	int r;

	r = render_copy(stored, len, &text, &text_len);
	if (r < 0)
		return r;

	line = render_find_meta(text, text_len);
	if (line) {
		r = ckpt_sha256(meta, meta_len, digest);
		if (r < 0)
			return r;
		render_hex(digest, hex);
	}
	if (line && !memcmp(line, hex, sizeof(hex))) {
		r = ckpt_sha256(rendered, rendered_len, digest);
		if (r < 0)
			return r;
		render_hex(digest, line);
	}

	*ret = steal_pointer(text);
	*ret_len = text_len;
	return 0;
}
