/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A directory of its own for each test, and the pieces that tests of a store put into it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/fdio.h"

struct scratch {
	char path[32];
	int fd;
};

static inline int scratch_setup(void **state)
{
	struct scratch *scratch = malloc(sizeof(*scratch));

	assert_non_null(scratch);
	strcpy(scratch->path, "/tmp/ckpt-test-XXXXXX");
	assert_non_null(mkdtemp(scratch->path));
	scratch->fd = open(scratch->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(scratch->fd >= 0);
	*state = scratch;
	return 0;
}

static inline int scratch_teardown(void **state)
{
	struct scratch *scratch = *state;

	close(scratch->fd);
	assert_int_equal(ckpt_fd_remove_tree(AT_FDCWD, scratch->path), 0);
	free(scratch);
	return 0;
}

static inline void scratch_write(int dirfd, const char *name, const void *data, size_t len)
{
	assert_int_equal(ckpt_fd_write_file(dirfd, name, 0600, data, len), 0);
}

static inline void scratch_text(int dirfd, const char *name, const char *text)
{
	scratch_write(dirfd, name, text, strlen(text));
}

/* A file of tests/data; the caller frees. */
static inline char *scratch_load(const char *dir, const char *name, size_t *ret_len)
{
	char path[4096];
	void *data;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail_msg("cannot open \"%s\"", path);
	assert_int_equal(ckpt_fd_slurp(fd, SIZE_MAX / 4, &data, ret_len), 0);
	close(fd);
	return data;
}

/* The smallest checkpoint, as sandlock would save it. */
static inline void scratch_fill_checkpoint(int dirfd)
{
	int process_fd, fd;

	scratch_text(dirfd, "meta.json", "{\"name\": \"x\", \"cow_snapshot\": null}");
	scratch_text(dirfd, "policy.dat", "");
	assert_int_equal(ckpt_fd_mkdir(dirfd, "process", 0700, &process_fd), 0);
	scratch_text(process_fd, "info.json",
		     "{\"pid\": 7, \"cwd\": \"/\", \"exe\": \"/bin/true\"}");
	scratch_text(process_fd, "fds.json", "[]");
	scratch_text(process_fd, "memory_map.json",
		     "[{\"start\": 4096, \"end\": 8192, \"perms\": \"rw-p\", "
		     "\"offset\": 0, \"path\": null}]");
	assert_int_equal(ckpt_fd_mkdir(process_fd, "threads", 0700, &fd), 0);
	scratch_text(fd, "0.bin", "registers");
	close(fd);
	assert_int_equal(ckpt_fd_mkdir(process_fd, "memory", 0700, &fd), 0);
	scratch_text(fd, "0.bin", "memory");
	close(fd);
	close(process_fd);
}

static inline void scratch_checkpoint(int dirfd, const char *name)
{
	int fd;

	assert_int_equal(ckpt_fd_mkdir(dirfd, name, 0700, &fd), 0);
	scratch_fill_checkpoint(fd);
	close(fd);
}
