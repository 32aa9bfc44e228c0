/* SPDX-License-Identifier: Apache-2.0 */
#include "format/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/cleanup.h"
#include "format/convert.h"
#include "format/fdio.h"
#include "format/json.h"

#define LAYOUT_GPREGS_MAX 4096U /* sandlock takes any number of registers */
#define LAYOUT_PATH_SIZE 64

/* 1 when @name is there and of @type, 0 when not. */
static int layout_has(int dirfd, const char *name, mode_t type)
{
	struct statx stx;

	/* What may be mounted there is not asked: it can be our own server's. */
	if (statx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_TYPE, &stx) < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	return (stx.stx_mode & S_IFMT) == type;
}

/**
 * ckpt_layout_is_checkpoint() - whether a directory is a whole checkpoint
 * @dirfd: not owned
 *
 * It is one once meta.json, a regular file, and process/ are there, no links either.
 *
 * Return: 1; 0; as statx(2).
 */
int ckpt_layout_is_checkpoint(int dirfd)
{
	int r;

	r = layout_has(dirfd, CKPT_PATH_META, S_IFREG);
	return r <= 0 ? r : layout_has(dirfd, CKPT_PATH_PROCESS, S_IFDIR);
}

static int layout_read_json(int dirfd, const char *path, struct json_object **ret)
{
	cleanup_free void *text = NULL;
	size_t len;
	int r;

	r = ckpt_fd_read_all(dirfd, path, CKPT_JSON_MAX, &text, &len);
	return r < 0 ? r : ckpt_json_parse(text, len, ret);
}

/**
 * ckpt_layout_read_meta() - meta.json alone, whatever its version
 * @dirfd: the checkpoint's directory, not owned
 * @ret: zeroed before; ckpt_meta_done() frees
 *
 * Return: 0; -EBADMSG, -E2BIG, -EFBIG when it is malformed or too large; -ENOMEM; as
 * ckpt_fd_read_all().
 */
int ckpt_layout_read_meta(int dirfd, struct ckpt_meta *ret)
{
	cleanup_json struct json_object *object = NULL;
	int r;

	r = layout_read_json(dirfd, CKPT_PATH_META, &object);
	return r < 0 ? r : ckpt_meta_from_json(object, ret);
}

static int layout_read_info(int dirfd, struct ckpt_checkpoint *checkpoint)
{
	cleanup_json struct json_object *object = NULL;
	struct ckpt_thread thread = {};
	int r;

	r = layout_read_json(dirfd, CKPT_PATH_INFO, &object);
	if (r < 0)
		return r;
	r = ckpt_info_from_json(object, &checkpoint->info, &checkpoint->threads);
	if (r < 0 || checkpoint->threads.n > 0)
		return r;

	/* sandlock keeps the main thread's registers and says no more. */
	thread.tid = checkpoint->info.pid;
	return ckpt_threads_add(&checkpoint->threads, &thread);
}

static int layout_read_fds(int dirfd, struct ckpt_checkpoint *checkpoint)
{
	cleanup_json struct json_object *array = NULL;
	int r;

	r = layout_read_json(dirfd, CKPT_PATH_FDS, &array);
	return r < 0 ? r : ckpt_fds_from_json(array, &checkpoint->fds);
}

static int layout_read_map(int dirfd, struct ckpt_checkpoint *checkpoint)
{
	cleanup_json struct json_object *array = NULL;
	int r;

	r = layout_read_json(dirfd, CKPT_PATH_MAP, &array);
	return r < 0 ? r : ckpt_regions_from_json(array, &checkpoint->regions);
}

/**
 * ckpt_layout_read() - a checkpoint as objects
 * @dirfd: its directory, not owned
 * @ret: ckpt_checkpoint_free() frees; the threads' registers are left unset, since those of a
 *	large program take a gigabyte: see ckpt_layout_read_registers()
 *
 * Return: 0; -EPROTONOSUPPORT when meta.json names a version of the layout; -EBADMSG, -E2BIG,
 * -EFBIG when a file is malformed or too large; -ENOENT when one is missing; -ENOMEM; as
 * ckpt_fd_read_all().
 */
int ckpt_layout_read(int dirfd, struct ckpt_checkpoint **ret)
{
	cleanup_checkpoint struct ckpt_checkpoint *checkpoint = NULL;
	int r;

	checkpoint = calloc(1, sizeof(*checkpoint));
	if (!checkpoint)
		return -ENOMEM;

	r = ckpt_layout_read_meta(dirfd, &checkpoint->meta);
	if (r < 0)
		return r;
	if (checkpoint->meta.version)
		return -EPROTONOSUPPORT;
	r = layout_read_info(dirfd, checkpoint);
	if (r < 0)
		return r;
	r = layout_read_fds(dirfd, checkpoint);
	if (r < 0)
		return r;
	r = layout_read_map(dirfd, checkpoint);
	if (r < 0)
		return r;

	*ret = steal_pointer(checkpoint);
	return 0;
}

static int layout_read_raw(int dirfd, size_t i, const char *suffix, size_t max, void **ret,
			   size_t *ret_len)
{
	char path[LAYOUT_PATH_SIZE];

	snprintf(path, sizeof(path), CKPT_PATH_THREADS "/%zu.%s", i, suffix);
	return ckpt_fd_read_all(dirfd, path, max, ret, ret_len);
}

static int layout_read_thread(int dirfd, size_t i, struct ckpt_thread *thread)
{
	cleanup_free void *gpregs = NULL;
	cleanup_free void *xstate = NULL;
	size_t gpregs_len = 0, xstate_len = 0;
	int r;

	r = layout_read_raw(dirfd, i, "bin", LAYOUT_GPREGS_MAX, &gpregs, &gpregs_len);
	if (r < 0)
		return r;
	r = layout_read_raw(dirfd, i, "xstate", CKPT_XSTATE_MAX, &xstate, &xstate_len);
	if (r < 0 && r != -ENOENT)
		return r;

	free(thread->gpregs);
	free(thread->xstate);
	thread->gpregs = steal_pointer(gpregs);
	thread->gpregs_len = gpregs_len;
	thread->xstate = steal_pointer(xstate);
	thread->xstate_len = xstate_len;
	return 0;
}

/**
 * ckpt_layout_read_registers() - process/threads/: the raw registers of all threads
 * @dirfd: the checkpoint's directory, not owned
 * @threads: as ckpt_layout_read() gave them; N.bin is the Nth's. What was read before an error
 *	stays
 *
 * Return: 0; -ENOENT when a thread has no N.bin (N.xstate may be absent); -EFBIG when a file is
 * larger than registers can be; -ENOMEM; as ckpt_fd_read_all().
 */
int ckpt_layout_read_registers(int dirfd, struct ckpt_threads *threads)
{
	for (size_t i = 0; i < threads->n; i++) {
		int r = layout_read_thread(dirfd, i, &threads->items[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

/**
 * ckpt_layout_open_segment() - open process/memory/N.bin
 * @dirfd: the checkpoint's directory, not owned
 * @i: row of memory_map.json
 *
 * The file may be of any size: what lies behind the region's end is to be ignored, what is
 * missing before it is damage.
 *
 * Return: an O_RDONLY fd, owned by the caller; -ENOENT, also when there is no such row; -EBADMSG
 * when it is no regular file; as ckpt_fd_open_beneath().
 */
int ckpt_layout_open_segment(int dirfd, const struct ckpt_checkpoint *checkpoint, size_t i)
{
	char path[LAYOUT_PATH_SIZE];
	cleanup_fd int fd = -EBADF;
	struct stat st;

	if (i >= checkpoint->regions.n)
		return -ENOENT;

	snprintf(path, sizeof(path), CKPT_PATH_MEMORY "/%zu.bin", i);
	fd = ckpt_fd_open_beneath(dirfd, path, O_RDONLY);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;

	return steal_fd(&fd);
}
