/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The memory of calls with a timeout that captures interrupted: struct ckpt_calls. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "format/job.h"

void capture_calls_recall(const struct ckpt_calls *calls, struct ckpt_call *call);
void capture_calls_put(struct ckpt_calls *calls, const struct ckpt_call *call);
void capture_calls_resumed(struct ckpt_calls *calls, pid_t pid, pid_t tid, uint64_t since_ns,
			   uint64_t now_ns);
void capture_calls_merge(struct ckpt_calls *calls, pid_t pid, const struct ckpt_call *items,
			 size_t n, uint64_t now_ns);
