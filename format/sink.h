/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The one narrow interface by which a checkpoint is made: a capture, an import, a test hands
 * over to a sink; a sink writes into a store (format/writer.h), or passes on over a ring to
 * another process's sink (format/ring.h).
 *
 *	begin
 *	pages zero		in any order, repeatable: the last one wins
 *	thread fd procfile omitted	threads and fds in the order they are to have
 *	regions			once: the final list; what lies outside is dropped
 *	end
 *
 * Segment numbers are given at the end, by the sink. Nothing passes into its ownership. After a
 * negative return the sink takes nothing more: free it, and nothing of it remains.
 */

#include <stddef.h>
#include <stdint.h>

struct ckpt_fd;
struct ckpt_info;
struct ckpt_meta;
struct ckpt_omitted;
struct ckpt_regions;
struct ckpt_thread;
struct ckpt_sink;

struct ckpt_begin {
	int32_t pid;
	uint64_t expected_bytes; /* for progress: 0 unknown */
	const struct ckpt_regions
	    *plan; /* where pages will lie, as far as known; a hint, may be NULL */
};

struct ckpt_end {
	const struct ckpt_meta *meta; /* what the source knows: name, created, mode, pause … */
	const struct ckpt_info *info;
	const void *policy; /* policy.dat, byte for byte; NULL: sandlock's default */
	size_t policy_len;
	const void *app_state; /* app_state.bin; NULL: none */
	size_t app_state_len;
};

/* Each returns 0 or a negative errno: -ENOSPC, -EPIPE (the other side is gone), -EBADMSG … */
struct ckpt_sink_ops {
	int (*begin)(struct ckpt_sink *sink, const struct ckpt_begin *begin);
	/* @len and @addr are whole pages. */
	int (*pages)(struct ckpt_sink *sink, uint64_t addr, size_t len, const void *data);
	int (*zero)(struct ckpt_sink *sink, uint64_t addr, uint64_t len);
	int (*thread)(struct ckpt_sink *sink, const struct ckpt_thread *thread);
	int (*fd)(struct ckpt_sink *sink, const struct ckpt_fd *fd);
	/* @path below proc/: "status", "task/12/comm"; components are of [A-Za-z0-9_.-]. */
	int (*procfile)(struct ckpt_sink *sink, const char *path, const void *data, size_t len);
	int (*omitted)(struct ckpt_sink *sink, const struct ckpt_omitted *omitted);
	int (*regions)(struct ckpt_sink *sink, const struct ckpt_regions *regions);
	int (*end)(struct ckpt_sink *sink, const struct ckpt_end *end);
	/*
	 * Memory that pages() takes without a copy when it is called with it next: up to @want
	 * bytes, *ret_len a multiple of a page and not 0. Optional (NULL).
	 */
	int (*space)(struct ckpt_sink *sink, size_t want, void **ret, size_t *ret_len);
	void (*free)(struct ckpt_sink *sink);
};

struct ckpt_sink {
	const struct ckpt_sink_ops *ops; /* the implementation's struct starts with this one */
};

static inline int ckpt_sink_begin(struct ckpt_sink *s, const struct ckpt_begin *begin)
{
	return s->ops->begin(s, begin);
}
static inline int ckpt_sink_pages(struct ckpt_sink *s, uint64_t addr, size_t len, const void *data)
{
	return s->ops->pages(s, addr, len, data);
}
static inline int ckpt_sink_zero(struct ckpt_sink *s, uint64_t addr, uint64_t len)
{
	return s->ops->zero(s, addr, len);
}
static inline int ckpt_sink_thread(struct ckpt_sink *s, const struct ckpt_thread *thread)
{
	return s->ops->thread(s, thread);
}
static inline int ckpt_sink_fd(struct ckpt_sink *s, const struct ckpt_fd *fd)
{
	return s->ops->fd(s, fd);
}
static inline int ckpt_sink_procfile(struct ckpt_sink *s, const char *path, const void *data,
				     size_t len)
{
	return s->ops->procfile(s, path, data, len);
}
static inline int ckpt_sink_omitted(struct ckpt_sink *s, const struct ckpt_omitted *omitted)
{
	return s->ops->omitted(s, omitted);
}
static inline int ckpt_sink_regions(struct ckpt_sink *s, const struct ckpt_regions *regions)
{
	return s->ops->regions(s, regions);
}
static inline int ckpt_sink_end(struct ckpt_sink *s, const struct ckpt_end *end)
{
	return s->ops->end(s, end);
}
static inline struct ckpt_sink *ckpt_sink_free(struct ckpt_sink *s)
{
	if (s)
		s->ops->free(s);
	return NULL;
}
static inline void ckpt_cleanup_sink_p(struct ckpt_sink **s)
{
	ckpt_sink_free(*s);
}
#define cleanup_sink __attribute__((cleanup(ckpt_cleanup_sink_p)))
