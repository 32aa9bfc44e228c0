/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What mount.sandckpt is told: mount(8)'s short options, ours behind -o or --, one table of them. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "format/job.h"

struct ckfs_options {
	const char *spec, *dir; /* of argv */
	const char *mount_ns;	/* of argv: -N; NULL: ours */
	bool fake, sloppy, verbose, help, version;
	bool foreground, debug, read_only, allow_other, auto_unmount, unconfined;
	uint64_t max_threads;
	uint64_t cache_size, copy_limit; /* 0: chosen by what is free */
	uint64_t reserve_percent;
	uint64_t idle_timeout_s; /* 0: never */
	uint64_t deadline_s;
	uint64_t captures, captures_per_user;
	enum ckpt_mode mode;
	enum ckpt_store_form form;
	char *passed;	/* for the kernel: "nodev,noexec"; NULL: none */
	char said[512]; /* the sentence, when parsing failed */
};

int ckfs_options_parse(int argc, char **argv, struct ckfs_options *ret);
void ckfs_options_done(struct ckfs_options *options);
void ckfs_options_help(FILE *f);

static inline void ckfs_cleanup_options_p(struct ckfs_options *p)
{
	ckfs_options_done(p);
}
#define cleanup_options __attribute__((cleanup(ckfs_cleanup_options_p)))
