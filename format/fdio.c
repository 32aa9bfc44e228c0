/* SPDX-License-Identifier: Apache-2.0 */
#include "format/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "format/cancel.h"
#include "format/cleanup.h"

/* openat2() says EAGAIN when a rename raced with it, but also where somebody holds a lease. */
#define FDIO_OPEN_TRIES 64

/* Deeper trees are nobody's checkpoint: process/, proc/task/TID/ need four. Three fds a level. */
#define FDIO_DEPTH_MAX 64

/**
 * ckpt_fd_open_beneath() - open a path inside a directory, whatever somebody put there
 * @dirfd: the directory, not owned
 * @path: relative; no component may be a link, a magic link, a mount point or lead out of @dirfd:
 *	the mount of a store may lie in that store, and its server must never wait for itself
 * @flags: as for open(2); O_CLOEXEC, O_NOCTTY and O_NONBLOCK are added (a FIFO must not block us)
 *
 * Return: the fd, owned by the caller; -ELOOP where a link stands, -EXDEV on the way out or
 * into another mount, else as openat2(2).
 */
int ckpt_fd_open_beneath(int dirfd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.resolve =
		    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	unsigned tries = 0;
	long fd;

	if (!(flags & O_PATH))
		how.flags |= O_NOCTTY | O_NONBLOCK;
	if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE)
		how.mode = 0600;

	do
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < FDIO_OPEN_TRIES)));

	return fd < 0 ? -errno : (int)fd;
}

/**
 * ckpt_fd_slurp() - read a file from its current position to its end
 * @fd: not owned; may be a /proc file, whose st_size says nothing
 * @max: the most bytes the file may have
 * @ret: the bytes, one NUL behind them; the caller frees
 *
 * Return: 0; -EFBIG above @max; -ENOMEM; as read(2).
 */
int ckpt_fd_slurp(int fd, size_t max, void **ret, size_t *ret_len)
{
	cleanup_free char *buf = NULL;
	size_t size = 4096, len = 0;

	for (;;) {
		char *bigger;
		ssize_t n;

		if (!buf || len + 1 >= size) {
			size = buf ? size * 2 : size;
			bigger = realloc(buf, size);
			if (!bigger)
				return -ENOMEM;
			buf = bigger;
		}

		n = read(fd, buf + len, size - len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max)
			return -EFBIG;
	}

	buf[len] = '\0';
	*ret = steal_pointer(buf);
	*ret_len = len;
	return 0;
}

/**
 * ckpt_fd_read_all() - read a whole regular file beneath a directory
 *
 * Return: 0; -EFBIG above @max bytes; -EBADMSG when it is not a regular file; else as
 * ckpt_fd_open_beneath() and ckpt_fd_slurp().
 */
int ckpt_fd_read_all(int dirfd, const char *path, size_t max, void **ret, size_t *ret_len)
{
	cleanup_fd int fd = -EBADF;
	struct stat st;

	fd = ckpt_fd_open_beneath(dirfd, path, O_RDONLY);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	if ((uint64_t)st.st_size > max)
		return -EFBIG;

	return ckpt_fd_slurp(fd, max, ret, ret_len);
}

/**
 * ckpt_fd_pread() - read exactly @len bytes at @offset
 *
 * Return: 0; -ENODATA when the file ends before; as pread(2).
 */
int ckpt_fd_pread(int fd, void *buf, size_t len, uint64_t offset)
{
	char *p = buf;

	while (len > 0) {
		ssize_t n = pread(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		p += n;
		len -= (size_t)n;
		offset += (size_t)n;
	}

	return 0;
}

/* Return: 0 when all of it is written; as write(2). */
int ckpt_fd_write(int fd, const void *buf, size_t len)
{
	const char *p = buf;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}

	return 0;
}

/* Return: 0 when all of it is written; as pwrite(2). */
int ckpt_fd_pwrite(int fd, const void *buf, size_t len, uint64_t offset)
{
	const char *p = buf;

	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
		offset += (size_t)n;
	}

	return 0;
}

/**
 * ckpt_fd_write_file() - make a new file with these bytes; not synced
 * @name: one component, must not exist
 *
 * Return: 0; -EEXIST; as open(2), write(2).
 */
int ckpt_fd_write_file(int dirfd, const char *name, mode_t mode, const void *buf, size_t len)
{
	cleanup_fd int fd = -EBADF;
	int r;

	fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;

	r = ckpt_fd_write(fd, buf, len);
	if (r < 0)
		return r;
	if (close(steal_fd(&fd)) < 0)
		return -errno;

	return 0;
}

/**
 * ckpt_fd_mkdir() - make a directory where there is none yet, and open it
 * @name: one component; an existing directory is opened, a link is not followed
 * @ret: O_RDONLY|O_DIRECTORY fd, owned by the caller; may be NULL
 *
 * Return: 0; as mkdirat(2), openat(2).
 */
int ckpt_fd_mkdir(int dirfd, const char *name, mode_t mode, int *ret)
{
	int fd;

	if (mkdirat(dirfd, name, mode) < 0 && errno != EEXIST)
		return -errno;
	if (!ret)
		return 0;

	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;

	*ret = fd;
	return 0;
}

struct fdio_walk {
	int (*visit)(struct fdio_walk *walk, int dirfd, const struct dirent *de, unsigned depth);
	const struct ckpt_cancel *cancel;
	bool go_on; /* past an error; the first one is returned nonetheless */
	bool one_device;
	dev_t device; /* where directories may be */
};

static int fdio_for_each(struct fdio_walk *walk, int dirfd, unsigned depth)
{
	cleanup_dir DIR *dir = NULL;
	cleanup_fd int fd = -EBADF;
	struct dirent *de;
	int r, first = 0;

	if (depth > FDIO_DEPTH_MAX)
		return -E2BIG;

	fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir)
		return -errno;
	steal_fd(&fd);

	for (;;) {
		errno = 0;
		de = readdir(dir);
		if (!de)
			return first < 0 ? first : -errno;
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		r = ckpt_cancel_check(walk->cancel);
		if (r < 0)
			return r;
		r = walk->visit(walk, dirfd, de, depth);
		if (r < 0 && !walk->go_on)
			return r;
		if (r < 0 && first == 0)
			first = r;
	}
}

/* DT_UNKNOWN is common on network filesystems. */
static bool fdio_is(int dirfd, const struct dirent *de, mode_t type)
{
	struct stat st;

	if (de->d_type != DT_UNKNOWN)
		return (mode_t)DTTOIF(de->d_type) == type;
	return fstatat(dirfd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       (st.st_mode & S_IFMT) == type;
}

static int fdio_descend(struct fdio_walk *walk, int dirfd, const char *name, unsigned depth,
			int *ret)
{
	cleanup_fd int fd = -EBADF;
	struct stat st;
	int r;

	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (walk->one_device && (fstat(fd, &st) < 0 || st.st_dev != walk->device))
		return -EXDEV;
	r = fdio_for_each(walk, fd, depth + 1);
	if (r < 0)
		return r;
	if (ret)
		*ret = steal_fd(&fd);
	return 0;
}

/* Starts write-back of a file without waiting: block allocation and I/O of all files overlap. */
static int fdio_start_sync(struct fdio_walk *walk, int dirfd, const struct dirent *de,
			   unsigned depth)
{
	cleanup_fd int fd = -EBADF;

	if (fdio_is(dirfd, de, S_IFDIR))
		return fdio_descend(walk, dirfd, de->d_name, depth, NULL);
	if (!fdio_is(dirfd, de, S_IFREG))
		return 0;

	fd = openat(dirfd, de->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* Only a head start: what it cannot do here, the fsync does. */
	(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	return 0;
}

static int fdio_sync(struct fdio_walk *walk, int dirfd, const struct dirent *de, unsigned depth)
{
	cleanup_fd int fd = -EBADF;
	int r;

	if (fdio_is(dirfd, de, S_IFDIR)) {
		r = fdio_descend(walk, dirfd, de->d_name, depth, &fd);
		if (r < 0)
			return r;
	} else if (fdio_is(dirfd, de, S_IFREG)) {
		fd = openat(dirfd, de->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return -errno;
	} else {
		return 0;
	}

	return fsync(fd) < 0 ? -errno : 0;
}

/**
 * ckpt_fd_sync_tree() - make a directory and everything below it durable
 * @dirfd: O_RDONLY fd of the directory, not owned
 * @started: write-back of the files has been started already
 * @cancel: asked from file to file; may be NULL
 *
 * Write-back of all files is started before the first fsync waits, so that the cost is that of
 * the data and a few journal commits, not of the number of files.
 *
 * Return: 0; -EIO, -ENOSPC, -EDQUOT as fsync(2) tells it; -ECANCELED; -E2BIG below FDIO_DEPTH_MAX
 * levels.
 */
int ckpt_fd_sync_tree(int dirfd, bool started, const struct ckpt_cancel *cancel)
{
	struct fdio_walk start = { .visit = fdio_start_sync, .cancel = cancel };
	struct fdio_walk sync = { .visit = fdio_sync, .cancel = cancel };
	int r;

	if (!started) {
		r = fdio_for_each(&start, dirfd, 0);
		if (r < 0)
			return r;
	}
	r = fdio_for_each(&sync, dirfd, 0);
	if (r < 0)
		return r;

	return fsync(dirfd) < 0 ? -errno : 0;
}

/* What others copied here may be read-only directories. */
static int fdio_unlink(int dirfd, const char *name, int flags)
{
	int r;

	r = unlinkat(dirfd, name, flags) < 0 ? -errno : 0;
	if (r == -EACCES && fchmod(dirfd, 0700) == 0)
		r = unlinkat(dirfd, name, flags) < 0 ? -errno : 0;

	return r == -ENOENT ? 0 : r;
}

static int fdio_remove(struct fdio_walk *walk, int dirfd, const struct dirent *de, unsigned depth)
{
	int r;

	if (!fdio_is(dirfd, de, S_IFDIR))
		return fdio_unlink(dirfd, de->d_name, 0);

	r = fdio_descend(walk, dirfd, de->d_name, depth, NULL);
	if (r < 0 && r != -ENOENT)
		return r;
	return fdio_unlink(dirfd, de->d_name, AT_REMOVEDIR);
}

/**
 * ckpt_fd_remove_tree() - remove a directory with all it holds; links are removed, not followed
 * @name: one component below @dirfd; a plain file is removed too
 *
 * As much as can be removed is. What somebody mounted in there stays, as does the way to it.
 *
 * Return: 0, also when it is gone already; the first error: -E2BIG below FDIO_DEPTH_MAX levels;
 * -EXDEV at another filesystem; as unlinkat(2).
 */
int ckpt_fd_remove_tree(int dirfd, const char *name)
{
	struct fdio_walk walk = { .visit = fdio_remove, .go_on = true, .one_device = true };
	cleanup_fd int fd = -EBADF;
	struct stat st;
	int r;

	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		if (errno == ENOENT)
			return 0;
		if (errno != ENOTDIR && errno != ELOOP)
			return -errno;
		return fdio_unlink(dirfd, name, 0);
	}

	/* The parent's, or a filesystem mounted on @name itself would be emptied. */
	if (fstatat(fd, "..", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	walk.device = st.st_dev;
	r = fdio_descend(&walk, dirfd, name, 0, NULL);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return fdio_unlink(dirfd, name, AT_REMOVEDIR);
}
