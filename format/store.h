/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A store: a directory of checkpoints, and .sandckpt/ for what is ours. What is in place never
 * changes; what is being written lies in .sandckpt/staging/, each entry under its own flock.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "format/job.h"

struct ckpt_cancel;
struct ckpt_store; /* fields are in store.c */
struct ckpt_stage; /* one checkpoint being written; fields are in store.c */

int ckpt_store_open(const char *path, bool create, bool read_only, struct ckpt_store **ret);
int ckpt_store_open_at(int dirfd, bool read_only, struct ckpt_store **ret);
struct ckpt_store *ckpt_store_free(struct ckpt_store *store); /* NULL ok; returns NULL */

int ckpt_store_fd(const struct ckpt_store *store);
uid_t ckpt_store_owner(const struct ckpt_store *store);
gid_t ckpt_store_group(const struct ckpt_store *store);
int ckpt_store_form(struct ckpt_store *store, enum ckpt_store_form *ret);
int ckpt_store_has_room(struct ckpt_store *store, unsigned reserve_percent, uint64_t bytes);

/* Names; the _each callback gets every checkpoint, in no order, and stops it by returning != 0. */
typedef int (*ckpt_store_visit_t)(void *userdata, const char *name);
int ckpt_store_each(struct ckpt_store *store, ckpt_store_visit_t visit, void *userdata);
int ckpt_store_lookup(struct ckpt_store *store, const char *name, int *ret);
int ckpt_store_name_is_taken(const struct ckpt_store *store, const char *name);
int ckpt_store_rename(struct ckpt_store *store, const char *from, const char *to);
int ckpt_store_remove(struct ckpt_store *store, const char *name);
int ckpt_store_has_litter(struct ckpt_store *store);
int ckpt_store_sweep(struct ckpt_store *store);

/* Writing: staged, filled by the caller below ckpt_stage_fd(), synced, shown in one rename. */
int ckpt_stage_new(struct ckpt_store *store, struct ckpt_stage **ret);
int ckpt_stage_fd(const struct ckpt_stage *stage);
int ckpt_stage_sync(struct ckpt_stage *stage, bool started, const struct ckpt_cancel *cancel);
int ckpt_stage_commit(struct ckpt_stage *stage, const char *name);
struct ckpt_stage *ckpt_stage_free(struct ckpt_stage *stage); /* uncommitted: removed */

static inline void ckpt_cleanup_store_p(struct ckpt_store **s)
{
	ckpt_store_free(*s);
}
#define cleanup_store __attribute__((cleanup(ckpt_cleanup_store_p)))
static inline void ckpt_cleanup_stage_p(struct ckpt_stage **s)
{
	ckpt_stage_free(*s);
}
#define cleanup_stage __attribute__((cleanup(ckpt_cleanup_stage_p)))
