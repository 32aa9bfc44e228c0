/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the tree needs to know of the files of one checkpoint: read when first asked for, and
 * each for itself, so that a damaged one hides nothing but what is made from it. What was read is
 * believed for as long as its file is the same: a checkpoint may be looked at while it is being
 * copied into the store. The directory is handed in with each call: descriptors are few,
 * checkpoints many. Safe from many threads.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define CKFS_CHECK_MAX (16U << 20) /* bytes of a file that is checked when it is opened */
#define CKFS_META_MAX (1U << 20)   /* bytes of a meta.json that is rendered */

struct ckfs_content; /* fields are in content.c */

enum ckfs_link {
	CKFS_LINK_EXE,
	CKFS_LINK_CWD,
	CKFS_LINK_ROOT,
	_CKFS_LINK_MAX,
};

typedef int (*ckfs_fd_visit_t)(void *userdata, int32_t fd);

int ckfs_content_new(struct ckfs_content **ret);
struct ckfs_content *ckfs_content_free(struct ckfs_content *content);
void ckfs_content_settle(struct ckfs_content *content, bool settled);
void ckfs_content_drop(struct ckfs_content *content);
size_t ckfs_content_size(struct ckfs_content *content);

uint64_t ckfs_content_stamp(const struct stat *st);
int ckfs_content_stamp_at(int dirfd, const char *path, uint64_t *ret);

uint64_t ckfs_content_rows(struct ckfs_content *content, int dirfd);
int ckfs_content_link(struct ckfs_content *content, int dirfd, enum ckfs_link link, char **ret);
int ckfs_content_fd(struct ckfs_content *content, int dirfd, int32_t fd, char **ret);
int ckfs_content_each_fd(struct ckfs_content *content, int dirfd, ckfs_fd_visit_t visit,
			 void *userdata);
int ckfs_content_meta(struct ckfs_content *content, int dirfd, const char *name, char **ret,
		      size_t *ret_len);
int ckfs_content_meta_size(struct ckfs_content *content, int dirfd, const char *name,
			   uint64_t *ret);
int ckfs_content_sums(struct ckfs_content *content, int dirfd, const char *name, char **ret,
		      size_t *ret_len);
int ckfs_content_check(struct ckfs_content *content, int dirfd, const char *path, int fd);
