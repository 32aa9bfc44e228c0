/* SPDX-License-Identifier: Apache-2.0 */
#include "format/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/checkpoint.h"
#include "format/cleanup.h"
#include "format/convert.h"
#include "format/digest.h"
#include "format/fdio.h"
#include "format/json.h"
#include "format/layout.h"
#include "format/name.h"
#include "format/policy.h"
#include "format/sink.h"
#include "format/spool.h"
#include "format/store.h"
#include "format/sums.h"

/*
 * While pages come the target may be waiting for us: then nothing is synced, digested or
 * decided. All of that is in writer_end(), at the bottom.
 */

#define WRITER_SPOOL "spool"		 /* in the stage, gone before the commit */
#define WRITER_STEP (UINT64_C(64) << 20) /* bytes from one look at the room left to the next */
#define WRITER_PATH_MAX 1024		 /* bytes of a path below proc/ */
#define WRITER_PATH_DEPTH 4
#define WRITER_ATTEMPTS 10000 /* names of one second's captures of one process */

enum writer_state {
	WRITER_NEW,
	WRITER_OPEN,   /* begin() was */
	WRITER_MAPPED, /* regions() was */
	WRITER_DONE,
	WRITER_FAILED,
};

struct writer {
	struct ckpt_sink sink;		  /* first */
	struct ckpt_writer_params params; /* name is our own copy */
	enum writer_state state;
	struct ckpt_stage *stage;
	struct ckpt_spool *spool;
	int spool_fd, threads_fd, memory_fd, proc_fd;
	struct ckpt_regions regions;
	struct ckpt_threads threads; /* without the raw registers: those are files by now */
	struct ckpt_omitteds omitted;
	struct json_object *fds;
	struct ckpt_strings paths; /* every file of the stage but meta.json and SHA256SUMS */
	uint64_t came;		   /* bytes of memory */
	uint64_t taken, looked_at; /* bytes of all kinds; those when the room was looked at last */
	uint64_t bytes, stored;
	char name[CKPT_NAME_SIZE];
};

static struct writer *writer_of(struct ckpt_sink *sink)
{
	return (struct writer *)sink;
}

/* What is in the way of a call that belongs to @state; 0: nothing. */
static int writer_check(const struct writer *writer, enum writer_state state)
{
	return writer->state == state ? 0 : -EPROTO;
}

/* Passes @r on; after an error nothing is taken any more. */
static int writer_result(struct writer *writer, int r)
{
	if (r < 0)
		writer->state = WRITER_FAILED;
	return r;
}

static bool writer_cancelled(const struct writer *writer)
{
	return writer->params.cancelled && writer->params.cancelled(writer->params.userdata);
}

static int writer_stage_fd(const struct writer *writer)
{
	return ckpt_stage_fd(writer->stage);
}

/* A file of the stage: @dirfd and @name are where it is, @path what SHA256SUMS calls it. */
static int writer_put(struct writer *writer, int dirfd, const char *name, const char *path,
		      const void *data, size_t len)
{
	int r;

	r = ckpt_fd_write_file(dirfd, name, 0400, data, len);
	if (r < 0)
		return r;
	return ckpt_strings_add(&writer->paths, path);
}

/* begin() */

/* Whether the name we were told can still be had: known now, it saves the whole capture. */
static int writer_check_name(const struct writer *writer)
{
	struct stat st;

	if (writer->params.name_is_default)
		return 0;
	if (fstatat(ckpt_store_fd(writer->params.store), writer->params.name, &st,
		    AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	return errno == ENOENT ? 0 : -errno;
}

static int writer_make_directories(struct writer *writer)
{
	const struct {
		const char *name;
		int *fd;
	} table[] = {
		{ "threads", &writer->threads_fd },
		{ "memory", &writer->memory_fd },
	};
	cleanup_fd int process_fd = -EBADF;
	int r;

	r = ckpt_fd_mkdir(writer_stage_fd(writer), CKPT_PATH_PROCESS, 0700, &process_fd);
	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		r = ckpt_fd_mkdir(process_fd, table[i].name, 0700, table[i].fd);
		if (r < 0)
			return r;
	}
	r = ckpt_fd_mkdir(writer_stage_fd(writer), CKPT_PATH_PROC, 0700, &writer->proc_fd);
	if (r < 0)
		return r;

	return ckpt_fd_mkdir(writer_stage_fd(writer), WRITER_SPOOL, 0700, &writer->spool_fd);
}

static int writer_open(struct writer *writer, const struct ckpt_begin *begin)
{
	int r;

	r = writer_check_name(writer);
	if (r < 0)
		return r;
	r = ckpt_store_has_room(writer->params.store, writer->params.reserve_percent,
				begin->expected_bytes);
	if (r < 0)
		return r;
	r = ckpt_stage_new(writer->params.store, &writer->stage);
	if (r < 0)
		return r;
	r = writer_make_directories(writer);
	if (r < 0)
		return r;

	return ckpt_spool_new(writer->spool_fd, begin->plan, &writer->spool);
}

static int writer_begin(struct ckpt_sink *sink, const struct ckpt_begin *begin)
{
	struct writer *writer = writer_of(sink);
	int r;

	r = writer_check(writer, WRITER_NEW);
	if (r == 0)
		r = writer_open(writer, begin);
	if (r == 0)
		writer->state = WRITER_OPEN;
	return writer_result(writer, r);
}

/* pages(), zero() */

static int writer_check_range(uint64_t addr, uint64_t len)
{
	if (addr % CKPT_PAGE_SIZE || len % CKPT_PAGE_SIZE)
		return -EINVAL;
	if (addr > CKPT_ADDRESS_MAX || len > CKPT_ADDRESS_MAX - addr)
		return -EINVAL;
	return 0;
}

/* After @len bytes more: whether to go on. */
static int writer_look(struct writer *writer, size_t len)
{
	writer->taken += len;
	if (writer->params.progress)
		writer->params.progress(writer->params.userdata, writer->came);
	if (writer_cancelled(writer))
		return -ECANCELED;
	if (writer->taken - writer->looked_at < WRITER_STEP)
		return 0;

	writer->looked_at = writer->taken;
	return ckpt_store_has_room(writer->params.store, writer->params.reserve_percent, 0);
}

static int writer_pages(struct ckpt_sink *sink, uint64_t addr, size_t len, const void *data)
{
	struct writer *writer = writer_of(sink);
	int r;

	r = writer_check(writer, WRITER_OPEN);
	if (r == 0)
		r = writer_check_range(addr, len);
	if (r == 0)
		r = ckpt_spool_write(writer->spool, addr, len, data);
	if (r == 0) {
		writer->came += len;
		r = writer_look(writer, len);
	}
	return writer_result(writer, r);
}

static int writer_zero(struct ckpt_sink *sink, uint64_t addr, uint64_t len)
{
	struct writer *writer = writer_of(sink);
	int r;

	r = writer_check(writer, WRITER_OPEN);
	if (r == 0)
		r = writer_check_range(addr, len);
	if (r == 0)
		r = ckpt_spool_zero(writer->spool, addr, len);
	return writer_result(writer, r);
}

/* thread() */

static int writer_put_raw(struct writer *writer, const char *suffix, const void *data, size_t len)
{
	char name[32], path[64];

	snprintf(name, sizeof(name), "%zu.%s", writer->threads.n, suffix);
	snprintf(path, sizeof(path), CKPT_PATH_THREADS "/%s", name);
	return writer_put(writer, writer->threads_fd, name, path, data, len);
}

static int writer_add_thread(struct writer *writer, const struct ckpt_thread *thread)
{
	struct ckpt_thread copy = {
		.tid = thread->tid,
		.state = thread->state,
		.sigmask = thread->sigmask,
		.pending = thread->pending,
	};
	int r;

	r = ckpt_strdup(thread->comm, &copy.comm);
	if (r == 0)
		r = ckpt_strdup(thread->syscall, &copy.syscall);
	if (r == 0)
		r = ckpt_threads_add(&writer->threads, &copy);
	if (r < 0)
		ckpt_thread_done(&copy);
	return r;
}

static int writer_take_thread(struct writer *writer, const struct ckpt_thread *thread)
{
	int r;

	if (thread->gpregs_len > CKPT_XSTATE_MAX || thread->xstate_len > CKPT_XSTATE_MAX)
		return -EFBIG;
	if (writer->threads.n >= CKPT_THREADS_MAX)
		return -E2BIG;

	if (thread->gpregs) {
		r = writer_put_raw(writer, "bin", thread->gpregs, thread->gpregs_len);
		if (r < 0)
			return r;
	}
	if (thread->xstate) {
		r = writer_put_raw(writer, "xstate", thread->xstate, thread->xstate_len);
		if (r < 0)
			return r;
	}
	return writer_add_thread(writer, thread);
}

static int writer_thread(struct ckpt_sink *sink, const struct ckpt_thread *thread)
{
	struct writer *writer = writer_of(sink);
	int r;

	r = writer_check(writer, WRITER_OPEN);
	if (r == 0)
		r = writer_take_thread(writer, thread);
	return writer_result(writer, r);
}

/* fd(), omitted() */

static int writer_take_fd(struct writer *writer, const struct ckpt_fd *fd)
{
	struct json_object *json = NULL;
	int r;

	if (json_object_array_length(writer->fds) >= CKPT_FDS_MAX)
		return -E2BIG;
	r = ckpt_fd_to_json(fd, &json);
	if (r < 0)
		return r;
	if (json_object_array_add(writer->fds, json) < 0) {
		json_object_put(json);
		return -ENOMEM;
	}
	return 0;
}

static int writer_fd(struct ckpt_sink *sink, const struct ckpt_fd *fd)
{
	struct writer *writer = writer_of(sink);
	int r;

	r = writer_check(writer, WRITER_OPEN);
	if (r == 0)
		r = writer_take_fd(writer, fd);
	return writer_result(writer, r);
}

/* The last row there is room for says that there were more. */
static int writer_take_omitted(struct writer *writer, const struct ckpt_omitted *omitted)
{
	if (writer->omitted.n >= CKPT_OMITTED_MAX)
		return 0;
	if (writer->omitted.n == CKPT_OMITTED_MAX - 1)
		return ckpt_omitteds_add(&writer->omitted, "omitted", "omitted", E2BIG);
	return ckpt_omitteds_add_row(&writer->omitted, omitted);
}

static int writer_omitted(struct ckpt_sink *sink, const struct ckpt_omitted *omitted)
{
	struct writer *writer = writer_of(sink);
	int r;

	r = writer_check(writer, WRITER_OPEN);
	if (r == 0)
		r = writer_take_omitted(writer, omitted);
	return writer_result(writer, r);
}

/* procfile() */

static bool writer_component_ok(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_.-";
	size_t len = strlen(name);

	return len > 0 && len < CKPT_NAME_SIZE && name[0] != '.' && strspn(name, allowed) == len;
}

/* Makes the directories of @path, which is cut up; the last component is left to the caller. */
static int writer_walk(int dirfd, char *path, int *ret, const char **ret_name)
{
	cleanup_fd int fd = -EBADF;
	char *slash;
	int r;

	fd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;

	for (unsigned depth = 1;; depth++, path = slash + 1) {
		int next;

		slash = strchr(path, '/');
		if (slash)
			*slash = '\0';
		if (depth > WRITER_PATH_DEPTH || !writer_component_ok(path))
			return -EINVAL;
		if (!slash)
			break;

		r = ckpt_fd_mkdir(fd, path, 0700, &next);
		if (r < 0)
			return r;
		close_fd(fd);
		fd = next;
	}

	*ret = steal_fd(&fd);
	*ret_name = path;
	return 0;
}

static int writer_take_procfile(struct writer *writer, const char *path, const void *data,
				size_t len)
{
	char parts[WRITER_PATH_MAX], full[WRITER_PATH_MAX + 8];
	cleanup_fd int fd = -EBADF;
	const char *name = NULL;
	int r;

	if (strlen(path) >= sizeof(parts))
		return -EINVAL;
	if (len > CKPT_PROCFILE_MAX)
		return -EFBIG;

	strcpy(parts, path);
	r = writer_walk(writer->proc_fd, parts, &fd, &name);
	if (r < 0)
		return r;
	snprintf(full, sizeof(full), CKPT_PATH_PROC "/%s", path);
	r = writer_put(writer, fd, name, full, data, len);
	if (r < 0)
		return r;
	return writer_look(writer, len);
}

static int writer_procfile(struct ckpt_sink *sink, const char *path, const void *data, size_t len)
{
	struct writer *writer = writer_of(sink);
	int r;

	r = writer_check(writer, WRITER_OPEN);
	if (r == 0)
		r = writer_take_procfile(writer, path, data, len);
	return writer_result(writer, r);
}

/* regions() */

static int writer_take_regions(struct writer *writer, const struct ckpt_regions *regions)
{
	int r;

	r = ckpt_regions_check(regions);
	if (r < 0)
		return r;
	for (size_t i = 0; i < regions->n; i++) {
		r = ckpt_regions_add(&writer->regions, &regions->items[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int writer_regions(struct ckpt_sink *sink, const struct ckpt_regions *regions)
{
	struct writer *writer = writer_of(sink);
	int r;

	r = writer_check(writer, WRITER_OPEN);
	if (r == 0)
		r = writer_take_regions(writer, regions);
	if (r == 0)
		writer->state = WRITER_MAPPED;
	return writer_result(writer, r);
}

/* end() */

static int writer_move_memory(struct writer *writer)
{
	char path[64];
	int r;

	r = ckpt_spool_move(writer->spool, &writer->regions, writer->memory_fd, &writer->bytes);
	if (r < 0)
		return r;
	for (size_t i = 0; i < writer->regions.n; i++) {
		snprintf(path, sizeof(path), CKPT_PATH_MEMORY "/%zu.bin", i);
		r = ckpt_strings_add(&writer->paths, path);
		if (r < 0)
			return r;
	}

	writer->spool = ckpt_spool_free(writer->spool);
	return ckpt_fd_remove_tree(writer_stage_fd(writer), WRITER_SPOOL);
}

/* Takes over @json. */
static int writer_put_json(struct writer *writer, const char *path, struct json_object *json)
{
	cleanup_json struct json_object *object = json;
	cleanup_free char *text = NULL;
	size_t len;
	int r;

	r = ckpt_json_print(object, &text, &len);
	if (r < 0)
		return r;
	if (len > CKPT_JSON_MAX) /* nobody could read it again */
		return -EFBIG;
	return writer_put(writer, writer_stage_fd(writer), path, path, text, len);
}

static int writer_put_objects(struct writer *writer, const struct ckpt_end *end)
{
	struct json_object *json = NULL;
	int r;

	r = ckpt_info_to_json(end->info, &writer->threads, &json);
	if (r == 0)
		r = writer_put_json(writer, CKPT_PATH_INFO, json);
	if (r < 0)
		return r;

	r = writer_put_json(writer, CKPT_PATH_FDS, steal_pointer(writer->fds));
	if (r < 0)
		return r;

	r = ckpt_regions_to_json(&writer->regions, &json);
	if (r == 0)
		r = writer_put_json(writer, CKPT_PATH_MAP, json);
	return r;
}

static int writer_put_policy(struct writer *writer, const struct ckpt_end *end)
{
	cleanup_free void *policy = NULL;
	const void *data = end->policy;
	size_t len = end->policy_len;
	int r;

	if (!data) {
		r = ckpt_policy_default(&policy, &len);
		if (r < 0)
			return r;
		data = policy;
	}
	return writer_put(writer, writer_stage_fd(writer), CKPT_PATH_POLICY, CKPT_PATH_POLICY, data,
			  len);
}

/* The one file that may be written again later, as sandlock does. */
static int writer_put_app_state(struct writer *writer, const struct ckpt_end *end)
{
	int r;

	if (!end->app_state)
		return 0;
	r = ckpt_fd_write_file(writer_stage_fd(writer), CKPT_PATH_APP_STATE, 0600, end->app_state,
			       end->app_state_len);
	if (r < 0)
		return r;
	return ckpt_strings_add(&writer->paths, CKPT_PATH_APP_STATE);
}

static int writer_print_meta(struct writer *writer, const struct ckpt_meta *source, char **ret,
			     size_t *ret_len)
{
	cleanup_json struct json_object *json = NULL;
	struct ckpt_meta meta = *source; /* strings stay the source's */
	int r;

	meta.name = writer->name;
	meta.version = 0;
	meta.ours = true;
	meta.sandckpt = (char *)SANDCKPT_VERSION;
	meta.owner_uid = writer->params.owner_uid;
	meta.bytes = writer->bytes;
	meta.omitted = writer->omitted;

	r = ckpt_meta_to_json(&meta, &json);
	if (r < 0)
		return r;
	return ckpt_json_print(json, ret, ret_len);
}

/* As ckpt_fd_write_file(), in the place of an earlier attempt's. */
static int writer_replace(struct writer *writer, const char *name, const void *data, size_t len)
{
	if (unlinkat(writer_stage_fd(writer), name, 0) < 0 && errno != ENOENT)
		return -errno;
	return ckpt_fd_write_file(writer_stage_fd(writer), name, 0400, data, len);
}

static int writer_set_sum(struct ckpt_sums *sums, const char *path,
			  const uint8_t digest[CKPT_SHA256_SIZE])
{
	int r;

	for (size_t i = 0; i < sums->n; i++) {
		if (strcmp(sums->items[i].path, path) != 0)
			continue;
		memcpy(sums->items[i].digest, digest, CKPT_SHA256_SIZE);
		return 0;
	}

	r = ckpt_sums_add(sums, path, digest);
	if (r < 0)
		return r;
	ckpt_sums_sort(sums);
	return 0;
}

/* meta.json and SHA256SUMS, the two that depend on the name. */
static int writer_put_named(struct writer *writer, const struct ckpt_meta *source,
			    struct ckpt_sums *sums)
{
	cleanup_free char *meta = NULL;
	cleanup_free char *text = NULL;
	uint8_t digest[CKPT_SHA256_SIZE];
	size_t meta_len, text_len;
	int r;

	r = writer_print_meta(writer, source, &meta, &meta_len);
	if (r < 0)
		return r;
	r = writer_replace(writer, CKPT_PATH_META, meta, meta_len);
	if (r < 0)
		return r;

	r = ckpt_sha256(meta, meta_len, digest);
	if (r < 0)
		return r;
	r = writer_set_sum(sums, CKPT_PATH_META, digest);
	if (r < 0)
		return r;
	r = ckpt_sums_print(sums, &text, &text_len);
	if (r < 0)
		return r;
	return writer_replace(writer, CKPT_PATH_SUMS, text, text_len);
}

static int writer_count_one(struct writer *writer, const char *path)
{
	struct stat st;

	if (fstatat(writer_stage_fd(writer), path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	writer->stored += (uint64_t)st.st_blocks * 512;
	return 0;
}

/* After the sync: before it many filesystems have not said where a block goes. */
static int writer_count_stored(struct writer *writer)
{
	int r;

	writer->stored = 0;
	for (size_t i = 0; i < writer->paths.n; i++) {
		r = writer_count_one(writer, writer->paths.items[i]);
		if (r < 0)
			return r;
	}
	r = writer_count_one(writer, CKPT_PATH_META);
	if (r < 0)
		return r;
	return writer_count_one(writer, CKPT_PATH_SUMS);
}

/* NAME, NAME.2, NAME.3 …; -EEXIST without a try where something has the name already. */
static int writer_choose_name(struct writer *writer, unsigned attempt)
{
	struct stat st;
	int len;

	if (attempt == 1)
		len = snprintf(writer->name, sizeof(writer->name), "%s", writer->params.name);
	else
		len = snprintf(writer->name, sizeof(writer->name), "%s.%u", writer->params.name,
			       attempt);
	if (len < 0 || (size_t)len >= sizeof(writer->name))
		return -ENAMETOOLONG;

	if (fstatat(ckpt_store_fd(writer->params.store), writer->name, &st, AT_SYMLINK_NOFOLLOW) ==
	    0)
		return -EEXIST;
	return errno == ENOENT ? 0 : -errno;
}

static int writer_try_commit(struct writer *writer, const struct ckpt_meta *meta,
			     struct ckpt_sums *sums, unsigned attempt)
{
	int r;

	r = writer_choose_name(writer, attempt);
	if (r < 0)
		return r;
	r = writer_put_named(writer, meta, sums);
	if (r < 0)
		return r;
	r = ckpt_stage_sync(writer->stage);
	if (r < 0)
		return r;
	r = writer_count_stored(writer);
	if (r < 0)
		return r;
	if (writer_cancelled(writer))
		return -ECANCELED;

	return ckpt_stage_commit(writer->stage, writer->name);
}

static int writer_commit(struct writer *writer, const struct ckpt_meta *meta)
{
	struct ckpt_sums sums = {};
	int r;

	r = ckpt_digest_files(writer_stage_fd(writer), &writer->paths, &sums);
	if (r == 0) {
		unsigned attempt = 0;

		do
			r = writer_try_commit(writer, meta, &sums, ++attempt);
		while (r == -EEXIST && writer->params.name_is_default && attempt < WRITER_ATTEMPTS);
	}
	ckpt_sums_done(&sums);
	return r;
}

static int writer_finish(struct writer *writer, const struct ckpt_end *end)
{
	int r;

	if (!end->meta || !end->info)
		return -EINVAL;
	r = writer_move_memory(writer);
	if (r < 0)
		return r;
	r = writer_put_objects(writer, end);
	if (r < 0)
		return r;
	r = writer_put_policy(writer, end);
	if (r < 0)
		return r;
	r = writer_put_app_state(writer, end);
	if (r < 0)
		return r;
	/* The files are there, and their size: the last moment to refuse them for lack of room. */
	r = ckpt_store_has_room(writer->params.store, writer->params.reserve_percent, 0);
	if (r < 0)
		return r;
	if (writer_cancelled(writer))
		return -ECANCELED;

	return writer_commit(writer, end->meta);
}

static int writer_end(struct ckpt_sink *sink, const struct ckpt_end *end)
{
	struct writer *writer = writer_of(sink);
	int r;

	r = writer_check(writer, WRITER_MAPPED);
	if (r == 0)
		r = writer_finish(writer, end);
	if (r == 0)
		writer->state = WRITER_DONE;
	return writer_result(writer, r);
}

static void writer_free(struct ckpt_sink *sink)
{
	struct writer *writer = writer_of(sink);

	ckpt_spool_free(writer->spool);
	close_fd(writer->spool_fd);
	close_fd(writer->threads_fd);
	close_fd(writer->memory_fd);
	close_fd(writer->proc_fd);
	ckpt_stage_free(writer->stage);
	ckpt_regions_done(&writer->regions);
	ckpt_threads_done(&writer->threads);
	ckpt_omitteds_done(&writer->omitted);
	json_object_put(writer->fds);
	for (size_t i = 0; i < writer->paths.n; i++)
		free(writer->paths.items[i]);
	free(writer->paths.items);
	free((char *)writer->params.name);
	free(writer);
}

static const struct ckpt_sink_ops writer_ops = {
	.begin = writer_begin,
	.pages = writer_pages,
	.zero = writer_zero,
	.thread = writer_thread,
	.fd = writer_fd,
	.procfile = writer_procfile,
	.omitted = writer_omitted,
	.regions = writer_regions,
	.end = writer_end,
	.free = writer_free,
};

static int writer_check_form(const struct ckpt_writer_params *params)
{
	enum ckpt_store_form form = params->form;
	int r;

	if (form == CKPT_FORM_DEFAULT) {
		r = ckpt_store_form(params->store, &form);
		if (r < 0)
			return r;
	}
	return form == CKPT_FORM_PLAIN ? 0 : -EINVAL;
}

/**
 * ckpt_writer_new() - a sink that makes a checkpoint in a store
 * @params: copied, but for the store
 * @ret: freed by ckpt_sink_free(), which leaves nothing in the store unless end() returned 0
 *
 * Its begin() returns -EEXIST when a name that may not be changed is taken, and -ENOSPC when
 * what is expected would not leave the reserve free; so does any later call.
 *
 * Return: 0; -EINVAL for a name that cannot be, and for packed checkpoints; -ENOMEM; as
 * ckpt_store_form().
 */
int ckpt_writer_new(const struct ckpt_writer_params *params, struct ckpt_sink **ret)
{
	struct writer *writer;
	int r;

	r = ckpt_name_check(params->name);
	if (r < 0)
		return r;
	r = writer_check_form(params);
	if (r < 0)
		return r;

	writer = malloc(sizeof(*writer));
	if (!writer)
		return -ENOMEM;
	*writer = (struct writer){
		.sink = { .ops = &writer_ops },
		.params = *params,
		.spool_fd = -EBADF,
		.threads_fd = -EBADF,
		.memory_fd = -EBADF,
		.proc_fd = -EBADF,
		.fds = json_object_new_array(),
	};
	writer->params.name = strdup(params->name);
	if (!writer->fds || !writer->params.name) {
		writer_free(&writer->sink);
		return -ENOMEM;
	}

	*ret = &writer->sink;
	return 0;
}

/* The name it got. */
const char *ckpt_writer_name(const struct ckpt_sink *sink)
{
	return ((const struct writer *)sink)->name;
}

uint64_t ckpt_writer_bytes(const struct ckpt_sink *sink)
{
	return ((const struct writer *)sink)->bytes;
}

uint64_t ckpt_writer_stored(const struct ckpt_sink *sink)
{
	return ((const struct writer *)sink)->stored;
}
