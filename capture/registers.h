/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a stopped thread is: its registers, its signals, its name. */

#include <stddef.h>

struct capture_target;
struct capture_thread;
struct ckpt_thread;

int capture_thread_read(const struct capture_target *target, const struct capture_thread *thread,
			struct ckpt_thread *ret);
int capture_thread_status(const struct capture_target *target, const struct capture_thread *thread,
			  char **ret, size_t *ret_len);
