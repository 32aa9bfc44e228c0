/* SPDX-License-Identifier: Apache-2.0 */
#include "format/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/cancel.h"
#include "format/checkpoint.h"
#include "format/cleanup.h"
#include "format/fdio.h"

/*
 * An address belongs to exactly one file: that of the planned region around it, else that of the
 * aligned chunk it lies in. Files are made by the first byte that is not zero. When the segments
 * are known, a planned file becomes its segment by a rename, and only what the plan did not
 * foresee is copied.
 */

#define SPOOL_CHUNK (UINT64_C(64) << 20)
#define SPOOL_PLAN_MAX (UINT64_C(1) << 40) /* longer ones go to chunks: ext4 ends at 16 TiB */
#define SPOOL_CHUNKS_MAX (1U << 20)
#define SPOOL_FDS 64
#define SPOOL_BUFFER (256U << 10)
#define SPOOL_NAME_SIZE 32

struct spool_file {
	uint64_t start, end; /* addresses */
	uint64_t high;	     /* end of what was ever written, from @start */
	int fd;		     /* -EBADF: closed, see spool_open() */
	uint64_t used;	     /* when it was last, in calls */
	bool made;
	bool chunk;
	bool moved; /* has become a segment, up to its size */
};

struct ckpt_spool {
	int dirfd;		 /* not owned */
	struct spool_file *plan; /* ascending */
	size_t n_plan;
	struct spool_file **chunks; /* ascending */
	size_t n_chunks, size_chunks;
	struct spool_file *open[SPOOL_FDS];
	uint64_t calls;
	const struct ckpt_cancel *cancel; /* of spool_move(); not owned */
	void *buffer; /* SPOOL_BUFFER bytes, made when something must be copied by hand */
};

static int spool_take_plan(struct ckpt_spool *spool, const struct ckpt_regions *plan)
{
	int r;

	if (!plan || plan->n == 0)
		return 0;
	r = ckpt_regions_check(plan);
	if (r < 0)
		return r;
	spool->plan = calloc(plan->n, sizeof(*spool->plan));
	if (!spool->plan)
		return -ENOMEM;

	for (size_t i = 0; i < plan->n; i++) {
		const struct ckpt_region *region = &plan->items[i];

		if (region->end - region->start > SPOOL_PLAN_MAX)
			continue;
		spool->plan[spool->n_plan++] = (struct spool_file){
			.start = region->start,
			.end = region->end,
			.fd = -EBADF,
		};
	}
	return 0;
}

/**
 * ckpt_spool_new() - make ready to take pages
 * @dirfd: an empty directory for its files; not owned, outlives the spool
 * @plan: where pages will lie as far as known; may be NULL, is not kept
 *
 * Return: 0; -ENOMEM; as ckpt_regions_check() for a plan that cannot be.
 */
int ckpt_spool_new(int dirfd, const struct ckpt_regions *plan, struct ckpt_spool **ret)
{
	cleanup_spool struct ckpt_spool *spool = NULL;
	int r;

	spool = calloc(1, sizeof(*spool));
	if (!spool)
		return -ENOMEM;
	spool->dirfd = dirfd;

	r = spool_take_plan(spool, plan);
	if (r < 0)
		return r;

	*ret = steal_pointer(spool);
	return 0;
}

/* Its files stay where they are. */
struct ckpt_spool *ckpt_spool_free(struct ckpt_spool *spool)
{
	if (!spool)
		return NULL;
	for (size_t i = 0; i < SPOOL_FDS; i++)
		if (spool->open[i])
			close_fd(spool->open[i]->fd);
	for (size_t i = 0; i < spool->n_chunks; i++)
		free(spool->chunks[i]);
	free(spool->chunks);
	free(spool->plan);
	free(spool->buffer);
	free(spool);
	return NULL;
}

static void spool_name(const struct spool_file *file, char ret[SPOOL_NAME_SIZE])
{
	snprintf(ret, SPOOL_NAME_SIZE, "%s-%" PRIx64, file->chunk ? "chunk" : "plan", file->start);
}

/* Closing is where some filesystems say that the bytes did not get there. */
static int spool_close(struct spool_file *file)
{
	int r = 0;

	if (file->fd >= 0 && close(file->fd) < 0)
		r = -errno;
	file->fd = -EBADF;
	return r;
}

/* A free place: that of the file unused for longest, closed. */
static int spool_slot(struct ckpt_spool *spool, struct spool_file ***ret)
{
	struct spool_file **slot = &spool->open[0];
	struct spool_file *oldest;

	*ret = slot;
	for (size_t i = 0; i < SPOOL_FDS; i++) {
		if (!spool->open[i]) {
			*ret = &spool->open[i];
			return 0;
		}
		if (spool->open[i]->used < (*slot)->used)
			slot = &spool->open[i];
	}

	*ret = slot;
	oldest = *slot;
	*slot = NULL;
	return spool_close(oldest);
}

static int spool_forget(struct ckpt_spool *spool, struct spool_file *file)
{
	for (size_t i = 0; i < SPOOL_FDS; i++)
		if (spool->open[i] == file)
			spool->open[i] = NULL;
	return spool_close(file);
}

/* Opens the file, and makes it the first time. The fd stays the spool's, until the next call. */
static int spool_open(struct ckpt_spool *spool, struct spool_file *file)
{
	char name[SPOOL_NAME_SIZE];
	struct spool_file **slot;
	int r;

	file->used = ++spool->calls;
	if (file->fd >= 0)
		return file->fd;

	r = spool_slot(spool, &slot);
	if (r < 0)
		return r;
	spool_name(file, name);
	file->fd =
	    openat(spool->dirfd, name,
		   O_RDWR | O_NOFOLLOW | O_CLOEXEC | (file->made ? 0 : O_CREAT | O_EXCL), 0600);
	if (file->fd < 0)
		return -errno;

	file->made = true;
	*slot = file;
	return file->fd;
}

/* Index of the first planned file that ends above @addr. */
static size_t spool_find_plan(const struct ckpt_spool *spool, uint64_t addr)
{
	size_t low = 0, high = spool->n_plan;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (spool->plan[mid].end <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Index of the first chunk that ends above @addr. */
static size_t spool_find_chunk(const struct ckpt_spool *spool, uint64_t addr)
{
	size_t low = 0, high = spool->n_chunks;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (spool->chunks[mid]->end <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int spool_grow_chunks(struct ckpt_spool *spool)
{
	struct spool_file **bigger;
	size_t size;

	if (spool->n_chunks < spool->size_chunks)
		return 0;
	if (spool->n_chunks >= SPOOL_CHUNKS_MAX)
		return -E2BIG;

	size = spool->size_chunks ? spool->size_chunks * 2 : 16;
	bigger = reallocarray(spool->chunks, size, sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	spool->chunks = bigger;
	spool->size_chunks = size;
	return 0;
}

static int spool_get_chunk(struct ckpt_spool *spool, uint64_t addr, struct spool_file **ret)
{
	size_t i = spool_find_chunk(spool, addr);
	struct spool_file *chunk;
	int r;

	if (i < spool->n_chunks && spool->chunks[i]->start <= addr) {
		*ret = spool->chunks[i];
		return 0;
	}
	r = spool_grow_chunks(spool);
	if (r < 0)
		return r;
	chunk = malloc(sizeof(*chunk));
	if (!chunk)
		return -ENOMEM;

	*chunk = (struct spool_file){
		.start = addr & ~(SPOOL_CHUNK - 1),
		.end = (addr & ~(SPOOL_CHUNK - 1)) + SPOOL_CHUNK,
		.fd = -EBADF,
		.chunk = true,
	};
	memmove(&spool->chunks[i + 1], &spool->chunks[i],
		(spool->n_chunks - i) * sizeof(*spool->chunks));
	spool->chunks[i] = chunk;
	spool->n_chunks++;
	*ret = chunk;
	return 0;
}

/* The file an address belongs to, made up if need be; *ret_end: where that ends to be so. */
static int spool_place(struct ckpt_spool *spool, uint64_t addr, struct spool_file **ret,
		       uint64_t *ret_end)
{
	size_t i = spool_find_plan(spool, addr);
	uint64_t end = UINT64_MAX;
	int r;

	if (i < spool->n_plan && spool->plan[i].start <= addr) {
		*ret = &spool->plan[i];
		*ret_end = spool->plan[i].end;
		return 0;
	}
	if (i < spool->n_plan)
		end = spool->plan[i].start;

	r = spool_get_chunk(spool, addr, ret);
	if (r < 0)
		return r;
	*ret_end = end < (*ret)->end ? end : (*ret)->end;
	return 0;
}

struct spool_piece {
	struct spool_file *file;
	uint64_t start, end; /* addresses */
};

/* The first run of [addr, end) that lies in a file that is there. */
static bool spool_next(const struct ckpt_spool *spool, uint64_t addr, uint64_t end,
		       struct spool_piece *ret)
{
	while (addr < end) {
		size_t p = spool_find_plan(spool, addr), c;
		struct spool_file *file = p < spool->n_plan ? &spool->plan[p] : NULL;
		uint64_t gap_end = file && file->start < end ? file->start : end;

		if (file && file->start <= addr) {
			gap_end = file->end < end ? file->end : end;
			*ret = (struct spool_piece){ file, addr, gap_end };
			if (file->made)
				return true;
			addr = gap_end;
			continue;
		}

		c = spool_find_chunk(spool, addr);
		file = c < spool->n_chunks ? spool->chunks[c] : NULL;
		if (file && file->start < gap_end) {
			ret->file = file;
			ret->start = file->start > addr ? file->start : addr;
			ret->end = file->end < gap_end ? file->end : gap_end;
			if (file->made)
				return true;
			addr = ret->end;
			continue;
		}
		addr = gap_end;
	}
	return false;
}

static int spool_write_zeros(int fd, uint64_t offset, uint64_t len)
{
	static const char zeros[CKPT_PAGE_SIZE];
	int r;

	for (; len > 0; offset += sizeof(zeros), len -= sizeof(zeros)) {
		r = ckpt_fd_pwrite(fd, zeros, len < sizeof(zeros) ? (size_t)len : sizeof(zeros),
				   offset);
		if (r < 0 || len <= sizeof(zeros))
			return r;
	}
	return 0;
}

/* A hole, or zeros where the filesystem knows no holes. */
static int spool_punch(struct ckpt_spool *spool, const struct spool_piece *piece)
{
	uint64_t offset = piece->start - piece->file->start;
	uint64_t end = piece->end - piece->file->start;
	int fd;

	if (end > piece->file->high)
		end = piece->file->high;
	if (offset >= end)
		return 0;

	fd = spool_open(spool, piece->file);
	if (fd < 0)
		return fd;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		      (off_t)(end - offset)) == 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return -errno;

	return spool_write_zeros(fd, offset, end - offset);
}

/**
 * ckpt_spool_zero() - a range that holds zeros from now on, whatever it held before
 * @addr: bytes, below CKPT_ADDRESS_MAX together with @len; whole pages
 *
 * Return: 0; as open(2), fallocate(2).
 */
int ckpt_spool_zero(struct ckpt_spool *spool, uint64_t addr, uint64_t len)
{
	uint64_t end = addr + len;
	struct spool_piece piece;
	int r;

	while (spool_next(spool, addr, end, &piece)) {
		r = spool_punch(spool, &piece);
		if (r < 0)
			return r;
		addr = piece.end;
	}
	return 0;
}

static int spool_write_data(struct ckpt_spool *spool, uint64_t addr, size_t len, const char *data)
{
	while (len > 0) {
		struct spool_file *file;
		uint64_t end, offset;
		size_t n;
		int fd, r;

		r = spool_place(spool, addr, &file, &end);
		if (r < 0)
			return r;
		fd = spool_open(spool, file);
		if (fd < 0)
			return fd;

		n = end - addr < len ? (size_t)(end - addr) : len;
		offset = addr - file->start;
		/* First, so that a later zero() reaches what a failed write left. */
		if (offset + n > file->high)
			file->high = offset + n;
		r = ckpt_fd_pwrite(fd, data, n, offset);
		if (r < 0)
			return r;

		addr += n;
		data += n;
		len -= n;
	}
	return 0;
}

static bool spool_page_is_zero(const char *page)
{
	uint64_t first;

	memcpy(&first, page, sizeof(first));
	return first == 0 &&
	       memcmp(page, page + sizeof(first), CKPT_PAGE_SIZE - sizeof(first)) == 0;
}

/* How many bytes from @data on are pages of one kind. */
static size_t spool_run(const char *data, size_t len, bool *ret_zero)
{
	bool zero = spool_page_is_zero(data);
	size_t n = CKPT_PAGE_SIZE;

	while (n < len && spool_page_is_zero(data + n) == zero)
		n += CKPT_PAGE_SIZE;

	*ret_zero = zero;
	return n;
}

/**
 * ckpt_spool_write() - keep pages; those that are zero become holes
 * @addr: bytes, below CKPT_ADDRESS_MAX together with @len; whole pages
 *
 * Return: 0; -E2BIG for more places outside the plan than a process can have; -ENOMEM; as
 * open(2), pwrite(2), close(2).
 */
int ckpt_spool_write(struct ckpt_spool *spool, uint64_t addr, size_t len, const void *data)
{
	const char *p = data;

	while (len > 0) {
		bool zero;
		size_t n = spool_run(p, len, &zero);
		int r;

		if (zero)
			r = ckpt_spool_zero(spool, addr, n);
		else
			r = spool_write_data(spool, addr, n, p);
		if (r < 0)
			return r;

		addr += n;
		p += n;
		len -= n;
	}
	return 0;
}

/* The next run of data of [*offset, end): 1 with its bounds, 0 when there is none. */
static int spool_data(int fd, uint64_t end, uint64_t *offset, uint64_t *ret_end)
{
	off_t data, hole;

	if (*offset >= end)
		return 0;
	data = lseek(fd, (off_t)*offset, SEEK_DATA);
	if (data < 0)
		return errno == ENXIO ? 0 : -errno;
	if ((uint64_t)data >= end)
		return 0;
	hole = lseek(fd, data, SEEK_HOLE);
	if (hole < 0)
		return -errno;

	*offset = (uint64_t)data;
	*ret_end = (uint64_t)hole < end ? (uint64_t)hole : end;
	return 1;
}

static int spool_copy_by_hand(struct ckpt_spool *spool, int from, uint64_t from_offset, int to,
			      uint64_t to_offset, uint64_t len)
{
	if (!spool->buffer)
		spool->buffer = malloc(SPOOL_BUFFER);
	if (!spool->buffer)
		return -ENOMEM;

	while (len > 0) {
		size_t n = len < SPOOL_BUFFER ? (size_t)len : SPOOL_BUFFER;
		int r;

		r = ckpt_cancel_check(spool->cancel);
		if (r < 0)
			return r;
		r = ckpt_fd_pread(from, spool->buffer, n, from_offset);
		if (r < 0)
			return r;
		r = ckpt_fd_pwrite(to, spool->buffer, n, to_offset);
		if (r < 0)
			return r;
		from_offset += n;
		to_offset += n;
		len -= n;
	}
	return 0;
}

static int spool_copy_data(struct ckpt_spool *spool, int from, uint64_t from_offset, int to,
			   uint64_t to_offset, uint64_t len)
{
	while (len > 0) {
		off_t in = (off_t)from_offset, out = (off_t)to_offset;
		ssize_t n = copy_file_range(from, &in, to, &out,
					    (size_t)(len < SPOOL_CHUNK ? len : SPOOL_CHUNK), 0);
		int r = ckpt_cancel_check(spool->cancel);

		if (r < 0)
			return r;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP &&
		    errno != EXDEV)
			return -errno;
		if (n <= 0)
			return spool_copy_by_hand(spool, from, from_offset, to, to_offset, len);
		from_offset += (uint64_t)n;
		to_offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static int spool_copy_piece(struct ckpt_spool *spool, const struct spool_piece *piece, int to,
			    uint64_t to_offset)
{
	uint64_t base = piece->start - piece->file->start, offset = base;
	uint64_t end = piece->end - piece->file->start, data_end = 0;
	int fd, r;

	fd = spool_open(spool, piece->file);
	if (fd < 0)
		return fd;

	for (;;) {
		r = spool_data(fd, end, &offset, &data_end);
		if (r <= 0)
			return r;
		r = spool_copy_data(spool, fd, offset, to, to_offset + (offset - base),
				    data_end - offset);
		if (r < 0)
			return r;
		offset = data_end;
	}
}

/* Everything of [addr, region->end) that some file holds, into the segment's file. */
static int spool_copy(struct ckpt_spool *spool, const struct ckpt_region *region, uint64_t addr,
		      int to)
{
	struct spool_piece piece;
	int r;

	while (spool_next(spool, addr, region->end, &piece)) {
		if (piece.file->moved)
			return -EIO; /* our bug: spool_adoptable() said nobody else needs it */
		r = spool_copy_piece(spool, &piece, to, piece.start - region->start);
		if (r < 0)
			return r;
		addr = piece.end;
	}
	return 0;
}

/* The planned file that may become the segment: it starts there, and no later one needs it. */
static struct spool_file *spool_adoptable(struct ckpt_spool *spool,
					  const struct ckpt_regions *regions, size_t i)
{
	const struct ckpt_region *region = &regions->items[i];
	size_t p = spool_find_plan(spool, region->start);
	struct spool_file *file = p < spool->n_plan ? &spool->plan[p] : NULL;

	if (!file || !file->made || file->start != region->start)
		return NULL;
	if (i + 1 < regions->n && regions->items[i + 1].start < file->end)
		return NULL;
	return file;
}

static int spool_adopt(struct ckpt_spool *spool, struct spool_file *file,
		       const struct ckpt_region *region, int memory_fd, const char *name, int *ret)
{
	char from[SPOOL_NAME_SIZE];
	int r;

	spool_name(file, from);
	r = spool_forget(spool, file);
	if (r < 0)
		return r;
	if (renameat(spool->dirfd, from, memory_fd, name) < 0)
		return -errno;
	file->moved = true;

	*ret = openat(memory_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (*ret < 0)
		return -errno;
	/* Cut before it is made longer: bytes beyond a segment that shrank must not come back. */
	if (file->high > region->end - region->start &&
	    ftruncate(*ret, (off_t)(region->end - region->start)) < 0)
		return -errno;
	return 0;
}

static int spool_count(int fd, uint64_t size, uint64_t *ret_bytes)
{
	uint64_t offset = 0, end = 0, bytes = 0;
	int r;

	for (;;) {
		r = spool_data(fd, size, &offset, &end);
		if (r < 0)
			return r;
		if (r == 0)
			break;
		bytes += end - offset;
		offset = end;
	}
	*ret_bytes = bytes;
	return 0;
}

static int spool_move_one(struct ckpt_spool *spool, const struct ckpt_regions *regions, size_t i,
			  int memory_fd, uint64_t *ret_bytes)
{
	const struct ckpt_region *region = &regions->items[i];
	struct spool_file *file = spool_adoptable(spool, regions, i);
	uint64_t size = region->end - region->start, from = region->start;
	cleanup_fd int fd = -EBADF;
	char name[SPOOL_NAME_SIZE];
	int r;

	snprintf(name, sizeof(name), "%zu.bin", i);
	if (file) {
		r = spool_adopt(spool, file, region, memory_fd, name, &fd);
		if (r < 0)
			return r;
		from = file->end;
	} else {
		fd = openat(memory_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			    0600);
		if (fd < 0)
			return -errno;
	}

	r = spool_copy(spool, region, from, fd);
	if (r < 0)
		return r;
	if (ftruncate(fd, (off_t)size) < 0 || fchmod(fd, 0400) < 0)
		return -errno;
	r = spool_count(fd, size, ret_bytes);
	if (r < 0)
		return r;

	return close(steal_fd(&fd)) < 0 ? -errno : 0;
}

/**
 * ckpt_spool_move() - make N.bin of every segment, from what was kept; once, as the last call
 * @regions: the segments, checked by ckpt_regions_check(); what lies outside is dropped
 * @memory_fd: directory that takes the files, on the same filesystem; not owned
 * @cancel: asked from segment to segment, and while bytes are copied; may be NULL
 * @ret_bytes: what they hold together, bytes without holes
 *
 * Return: 0; -EFBIG where the filesystem has no file as long as a segment; -ECANCELED; as
 * open(2), close(2), rename(2), copy_file_range(2).
 */
int ckpt_spool_move(struct ckpt_spool *spool, const struct ckpt_regions *regions, int memory_fd,
		    const struct ckpt_cancel *cancel, uint64_t *ret_bytes)
{
	uint64_t total = 0;

	spool->cancel = cancel;
	for (size_t i = 0; i < regions->n; i++) {
		uint64_t bytes = 0;
		int r;

		r = ckpt_cancel_check(cancel);
		if (r < 0)
			return r;
		r = spool_move_one(spool, regions, i, memory_fd, &bytes);
		if (r < 0)
			return r;
		total += bytes;
	}

	*ret_bytes = total;
	return 0;
}
