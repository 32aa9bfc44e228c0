/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/tree.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "format/cleanup.h"
#include "format/name.h"
#include "format/store.h"
#include "fs/image.h"

#define TREE_BUCKETS_MIN 1024U
#define TREE_ROOT_INO 1U

struct ckfs_node {
	struct ckfs_image *image; /* NULL: the root, or ctl */
	uint64_t ino;
	atomic_ullong stamp; /* it had when it was held against SHA256SUMS; 0: it was not */

	/* protected by tree->lock */
	struct ckfs_node *next; /* of the bucket */
	uint64_t n_lookups;

	char path[]; /* in the checkpoint; "": its directory */
};

struct ckfs_tree {
	struct ckfs_tree_params params;
	struct ckfs_images *images;
	struct ckfs_node *root;
	uint64_t ctl_ino;
	struct timespec born;

	pthread_mutex_t lock;
	/* protected by lock */
	struct ckfs_node **buckets;
	size_t n_buckets, n_nodes;
};

static struct ckfs_node *node_new(struct ckfs_image *image, uint64_t ino, const char *path)
{
	struct ckfs_node *node = calloc(1, sizeof(*node) + strlen(path) + 1);

	if (node) {
		node->image = image ? ckfs_image_ref(image) : NULL;
		node->ino = ino;
		strcpy(node->path, path);
	}
	return node;
}

static struct ckfs_node *node_free(struct ckfs_node *node)
{
	if (node)
		ckfs_image_unref(node->image);
	free(node);
	return NULL;
}

static struct ckfs_node **tree_bucket(struct ckfs_tree *tree, uint64_t ino)
{
	return &tree->buckets[ino & (tree->n_buckets - 1)];
}

/* Under the lock. Short of memory the chains grow longer instead. */
static void tree_grow(struct ckfs_tree *tree)
{
	size_t n_old = tree->n_buckets;
	struct ckfs_node **old = tree->buckets, **bigger;

	if (tree->n_nodes < 2 * n_old)
		return;
	bigger = calloc(2 * n_old, sizeof(struct ckfs_node *));
	if (!bigger)
		return;

	tree->buckets = bigger;
	tree->n_buckets = 2 * n_old;
	for (size_t i = 0; i < n_old; i++) {
		struct ckfs_node *node, *next;

		for (node = old[i]; node; node = next) {
			struct ckfs_node **bucket = tree_bucket(tree, node->ino);

			next = node->next;
			node->next = *bucket;
			*bucket = node;
		}
	}
	free(old);
}

/* The node of a path, looked up once more; made where there is none. */
static int tree_take(struct ckfs_tree *tree, struct ckfs_image *image, const char *path,
		     struct ckfs_node **ret)
{
	uint64_t ino = ckfs_images_hash(tree->images, ckfs_image_facts(image).key, path);
	struct ckfs_node *node, *fresh, **bucket;

	fresh = node_new(image, ino, path);
	if (!fresh)
		return -ENOMEM;

	pthread_mutex_lock(&tree->lock);
	for (node = *tree_bucket(tree, ino); node; node = node->next)
		if (node->image == image && !strcmp(node->path, path))
			break;
	if (!node) {
		tree_grow(tree);
		bucket = tree_bucket(tree, ino);
		fresh->next = *bucket;
		*bucket = fresh;
		tree->n_nodes++;
		node = steal_pointer(fresh);
	}
	node->n_lookups++;
	pthread_mutex_unlock(&tree->lock);

	node_free(fresh);
	*ret = node;
	return 0;
}

/* Takes look-ups back; the node goes with the last. The root stays. */
void ckfs_tree_forget(struct ckfs_tree *tree, struct ckfs_node *node, uint64_t n_lookups)
{
	struct ckfs_node **link;
	bool last;

	if (node == tree->root)
		return;

	pthread_mutex_lock(&tree->lock);
	node->n_lookups -= n_lookups < node->n_lookups ? n_lookups : node->n_lookups;
	last = node->n_lookups == 0;
	if (last && node->image) {
		for (link = tree_bucket(tree, node->ino); *link != node;)
			link = &(*link)->next;
		*link = node->next;
		tree->n_nodes--;
	}
	pthread_mutex_unlock(&tree->lock);

	if (last)
		node_free(node);
}

static void tree_set_times(struct stat *st, struct timespec when)
{
	st->st_atim = st->st_mtim = st->st_ctim = when;
}

static void tree_stat_own(struct ckfs_tree *tree, const struct ckfs_node *node,
			  struct ckfs_entry *ret)
{
	bool open = tree->params.allow_other;
	bool root = node == tree->root;
	struct stat store;

	ret->trust = CKFS_TRUST_NONE;
	ret->st = (struct stat){
		.st_ino = node->ino,
		.st_mode = root ? S_IFDIR | (open ? 01777 : 0700) : S_IFREG | (open ? 0666 : 0600),
		.st_nlink = 1,
		.st_uid = tree->params.uid,
		.st_gid = tree->params.gid,
		.st_blksize = 4096,
	};
	tree_set_times(&ret->st, tree->born);
	if (root && fstat(ckpt_store_fd(tree->params.store), &store) == 0)
		tree_set_times(&ret->st, store.st_mtim);
}

struct tree_found {
	struct ckfs_item item;
	bool settled;
};

static enum ckfs_trust tree_trust(const struct tree_found *found)
{
	if (!found->settled)
		return CKFS_TRUST_NONE;
	return found->item.fickle ? CKFS_TRUST_ENTRY : CKFS_TRUST_ALL;
}

static void tree_stat_found(const struct ckfs_node *node, const struct tree_found *found,
			    struct ckfs_entry *ret)
{
	const struct ckfs_facts facts = ckfs_image_facts(node->image);
	const struct ckfs_item *item = &found->item;

	ret->trust = tree_trust(found);
	ret->st = (struct stat){
		.st_ino = node->ino,
		.st_mode = item->mode,
		.st_nlink = 1,
		.st_uid = facts.uid,
		.st_gid = facts.gid,
		.st_size = (off_t)item->size,
		.st_blocks = (blkcnt_t)item->blocks,
		.st_blksize = 4096,
	};
	tree_set_times(&ret->st, facts.created);
}

static int tree_find(struct ckfs_image *image, const char *path, struct tree_found *ret)
{
	struct ckfs_visit visit;
	int r;

	if (!*path) {
		/* Its name is in the root, where others rename and remove. */
		*ret = (struct tree_found){ .item.mode = S_IFDIR | 0700 };
		return 0;
	}
	r = ckfs_image_enter(image, &visit);
	if (r < 0)
		return r;
	r = ckfs_view_find(&visit.place, path, &ret->item);
	ret->settled = visit.settled;
	ckfs_image_leave(&visit);
	return r;
}

static int tree_enter(struct ckfs_tree *tree, struct ckfs_image *image, const char *path,
		      struct ckfs_entry *ret)
{
	struct tree_found found;
	int r;

	r = tree_find(image, path, &found);
	if (r < 0)
		return r;
	r = tree_take(tree, image, path, &ret->node);
	if (r < 0)
		return r;

	tree_stat_found(ret->node, &found, ret);
	return 0;
}

static int tree_lookup_ctl(struct ckfs_tree *tree, struct ckfs_entry *ret)
{
	struct ckfs_node *node = node_new(NULL, tree->ctl_ino, CKFS_CTL);

	if (!node)
		return -ENOMEM;
	node->n_lookups = 1;
	tree_stat_own(tree, node, ret);
	ret->node = node;
	return 0;
}

static int tree_lookup_root(struct ckfs_tree *tree, const char *name, struct ckfs_entry *ret)
{
	struct ckfs_image *image;
	int r;

	if (!strcmp(name, CKFS_CTL))
		return tree_lookup_ctl(tree, ret);

	r = ckfs_image_get(tree->images, name, &image);
	if (r < 0)
		return r;
	r = tree_enter(tree, image, "", ret);
	ckfs_image_unref(image); /* the node has its own */
	return r;
}

/**
 * ckfs_tree_lookup() - find a name in a directory
 * @ret: its node counts one look-up more, ckfs_tree_forget() takes it back
 *
 * Return: 0; -ENOENT; -ENOTDIR; -ENAMETOOLONG; -ENOMEM, -EMFILE, -EIO and the like.
 */
int ckfs_tree_lookup(struct ckfs_tree *tree, struct ckfs_node *parent, const char *name,
		     struct ckfs_entry *ret)
{
	char path[PATH_MAX];

	if (parent == tree->root)
		return tree_lookup_root(tree, name, ret);
	if (!parent->image)
		return -ENOTDIR;
	if ((size_t)snprintf(path, sizeof(path), "%s%s%s", parent->path, *parent->path ? "/" : "",
			     name) >= sizeof(path))
		return -ENAMETOOLONG;

	return tree_enter(tree, parent->image, path, ret);
}

/* Return: 0 with @ret filled but for its node; -ENOENT when it is gone. */
int ckfs_tree_stat(struct ckfs_tree *tree, struct ckfs_node *node, struct ckfs_entry *ret)
{
	struct tree_found found;
	int r;

	if (!node->image) {
		tree_stat_own(tree, node, ret);
		return 0;
	}
	r = tree_find(node->image, node->path, &found);
	if (r < 0)
		return r;

	tree_stat_found(node, &found, ret);
	return 0;
}

struct tree_listing {
	struct ckfs_tree *tree;
	struct ckfs_listing *listing;
};

static int tree_list_name(void *userdata, const char *name)
{
	struct tree_listing *to = userdata;
	uint64_t key = ckfs_images_key(to->tree->images, name);

	if (!key)
		return 0; /* gone since: no descriptor is needed to see that */
	return ckfs_listing_add(to->listing, name, S_IFDIR,
				ckfs_images_hash(to->tree->images, key, ""));
}

static int tree_list_root(struct ckfs_tree *tree, struct ckfs_listing *ret)
{
	struct tree_listing to = { .tree = tree, .listing = ret };
	int r;

	r = ckfs_listing_add(ret, CKFS_CTL, S_IFREG, tree->ctl_ino);
	if (r < 0)
		return r;
	return ckpt_store_each(tree->params.store, tree_list_name, &to);
}

/* The numbers that a look-up of each name will give. */
static int tree_number(struct ckfs_tree *tree, const struct ckfs_node *node,
		       struct ckfs_listing *listing)
{
	uint64_t key = ckfs_image_facts(node->image).key;
	char path[PATH_MAX];

	for (size_t i = 0; i < listing->n; i++) {
		snprintf(path, sizeof(path), "%s%s%s", node->path, *node->path ? "/" : "",
			 listing->items[i].name);
		listing->items[i].ino = ckfs_images_hash(tree->images, key, path);
	}
	return 0;
}

/**
 * ckfs_tree_list() - the names in a directory, . and .. left out
 * @ret: empty before; ckfs_listing_done() frees it, also on failure
 *
 * Return: 0; -ENOTDIR; -ENOENT when it is gone; -ENOMEM; as readdir(3).
 */
int ckfs_tree_list(struct ckfs_tree *tree, struct ckfs_node *node, struct ckfs_listing *ret)
{
	struct ckfs_visit visit;
	int r;

	if (node == tree->root)
		return tree_list_root(tree, ret);
	if (!node->image)
		return -ENOTDIR;

	r = ckfs_image_enter(node->image, &visit);
	if (r < 0)
		return r;
	r = ckfs_view_list(&visit.place, node->path, ret);
	ckfs_image_leave(&visit);

	return r < 0 ? r : tree_number(tree, node, ret);
}

/**
 * ckfs_tree_open() - open a file of a checkpoint for reading
 * @ret_same: what is stored is what it was when it was opened last
 * @ret: ckfs_file_done() frees it; stays readable when the checkpoint is removed
 *
 * Unless it is the same it is held against SHA256SUMS.
 *
 * Return: 0; -EIO when it is damaged; -ENOENT; -EMFILE and the like.
 */
int ckfs_tree_open(struct ckfs_tree *tree, struct ckfs_node *node, bool *ret_same,
		   struct ckfs_file *ret)
{
	uint64_t known = atomic_load(&node->stamp);
	struct ckfs_visit visit;
	int r;

	if (!node->image || !*node->path)
		return -EISDIR;

	r = ckfs_image_enter(node->image, &visit);
	if (r < 0)
		return r;
	r = ckfs_view_open(&visit.place, node->path, known, ret);
	ckfs_image_leave(&visit);
	if (r < 0)
		return r;

	*ret_same = known && known == ret->stamp;
	atomic_store(&node->stamp, ret->stamp);
	return 0;
}

/* Whether the names in a directory of a checkpoint may be believed from now on. */
bool ckfs_tree_is_settled(struct ckfs_tree *tree, struct ckfs_node *node)
{
	struct ckfs_visit visit;

	if (!node->image || ckfs_image_enter(node->image, &visit) < 0)
		return false;
	ckfs_image_leave(&visit);
	return visit.settled;
}

/* Return: 0, the caller frees @ret; -EINVAL when it is no link; -ENOENT. */
int ckfs_tree_readlink(struct ckfs_tree *tree, struct ckfs_node *node, char **ret)
{
	struct ckfs_visit visit;
	int r;

	if (!node->image || !*node->path)
		return -EINVAL;

	r = ckfs_image_enter(node->image, &visit);
	if (r < 0)
		return r;
	r = ckfs_view_readlink(&visit.place, node->path, ret);
	ckfs_image_leave(&visit);
	return r;
}

/* Whether a rename can be at all, without a look at the store. As ckfs_tree_rename(). */
int ckfs_tree_check_rename(struct ckfs_tree *tree, struct ckfs_node *parent, const char *name,
			   struct ckfs_node *new_parent, const char *new_name)
{
	if (parent != tree->root || new_parent != tree->root || !strcmp(name, CKFS_CTL))
		return -EPERM;
	return ckpt_name_check(new_name);
}

/**
 * ckfs_tree_rename() - give a checkpoint another name
 *
 * Return: 0; -EPERM for anything but a checkpoint within the root; -ENOENT, -EEXIST, -EINVAL,
 * -ENAMETOOLONG, -EROFS as ckpt_store_rename().
 */
int ckfs_tree_rename(struct ckfs_tree *tree, struct ckfs_node *parent, const char *name,
		     struct ckfs_node *new_parent, const char *new_name)
{
	struct ckfs_image *image;
	int r;

	r = ckfs_tree_check_rename(tree, parent, name, new_parent, new_name);
	if (r < 0)
		return r;
	r = ckpt_store_rename(tree->params.store, name, new_name);
	if (r < 0)
		return r;
	/* Meeting it under its new name renames the image, should there be one. */
	if (ckfs_image_get(tree->images, new_name, &image) == 0)
		ckfs_image_unref(image);
	return 0;
}

/**
 * ckfs_tree_remove() - remove a whole checkpoint; its space comes back by ckpt_store_sweep()
 *
 * Return: 0; -EPERM for anything but a checkpoint in the root; -ENOENT; -EROFS.
 */
int ckfs_tree_remove(struct ckfs_tree *tree, struct ckfs_node *parent, const char *name)
{
	if (parent != tree->root || !strcmp(name, CKFS_CTL))
		return -EPERM;

	return ckpt_store_remove(tree->params.store, name);
}

struct ckfs_node *ckfs_tree_root(struct ckfs_tree *tree)
{
	return tree->root;
}

bool ckfs_node_is_ctl(const struct ckfs_node *node)
{
	return !node->image && *node->path;
}

/**
 * ckfs_tree_new() - begin with the root
 * @params: copied; the store must outlive the tree
 *
 * Return: 0; -ENOMEM; -EIO.
 */
int ckfs_tree_new(const struct ckfs_tree_params *params, struct ckfs_tree **ret)
{
	struct ckfs_tree *tree = calloc(1, sizeof(*tree));
	int r;

	if (!tree)
		return -ENOMEM;
	tree->params = *params;
	pthread_mutex_init(&tree->lock, NULL);
	clock_gettime(CLOCK_REALTIME, &tree->born);

	r = ckfs_images_new(params->store, params->max_open, &tree->images);
	if (r == 0) {
		tree->n_buckets = TREE_BUCKETS_MIN;
		tree->buckets = calloc(tree->n_buckets, sizeof(struct ckfs_node *));
		tree->root = node_new(NULL, TREE_ROOT_INO, "");
		tree->ctl_ino = ckfs_images_hash(tree->images, 0, CKFS_CTL);
		if (!tree->buckets || !tree->root)
			r = -ENOMEM;
	}
	if (r < 0) {
		ckfs_tree_free(tree);
		return r;
	}

	*ret = tree;
	return 0;
}

struct ckfs_tree *ckfs_tree_free(struct ckfs_tree *tree)
{
	if (!tree)
		return NULL;
	for (size_t i = 0; tree->buckets && i < tree->n_buckets; i++) {
		struct ckfs_node *node, *next;

		for (node = tree->buckets[i]; node; node = next) {
			next = node->next;
			node_free(node);
		}
	}
	free(tree->buckets);
	node_free(tree->root);
	ckfs_images_free(tree->images);
	pthread_mutex_destroy(&tree->lock);
	free(tree);
	return NULL;
}
