/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Between the two halves of a writer: what comes in (writer.c), what is made of it at the end. */

#include <stdint.h>

#include "format/cancel.h"
#include "format/checkpoint.h"
#include "format/sink.h"
#include "format/store.h"
#include "format/writer.h"

#define WRITER_SPOOL "spool" /* in the stage, gone before the commit */

enum writer_state {
	WRITER_NEW,
	WRITER_OPEN,   /* begin() was */
	WRITER_MAPPED, /* regions() was */
	WRITER_DONE,
	WRITER_FAILED,
};

struct json_object;

struct writer {
	struct ckpt_sink sink;		  /* first */
	struct ckpt_writer_params params; /* strings are our own copies */
	struct ckpt_cancel cancel;
	enum writer_state state;
	struct ckpt_stage *stage;
	struct ckpt_spool *spool;
	int spool_fd, threads_fd, memory_fd, proc_fd;
	struct ckpt_regions regions;
	struct ckpt_threads threads; /* without the raw registers: those are files by now */
	struct ckpt_omitteds omitted;
	struct json_object *fds;
	size_t fds_len, fdinfo_bytes; /* about what they print as; what they hold of fdinfo */
	size_t n_procfiles;
	struct ckpt_strings paths; /* every file of the stage but meta.json and SHA256SUMS */
	uint64_t calls;
	uint64_t came;		   /* bytes of memory */
	uint64_t taken, looked_at; /* bytes of all kinds; those when the room was looked at last */
	uint64_t bytes, stored;
	char name[CKPT_NAME_SIZE];
};

int ckpt_writer_name_is_free(const struct writer *writer, const char *name);
int ckpt_writer_put(struct writer *writer, int dirfd, const char *name, const char *path,
		    const void *data, size_t len);
int ckpt_writer_finish(struct writer *writer, const struct ckpt_end *end);
