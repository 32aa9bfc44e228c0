/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* File descriptors: whole reads and writes, and walking a store without leaving it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ckpt_cancel;

int ckpt_fd_open_beneath(int dirfd, const char *path, int flags);
int ckpt_fd_read_all(int dirfd, const char *path, size_t max, void **ret, size_t *ret_len);
int ckpt_fd_slurp(int fd, size_t max, void **ret, size_t *ret_len);
int ckpt_fd_pread(int fd, void *buf, size_t len, uint64_t offset);
int ckpt_fd_write(int fd, const void *buf, size_t len);
int ckpt_fd_pwrite(int fd, const void *buf, size_t len, uint64_t offset);
int ckpt_fd_write_file(int dirfd, const char *name, mode_t mode, const void *buf, size_t len);
int ckpt_fd_mkdir(int dirfd, const char *name, mode_t mode, int *ret);
int ckpt_fd_sync_tree(int dirfd, bool started, const struct ckpt_cancel *cancel);
int ckpt_fd_remove_tree(int dirfd, const char *name);
