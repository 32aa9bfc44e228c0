/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/checkpoint.h"
#include "format/cleanup.h"
#include "format/fdio.h"
#include "format/layout.h"
#include "format/store.h"
#include "fs/content.h"

#define IMAGES_BUCKETS 4096U		      /* a power of two */
#define IMAGES_CONTENT_MAX ((size_t)64 << 20) /* bytes of what was read from files, in all */

/* Of looking whether somebody copies the checkpoint into the store at the moment. */
#define IMAGE_QUIET_MS 10000 /* so long nothing changed */
#define IMAGE_MOMENT_MS 50   /* longer than two steps of a filesystem's clock */
#define IMAGE_AGAIN_MS 500   /* no look sooner after the last one */
#define IMAGE_DEPTH_MAX 6    /* more is not shown */
#define IMAGE_FILES_MAX (1U << 20)

/* A directory, and not another one that was given its inode number later. */
struct image_id {
	uint32_t dev_major, dev_minor;
	uint64_t ino;
	int64_t born_sec;
	uint64_t born_nsec;
};

struct ckfs_image {
	struct ckfs_images *images;
	struct image_id id;
	struct ckfs_content *content;

	/* protected by images->lock */
	struct ckfs_facts facts;
	uint64_t meta_stamp; /* of the meta.json the facts are from; 0: look again */
	bool settled;
	int64_t look_ms;		  /* when to look next whether it is; CLOCK_MONOTONIC */
	size_t content_size;		  /* bytes */
	struct ckfs_image *next;	  /* of the bucket */
	struct ckfs_image *newer, *older; /* of those with an open fd */
	char name[CKPT_NAME_SIZE];
	unsigned refs;
	unsigned visitors; /* the fd stays open */
	int fd;
};

struct ckfs_images {
	struct ckpt_store *store; /* not owned */
	uint64_t seed;
	size_t max_open;
	pthread_mutex_t lock;
	/* protected by lock */
	struct ckfs_image *buckets[IMAGES_BUCKETS];
	struct ckfs_image *newest, *oldest;
	size_t n_open;
	size_t content_size; /* of all images */
};

static uint64_t image_mix(uint64_t h)
{
	h ^= h >> 33;
	h *= UINT64_C(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ h >> 33;
}

static uint64_t image_id_hash(const struct ckfs_images *images, const struct image_id *id)
{
	uint64_t h = images->seed;

	h = image_mix(h ^ ((uint64_t)id->dev_major << 32 | id->dev_minor));
	h = image_mix(h ^ id->ino);
	h = image_mix(h ^ (uint64_t)id->born_sec);
	return image_mix(h ^ id->born_nsec);
}

static bool image_id_equal(const struct image_id *a, const struct image_id *b)
{
	return a->dev_major == b->dev_major && a->dev_minor == b->dev_minor && a->ino == b->ino &&
	       a->born_sec == b->born_sec && a->born_nsec == b->born_nsec;
}

static int image_id_read(int dirfd, const char *path, int flags, struct image_id *ret)
{
	struct statx stx;

	/* What is mounted there since is not asked: it may be our own mount. */
	flags |= AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC;
	if (statx(dirfd, path, flags, STATX_INO | STATX_BTIME, &stx) < 0)
		return -errno;

	*ret = (struct image_id){
		.dev_major = stx.stx_dev_major,
		.dev_minor = stx.stx_dev_minor,
		.ino = stx.stx_ino,
	};
	if (stx.stx_mask & STATX_BTIME) {
		ret->born_sec = stx.stx_btime.tv_sec;
		ret->born_nsec = stx.stx_btime.tv_nsec;
	}
	return 0;
}

/* A number for a path in the checkpoint of @key; the same as long as @images lives. */
uint64_t ckfs_images_hash(const struct ckfs_images *images, uint64_t key, const char *path)
{
	uint64_t h = key ^ images->seed;

	for (; *path; path++)
		h = (h ^ (unsigned char)*path) * UINT64_C(0x100000001b3);
	h = image_mix(h);

	return h > 1 ? h : h + 2; /* 0 is none, 1 the root */
}

/* The key of the checkpoint of that name, without opening it; 0: none. */
uint64_t ckfs_images_key(struct ckfs_images *images, const char *name)
{
	struct image_id id;

	if (image_id_read(ckpt_store_fd(images->store), name, 0, &id) < 0)
		return 0;
	return image_id_hash(images, &id);
}

/* Under the lock, as all of the list of open ones. */
static void images_unlist(struct ckfs_images *images, struct ckfs_image *image)
{
	*(image->newer ? &image->newer->older : &images->newest) = image->older;
	*(image->older ? &image->older->newer : &images->oldest) = image->newer;
	image->newer = image->older = NULL;
	images->n_open--;
}

static void images_list(struct ckfs_images *images, struct ckfs_image *image)
{
	image->older = images->newest;
	image->newer = NULL;
	*(images->newest ? &images->newest->newer : &images->oldest) = image;
	images->newest = image;
	images->n_open++;
}

static void image_set_size(struct ckfs_image *image, size_t size)
{
	image->images->content_size += size - image->content_size;
	image->content_size = size;
}

/* Under the lock, with nobody visiting: so nobody holds the content's lock for long. */
static void image_drop_content(struct ckfs_image *image)
{
	ckfs_content_drop(image->content);
	image_set_size(image, 0);
}

/* Forgets what was read from the checkpoints that were of use longest ago. */
static void images_trim_content(struct ckfs_images *images)
{
	struct ckfs_image *image = images->oldest;

	for (; image && images->content_size > IMAGES_CONTENT_MAX; image = image->newer)
		if (image->visitors == 0 && image->content_size > 0)
			image_drop_content(image);
}

/* Closes the fds that were of use longest ago. */
static void images_trim(struct ckfs_images *images)
{
	struct ckfs_image *image = images->oldest;

	while (image && images->n_open > images->max_open) {
		struct ckfs_image *next = image->newer;

		if (image->visitors == 0) {
			images_unlist(images, image);
			image->fd = close_fd(image->fd);
			image_drop_content(image);
		}
		image = next;
	}
}

/* Takes @fd, or closes it when there is one already. */
static void image_adopt_fd(struct ckfs_image *image, int fd)
{
	struct ckfs_images *images = image->images;

	if (image->fd >= 0) {
		close_fd(fd);
		images_unlist(images, image);
	} else {
		image->fd = fd;
	}
	images_list(images, image);
	images_trim(images);
}

static struct ckfs_image **images_bucket(struct ckfs_images *images, const struct image_id *id)
{
	return &images->buckets[image_id_hash(images, id) & (IMAGES_BUCKETS - 1)];
}

static struct ckfs_image *images_find(struct ckfs_images *images, const struct image_id *id)
{
	struct ckfs_image *image = *images_bucket(images, id);

	while (image && !image_id_equal(&image->id, id))
		image = image->next;
	return image;
}

static struct ckfs_image *image_destroy(struct ckfs_image *image)
{
	if (!image)
		return NULL;
	close_fd(image->fd);
	ckfs_content_free(image->content);
	free(image);
	return NULL;
}

/* What meta.json does not tell, or tells no longer, the directory itself does. */
static int image_read_facts(int dirfd, struct ckfs_facts *ret)
{
	struct ckfs_facts facts = {};
	struct ckpt_meta meta = {};
	struct stat st;
	int r;

	if (fstat(dirfd, &st) < 0)
		return -errno;
	facts.uid = st.st_uid;
	facts.gid = st.st_gid;
	facts.created = st.st_mtim;

	r = ckpt_layout_read_meta(dirfd, &meta);
	if (r == -ENOMEM || r == -EMFILE || r == -ENFILE)
		return r;
	if (r == 0) {
		facts.version = meta.version;
		if (meta.ours) {
			facts.uid = meta.owner_uid;
			facts.created.tv_sec = meta.created_sec;
			facts.created.tv_nsec = meta.created_nsec;
		}
		ckpt_meta_done(&meta);
	}

	*ret = facts;
	return 0;
}

static bool image_knows_meta(struct ckfs_image *image, uint64_t stamp)
{
	bool known;

	pthread_mutex_lock(&image->images->lock);
	known = stamp && image->meta_stamp == stamp;
	pthread_mutex_unlock(&image->images->lock);
	return known;
}

/* Another meta.json than before: then whatever is known is to be looked at again. */
static int image_learn(struct ckfs_image *image, int dirfd)
{
	struct ckfs_facts facts = {};
	uint64_t stamp = 0;
	int r;

	(void)ckfs_content_stamp_at(dirfd, CKPT_PATH_META, &stamp);
	if (image_knows_meta(image, stamp))
		return 0;
	r = image_read_facts(dirfd, &facts);
	if (r < 0)
		return r;
	ckfs_content_settle(image->content, false);

	pthread_mutex_lock(&image->images->lock);
	facts.key = image_id_hash(image->images, &image->id);
	image->facts = facts;
	image->meta_stamp = stamp;
	image->settled = false;
	image->look_ms = 0;
	pthread_mutex_unlock(&image->images->lock);
	return 0;
}

static int image_new(struct ckfs_images *images, const struct image_id *id, int dirfd,
		     struct ckfs_image **ret)
{
	struct ckfs_image *image = calloc(1, sizeof(*image));
	int r;

	if (!image)
		return -ENOMEM;
	image->images = images;
	image->id = *id;
	image->fd = -EBADF;

	r = ckfs_content_new(&image->content);
	if (r == 0)
		r = image_learn(image, dirfd);
	if (r < 0) {
		image_destroy(image);
		return r;
	}

	*ret = image;
	return 0;
}

/* What was read in the visit counts from now on. */
static void image_end_visit(struct ckfs_image *image)
{
	struct ckfs_images *images = image->images;
	size_t size = ckfs_content_size(image->content);

	pthread_mutex_lock(&images->lock);
	image->visitors--;
	image_set_size(image, size);
	images_trim_content(images);
	pthread_mutex_unlock(&images->lock);
}

/* Under the lock: what another program renamed is known by its new name from now on. */
static void image_met(struct ckfs_image *image, const char *name, int *fd)
{
	image->refs++;
	strncpy(image->name, name, sizeof(image->name) - 1);
	image_adopt_fd(image, steal_fd(fd));
}

/**
 * ckfs_image_get() - the checkpoint that has a name in the store now
 * @ret: ckfs_image_unref() gives it back
 *
 * Return: 0; -ENOENT; -EMFILE, -ENOMEM, -EIO and the like.
 */
int ckfs_image_get(struct ckfs_images *images, const char *name, struct ckfs_image **ret)
{
	struct ckfs_image *image, *fresh = NULL, **bucket;
	cleanup_fd int fd = -EBADF;
	struct image_id id;
	int dirfd, r;

	r = ckpt_store_lookup(images->store, name, &fd);
	if (r < 0)
		return r;
	r = image_id_read(fd, "", AT_EMPTY_PATH, &id);
	if (r < 0)
		return r;

	pthread_mutex_lock(&images->lock);
	image = images_find(images, &id);
	if (!image) {
		/* Reading is done without the lock; somebody else may be faster. */
		pthread_mutex_unlock(&images->lock);
		r = image_new(images, &id, fd, &fresh);
		if (r < 0)
			return r;
		pthread_mutex_lock(&images->lock);
		image = images_find(images, &id);
	}
	if (!image) {
		bucket = images_bucket(images, &id);
		fresh->next = *bucket;
		image = *bucket = steal_pointer(fresh);
	}
	image->visitors++; /* its fd stays open */
	image_met(image, name, &fd);
	dirfd = image->fd;
	pthread_mutex_unlock(&images->lock);
	image_destroy(fresh);

	r = image_learn(image, dirfd);
	image_end_visit(image);
	if (r < 0) {
		ckfs_image_unref(image);
		return r;
	}
	*ret = image;
	return 0;
}

struct ckfs_image *ckfs_image_ref(struct ckfs_image *image)
{
	pthread_mutex_lock(&image->images->lock);
	image->refs++;
	pthread_mutex_unlock(&image->images->lock);
	return image;
}

struct ckfs_image *ckfs_image_unref(struct ckfs_image *image)
{
	struct ckfs_images *images;
	struct ckfs_image **link;
	bool last;

	if (!image)
		return NULL;
	images = image->images;

	pthread_mutex_lock(&images->lock);
	last = --image->refs == 0;
	if (last) {
		for (link = images_bucket(images, &image->id); *link != image;)
			link = &(*link)->next;
		*link = image->next;
		if (image->fd >= 0)
			images_unlist(images, image);
		image_set_size(image, 0);
	}
	pthread_mutex_unlock(&images->lock);

	return last ? image_destroy(image) : NULL;
}

struct ckfs_facts ckfs_image_facts(struct ckfs_image *image)
{
	struct ckfs_facts facts;

	pthread_mutex_lock(&image->images->lock);
	facts = image->facts;
	pthread_mutex_unlock(&image->images->lock);
	return facts;
}

struct image_change {
	struct timespec newest; /* change of anything, but for SHA256SUMS */
	struct timespec sums;	/* of SHA256SUMS; 0: it is not there */
	unsigned n;
};

static bool time_is_before(struct timespec a, struct timespec b)
{
	return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
}

static struct timespec time_of(const struct statx_timestamp *t)
{
	return (struct timespec){ .tv_sec = t->tv_sec, .tv_nsec = t->tv_nsec };
}

static int image_find_change(int parent_fd, const char *name, unsigned depth,
			     struct image_change *ret);

static int image_find_change_of(int dirfd, const char *name, unsigned depth,
				struct image_change *ret)
{
	struct timespec when;
	struct statx stx;

	if (++ret->n > IMAGE_FILES_MAX)
		return -E2BIG;
	if (statx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_CTIME,
		  &stx) < 0)
		return -errno;
	when = time_of(&stx.stx_ctime);
	if (depth == 0 && !strcmp(name, CKPT_PATH_SUMS))
		ret->sums = when;
	else if (time_is_before(ret->newest, when))
		ret->newest = when;
	return S_ISDIR(stx.stx_mode) ? image_find_change(dirfd, name, depth + 1, ret) : 0;
}

static int image_find_change(int parent_fd, const char *name, unsigned depth,
			     struct image_change *ret)
{
	cleanup_dir DIR *dir = NULL;
	cleanup_fd int fd = -EBADF;
	struct dirent *de;
	int r;

	if (depth > IMAGE_DEPTH_MAX)
		return 0;
	fd = ckpt_fd_open_beneath(parent_fd, name, O_RDONLY | O_DIRECTORY);
	if (fd == -EXDEV)
		return 0; /* somebody's mount: not shown */
	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir)
		return -errno;
	steal_fd(&fd); /* closedir() closes it */

	for (;;) {
		errno = 0;
		de = readdir(dir);
		if (!de)
			return -errno;
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		r = image_find_change_of(dirfd(dir), de->d_name, depth, ret);
		if (r < 0)
			return r;
	}
}

static bool time_is_past(struct timespec when, int64_t ms)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (now.tv_sec - when.tv_sec) * INT64_C(1000) + (now.tv_nsec - when.tv_nsec) / 1000000 >
	       ms;
}

/*
 * A checkpoint is whole when SHA256SUMS was written after everything else, as we do, or when
 * nothing has changed for a while: what other programs copy in grows in any order. In the moment
 * after SHA256SUMS was written more could come and bear the same time.
 */
static bool image_is_settled(int dirfd)
{
	struct image_change change = {};

	if (image_find_change(dirfd, ".", 0, &change) < 0)
		return false;
	if (change.sums.tv_sec && !time_is_before(change.sums, change.newest))
		return time_is_past(change.sums, IMAGE_MOMENT_MS);
	return time_is_past(change.newest, IMAGE_QUIET_MS);
}

/* Under the lock. */
static bool image_is_to_be_looked_at(struct ckfs_image *image)
{
	struct timespec now;
	int64_t now_ms;

	if (image->settled)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &now);
	now_ms = now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
	if (now_ms < image->look_ms)
		return false;
	image->look_ms = now_ms + IMAGE_AGAIN_MS;
	return true;
}

/* What was read while it grew is read once more, now that it will stay. */
static bool image_look(struct ckfs_image *image, int dirfd)
{
	bool settled = image_is_settled(dirfd);

	if (!settled)
		return false;
	ckfs_content_drop(image->content);
	ckfs_content_settle(image->content, true);

	pthread_mutex_lock(&image->images->lock);
	image->settled = true;
	pthread_mutex_unlock(&image->images->lock);
	return true;
}

/* Opens the directory again; it may be another checkpoint's by now, or gone. */
static int image_reopen(struct ckfs_image *image, const char *name, int *ret)
{
	cleanup_fd int fd = -EBADF;
	struct image_id id;
	int r;

	r = ckpt_store_lookup(image->images->store, name, &fd);
	if (r < 0)
		return r;
	r = image_id_read(fd, "", AT_EMPTY_PATH, &id);
	if (r < 0)
		return r;
	if (!image_id_equal(&id, &image->id))
		return -ENOENT;

	*ret = steal_fd(&fd);
	return 0;
}

/**
 * ckfs_image_enter() - open an image's directory, if it is not open
 * @image: referenced for as long as the visit lasts
 * @ret: to be given to ckfs_image_leave(); its place points into it
 *
 * Return: 0; -ENOENT when it is gone; as open(2).
 */
int ckfs_image_enter(struct ckfs_image *image, struct ckfs_visit *ret)
{
	struct ckfs_images *images = image->images;
	bool look;
	int fd, r;

	ret->image = image;
	pthread_mutex_lock(&images->lock);
	strcpy(ret->name, image->name);
	image->visitors++; /* from here on its fd, should there be one, stays open */
	if (image->fd < 0) {
		pthread_mutex_unlock(&images->lock);
		r = image_reopen(image, ret->name, &fd);
		pthread_mutex_lock(&images->lock);
		if (r < 0) {
			image->visitors--;
			pthread_mutex_unlock(&images->lock);
			return r;
		}
		image_adopt_fd(image, fd);
	} else if (images->newest != image) {
		images_unlist(images, image);
		images_list(images, image);
	}
	look = image_is_to_be_looked_at(image);
	ret->place = (struct ckfs_place){
		.dirfd = image->fd,
		.name = ret->name,
		.version = image->facts.version,
		.content = image->content,
	};
	ret->settled = image->settled;
	pthread_mutex_unlock(&images->lock);

	if (look)
		ret->settled = image_look(image, ret->place.dirfd);
	return 0;
}

void ckfs_image_leave(struct ckfs_visit *visit)
{
	image_end_visit(visit->image);
}

/**
 * ckfs_images_new() - begin with none
 * @store: must outlive it
 * @max_open: how many directories may be kept open, at least 1
 *
 * Return: 0; -ENOMEM; -EIO.
 */
int ckfs_images_new(struct ckpt_store *store, size_t max_open, struct ckfs_images **ret)
{
	struct ckfs_images *images = calloc(1, sizeof(*images));

	if (!images)
		return -ENOMEM;
	if (getrandom(&images->seed, sizeof(images->seed), 0) != sizeof(images->seed)) {
		free(images);
		return -EIO;
	}
	images->store = store;
	images->max_open = max_open;
	pthread_mutex_init(&images->lock, NULL);

	*ret = images;
	return 0;
}

/* All images must have been given back. */
struct ckfs_images *ckfs_images_free(struct ckfs_images *images)
{
	if (images)
		pthread_mutex_destroy(&images->lock);
	free(images);
	return NULL;
}
