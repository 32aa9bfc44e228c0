/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Files and links below a /proc/PID directory fd. All of it is the target's to choose. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int capture_proc_read(int proc_fd, const char *path, size_t max, char **ret, size_t *ret_len);
int capture_proc_readlink(int proc_fd, const char *path, char **ret);

bool capture_status_find(const char *status, const char *key, const char **ret, size_t *ret_len);
int capture_status_u64(const char *status, const char *key, int base, uint64_t *ret);
int capture_stat_u64(const char *stat, unsigned field, uint64_t *ret);
char *capture_stat_state(char *stat);
