/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/copy.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "capture/maps.h"
#include "capture/out.h"
#include "capture/pagemap.h"
#include "capture/source.h"
#include "capture/target.h"
#include "format/checkpoint.h"
#include "format/sink.h"

#define PIECE (1024U * 1024)
#define PAGE ((uint64_t)CKPT_PAGE_SIZE)
/* So many pages that cannot be read are tried one by one; then the page tables are asked. */
#define BAD_PAGES_MAX 256

/* A run of pages that could not be read, told of once it has ended. */
struct bad_run {
	uint64_t start, end;
	unsigned n_tried;
};

int capture_copy_init(struct capture_copy *copy)
{
	copy->buf = aligned_alloc(PAGE, PIECE);
	return copy->buf ? 0 : -ENOMEM;
}

void capture_copy_done(struct capture_copy *copy)
{
	free(copy->buf);
	copy->buf = NULL;
}

/* Room for the next pages: the sink's own where it has some. */
static int get_room(struct capture_copy *copy, uint64_t want, void **ret, size_t *ret_len)
{
	struct ckpt_sink *sink = copy->out->sink;
	int r;

	if (want > PIECE)
		want = PIECE;
	if (sink && sink->ops->space) {
		r = sink->ops->space(sink, want, ret, ret_len);
		if (r < 0)
			return r;
		if (*ret_len > want)
			*ret_len = want;
		return 0;
	}

	*ret = copy->buf;
	*ret_len = want;
	return 0;
}

static ssize_t read_vm(const struct capture_view *view, uint64_t addr, void *buf, size_t len)
{
	struct iovec local = { buf, len }, remote = { (void *)(uintptr_t)addr, len };
	ssize_t n = process_vm_readv(view->tid, &local, 1, &remote, 1, 0);

	return n < 0 ? -errno : n;
}

static ssize_t read_mem(const struct capture_view *view, uint64_t addr, void *buf, size_t len)
{
	ssize_t n = pread(view->mem_fd, buf, len, (off_t)addr);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;

	return n > 0 ? n : -ESRCH; /* the address space is gone */
}

/**
 * capture_copy_peek() - read a few bytes
 *
 * Return: 0; -EFAULT when not all of them can be read; -ESRCH.
 */
int capture_copy_peek(const struct capture_view *view, uint64_t addr, void *ret, size_t len)
{
	ssize_t n = read_vm(view, addr, ret, len);

	if (n < 0)
		return (int)n;

	return (size_t)n == len ? 0 : -EFAULT;
}

/*
 * Whole pages at @addr, as many as can be had in one go. process_vm_readv() is the faster one
 * but respects PROT_NONE, which mem does not. Return: bytes; -ESRCH; -EFAULT.
 */
static ssize_t read_pages(struct capture_copy *copy, const struct capture_map *map, uint64_t addr,
			  void *buf, size_t len)
{
	ssize_t n = -EFAULT;

	if (map->perms[0] == 'r')
		n = read_vm(copy->view, addr, buf, len);
	if (n < (ssize_t)PAGE && n != -ESRCH)
		n = read_mem(copy->view, addr, buf, map->perms[0] == 'r' ? PAGE : len);
	if (n >= (ssize_t)PAGE)
		return n - n % (ssize_t)PAGE;

	return n == -ESRCH ? n : -EFAULT;
}

/*
 * Past the end of a mapped file there is nothing to miss. Where its size is not known, a bad run
 * up to the end of the mapping is taken for that.
 */
static int flush_bad(struct capture_copy *copy, const struct capture_map *map, struct bad_run *bad)
{
	struct bad_run run = *bad;

	*bad = (struct bad_run){};
	if (run.start == run.end || (map->inode && copy->size_unknown && run.end == map->end))
		return 0;

	return capture_out_hole(copy->out, run.start, run.end, "process_vm_readv", -EFAULT);
}

static int stop_at(void *userdata, const struct capture_run *run)
{
	uint64_t *next = userdata;

	*next = run->start;
	return 1;
}

/* Takes the page at @pos as bad. Return: where to go on. */
static uint64_t skip_bad(struct capture_copy *copy, struct bad_run *bad, uint64_t pos, uint64_t end)
{
	uint64_t next = end;
	int r;

	if (bad->start == bad->end)
		bad->start = pos;
	bad->end = pos + PAGE;
	if (++bad->n_tried < BAD_PAGES_MAX)
		return bad->end;

	r = capture_pagemap_scan(copy->pagemap, bad->end, end, false, stop_at, &next);
	bad->n_tried = 0;
	if (r >= 0)
		bad->end = next;
	return bad->end;
}

/**
 * capture_copy_memory() - copy a run through the process's own address space
 * @map: the mapping that holds the run
 *
 * A page that cannot be read is a hole in the image and a row of what was omitted.
 *
 * Return: 0; -ESRCH the process is gone; what the sink returned.
 */
int capture_copy_memory(struct capture_copy *copy, const struct capture_map *map, uint64_t start,
			uint64_t end)
{
	struct bad_run bad = {};
	int r;

	while (start < end) {
		size_t len;
		ssize_t n;
		void *buf;

		r = get_room(copy, end - start, &buf, &len);
		if (r < 0)
			return r;
		n = read_pages(copy, map, start, buf, len);
		if (n == -ESRCH)
			return -ESRCH;
		if (n < 0) {
			start = skip_bad(copy, &bad, start, end);
			continue;
		}

		r = flush_bad(copy, map, &bad);
		if (r < 0)
			return r;
		r = capture_out_pages(copy->out, start, (size_t)n, buf);
		if (r < 0)
			return r;
		start += (uint64_t)n;
	}

	return flush_bad(copy, map, &bad);
}

/* Fills whole pages from the file; behind its end a page is zeros, as in the mapping. */
static ssize_t read_file(int fd, void *buf, size_t len, uint64_t offset)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = pread(fd, (char *)buf + got, len - got, (off_t)(offset + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && got < PAGE)
			return -errno;
		if (n <= 0)
			break;
		got += (size_t)n;
	}

	if (got % PAGE) {
		size_t rest = PAGE - got % PAGE;

		memset((char *)buf + got, 0, rest);
		got += rest;
	}
	return (ssize_t)got;
}

/**
 * capture_copy_file() - copy a run that no page of the process's own hides, from its file
 * @source: with an fd
 *
 * Return: as capture_copy_memory().
 */
int capture_copy_file(struct capture_copy *copy, const struct capture_map *map,
		      const struct capture_source *source, uint64_t start, uint64_t end)
{
	int r;

	while (start < end) {
		size_t len;
		ssize_t n;
		void *buf;

		r = get_room(copy, end - start, &buf, &len);
		if (r < 0)
			return r;
		n = read_file(source->fd, buf, len, map->offset + (start - map->start));
		if (n < 0) /* a hole in a swap device, a bad block: perhaps the page is there yet */
			return capture_copy_memory(copy, map, start, end);
		if (n == 0)
			return 0; /* the file ends here */

		r = capture_out_pages(copy->out, start, (size_t)n, buf);
		if (r < 0)
			return r;
		start += (uint64_t)n;
	}

	return 0;
}
