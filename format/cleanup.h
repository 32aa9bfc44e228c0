/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Scope-bound release of what a function holds, and the explicit hand-over that ends it.
 * Every wrapper keeps errno, so that an early `return -errno` is not spoiled by a close.
 */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void ckpt_cleanup_free_p(void *p)
{
	free(*(void **)p); /* free() keeps errno since glibc 2.33 */
}

static inline void ckpt_cleanup_fd_p(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd);
	errno = saved;
}

static inline void ckpt_cleanup_file_p(FILE **f)
{
	int saved = errno;

	if (*f)
		(void)fclose(*f);
	errno = saved;
}

static inline void ckpt_cleanup_dir_p(DIR **d)
{
	int saved = errno;

	if (*d)
		(void)closedir(*d);
	errno = saved;
}

#define cleanup_free __attribute__((cleanup(ckpt_cleanup_free_p)))
#define cleanup_fd __attribute__((cleanup(ckpt_cleanup_fd_p)))
#define cleanup_file __attribute__((cleanup(ckpt_cleanup_file_p)))
#define cleanup_dir __attribute__((cleanup(ckpt_cleanup_dir_p)))

/* Hands the fd over: the variable no longer owns it. */
static inline int steal_fd(int *fd)
{
	int ret = *fd;

	*fd = -EBADF;
	return ret;
}

/* Hands the pointer over: the variable no longer owns it. */
#define steal_pointer(p)                                                                           \
	({                                                                                         \
		__typeof__(p) p_ = (p);                                                            \
		(p) = NULL;                                                                        \
		p_;                                                                                \
	})

/* Closes and unsets, for fields: `x->fd = close_fd(x->fd)`. */
static inline int close_fd(int fd)
{
	ckpt_cleanup_fd_p(&fd);
	return -EBADF;
}
