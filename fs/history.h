/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What `cat ctl` shows: a line a capture; the finished ones are kept here. */

#include <stdio.h>

#include "format/job.h"

#define CKFS_HISTORY_SIZE 64

struct ckfs_record {
	uid_t uid; /* who asked */
	struct ckpt_job_status status;
};

struct ckfs_history {
	struct ckfs_record items[CKFS_HISTORY_SIZE]; /* oldest first */
	size_t n;
};

void ckfs_history_add(struct ckfs_history *history, const struct ckfs_record *record);
void ckfs_history_print(const struct ckfs_history *history, uid_t reader, FILE *f);
void ckfs_said_clean(char *said);
void ckfs_record_print(const struct ckfs_record *record, uid_t reader, FILE *f);
