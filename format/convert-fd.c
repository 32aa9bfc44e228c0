/* SPDX-License-Identifier: Apache-2.0 */
#include "format/convert.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/cleanup.h"
#include "format/fields.h"
#include "format/json.h"

/* A key that came again after many others has several entries; an object has room for one. */
static int put_fdinfo_again(struct json_object *map, const struct ckpt_fdinfo *fdinfo)
{
	cleanup_free char *before = NULL;
	cleanup_free char *text = NULL;
	int r;

	r = ckpt_json_get_str(map, fdinfo->key, &before);
	if (r < 0)
		return r;
	if (asprintf(&text, "%s\n%s", before ? before : "", fdinfo->value) < 0) {
		text = NULL;
		return -ENOMEM;
	}
	return ckpt_json_add_str(map, fdinfo->key, text);
}

static int put_fdinfo(struct json_object *object, const struct ckpt_field *field, const void *base)
{
	const struct ckpt_fd *fd = base;
	cleanup_json struct json_object *map = json_object_new_object();

	if (!map)
		return -ENOMEM;
	for (size_t i = 0; i < fd->n_fdinfo; i++) {
		const struct ckpt_fdinfo *fdinfo = &fd->fdinfo[i];
		int r;

		if (json_object_object_get_ex(map, fdinfo->key, NULL))
			r = put_fdinfo_again(map, fdinfo);
		else
			r = ckpt_json_add_str(map, fdinfo->key, fdinfo->value);
		if (r < 0)
			return r;
	}
	return ckpt_field_add(object, field, steal_pointer(map));
}

static int get_fdinfo(struct json_object *object, const struct ckpt_field *field, void *base)
{
	struct json_object *map;
	int r;

	r = ckpt_json_get(object, field->key, json_type_object, &map);
	if (r <= 0)
		return r;

	json_object_object_foreach (map, key, value) {
		cleanup_free char *text = NULL;

		(void)value;
		if (ckpt_json_is_twin(map, key))
			continue;
		r = ckpt_json_get_str(map, key, &text);
		if (r <= 0)
			return r < 0 ? r : -EBADMSG;
		r = ckpt_fd_add_fdinfo(base, key, text);
		if (r < 0)
			return r;
	}
	return 1;
}

/* clang-format off */
static const struct ckpt_field_kind k_fdinfo = { put_fdinfo, get_fdinfo };

static const struct ckpt_field fd_fields[] = {
	{ "fd",     &ckpt_field_i32, offsetof(struct ckpt_fd, fd), CKPT_REQUIRED },
	{ "path",   &ckpt_field_str, offsetof(struct ckpt_fd, path), CKPT_REQUIRED },
	{ "flags",  &ckpt_field_i32, offsetof(struct ckpt_fd, flags), CKPT_REQUIRED },
	{ "offset", &ckpt_field_u64, offsetof(struct ckpt_fd, offset), CKPT_REQUIRED },
};

static const struct ckpt_field fd_ours[] = {
	{ "type",       &ckpt_field_str,  offsetof(struct ckpt_fd, type), CKPT_REQUIRED },
	{ "inode",      &ckpt_field_u64,  offsetof(struct ckpt_fd, inode) },
	{ "mode",       &ckpt_field_u32,  offsetof(struct ckpt_fd, mode) },
	{ "deleted",    &ckpt_field_bool, offsetof(struct ckpt_fd, deleted) },
	{ "fdinfo",     &k_fdinfo,        0 },
	{ "family",     &ckpt_field_str,  offsetof(struct ckpt_fd, family), CKPT_OPTIONAL },
	{ "sock_type",  &ckpt_field_str,  offsetof(struct ckpt_fd, sock_type), CKPT_OPTIONAL },
	{ "sock_state", &ckpt_field_str,  offsetof(struct ckpt_fd, sock_state), CKPT_OPTIONAL },
	{ "local",      &ckpt_field_str,  offsetof(struct ckpt_fd, local), CKPT_OPTIONAL },
	{ "peer",       &ckpt_field_str,  offsetof(struct ckpt_fd, peer), CKPT_OPTIONAL },
	{ "unix_path",  &ckpt_field_str,  offsetof(struct ckpt_fd, unix_path), CKPT_OPTIONAL },
};
/* clang-format on */

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

	r = ckpt_fields_make(fd_fields, CKPT_N_FIELDS(fd_fields), fd, &object);
	if (r == 0 && fd->type)
		r = ckpt_fields_put(object, fd_ours, CKPT_N_FIELDS(fd_ours), fd);
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

	r = ckpt_fields_get(object, fd_fields, CKPT_N_FIELDS(fd_fields), ret);
	if (r == 0 && json_object_object_get_ex(object, "type", NULL))
		r = ckpt_fields_get(object, fd_ours, CKPT_N_FIELDS(fd_ours), ret);
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
	return ckpt_array_make(fds->items, fds->n, sizeof(fds->items[0]), fd_new, ret);
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

	r = ckpt_array_each(array, CKPT_FDS_MAX, fd_take, ret);
	if (r < 0)
		ckpt_fds_done(ret);
	return r;
}
