/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/content.h"

#include <errno.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>

#include "format/checkpoint.h"
#include "format/cleanup.h"
#include "format/convert.h"
#include "format/fdio.h"
#include "format/json.h"
#include "format/layout.h"
#include "format/sums.h"
#include "fs/render.h"

struct content_fd {
	int32_t fd;
	char *path;
};

enum content_part {
	CONTENT_ROWS,
	CONTENT_LINKS,
	CONTENT_FDS,
	CONTENT_SUMS,
	_CONTENT_MAX,
};

struct ckfs_content {
	pthread_mutex_t lock; /* of all that follows */
	bool loaded[_CONTENT_MAX];
	int result[_CONTENT_MAX]; /* what loading gave: 0, or why there is nothing */
	uint64_t n_rows;
	char *links[_CKFS_LINK_MAX];
	struct content_fd *fds; /* ascending */
	size_t n_fds;
	struct ckpt_sums sums;
	char *meta; /* rendered */
	size_t meta_len;
	char meta_name[256]; /* for this name */
};

static int content_read_json(int dirfd, const char *path, enum json_type type,
			     struct json_object **ret)
{
	cleanup_json struct json_object *object = NULL;
	cleanup_free void *text = NULL;
	size_t len;
	int r;

	r = ckpt_fd_read_all(dirfd, path, CKPT_JSON_MAX, &text, &len);
	if (r < 0)
		return r;
	r = ckpt_json_parse(text, len, &object);
	if (r < 0)
		return r;
	if (!json_object_is_type(object, type))
		return -EBADMSG;

	*ret = steal_pointer(object);
	return 0;
}

static int content_load_rows(struct ckfs_content *content, int dirfd)
{
	cleanup_json struct json_object *array = NULL;
	int r;

	r = content_read_json(dirfd, CKPT_PATH_MAP, json_type_array, &array);
	if (r < 0)
		return r;

	content->n_rows = json_object_array_length(array);
	return 0;
}

static int content_load_links(struct ckfs_content *content, int dirfd)
{
	cleanup_json struct json_object *object = NULL;
	struct ckpt_threads threads = {};
	struct ckpt_info info = {};
	int r;

	r = content_read_json(dirfd, CKPT_PATH_INFO, json_type_object, &object);
	if (r < 0)
		return r;
	r = ckpt_info_from_json(object, &info, &threads);
	if (r < 0)
		return r;

	content->links[CKFS_LINK_EXE] = steal_pointer(info.exe);
	content->links[CKFS_LINK_CWD] = steal_pointer(info.cwd);
	content->links[CKFS_LINK_ROOT] = steal_pointer(info.root);
	ckpt_info_done(&info);
	ckpt_threads_done(&threads);
	return 0;
}

static int content_compare_fds(const void *a, const void *b)
{
	const struct content_fd *x = a, *y = b;

	return (x->fd > y->fd) - (x->fd < y->fd);
}

static int content_load_fds(struct ckfs_content *content, int dirfd)
{
	cleanup_json struct json_object *array = NULL;
	struct ckpt_fds fds = {};
	int r;

	r = content_read_json(dirfd, CKPT_PATH_FDS, json_type_array, &array);
	if (r < 0)
		return r;
	r = ckpt_fds_from_json(array, &fds);
	if (r < 0)
		return r;

	content->fds = calloc(fds.n + 1, sizeof(*content->fds));
	if (content->fds) {
		for (size_t i = 0; i < fds.n; i++)
			if (fds.items[i].path)
				content->fds[content->n_fds++] = (struct content_fd){
					.fd = fds.items[i].fd,
					.path = steal_pointer(fds.items[i].path),
				};
		qsort(content->fds, content->n_fds, sizeof(*content->fds), content_compare_fds);
	}
	ckpt_fds_done(&fds);
	return content->fds ? 0 : -ENOMEM;
}

static int content_load_sums(struct ckfs_content *content, int dirfd)
{
	cleanup_free void *text = NULL;
	size_t len;
	int r;

	r = ckpt_fd_read_all(dirfd, CKPT_PATH_SUMS, CKPT_JSON_MAX, &text, &len);
	if (r < 0)
		return r;
	r = ckpt_sums_parse(text, len, &content->sums);
	if (r == -EBADMSG)
		syslog(LOG_WARNING, "cannot read a list of digests, \"%s\": %s, ignoring",
		       CKPT_PATH_SUMS, strerror(-r));
	return r;
}

static int (*const content_loaders[])(struct ckfs_content *content, int dirfd) = {
	[CONTENT_ROWS] = content_load_rows,
	[CONTENT_LINKS] = content_load_links,
	[CONTENT_FDS] = content_load_fds,
	[CONTENT_SUMS] = content_load_sums,
};

/* Trouble of ours passes; what the files say stays as it is. */
static bool content_is_final(int r)
{
	return r != -ENOMEM && r != -EMFILE && r != -ENFILE && r != -EINTR && r != -EIO;
}

/* Under the lock. */
static int content_load(struct ckfs_content *content, int dirfd, enum content_part part)
{
	int r;

	if (content->loaded[part])
		return content->result[part];

	r = content_loaders[part](content, dirfd);
	if (content_is_final(r)) {
		content->loaded[part] = true;
		content->result[part] = r;
	}
	return r;
}

/* How many rows memory_map.json has; UINT64_MAX when it cannot tell: then nothing is hidden. */
uint64_t ckfs_content_rows(struct ckfs_content *content, int dirfd)
{
	uint64_t n;

	pthread_mutex_lock(&content->lock);
	n = content_load(content, dirfd, CONTENT_ROWS) < 0 ? UINT64_MAX : content->n_rows;
	pthread_mutex_unlock(&content->lock);
	return n;
}

/**
 * ckfs_content_link() - a path of info.json, exact bytes
 * @ret: the caller frees
 *
 * Return: 0; -ENOENT when info.json is damaged or does not say; -ENOMEM.
 */
int ckfs_content_link(struct ckfs_content *content, int dirfd, enum ckfs_link link, char **ret)
{
	int r;

	pthread_mutex_lock(&content->lock);
	r = content_load(content, dirfd, CONTENT_LINKS);
	if (r == 0)
		r = content->links[link] ? ckpt_strdup(content->links[link], ret) : -ENOENT;
	pthread_mutex_unlock(&content->lock);
	return r < 0 && content_is_final(r) ? -ENOENT : r;
}

/* The path of a descriptor in fds.json; as ckfs_content_link(). */
int ckfs_content_fd(struct ckfs_content *content, int dirfd, int32_t fd, char **ret)
{
	const struct content_fd key = { .fd = fd }, *found;
	int r;

	pthread_mutex_lock(&content->lock);
	r = content_load(content, dirfd, CONTENT_FDS);
	if (r == 0) {
		found =
		    bsearch(&key, content->fds, content->n_fds, sizeof(key), content_compare_fds);
		r = found ? ckpt_strdup(found->path, ret) : -ENOENT;
	}
	pthread_mutex_unlock(&content->lock);
	return r < 0 && content_is_final(r) ? -ENOENT : r;
}

/**
 * ckfs_content_each_fd() - visit the descriptors of fds.json, ascending
 * @visit: must not call back into @content; not 0 ends it
 *
 * Return: 0; what @visit returned; -ENOENT when fds.json is damaged.
 */
int ckfs_content_each_fd(struct ckfs_content *content, int dirfd, ckfs_fd_visit_t visit,
			 void *userdata)
{
	int r;

	pthread_mutex_lock(&content->lock);
	r = content_load(content, dirfd, CONTENT_FDS);
	if (r < 0 && content_is_final(r))
		r = -ENOENT;
	for (size_t i = 0; i < content->n_fds && r == 0; i++)
		r = visit(userdata, content->fds[i].fd);
	pthread_mutex_unlock(&content->lock);
	return r;
}

/* Under the lock. */
static int content_render_meta(struct ckfs_content *content, int dirfd, const char *name)
{
	cleanup_free void *stored = NULL;
	char *text;
	size_t stored_len, len;
	int r;

	if (content->meta && !strcmp(content->meta_name, name))
		return 0;

	r = ckpt_fd_read_all(dirfd, CKPT_PATH_META, CKPT_JSON_MAX, &stored, &stored_len);
	if (r < 0)
		return r;
	r = ckfs_render_meta(stored, stored_len, name, &text, &len);
	if (r < 0)
		return r;

	free(content->meta);
	content->meta = text;
	content->meta_len = len;
	strncpy(content->meta_name, name, sizeof(content->meta_name) - 1);
	return 0;
}

/**
 * ckfs_content_meta() - meta.json as it is shown under a name
 * @ret: the caller frees; NULL where only the length is wanted
 *
 * Return: 0; as ckpt_fd_read_all().
 */
int ckfs_content_meta(struct ckfs_content *content, int dirfd, const char *name, char **ret,
		      size_t *ret_len)
{
	int r;

	pthread_mutex_lock(&content->lock);
	r = content_render_meta(content, dirfd, name);
	if (r == 0 && ret) {
		/* Not a string: what does not parse may hold anything. */
		*ret = malloc(content->meta_len + 1);
		if (*ret)
			memcpy(*ret, content->meta, content->meta_len + 1);
		else
			r = -ENOMEM;
	}
	if (r == 0)
		*ret_len = content->meta_len;
	pthread_mutex_unlock(&content->lock);
	return r;
}

/* SHA256SUMS as it is shown under a name; as ckfs_content_meta(). */
int ckfs_content_sums(struct ckfs_content *content, int dirfd, const char *name, char **ret,
		      size_t *ret_len)
{
	cleanup_free void *stored = NULL, *meta = NULL;
	size_t stored_len, meta_len;
	int r;

	r = ckpt_fd_read_all(dirfd, CKPT_PATH_SUMS, CKPT_JSON_MAX, &stored, &stored_len);
	if (r < 0)
		return r;
	r = ckpt_fd_read_all(dirfd, CKPT_PATH_META, CKPT_JSON_MAX, &meta, &meta_len);
	if (r < 0)
		return r;

	pthread_mutex_lock(&content->lock);
	r = content_render_meta(content, dirfd, name);
	if (r == 0)
		r = ckfs_render_sums(stored, stored_len, meta, meta_len, content->meta,
				     content->meta_len, ret, ret_len);
	pthread_mutex_unlock(&content->lock);
	return r;
}

/* 1 with the digest that a file should have; 0 where none is known. */
static int content_find_sum(struct ckfs_content *content, int dirfd, const char *path,
			    uint8_t ret[CKPT_SHA256_SIZE])
{
	const struct ckpt_sum *sum = NULL;
	int r;

	pthread_mutex_lock(&content->lock);
	r = content_load(content, dirfd, CONTENT_SUMS);
	if (r == 0)
		sum = ckpt_sums_find(&content->sums, path);
	if (sum)
		memcpy(ret, sum->digest, CKPT_SHA256_SIZE);
	pthread_mutex_unlock(&content->lock);

	if (r < 0 && !content_is_final(r))
		return r;
	return sum ? 1 : 0;
}

/**
 * ckfs_content_check() - hold a file of the store against SHA256SUMS
 * @path: in the checkpoint; @fd: open on it
 *
 * Large files, unlisted ones, and all where there is no list, are taken as they are.
 *
 * Return: 0; -EIO when it is not what it was; as read(2).
 */
int ckfs_content_check(struct ckfs_content *content, int dirfd, const char *path, int fd)
{
	uint8_t expected[CKPT_SHA256_SIZE], found[CKPT_SHA256_SIZE];
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size >= CKFS_CHECK_MAX)
		return 0;

	r = content_find_sum(content, dirfd, path, expected);
	if (r <= 0)
		return r;
	r = ckpt_sha256_fd(fd, found);
	if (r < 0)
		return r;
	if (!memcmp(expected, found, sizeof(found)))
		return 0;

	syslog(LOG_ERR, "a checkpoint is hurt: \"%s\" is not what %s says", path, CKPT_PATH_SUMS);
	return -EIO;
}

int ckfs_content_new(struct ckfs_content **ret)
{
	struct ckfs_content *content = calloc(1, sizeof(*content));

	if (!content)
		return -ENOMEM;
	pthread_mutex_init(&content->lock, NULL);
	*ret = content;
	return 0;
}

struct ckfs_content *ckfs_content_free(struct ckfs_content *content)
{
	if (!content)
		return NULL;
	for (size_t i = 0; i < _CKFS_LINK_MAX; i++)
		free(content->links[i]);
	for (size_t i = 0; i < content->n_fds; i++)
		free(content->fds[i].path);
	free(content->fds);
	ckpt_sums_done(&content->sums);
	free(content->meta);
	pthread_mutex_destroy(&content->lock);
	free(content);
	return NULL;
}
