/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "capture/maps.h"
#include "capture/proc.h"
#include "capture/target.h"
#include "format/checkpoint.h"
#include "format/cleanup.h"

/*
 * A file may lie on a filesystem whose server is the stopped process itself, or hangs: its links
 * below /proc are walked with O_PATH and statx(AT_STATX_DONT_SYNC), which ask no server, and it
 * is opened only where the kernel itself answers.
 */

#define MOUNTINFO_MAX (16U << 20)
#define STATX_WANTED (STATX_TYPE | STATX_INO | STATX_SIZE)

/* Filesystems with a server, which may not answer. "fuse" stands for "fuse.sshfs", too. */
static const char *const served[] = { "fuse",	  "fuseblk", "virtiofs", "nfs",	 "nfs4",  "cifs",
				      "smb3",	  "9p",	     "ceph",	 "afs",	 "ncpfs", "coda",
				      "orangefs", "lustre",  "gfs2",	 "ocfs2" };

static bool is_served(const char *type, size_t len)
{
	for (size_t i = 0; i < sizeof(served) / sizeof(served[0]); i++) {
		size_t n = strlen(served[i]);

		if (len >= n && strncmp(type, served[i], n) == 0 && (len == n || type[n] == '.'))
			return true;
	}

	return false;
}

/* Return: 1 the device is mounted and the kernel's own; 0 mounted, with a server; -ENOENT. */
static int look_up_mount(struct capture_sources *sources, uint32_t major, uint32_t minor)
{
	char needle[32];
	size_t len;

	if (!sources->mountinfo && capture_proc_read(sources->view->proc_fd, "mountinfo",
						     MOUNTINFO_MAX, &sources->mountinfo, &len) < 0)
		return -ENOENT;

	/* "36 35 98:0 /root /mnt rw,noatime master:1 - ext4 /dev/root rw" */
	(void)snprintf(needle, sizeof(needle), "%u:%u", major, minor);
	for (const char *line = sources->mountinfo, *next; *line; line = next) {
		size_t n = strcspn(line, "\n"), parent = strcspn(line, " ") + 1;
		const char *dev, *type;

		next = line + n + (line[n] == '\n');
		if (parent >= n)
			continue;
		dev = line + parent + strcspn(line + parent, " ") + 1;
		type = memmem(line, n, " - ", 3);
		if (!type || dev >= type || strcspn(dev, " ") != strlen(needle) ||
		    strncmp(dev, needle, strlen(needle)) != 0)
			continue;

		type += 3;
		return !is_served(type, strcspn(type, " \n"));
	}

	return -ENOENT;
}

/* Memory of the kernel's own: memfd, shared anonymous, SysV; its device is mounted nowhere. */
static bool is_shmem(uint32_t major, uint32_t minor)
{
	cleanup_fd int fd = memfd_create("sandckpt", MFD_CLOEXEC);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && major(st.st_dev) == major &&
	       minor(st.st_dev) == minor;
}

static bool may_open(struct capture_sources *sources, const struct capture_map *map)
{
	int r = look_up_mount(sources, map->major, map->minor);

	if (r >= 0)
		return r > 0;

	return map->hugetlb || is_shmem(map->major, map->minor);
}

static int reopen(int dirfd, const char *path)
{
	int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, fd;

	/* Only for files of our own, or with CAP_FOWNER. */
	fd = openat(dirfd, path, flags | O_NOATIME);
	if (fd < 0 && errno == EPERM)
		fd = openat(dirfd, path, flags);

	return fd < 0 ? -errno : fd;
}

static void note_size(struct capture_source *source, const struct statx *stx)
{
	if (!(stx->stx_mask & STATX_SIZE) || !S_ISREG(stx->stx_mode))
		return;

	source->size_known = true;
	source->size = stx->stx_size;
}

/* By map_files: with CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN. */
static int open_privileged(struct capture_sources *sources, const struct capture_map *map,
			   struct capture_source *source)
{
	cleanup_fd int path_fd = -EBADF;
	struct statx stx;
	char path[64];

	(void)snprintf(path, sizeof(path), "map_files/%" PRIx64 "-%" PRIx64, map->start, map->end);
	path_fd = openat(sources->view->proc_fd, path, O_PATH | O_CLOEXEC);
	if (path_fd < 0)
		return -errno;
	if (statx(path_fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_WANTED, &stx) < 0)
		return -errno;
	if (!S_ISREG(stx.stx_mode))
		return -ENODEV;

	note_size(source, &stx);
	if (!may_open(sources, map))
		return -EREMOTE;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	source->seekable = true;
	return reopen(AT_FDCWD, path);
}

static int add_file(struct capture_sources *sources, size_t *size, int fd)
{
	struct capture_open_file *bigger;
	struct statx stx;
	char path[32];

	(void)snprintf(path, sizeof(path), "fd/%d", fd);
	if (statx(sources->view->proc_fd, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_WANTED,
		  &stx) < 0 ||
	    !S_ISREG(stx.stx_mode))
		return 0;

	if (sources->n_files == *size) {
		*size = *size ? *size * 2 : 64;
		bigger = reallocarray(sources->files, *size, sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		sources->files = bigger;
	}
	sources->files[sources->n_files++] = (struct capture_open_file){
		.major = stx.stx_dev_major,
		.minor = stx.stx_dev_minor,
		.inode = stx.stx_ino,
		.fd = fd,
	};
	return 0;
}

static int list_files(struct capture_sources *sources)
{
	cleanup_dir DIR *dir = NULL;
	struct dirent *entry;
	size_t size = 0;
	int fd;

	sources->have_fds = true;
	fd = openat(sources->view->proc_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		(void)close_fd(fd);
		return -ENOMEM;
	}

	while ((entry = readdir(dir)) && sources->n_files < CKPT_FDS_MAX) {
		int r;

		if (entry->d_name[0] == '.')
			continue;
		r = add_file(sources, &size, atoi(entry->d_name));
		if (r < 0)
			return r;
	}

	return 0;
}

/* One of the target's own fds, with an offset of its own where it can be opened anew. */
static int take_file(struct capture_sources *sources, const struct capture_open_file *file,
		     struct capture_source *source)
{
	struct statx stx;
	char path[32];
	int fd;

	(void)snprintf(path, sizeof(path), "fd/%d", file->fd);
	fd = reopen(sources->view->proc_fd, path);
	source->seekable = fd >= 0;
	if (fd < 0) {
		fd = pidfd_getfd(sources->view->pidfd, file->fd, 0);
		if (fd < 0)
			return -errno;
		if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY) {
			(void)close_fd(fd);
			return -EACCES;
		}
	}

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_WANTED, &stx) == 0)
		note_size(source, &stx);
	return fd;
}

static int open_by_fd(struct capture_sources *sources, const struct capture_map *map,
		      struct capture_source *source)
{
	int fd = -ENOENT;

	if (!sources->have_fds)
		(void)list_files(sources);
	if (!may_open(sources, map))
		return -EREMOTE;

	for (size_t i = 0; i < sources->n_files && fd < 0; i++) {
		const struct capture_open_file *file = &sources->files[i];

		if (file->inode == map->inode && file->major == map->major &&
		    file->minor == map->minor)
			fd = take_file(sources, file, source);
	}

	return fd;
}

/**
 * capture_source_open() - find the file behind a mapping
 * @map: a mapping of a file, or of shared memory
 * @ret: for capture_source_done(); without an fd it says why
 */
void capture_source_open(struct capture_sources *sources, const struct capture_map *map,
			 struct capture_source *ret)
{
	struct capture_source source = { .fd = -EBADF };
	int first, fd;

	first = open_privileged(sources, map, &source);
	fd = first;
	if (fd < 0 && fd != -EREMOTE)
		fd = open_by_fd(sources, map, &source);
	if (fd < 0) {
		source.call = "open";
		source.err = first;
	}

	source.fd = fd >= 0 ? fd : -EBADF;
	*ret = source;
}

void capture_source_done(struct capture_source *source)
{
	source->fd = close_fd(source->fd);
}

void capture_sources_done(struct capture_sources *sources)
{
	free(sources->mountinfo);
	free(sources->files);
	*sources = (struct capture_sources){};
}
