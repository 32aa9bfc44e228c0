/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The sink that writes a checkpoint into a store, in the plain form, and commits it at end(). */

#include <stdbool.h>
#include <stdint.h>

#include "format/job.h"

struct ckpt_sink;
struct ckpt_store;

struct ckpt_writer_params {
	struct ckpt_store *store;  /* not owned; outlives the sink */
	const char *name;	   /* valid, see ckpt_name_check(); copied */
	bool name_is_default;	   /* .2, .3 … are tried where it is taken */
	enum ckpt_store_form form; /* PACKED: -EINVAL until there are packs */
	unsigned reserve_percent;  /* of the store's filesystem that stays free */
	uint32_t owner_uid;	   /* what meta.json says, whatever the source says */
	const char *cow;	   /* the same of cow_snapshot; copied, or NULL */
	/* Called now and then with how many bytes of memory came in; may be NULL. */
	void (*progress)(void *userdata, uint64_t bytes);
	/*
	 * Asked now and then, in the end by several threads, and last before the commit: true
	 * ends it, -ECANCELED. May be NULL.
	 */
	bool (*cancelled)(void *userdata);
	void *userdata;
};

int ckpt_writer_new(const struct ckpt_writer_params *params, struct ckpt_sink **ret);

/* Of a sink of ckpt_writer_new() whose end() returned 0. */
const char *ckpt_writer_name(const struct ckpt_sink *sink);
uint64_t ckpt_writer_bytes(const struct ckpt_sink *sink);  /* memory that came, without holes */
uint64_t ckpt_writer_stored(const struct ckpt_sink *sink); /* bytes it takes in the store */
