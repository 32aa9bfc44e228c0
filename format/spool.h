/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Memory of a process while it comes in: pages at any address, in any order, the last one wins;
 * kept in sparse files of a staging directory until it is known which segments there are.
 */

#include <stddef.h>
#include <stdint.h>

struct ckpt_cancel;
struct ckpt_regions;
struct ckpt_spool; /* fields are in spool.c */

int ckpt_spool_new(int dirfd, const struct ckpt_regions *plan, struct ckpt_spool **ret);
struct ckpt_spool *ckpt_spool_free(struct ckpt_spool *spool); /* NULL ok; returns NULL */

int ckpt_spool_write(struct ckpt_spool *spool, uint64_t addr, size_t len, const void *data);
int ckpt_spool_zero(struct ckpt_spool *spool, uint64_t addr, uint64_t len);
int ckpt_spool_move(struct ckpt_spool *spool, const struct ckpt_regions *regions, int memory_fd,
		    const struct ckpt_cancel *cancel, uint64_t *ret_bytes);

static inline void ckpt_cleanup_spool_p(struct ckpt_spool **s)
{
	ckpt_spool_free(*s);
}
#define cleanup_spool __attribute__((cleanup(ckpt_cleanup_spool_p)))
