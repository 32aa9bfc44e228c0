/* SPDX-License-Identifier: Apache-2.0 */
#include "format/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "format/cleanup.h"
#include "format/fdio.h"
#include "format/layout.h"
#include "format/name.h"

#define STORE_PRIVATE ".sandckpt"
#define STORE_STAGING ".sandckpt/staging"
#define STORE_VERSION "sandckpt 1\n"
#define STORE_FILE_MAX 64 /* bytes of version and default */
#define STORE_ID_SIZE 33  /* 32 hex digits and a NUL */

struct ckpt_store {
	int fd;
	uid_t uid;
	gid_t gid;
	bool read_only;
};

struct ckpt_stage {
	struct ckpt_store *store; /* not owned */
	int staging_fd;
	int fd; /* holds the flock that keeps sweepers away */
	char id[STORE_ID_SIZE];
	bool committed;
};

/* 1 with the word in @ret, 0 when the file is absent; -EPROTONOSUPPORT when it can be no word. */
static int store_read_word(int dirfd, const char *path, char ret[STORE_FILE_MAX + 1])
{
	cleanup_free void *text = NULL;
	size_t len;
	int r;

	r = ckpt_fd_read_all(dirfd, path, STORE_FILE_MAX, &text, &len);
	if (r == -ENOENT)
		return 0;
	if (r == -EFBIG || r == -EBADMSG || r == -ELOOP)
		return -EPROTONOSUPPORT;
	if (r < 0)
		return r;

	memcpy(ret, text, len + 1);
	return 1;
}

static int store_check_version(int dirfd)
{
	char word[STORE_FILE_MAX + 1];
	int r;

	r = store_read_word(dirfd, STORE_PRIVATE "/version", word);
	if (r <= 0)
		return r;

	return strcmp(word, STORE_VERSION) == 0 ? 0 : -EPROTONOSUPPORT;
}

/**
 * ckpt_store_open_at() - take a directory as a store
 * @dirfd: O_RDONLY fd of the directory; the store owns it on success
 * @read_only: nothing will be written, .sandckpt included
 * @ret: freed by ckpt_store_free()
 *
 * Any directory is a store; .sandckpt/ is made by the first write.
 *
 * Return: 0; -ENOTDIR; -EPROTONOSUPPORT when .sandckpt/version names a format that is not ours;
 * -ENOMEM; -EIO and the like.
 */
int ckpt_store_open_at(int dirfd, bool read_only, struct ckpt_store **ret)
{
	struct ckpt_store *store;
	struct stat st;
	int r;

	if (fstat(dirfd, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;

	r = store_check_version(dirfd);
	if (r < 0)
		return r;

	store = malloc(sizeof(*store));
	if (!store)
		return -ENOMEM;

	*store = (struct ckpt_store){
		.fd = dirfd,
		.uid = st.st_uid,
		.gid = st.st_gid,
		.read_only = read_only,
	};
	*ret = store;
	return 0;
}

/* So that the store itself is there after a crash. A parent we may not read is left to the kernel. */
static int store_sync_parent(int dirfd)
{
	cleanup_fd int fd = openat(dirfd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == EACCES ? 0 : -errno;
	return fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
}

/**
 * ckpt_store_open() - open a store by path
 * @create: make the directory (0700) when it is missing and its parent is there
 *
 * Return: 0; as open(2), mkdir(2), fsync(2), ckpt_store_open_at().
 */
int ckpt_store_open(const char *path, bool create, bool read_only, struct ckpt_store **ret)
{
	cleanup_fd int fd = -EBADF;
	bool made = false;
	int r;

	if (create && !read_only) {
		made = mkdir(path, 0700) == 0;
		if (!made && errno != EEXIST)
			return -errno;
	}

	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = made ? store_sync_parent(fd) : 0;
	if (r < 0)
		return r;

	r = ckpt_store_open_at(fd, read_only, ret);
	if (r < 0)
		return r;

	steal_fd(&fd);
	return 0;
}

struct ckpt_store *ckpt_store_free(struct ckpt_store *store)
{
	if (store)
		close_fd(store->fd);
	free(store);
	return NULL;
}

/* The store's directory; stays the store's. */
int ckpt_store_fd(const struct ckpt_store *store)
{
	return store->fd;
}

uid_t ckpt_store_owner(const struct ckpt_store *store)
{
	return store->uid;
}

gid_t ckpt_store_group(const struct ckpt_store *store)
{
	return store->gid;
}

/**
 * ckpt_store_form() - how a checkpoint is kept when nobody says
 *
 * Return: 0; -EPROTONOSUPPORT when .sandckpt/default is neither of our words.
 */
int ckpt_store_form(struct ckpt_store *store, enum ckpt_store_form *ret)
{
	char word[STORE_FILE_MAX + 1];
	int r;

	r = store_read_word(store->fd, STORE_PRIVATE "/default", word);
	if (r < 0)
		return r;

	if (r == 0 || strcmp(word, "plain\n") == 0)
		*ret = CKPT_FORM_PLAIN;
	else if (strcmp(word, "packed\n") == 0)
		*ret = CKPT_FORM_PACKED;
	else
		return -EPROTONOSUPPORT;
	return 0;
}

/**
 * ckpt_store_has_room() - whether so much more would leave the reserve alone
 * @reserve_percent: of the filesystem's size, what is to stay free
 * @bytes: about to be written
 *
 * Return: 0; -ENOSPC; as fstatvfs(3).
 */
int ckpt_store_has_room(struct ckpt_store *store, unsigned reserve_percent, uint64_t bytes)
{
	struct statvfs st;
	uint64_t free_bytes, reserve;

	if (fstatvfs(store->fd, &st) < 0)
		return -errno;

	free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
	reserve = (uint64_t)((unsigned __int128)st.f_blocks * st.f_frsize * reserve_percent / 100);
	if (free_bytes < reserve || free_bytes - reserve < bytes)
		return -ENOSPC;
	return 0;
}

/**
 * ckpt_store_lookup() - open the checkpoint of a name
 * @ret: O_RDONLY fd of its directory, owned by the caller
 *
 * Return: 0; -ENOENT when there is none, be the name impossible, a stray, a link, a mount point, or
 * not yet whole.
 */
int ckpt_store_lookup(struct ckpt_store *store, const char *name, int *ret)
{
	cleanup_fd int fd = -EBADF;
	int r;

	if (ckpt_name_check(name) < 0)
		return -ENOENT;

	fd = ckpt_fd_open_beneath(store->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	if (fd < 0)
		return fd == -ENOTDIR || fd == -ELOOP || fd == -EXDEV ? -ENOENT : fd;

	r = ckpt_layout_is_checkpoint(fd);
	if (r < 0)
		return r;
	if (r == 0)
		return -ENOENT;

	*ret = steal_fd(&fd);
	return 0;
}

/* Not about this name: without saying so the store would look emptier than it is. */
static bool store_is_trouble(int r)
{
	return r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -EIO;
}

/**
 * ckpt_store_each() - call @visit for the name of every whole checkpoint
 *
 * What another program is writing, or has hurt, is passed over.
 *
 * Return: 0; what @visit returned when that was not 0; -EMFILE, -ENFILE, -ENOMEM, -EIO where it
 * could not be seen whether a name is one; as openat(2), readdir(3).
 */
int ckpt_store_each(struct ckpt_store *store, ckpt_store_visit_t visit, void *userdata)
{
	cleanup_dir DIR *dir = NULL;
	cleanup_fd int fd = -EBADF;
	struct dirent *de;
	int r;

	fd = openat(store->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir)
		return -errno;
	steal_fd(&fd);

	for (;;) {
		cleanup_fd int entry_fd = -EBADF;

		errno = 0;
		de = readdir(dir);
		if (!de)
			return -errno;
		if (de->d_type != DT_DIR && de->d_type != DT_UNKNOWN)
			continue;
		r = ckpt_store_lookup(store, de->d_name, &entry_fd);
		if (store_is_trouble(r))
			return r;
		if (r < 0)
			continue;
		r = visit(userdata, de->d_name);
		if (r != 0)
			return r;
	}
}

/* What is mounted there is not asked: it may be our own mount, whose server asks us. */
static int store_name_is_taken(int dirfd, const char *name)
{
	struct statx stx;

	if (statx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_TYPE, &stx) == 0)
		return 1;
	return errno == ENOENT ? 0 : -errno;
}

/**
 * ckpt_store_name_is_taken() - whether anything in the store has a name, checkpoint or not
 *
 * Return: 1; 0; as statx(2).
 */
int ckpt_store_name_is_taken(const struct ckpt_store *store, const char *name)
{
	return store_name_is_taken(store->fd, name);
}

/* NFS and others know no RENAME_NOREPLACE; a directory is replaced by rename only when empty. */
static int store_rename_noreplace(int from_fd, const char *from, int to_fd, const char *to)
{
	int r;

	if (renameat2(from_fd, from, to_fd, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;

	r = store_name_is_taken(to_fd, to);
	if (r != 0)
		return r < 0 ? r : -EEXIST;
	if (renameat(from_fd, from, to_fd, to) < 0)
		return errno == ENOTEMPTY ? -EEXIST : -errno;
	return 0;
}

/**
 * ckpt_store_rename() - give a checkpoint another name, durably
 *
 * Nothing inside changes: the name in meta.json is rendered from the directory's.
 *
 * Return: 0; -ENOENT; -EINVAL or -ENAMETOOLONG for a name that cannot be; -EEXIST; -EROFS.
 */
int ckpt_store_rename(struct ckpt_store *store, const char *from, const char *to)
{
	cleanup_fd int fd = -EBADF;
	int r;

	if (store->read_only)
		return -EROFS;
	r = ckpt_name_check(to);
	if (r < 0)
		return r;
	r = ckpt_store_lookup(store, from, &fd);
	if (r < 0)
		return r;
	r = store_rename_noreplace(store->fd, from, store->fd, to);
	if (r < 0)
		return r;

	return fsync(store->fd) < 0 ? -errno : 0;
}

/* A new file with these bytes, durable: an empty version after a crash would lock us out. */
static int store_write_synced(int dirfd, const char *name, const char *text)
{
	cleanup_fd int fd = -EBADF;
	int r;

	r = ckpt_fd_write_file(dirfd, name, 0600, text, strlen(text));
	if (r < 0)
		return r;
	fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;

	return fsync(fd) < 0 ? -errno : 0;
}

static int store_write_version(int private_fd)
{
	char tmp[sizeof("version.") + STORE_ID_SIZE];
	uint64_t id;
	int r;

	if (faccessat(private_fd, "version", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		return -EIO;

	snprintf(tmp, sizeof(tmp), "version.%016" PRIx64, id);
	r = store_write_synced(private_fd, tmp, STORE_VERSION);
	/* Two writers at once both bring the same bytes. */
	if (r == 0 && renameat(private_fd, tmp, private_fd, "version") < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(private_fd, tmp, 0);
	return r;
}

/* Makes .sandckpt/ where it is missing; *ret is its staging directory. */
static int store_open_staging(struct ckpt_store *store, int *ret)
{
	cleanup_fd int fd = -EBADF;
	int r;

	if (store->read_only)
		return -EROFS;
	r = ckpt_fd_mkdir(store->fd, STORE_PRIVATE, 0700, &fd);
	if (r < 0)
		return r;
	r = store_write_version(fd);
	if (r < 0)
		return r;

	return ckpt_fd_mkdir(fd, "staging", 0700, ret);
}

static int store_new_id(char ret[STORE_ID_SIZE])
{
	uint64_t random[2];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	snprintf(ret, STORE_ID_SIZE, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
	return 0;
}

/**
 * ckpt_store_remove() - take a checkpoint out of the store, durably
 *
 * It is renamed away in one step; ckpt_store_sweep() gives its space back.
 *
 * Return: 0; -ENOENT; -EROFS; as rename(2).
 */
int ckpt_store_remove(struct ckpt_store *store, const char *name)
{
	cleanup_fd int fd = -EBADF, staging_fd = -EBADF;
	char id[STORE_ID_SIZE];
	int r;

	if (store->read_only)
		return -EROFS;
	r = ckpt_store_lookup(store, name, &fd);
	if (r < 0)
		return r;
	r = store_open_staging(store, &staging_fd);
	if (r < 0)
		return r;
	r = store_new_id(id);
	if (r < 0)
		return r;
	r = renameat(store->fd, name, staging_fd, id);
	/* Its ".." changes, and others may have copied it here read-only. */
	if (r < 0 && errno == EACCES && fchmod(fd, 0700) == 0)
		r = renameat(store->fd, name, staging_fd, id);
	if (r < 0)
		return -errno;

	return fsync(store->fd) < 0 ? -errno : 0;
}

typedef int (*store_litter_t)(int staging_fd, const char *name);

/* Calls @take for all in staging that nobody holds, under its lock, until that returns not 0. */
static int store_each_litter(struct ckpt_store *store, store_litter_t take)
{
	cleanup_dir DIR *dir = NULL;
	cleanup_fd int fd = -EBADF;
	struct dirent *de;
	int r = 0;

	fd = ckpt_fd_open_beneath(store->fd, STORE_STAGING, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	dir = fdopendir(fd);
	if (!dir)
		return -errno;
	steal_fd(&fd); /* closedir() closes it */

	while (r == 0) {
		cleanup_fd int entry_fd = -EBADF;

		errno = 0;
		de = readdir(dir);
		if (!de)
			return -errno;
		if (de->d_name[0] == '.')
			continue;
		entry_fd =
		    openat(dirfd(dir), de->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		/* Locked: somebody is writing it. What cannot be opened stays until it can. */
		if (entry_fd >= 0 && flock(entry_fd, LOCK_EX | LOCK_NB) == 0)
			r = take(dirfd(dir), de->d_name);
	}
	return r;
}

static int store_find_litter(int staging_fd, const char *name)
{
	return 1;
}

/* What cannot be removed stays; the rest goes. */
static int store_remove_litter(int staging_fd, const char *name)
{
	(void)ckpt_fd_remove_tree(staging_fd, name);
	return 0;
}

/**
 * ckpt_store_has_litter() - whether there is something for ckpt_store_sweep() to drop
 *
 * Return: 1; 0; as open(2).
 */
int ckpt_store_has_litter(struct ckpt_store *store)
{
	return store_each_litter(store, store_find_litter);
}

/**
 * ckpt_store_sweep() - drop what lies in staging and nobody holds: removed or interrupted
 *
 * May take as long as the filesystem needs to free the blocks.
 *
 * Return: 0, also where there is no staging directory; -EROFS; as open(2).
 */
int ckpt_store_sweep(struct ckpt_store *store)
{
	if (store->read_only)
		return -EROFS;
	return store_each_litter(store, store_remove_litter);
}

/* A sweeper may take the directory between mkdir and flock: then it has no name any more. */
static int stage_try(struct ckpt_stage *stage)
{
	cleanup_fd int fd = -EBADF;
	struct stat st;
	int r;

	r = store_new_id(stage->id);
	if (r < 0)
		return r;
	r = ckpt_fd_mkdir(stage->staging_fd, stage->id, 0700, &fd);
	if (r == -ENOENT)
		return -EAGAIN;
	if (r < 0)
		return r;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	if (fstatat(stage->staging_fd, stage->id, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? -EAGAIN : -errno;

	stage->fd = steal_fd(&fd);
	return 0;
}

/**
 * ckpt_stage_new() - begin a checkpoint: an empty directory nobody sees
 * @store: must outlive the stage
 *
 * Return: 0; -EROFS; -ENOSPC; as mkdir(2), flock(2).
 */
int ckpt_stage_new(struct ckpt_store *store, struct ckpt_stage **ret)
{
	struct ckpt_stage *stage;
	int r;

	stage = malloc(sizeof(*stage));
	if (!stage)
		return -ENOMEM;
	*stage = (struct ckpt_stage){ .store = store, .staging_fd = -EBADF, .fd = -EBADF };

	r = store_open_staging(store, &stage->staging_fd);
	if (r == 0)
		do
			r = stage_try(stage);
		while (r == -EAGAIN);
	if (r < 0) {
		close_fd(stage->staging_fd);
		free(stage);
		return r;
	}

	*ret = stage;
	return 0;
}

/* The directory to fill; stays the stage's. */
int ckpt_stage_fd(const struct ckpt_stage *stage)
{
	return stage->fd;
}

/**
 * ckpt_stage_sync() - make what was staged durable, without showing it
 * @started, @cancel: as for ckpt_fd_sync_tree()
 *
 * Return: 0; -ENOSPC, -EDQUOT, -EIO; -ECANCELED.
 */
int ckpt_stage_sync(struct ckpt_stage *stage, bool started, const struct ckpt_cancel *cancel)
{
	return ckpt_fd_sync_tree(stage->fd, started, cancel);
}

/**
 * ckpt_stage_commit() - show what was staged and synced, in one durable rename
 * @name: its name in the store; not in use
 *
 * After a failure nothing is to be seen of it, and another name may be tried.
 *
 * Return: 0; -EEXIST; -EINVAL, -ENAMETOOLONG for a name that cannot be; -ENOSPC, -EIO.
 */
int ckpt_stage_commit(struct ckpt_stage *stage, const char *name)
{
	int store_fd = stage->store->fd;
	int r;

	r = ckpt_name_check(name);
	if (r < 0)
		return r;
	r = store_rename_noreplace(stage->staging_fd, stage->id, store_fd, name);
	if (r < 0)
		return r;

	/* A name that may be gone after a crash must not be shown as durable. */
	if (fsync(store_fd) < 0) {
		r = -errno;
		(void)renameat(store_fd, name, stage->staging_fd, stage->id);
		return r;
	}

	stage->committed = true;
	return 0;
}

struct ckpt_stage *ckpt_stage_free(struct ckpt_stage *stage)
{
	if (!stage)
		return NULL;
	if (!stage->committed)
		(void)ckpt_fd_remove_tree(stage->staging_fd, stage->id);
	close_fd(stage->fd);
	close_fd(stage->staging_fd);
	free(stage);
	return NULL;
}
