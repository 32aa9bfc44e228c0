/* SPDX-License-Identifier: Apache-2.0 */
#include "format/writer-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/cleanup.h"
#include "format/convert.h"
#include "format/fdio.h"
#include "format/json.h"
#include "format/layout.h"
#include "format/name.h"
#include "format/spool.h"

/*
 * While pages come the target may be waiting for us: then nothing is synced, digested or
 * decided. All of that is in ckpt_writer_finish().
 */

#define WRITER_STEP (UINT64_C(64) << 20) /* bytes from one look at the room left to the next */
#define WRITER_ASK 16			 /* calls from one look for a cancellation to the next */
#define WRITER_BLOCK 4096U		 /* bytes that even a small file takes */
#define WRITER_PATH_MAX 128		 /* bytes of a path below proc/ */
#define WRITER_PATH_DEPTH 4
#define WRITER_PROCFILES_MAX (8 * (size_t)CKPT_THREADS_MAX + CKPT_FDS_MAX)
#define WRITER_OMITTED_LEN 255 /* bytes of each string of a row */

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

/* After @len bytes more: whether to go on. Pieces of a file count as the blocks they take. */
static int writer_look(struct writer *writer, size_t len)
{
	int r;

	writer->taken += len;
	if (writer->params.progress)
		writer->params.progress(writer->params.userdata, writer->came);
	if (++writer->calls % WRITER_ASK == 0) {
		r = ckpt_cancel_check(&writer->cancel);
		if (r < 0)
			return r;
	}
	if (writer->taken - writer->looked_at < WRITER_STEP)
		return 0;

	writer->looked_at = writer->taken;
	return ckpt_store_has_room(writer->params.store, writer->params.reserve_percent, 0);
}

/**
 * ckpt_writer_put() - make a file of the stage
 * @dirfd, @name: where it is
 * @path: what SHA256SUMS calls it
 *
 * Return: 0; -ENOSPC, also when it would eat into the reserve; -ECANCELED; as
 * ckpt_fd_write_file(), ckpt_strings_add().
 */
int ckpt_writer_put(struct writer *writer, int dirfd, const char *name, const char *path,
		    const void *data, size_t len)
{
	int r;

	r = ckpt_fd_write_file(dirfd, name, 0400, data, len);
	if (r < 0)
		return r;
	r = ckpt_strings_add(&writer->paths, path);
	if (r < 0)
		return r;
	return writer_look(writer, len < WRITER_BLOCK ? WRITER_BLOCK : len);
}

/* Return: 1; 0 when something of the store has the name; as statx(2). */
int ckpt_writer_name_is_free(const struct writer *writer, const char *name)
{
	int r = ckpt_store_name_is_taken(writer->params.store, name);

	return r < 0 ? r : !r;
}

static int writer_make_directories(struct writer *writer)
{
	int stage_fd = ckpt_stage_fd(writer->stage);
	const struct {
		const char *name;
		int *fd;
	} table[] = {
		{ "threads", &writer->threads_fd },
		{ "memory", &writer->memory_fd },
	};
	cleanup_fd int process_fd = -EBADF;
	int r;

	r = ckpt_fd_mkdir(stage_fd, CKPT_PATH_PROCESS, 0700, &process_fd);
	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		r = ckpt_fd_mkdir(process_fd, table[i].name, 0700, table[i].fd);
		if (r < 0)
			return r;
	}
	r = ckpt_fd_mkdir(stage_fd, CKPT_PATH_PROC, 0700, &writer->proc_fd);
	if (r < 0)
		return r;

	return ckpt_fd_mkdir(stage_fd, WRITER_SPOOL, 0700, &writer->spool_fd);
}

static int writer_open(struct writer *writer, const struct ckpt_begin *begin)
{
	int r;

	/* Known now, it saves the whole capture. */
	r = writer->params.name_is_default ? 1
					   : ckpt_writer_name_is_free(writer, writer->params.name);
	if (r <= 0)
		return r < 0 ? r : -EEXIST;
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

static int writer_check_range(uint64_t addr, uint64_t len)
{
	if (addr % CKPT_PAGE_SIZE || len % CKPT_PAGE_SIZE)
		return -EINVAL;
	if (addr > CKPT_ADDRESS_MAX || len > CKPT_ADDRESS_MAX - addr)
		return -EINVAL;
	return 0;
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
	if (r == 0)
		r = writer_look(writer, 0);
	return writer_result(writer, r);
}

static int writer_put_raw(struct writer *writer, const char *suffix, const void *data, size_t len)
{
	char name[32], path[64];

	snprintf(name, sizeof(name), "%zu.%s", writer->threads.n, suffix);
	snprintf(path, sizeof(path), CKPT_PATH_THREADS "/%s", name);
	return ckpt_writer_put(writer, writer->threads_fd, name, path, data, len);
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

/* The last row there is room for says that there were more. */
static int writer_take_omitted(struct writer *writer, const struct ckpt_omitted *omitted)
{
	const char *const strings[] = { omitted->what, omitted->call, omitted->err };

	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		if (strings[i] && strlen(strings[i]) > WRITER_OMITTED_LEN)
			return -EINVAL;
	if (writer->omitted.n >= CKPT_OMITTED_MAX)
		return 0;
	if (writer->omitted.n == CKPT_OMITTED_MAX - 1)
		return ckpt_omitteds_add(&writer->omitted, "omitted", "omitted", E2BIG);
	return ckpt_omitteds_add_row(&writer->omitted, omitted);
}

/* What would make fds.json unreadable stays out of it; proc/fdinfo/N has it still. */
static int writer_leave_fdinfo_out(struct writer *writer, struct ckpt_fd *fd)
{
	char what[32];
	const struct ckpt_omitted row = { .what = what,
					  .call = (char *)"fdinfo",
					  .err = (char *)"E2BIG" };

	snprintf(what, sizeof(what), "fd/%d", fd->fd);
	fd->fdinfo = NULL;
	fd->n_fdinfo = 0;
	return writer_take_omitted(writer, &row);
}

static int writer_take_fd(struct writer *writer, const struct ckpt_fd *fd)
{
	cleanup_json struct json_object *json = NULL;
	struct ckpt_fd copy = *fd; /* what it points to stays the source's */
	cleanup_free char *text = NULL;
	size_t len;
	int r;

	if (json_object_array_length(writer->fds) >= CKPT_FDS_MAX)
		return -E2BIG;
	if (fd->fdinfo_bytes > CKPT_FDINFO_TOTAL_MAX - writer->fdinfo_bytes) {
		r = writer_leave_fdinfo_out(writer, &copy);
		if (r < 0)
			return r;
	} else {
		writer->fdinfo_bytes += fd->fdinfo_bytes;
	}

	r = ckpt_fd_to_json(&copy, &json);
	if (r < 0)
		return r;
	r = ckpt_json_print(json, &text, &len);
	if (r < 0)
		return r;
	writer->fds_len += len;
	if (writer->fds_len > CKPT_JSON_MAX)
		return -EFBIG;
	if (json_object_array_add(writer->fds, json) < 0)
		return -ENOMEM;
	steal_pointer(json);
	return 0;
}

static int writer_fd(struct ckpt_sink *sink, const struct ckpt_fd *fd)
{
	struct writer *writer = writer_of(sink);
	int r;

	r = writer_check(writer, WRITER_OPEN);
	if (r == 0)
		r = writer_take_fd(writer, fd);
	if (r == 0)
		r = writer_look(writer, 0);
	return writer_result(writer, r);
}

static int writer_omitted(struct ckpt_sink *sink, const struct ckpt_omitted *omitted)
{
	struct writer *writer = writer_of(sink);
	int r;

	r = writer_check(writer, WRITER_OPEN);
	if (r == 0)
		r = writer_take_omitted(writer, omitted);
	if (r == 0)
		r = writer_look(writer, 0);
	return writer_result(writer, r);
}

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
	if (writer->n_procfiles >= WRITER_PROCFILES_MAX)
		return -E2BIG;
	if (len > CKPT_PROCFILE_MAX)
		return -EFBIG;

	strcpy(parts, path);
	r = writer_walk(writer->proc_fd, parts, &fd, &name);
	if (r < 0)
		return r;
	snprintf(full, sizeof(full), CKPT_PATH_PROC "/%s", path);
	writer->n_procfiles++;
	return ckpt_writer_put(writer, fd, name, full, data, len);
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

static int writer_end(struct ckpt_sink *sink, const struct ckpt_end *end)
{
	struct writer *writer = writer_of(sink);
	int r;

	r = writer_check(writer, WRITER_MAPPED);
	if (r == 0)
		r = ckpt_writer_finish(writer, end);
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
	free((char *)writer->params.cow);
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
		.cancel = { .asked = params->cancelled, .userdata = params->userdata },
		.spool_fd = -EBADF,
		.threads_fd = -EBADF,
		.memory_fd = -EBADF,
		.proc_fd = -EBADF,
		.fds = json_object_new_array(),
	};
	writer->params.name = strdup(params->name);
	writer->params.cow = params->cow ? strdup(params->cow) : NULL;
	if (!writer->fds || !writer->params.name || (params->cow && !writer->params.cow)) {
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
