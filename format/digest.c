/* SPDX-License-Identifier: Apache-2.0 */
#include "format/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "format/checkpoint.h"
#include "format/cleanup.h"
#include "format/fdio.h"
#include "format/sums.h"

struct digest_item {
	const char *path; /* not owned */
	uint64_t size;
	uint8_t digest[CKPT_SHA256_SIZE];
};

struct digest_work {
	int dirfd;
	struct digest_item *items; /* largest first, so that the threads end together */
	size_t n;
	atomic_size_t next;
	atomic_int error; /* the first one; 0: none */
};

static int digest_compare(const void *a, const void *b)
{
	const struct digest_item *x = a, *y = b;

	return x->size < y->size ? 1 : x->size > y->size ? -1 : 0;
}

static int digest_one(int dirfd, struct digest_item *item)
{
	cleanup_fd int fd = -EBADF;

	fd = ckpt_fd_open_beneath(dirfd, item->path, O_RDONLY);
	if (fd < 0)
		return fd;
	return ckpt_sha256_fd(fd, item->digest);
}

static void *digest_run(void *userdata)
{
	struct digest_work *work = userdata;

	while (atomic_load(&work->error) == 0) {
		size_t i = atomic_fetch_add(&work->next, 1);
		int r, none = 0;

		if (i >= work->n)
			break;
		r = digest_one(work->dirfd, &work->items[i]);
		if (r < 0)
			(void)atomic_compare_exchange_strong(&work->error, &none, r);
	}
	return NULL;
}

/* A head start for the disk, which hashing does not keep busy. Errors are for the fsync. */
static void *digest_write_back(void *userdata)
{
	const struct digest_work *work = userdata;

	for (size_t i = 0; i < work->n && atomic_load(&work->error) == 0; i++) {
		cleanup_fd int fd = -EBADF;

		fd = ckpt_fd_open_beneath(work->dirfd, work->items[i].path, O_RDONLY);
		if (fd >= 0)
			(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	}
	return NULL;
}

static int digest_list(int dirfd, const struct ckpt_strings *paths, struct digest_work *ret)
{
	ret->items = calloc(paths->n + 1, sizeof(*ret->items));
	if (!ret->items)
		return -ENOMEM;

	for (size_t i = 0; i < paths->n; i++) {
		struct stat st;

		if (fstatat(dirfd, paths->items[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		ret->items[i].path = paths->items[i];
		ret->items[i].size = (uint64_t)st.st_size;
	}
	ret->n = paths->n;
	qsort(ret->items, ret->n, sizeof(*ret->items), digest_compare);
	return 0;
}

static int digest_collect(const struct digest_work *work, struct ckpt_sums *ret)
{
	int r;

	for (size_t i = 0; i < work->n; i++) {
		r = ckpt_sums_add(ret, work->items[i].path, work->items[i].digest);
		if (r < 0)
			return r;
	}
	ckpt_sums_sort(ret);
	return 0;
}

/**
 * ckpt_digest_files() - the SHA-256 of files, two at a time; their write-back is begun as well
 * @dirfd: the directory they are in, not owned
 * @paths: relative to it
 * @ret: zeroed, or holding other files' sums already; sorted on success
 *
 * Return: 0; -ENOMEM; as open(2), read(2).
 */
int ckpt_digest_files(int dirfd, const struct ckpt_strings *paths, struct ckpt_sums *ret)
{
	struct digest_work work = { .dirfd = dirfd };
	cleanup_free struct digest_item *items = NULL;
	pthread_t helper, writer;
	bool helping, writing;
	int r;

	r = digest_list(dirfd, paths, &work);
	items = work.items;
	if (r < 0)
		return r;

	/* Without threads it takes longer, that is all. */
	writing = pthread_create(&writer, NULL, digest_write_back, &work) == 0;
	helping = pthread_create(&helper, NULL, digest_run, &work) == 0;
	(void)digest_run(&work);
	if (helping)
		pthread_join(helper, NULL);
	if (writing)
		pthread_join(writer, NULL);

	r = atomic_load(&work.error);
	if (r < 0)
		return r;
	return digest_collect(&work, ret);
}
