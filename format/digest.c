/* SPDX-License-Identifier: Apache-2.0 */
#include "format/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/cancel.h"
#include "format/checkpoint.h"
#include "format/cleanup.h"
#include "format/fdio.h"
#include "format/sums.h"

#define DIGEST_BLOCK ((size_t)256 * 1024)

struct digest_item {
	const char *path; /* not owned */
	uint64_t size;
	uint8_t digest[CKPT_SHA256_SIZE];
};

struct digest_work {
	int dirfd;
	struct digest_item *items; /* largest first, so that the threads end together */
	size_t n;
	const struct ckpt_cancel *cancel;
	atomic_size_t next;
	atomic_int error; /* the first one; 0: none */
};

/* What there is against going on; asked from block to block. */
static int digest_check(struct digest_work *work)
{
	int r = atomic_load(&work->error);

	return r < 0 ? r : ckpt_cancel_check(work->cancel);
}

static int digest_compare(const void *a, const void *b)
{
	const struct digest_item *x = a, *y = b;

	return x->size < y->size ? 1 : x->size > y->size ? -1 : 0;
}

/* Where the next data of a file are, at or after @offset: *ret up to *ret_end; @size: none. */
static int digest_find_data(int fd, uint64_t offset, uint64_t size, uint64_t *ret,
			    uint64_t *ret_end)
{
	off_t data, hole;

	data = lseek(fd, (off_t)offset, SEEK_DATA);
	if (data < 0 && errno == EINVAL) { /* the filesystem knows no holes */
		*ret = offset;
		*ret_end = size;
		return 0;
	}
	if (data < 0 && errno != ENXIO)
		return -errno;
	hole = data < 0 ? data : lseek(fd, data, SEEK_HOLE);
	if (data >= 0 && hole < 0)
		return -errno;

	*ret = data < 0 || (uint64_t)data > size ? size : (uint64_t)data;
	*ret_end = hole < 0 || (uint64_t)hole > size ? size : (uint64_t)hole;
	return 0;
}

static int digest_data(struct digest_work *work, EVP_MD_CTX *ctx, int fd, uint64_t offset,
		       uint64_t end, void *buf)
{
	while (offset < end) {
		size_t n = end - offset < DIGEST_BLOCK ? (size_t)(end - offset) : DIGEST_BLOCK;
		int r;

		r = digest_check(work);
		if (r < 0)
			return r;
		r = ckpt_fd_pread(fd, buf, n, offset);
		if (r < 0)
			return r;
		if (EVP_DigestUpdate(ctx, buf, n) != 1)
			return -EIO;
		offset += n;
	}
	return 0;
}

static int digest_zeros(struct digest_work *work, EVP_MD_CTX *ctx, uint64_t len, void *buf)
{
	memset(buf, 0, DIGEST_BLOCK);
	while (len > 0) {
		size_t n = len < DIGEST_BLOCK ? (size_t)len : DIGEST_BLOCK;
		int r;

		r = digest_check(work);
		if (r < 0)
			return r;
		if (EVP_DigestUpdate(ctx, buf, n) != 1)
			return -EIO;
		len -= n;
	}
	return 0;
}

/* Holes are not read: the kernel would fill its page cache with their zeros. */
static int digest_sparse(struct digest_work *work, EVP_MD_CTX *ctx, int fd, uint64_t size,
			 void *buf)
{
	uint64_t offset = 0;

	while (offset < size) {
		uint64_t data = size, end = size;
		int r;

		r = digest_find_data(fd, offset, size, &data, &end);
		if (r == 0)
			r = digest_zeros(work, ctx, data - offset, buf);
		if (r == 0)
			r = digest_data(work, ctx, fd, data, end, buf);
		if (r < 0)
			return r;
		offset = end;
	}
	return 0;
}

static int digest_one(struct digest_work *work, struct digest_item *item, EVP_MD_CTX *ctx,
		      void *buf)
{
	cleanup_fd int fd = -EBADF;
	int r;

	fd = ckpt_fd_open_beneath(work->dirfd, item->path, O_RDONLY);
	if (fd < 0)
		return fd;
	if (EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
		return -EIO;
	r = digest_sparse(work, ctx, fd, item->size, buf);
	if (r < 0)
		return r;
	return EVP_DigestFinal_ex(ctx, item->digest, NULL) == 1 ? 0 : -EIO;
}

static int digest_many(struct digest_work *work, EVP_MD_CTX *ctx, void *buf)
{
	for (;;) {
		size_t i = atomic_fetch_add(&work->next, 1);
		int r;

		if (i >= work->n)
			break;
		r = digest_check(work);
		if (r < 0)
			return r;
		r = digest_one(work, &work->items[i], ctx, buf);
		if (r < 0)
			return r;
	}
	return 0;
}

static void *digest_run(void *userdata)
{
	struct digest_work *work = userdata;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	void *buf = malloc(DIGEST_BLOCK);
	int r, none = 0;

	r = ctx && buf ? digest_many(work, ctx, buf) : -ENOMEM;
	if (r < 0)
		(void)atomic_compare_exchange_strong(&work->error, &none, r);
	EVP_MD_CTX_free(ctx);
	free(buf);
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
 * @cancel: asked from block to block, by several threads; may be NULL
 * @ret: zeroed, or holding other files' sums already; sorted on success
 *
 * Return: 0; -ENOMEM; -ECANCELED; as open(2), read(2).
 */
int ckpt_digest_files(int dirfd, const struct ckpt_strings *paths, const struct ckpt_cancel *cancel,
		      struct ckpt_sums *ret)
{
	struct digest_work work = { .dirfd = dirfd, .cancel = cancel };
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
