/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Names of checkpoints: 1 to 255 bytes of UTF-8, and what else ctl's grammar says of them. */

#include <stddef.h>
#include <sys/types.h>
#include <time.h>

int ckpt_name_check(const char *name);
int ckpt_name_default(const char *comm, pid_t pid, time_t when, unsigned attempt, char *ret,
		      size_t ret_size);
