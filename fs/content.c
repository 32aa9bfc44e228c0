/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/content.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>

#include "format/checkpoint.h"
#include "format/cleanup.h"
#include "format/convert.h"
#include "format/fdio.h"
#include "format/json.h"
#include "format/layout.h"
#include "format/sums.h"
#include "fs/render.h"

#define CONTENT_TICK_NS 50000000 /* longer than two steps of a filesystem's clock */

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

static const char *const content_paths[] = {
	[CONTENT_ROWS] = CKPT_PATH_MAP,
	[CONTENT_LINKS] = CKPT_PATH_INFO,
	[CONTENT_FDS] = CKPT_PATH_FDS,
	[CONTENT_SUMS] = CKPT_PATH_SUMS,
};

struct content_loaded {
	bool is;
	uint64_t stamp; /* of the file */
	int result;	/* what loading gave: 0, or why there is nothing */
	size_t size;	/* bytes, about, that what was made of it takes */
};

struct ckfs_content {
	pthread_mutex_t lock; /* of all that follows */
	bool settled;	      /* what was loaded stays: no look at the file is needed */
	struct content_loaded loaded[_CONTENT_MAX];
	uint64_t n_rows;
	char *links[_CKFS_LINK_MAX];
	struct content_fd *fds; /* ascending */
	size_t n_fds;
	struct ckpt_sums sums;
	uint64_t meta_stamp; /* 0: meta_size is not known */
	uint64_t meta_size;  /* bytes of meta.json, rendered */
	char meta_name[256]; /* for this name */
};

/**
 * ckfs_content_stamp() - tell a file from what it was before
 *
 * Return: a number, another one when the file is another or has changed; 0 when it changed just
 * now: it could change once more and bear the same times.
 */
uint64_t ckfs_content_stamp(const struct stat *st)
{
	const uint64_t parts[] = {
		st->st_dev,
		st->st_ino,
		(uint64_t)st->st_size,
		(uint64_t)st->st_mtim.tv_sec,
		(uint64_t)st->st_mtim.tv_nsec,
		(uint64_t)st->st_ctim.tv_sec,
		(uint64_t)st->st_ctim.tv_nsec,
	};
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	struct timespec now;
	int64_t age_ns;

	clock_gettime(CLOCK_REALTIME, &now);
	age_ns = (now.tv_sec - st->st_ctim.tv_sec) * INT64_C(1000000000) + now.tv_nsec -
		 st->st_ctim.tv_nsec;
	if (age_ns < CONTENT_TICK_NS)
		return 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		h = (h ^ parts[i]) * UINT64_C(0xff51afd7ed558ccd);
		h ^= h >> 32;
	}
	return h ?: 1;
}

/* The stamp of a file of a checkpoint. Return: 0; as ckpt_fd_open_beneath(). */
int ckfs_content_stamp_at(int dirfd, const char *path, uint64_t *ret)
{
	cleanup_fd int fd = ckpt_fd_open_beneath(dirfd, path, O_PATH | O_NOFOLLOW);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;

	*ret = ckfs_content_stamp(&st);
	return 0;
}

static int content_read_json(int dirfd, const char *path, enum json_type type,
			     struct json_object **ret, size_t *ret_len)
{
	cleanup_json struct json_object *object = NULL;
	cleanup_free void *text = NULL;
	int r;

	r = ckpt_fd_read_all(dirfd, path, CKPT_JSON_MAX, &text, ret_len);
	if (r < 0)
		return r;
	r = ckpt_json_parse(text, *ret_len, &object);
	if (r < 0)
		return r;
	if (!json_object_is_type(object, type))
		return -EBADMSG;

	*ret = steal_pointer(object);
	return 0;
}

static int content_load_rows(struct ckfs_content *content, int dirfd, size_t *ret_len)
{
	cleanup_json struct json_object *array = NULL;
	int r;

	r = content_read_json(dirfd, CKPT_PATH_MAP, json_type_array, &array, ret_len);
	if (r < 0)
		return r;

	content->n_rows = json_object_array_length(array);
	return 0;
}

static int content_load_links(struct ckfs_content *content, int dirfd, size_t *ret_len)
{
	cleanup_json struct json_object *object = NULL;
	struct ckpt_threads threads = {};
	struct ckpt_info info = {};
	int r;

	r = content_read_json(dirfd, CKPT_PATH_INFO, json_type_object, &object, ret_len);
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

static int content_load_fds(struct ckfs_content *content, int dirfd, size_t *ret_len)
{
	cleanup_json struct json_object *array = NULL;
	struct ckpt_fds fds = {};
	int r;

	r = content_read_json(dirfd, CKPT_PATH_FDS, json_type_array, &array, ret_len);
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

static int content_load_sums(struct ckfs_content *content, int dirfd, size_t *ret_len)
{
	cleanup_free void *text = NULL;
	int r;

	r = ckpt_fd_read_all(dirfd, CKPT_PATH_SUMS, CKPT_JSON_MAX, &text, ret_len);
	if (r < 0)
		return r;
	r = ckpt_sums_parse(text, *ret_len, &content->sums);
	if (r == -EBADMSG)
		syslog(LOG_WARNING, "cannot read a list of digests, \"%s\": %s, ignoring",
		       CKPT_PATH_SUMS, strerror(-r));
	return r;
}

static int (*const content_loaders[])(struct ckfs_content *content, int dirfd, size_t *ret_len) = {
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

static void content_drop_rows(struct ckfs_content *content)
{
	content->n_rows = 0;
}

static void content_drop_links(struct ckfs_content *content)
{
	for (size_t i = 0; i < _CKFS_LINK_MAX; i++) {
		free(content->links[i]);
		content->links[i] = NULL;
	}
}

static void content_drop_fds(struct ckfs_content *content)
{
	for (size_t i = 0; i < content->n_fds; i++)
		free(content->fds[i].path);
	free(content->fds);
	content->fds = NULL;
	content->n_fds = 0;
}

static void content_drop_sums(struct ckfs_content *content)
{
	ckpt_sums_done(&content->sums);
}

static void (*const content_droppers[])(struct ckfs_content *content) = {
	[CONTENT_ROWS] = content_drop_rows,
	[CONTENT_LINKS] = content_drop_links,
	[CONTENT_FDS] = content_drop_fds,
	[CONTENT_SUMS] = content_drop_sums,
};

static void content_drop(struct ckfs_content *content, enum content_part part)
{
	content_droppers[part](content);
	content->loaded[part] = (struct content_loaded){};
}

/* Under the lock. */
static int content_load(struct ckfs_content *content, int dirfd, enum content_part part)
{
	struct content_loaded *loaded = &content->loaded[part];
	struct content_loaded now = { .is = true };
	size_t len = 0;
	int r;

	if (loaded->is && content->settled)
		return loaded->result;
	r = ckfs_content_stamp_at(dirfd, content_paths[part], &now.stamp);
	if (loaded->is && r == 0 && now.stamp && now.stamp == loaded->stamp)
		return loaded->result;

	content_drop(content, part);
	if (r == 0)
		r = content_loaders[part](content, dirfd, &len);
	now.result = r;
	now.size = len;
	/* What is not there yet, or still being written, will be looked at again. */
	if (content_is_final(r) && (content->settled || now.stamp))
		*loaded = now;
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

static int content_read_meta(int dirfd, char **ret, size_t *ret_len)
{
	void *text;
	int r;

	r = ckpt_fd_read_all(dirfd, CKPT_PATH_META, CKFS_META_MAX, &text, ret_len);
	if (r == 0)
		*ret = text;
	return r;
}

/**
 * ckfs_content_meta() - meta.json as it is shown under a name
 * @ret: the caller frees
 *
 * The text is made anew each time: kept, those of a hostile store would fill our memory.
 *
 * Return: 0; -EFBIG above CKFS_META_MAX: it is to be shown as it is stored; as
 * ckpt_fd_read_all().
 */
int ckfs_content_meta(struct ckfs_content *content, int dirfd, const char *name, char **ret,
		      size_t *ret_len)
{
	cleanup_free char *stored = NULL;
	size_t len;
	int r;

	r = content_read_meta(dirfd, &stored, &len);
	return r < 0 ? r : ckfs_render_meta(stored, len, name, ret, ret_len);
}

static bool content_knows_meta(struct ckfs_content *content, uint64_t stamp, const char *name,
			       uint64_t *ret)
{
	bool known;

	pthread_mutex_lock(&content->lock);
	known = stamp && content->meta_stamp == stamp && !strcmp(content->meta_name, name);
	if (known)
		*ret = content->meta_size;
	pthread_mutex_unlock(&content->lock);
	return known;
}

/* The length of what ckfs_content_meta() gives; as that one. */
int ckfs_content_meta_size(struct ckfs_content *content, int dirfd, const char *name, uint64_t *ret)
{
	cleanup_free char *text = NULL;
	uint64_t stamp;
	size_t len;
	int r;

	r = ckfs_content_stamp_at(dirfd, CKPT_PATH_META, &stamp);
	if (r < 0 || content_knows_meta(content, stamp, name, ret))
		return r;
	r = ckfs_content_meta(content, dirfd, name, &text, &len);
	if (r < 0)
		return r;

	pthread_mutex_lock(&content->lock);
	content->meta_stamp = stamp;
	content->meta_size = len;
	strncpy(content->meta_name, name, sizeof(content->meta_name) - 1);
	pthread_mutex_unlock(&content->lock);
	*ret = len;
	return 0;
}

/* SHA256SUMS as it is shown under a name; as ckfs_content_meta(). */
int ckfs_content_sums(struct ckfs_content *content, int dirfd, const char *name, char **ret,
		      size_t *ret_len)
{
	cleanup_free char *meta = NULL, *rendered = NULL;
	cleanup_free void *stored = NULL;
	size_t stored_len, meta_len, rendered_len;
	int r;

	r = ckpt_fd_read_all(dirfd, CKPT_PATH_SUMS, CKPT_JSON_MAX, &stored, &stored_len);
	if (r < 0)
		return r;
	r = content_read_meta(dirfd, &meta, &meta_len);
	if (r == -EFBIG) { /* it is shown as it is stored: so is its line */
		*ret = steal_pointer(stored);
		*ret_len = stored_len;
		return 0;
	}
	if (r < 0)
		return r;
	r = ckfs_render_meta(meta, meta_len, name, &rendered, &rendered_len);
	if (r < 0)
		return r;

	return ckfs_render_sums(stored, stored_len, meta, meta_len, rendered, rendered_len, ret,
				ret_len);
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

/* Forgets all that was read: it will be read again. */
void ckfs_content_drop(struct ckfs_content *content)
{
	pthread_mutex_lock(&content->lock);
	for (int part = 0; part < _CONTENT_MAX; part++)
		content_drop(content, (enum content_part)part);
	content->meta_stamp = 0;
	pthread_mutex_unlock(&content->lock);
}

/* Whether the checkpoint is whole, so that what was read from it stays true. */
void ckfs_content_settle(struct ckfs_content *content, bool settled)
{
	pthread_mutex_lock(&content->lock);
	content->settled = settled;
	pthread_mutex_unlock(&content->lock);
}

/* Bytes, about, that it keeps. */
size_t ckfs_content_size(struct ckfs_content *content)
{
	size_t size = 0;

	pthread_mutex_lock(&content->lock);
	for (int part = 0; part < _CONTENT_MAX; part++)
		size += content->loaded[part].size;
	pthread_mutex_unlock(&content->lock);
	return size;
}

struct ckfs_content *ckfs_content_free(struct ckfs_content *content)
{
	if (!content)
		return NULL;
	ckfs_content_drop(content);
	pthread_mutex_destroy(&content->lock);
	free(content);
	return NULL;
}
