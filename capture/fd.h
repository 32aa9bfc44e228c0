/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The open files of a stopped process. Kinds of them are classes, in one table; a class that has
 * more to tell than its name lives in a file of its own.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct capture_out;
struct capture_view;
struct ckpt_fd;

struct capture_fd_facts {
	int fd;
	const char *path; /* what the link shows */
	bool have_stat;
	struct statx stat;
};

struct capture_fd_class {
	const char *type; /* of fds.json */
	bool (*probe)(const struct capture_fd_facts *facts);
	/* Fills in what the class knows; NULL: nothing. 0, or a negative errno with the call. */
	int (*read)(const struct capture_view *view, const struct capture_fd_facts *facts,
		    struct ckpt_fd *fd, const char **ret_call);
};

extern const struct capture_fd_class capture_fd_socket;

int capture_fds_read(const struct capture_view *view, struct capture_out *out);
