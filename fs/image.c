/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/image.h"

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
#include "format/layout.h"
#include "format/store.h"
#include "fs/content.h"

#define IMAGES_BUCKETS 4096U /* a power of two */

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
	struct ckfs_facts facts;
	struct ckfs_content *content;

	/* protected by images->lock */
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

	if (statx(dirfd, path, flags | AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &stx) < 0)
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

/* Closes the fds that were of use longest ago. */
static void images_trim(struct ckfs_images *images)
{
	struct ckfs_image *image = images->oldest;

	while (image && images->n_open > images->max_open) {
		struct ckfs_image *next = image->newer;

		if (image->visitors == 0) {
			images_unlist(images, image);
			image->fd = close_fd(image->fd);
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
static int image_read_facts(struct ckfs_image *image, int dirfd)
{
	struct ckpt_meta meta = {};
	struct stat st;
	int r;

	if (fstat(dirfd, &st) < 0)
		return -errno;
	image->facts.uid = st.st_uid;
	image->facts.gid = st.st_gid;
	image->facts.created = st.st_mtim;

	r = ckpt_layout_read_meta(dirfd, &meta);
	if (r == -ENOMEM || r == -EMFILE || r == -ENFILE)
		return r;
	if (r == 0) {
		image->facts.version = meta.version;
		if (meta.ours) {
			image->facts.uid = meta.owner_uid;
			image->facts.created.tv_sec = meta.created_sec;
			image->facts.created.tv_nsec = meta.created_nsec;
		}
		ckpt_meta_done(&meta);
	}
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
	image->facts.key = image_id_hash(images, id);

	r = ckfs_content_new(&image->content);
	if (r == 0)
		r = image_read_facts(image, dirfd);
	if (r < 0) {
		image_destroy(image);
		return r;
	}

	*ret = image;
	return 0;
}

/* Under the lock: what another program renamed is known by its new name from now on. */
static struct ckfs_image *image_met(struct ckfs_image *image, const char *name, int *fd)
{
	image->refs++;
	strncpy(image->name, name, sizeof(image->name) - 1);
	image_adopt_fd(image, steal_fd(fd));
	return image;
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
	int r;

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
	*ret = image_met(image, name, &fd);
	pthread_mutex_unlock(&images->lock);

	image_destroy(fresh);
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
	}
	pthread_mutex_unlock(&images->lock);

	return last ? image_destroy(image) : NULL;
}

const struct ckfs_facts *ckfs_image_facts(const struct ckfs_image *image)
{
	return &image->facts;
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
	int fd, r;

	ret->image = image;
	pthread_mutex_lock(&images->lock);
	strcpy(ret->name, image->name);
	if (image->fd < 0) {
		pthread_mutex_unlock(&images->lock);
		r = image_reopen(image, ret->name, &fd);
		if (r < 0)
			return r;
		pthread_mutex_lock(&images->lock);
		image_adopt_fd(image, fd);
	}
	image->visitors++;
	ret->place = (struct ckfs_place){
		.dirfd = image->fd,
		.name = ret->name,
		.version = image->facts.version,
		.content = image->content,
	};
	pthread_mutex_unlock(&images->lock);
	return 0;
}

void ckfs_image_leave(struct ckfs_visit *visit)
{
	struct ckfs_images *images = visit->image->images;

	pthread_mutex_lock(&images->lock);
	visit->image->visitors--;
	pthread_mutex_unlock(&images->lock);
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
