/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A sink that keeps everything in memory, for tests to look at. It insists on the sink's order. */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "format/checkpoint.h"
#include "format/sink.h"

struct memory_procfile {
	char *path;
	char *data; /* a NUL behind it */
	size_t len;
};

struct memory_sink {
	struct ckpt_sink sink;
	void *pages; /* a tsearch tree */
	struct memory_arena *arenas;
	uint64_t n_pages;
	bool begun, ended;
	struct ckpt_regions plan, regions;
	struct ckpt_threads threads;
	struct ckpt_fds fds;
	struct ckpt_omitteds omitted;
	struct memory_procfile *procfiles;
	size_t n_procfiles;
	struct json_object *info, *meta;
	/* Called before every pages(), while the target is held; its answer is pages()'s. */
	int (*on_pages)(void *userdata);
	void *userdata;
	unsigned char room[65536]; /* what space() gives */
};

/* @give_room: with an implementation of space(). */
struct memory_sink *memory_sink_new(bool give_room);
struct memory_sink *memory_sink_free(struct memory_sink *sink);

/* The page at @addr; NULL: nobody wrote it, it is a hole. */
const unsigned char *memory_sink_page(const struct memory_sink *sink, uint64_t addr);
const struct ckpt_region *memory_sink_region(const struct memory_sink *sink, uint64_t addr);
const struct memory_procfile *memory_sink_procfile(const struct memory_sink *sink,
						   const char *path);
const struct ckpt_fd *memory_sink_fd(const struct memory_sink *sink, int fd);
const struct ckpt_thread *memory_sink_thread(const struct memory_sink *sink, int tid);
const struct ckpt_omitted *memory_sink_omitted(const struct memory_sink *sink, const char *what);
