/* SPDX-License-Identifier: Apache-2.0 */
#include "format/writer-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/cleanup.h"
#include "format/convert.h"
#include "format/digest.h"
#include "format/fdio.h"
#include "format/json.h"
#include "format/layout.h"
#include "format/policy.h"
#include "format/spool.h"
#include "format/sums.h"

/*
 * All has come and the target runs again: now the memory becomes segments, the rest files, and
 * all of it a checkpoint, digested, durable, and in the end visible.
 */

#define WRITER_ATTEMPTS 10000 /* names of one second's captures of one process */

static int writer_stage_fd(const struct writer *writer)
{
	return ckpt_stage_fd(writer->stage);
}

static int writer_move_memory(struct writer *writer)
{
	char path[64];
	int r;

	r = ckpt_spool_move(writer->spool, &writer->regions, writer->memory_fd, &writer->cancel,
			    &writer->bytes);
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
	return ckpt_writer_put(writer, writer_stage_fd(writer), path, path, text, len);
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
	return ckpt_writer_put(writer, writer_stage_fd(writer), CKPT_PATH_POLICY, CKPT_PATH_POLICY,
			       data, len);
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
	cleanup_free char *text = NULL;
	size_t len;
	int r;

	meta.name = writer->name;
	meta.version = 0;
	meta.ours = true;
	meta.sandckpt = (char *)SANDCKPT_VERSION;
	meta.owner_uid = writer->params.owner_uid;
	meta.cow_snapshot = (char *)writer->params.cow;
	meta.bytes = writer->bytes;
	meta.omitted = writer->omitted;

	r = ckpt_meta_to_json(&meta, &json);
	if (r < 0)
		return r;
	r = ckpt_json_print(json, &text, &len);
	if (r < 0)
		return r;
	if (len > CKPT_JSON_MAX)
		return -EFBIG;

	*ret = steal_pointer(text);
	*ret_len = len;
	return 0;
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
	int len, r;

	if (attempt == 1)
		len = snprintf(writer->name, sizeof(writer->name), "%s", writer->params.name);
	else
		len = snprintf(writer->name, sizeof(writer->name), "%s.%u", writer->params.name,
			       attempt);
	if (len < 0 || (size_t)len >= sizeof(writer->name))
		return -ENAMETOOLONG;

	r = ckpt_writer_name_is_free(writer, writer->name);
	if (r < 0)
		return r;
	return r > 0 ? 0 : -EEXIST;
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
	/* ckpt_digest_files() has started the write-back of all that is large. */
	r = ckpt_stage_sync(writer->stage, true, &writer->cancel);
	if (r < 0)
		return r;
	r = writer_count_stored(writer);
	if (r < 0)
		return r;
	r = ckpt_cancel_check(&writer->cancel);
	if (r < 0)
		return r;

	return ckpt_stage_commit(writer->stage, writer->name);
}

static int writer_commit(struct writer *writer, const struct ckpt_meta *meta)
{
	struct ckpt_sums sums = {};
	int r;

	r = ckpt_digest_files(writer_stage_fd(writer), &writer->paths, &writer->cancel, &sums);
	if (r == 0) {
		unsigned attempt = 0;

		do
			r = writer_try_commit(writer, meta, &sums, ++attempt);
		while (r == -EEXIST && writer->params.name_is_default && attempt < WRITER_ATTEMPTS);
	}
	ckpt_sums_done(&sums);
	return r;
}

/**
 * ckpt_writer_finish() - make of all that came a checkpoint in the store
 * @end: what came last
 *
 * Return: 0 when it is durable under writer->name; -EEXIST; -EINVAL without meta or info;
 * -ENOSPC; -EFBIG for JSON nobody could read again; -ECANCELED; as what it calls.
 */
int ckpt_writer_finish(struct writer *writer, const struct ckpt_end *end)
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
	r = ckpt_cancel_check(&writer->cancel);
	if (r < 0)
		return r;

	return writer_commit(writer, end->meta);
}
