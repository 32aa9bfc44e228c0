/* SPDX-License-Identifier: Apache-2.0 */
#include "record-sink.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/checkpoint.h"
#include "format/cleanup.h"
#include "format/convert.h"
#include "format/json.h"
#include "format/sink.h"

struct record {
	struct ckpt_sink sink; /* first */
	FILE *f;
	char *text;
	size_t len;
	unsigned calls, fail_at;
};

static struct record *record_of(struct ckpt_sink *sink)
{
	return (struct record *)sink;
}

static uint64_t hash(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return h;
}

static int note(struct record *record, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int note(struct record *record, const char *format, ...)
{
	va_list ap;

	if (++record->calls == record->fail_at)
		return -ENOSPC;
	va_start(ap, format);
	vfprintf(record->f, format, ap);
	va_end(ap);
	return 0;
}

/* Takes over @json; what could not be made fails the comparison. */
static int note_json(struct record *record, const char *what, struct json_object *json)
{
	const char *text = json ? json_object_to_json_string(json) : "none";
	int r;

	r = note(record, "%s %s\n", what, text);
	json_object_put(json);
	return r;
}

static int record_begin(struct ckpt_sink *sink, const struct ckpt_begin *begin)
{
	struct record *record = record_of(sink);
	struct json_object *json = NULL;
	int r;

	r = note(record, "begin %" PRId32 " %" PRIu64 "\n", begin->pid, begin->expected_bytes);
	if (r == 0 && begin->plan) {
		(void)ckpt_regions_to_json(begin->plan, &json);
		r = note_json(record, "plan", json);
	}
	return r;
}

/* A line a page: how pages are put together on their way does not matter. */
static int record_pages(struct ckpt_sink *sink, uint64_t addr, size_t len, const void *data)
{
	struct record *record = record_of(sink);

	for (size_t at = 0; at < len; at += CKPT_PAGE_SIZE) {
		int r = note(record, "page %" PRIx64 " %016" PRIx64 "\n", addr + at,
			     hash((const char *)data + at, CKPT_PAGE_SIZE));

		if (r < 0)
			return r;
	}
	return 0;
}

static int record_zero(struct ckpt_sink *sink, uint64_t addr, uint64_t len)
{
	return note(record_of(sink), "zero %" PRIx64 " %" PRIx64 "\n", addr, len);
}

static int record_thread(struct ckpt_sink *sink, const struct ckpt_thread *thread)
{
	struct record *record = record_of(sink);
	struct json_object *json = NULL;
	int r;

	(void)ckpt_thread_to_json(thread, &json);
	r = note_json(record, "thread", json);
	if (r < 0)
		return r;
	return note(record, "gpregs %d %zu %016" PRIx64 " xstate %d %zu %016" PRIx64 "\n",
		    !!thread->gpregs, thread->gpregs_len, hash(thread->gpregs, thread->gpregs_len),
		    !!thread->xstate, thread->xstate_len, hash(thread->xstate, thread->xstate_len));
}

static int record_fd(struct ckpt_sink *sink, const struct ckpt_fd *fd)
{
	struct json_object *json = NULL;

	(void)ckpt_fd_to_json(fd, &json);
	return note_json(record_of(sink), "fd", json);
}

static int record_procfile(struct ckpt_sink *sink, const char *path, const void *data, size_t len)
{
	return note(record_of(sink), "procfile %s %zu %016" PRIx64 "\n", path, len,
		    hash(data, len));
}

static int record_omitted(struct ckpt_sink *sink, const struct ckpt_omitted *omitted)
{
	return note(record_of(sink), "omitted %s %s %s\n", omitted->what, omitted->call,
		    omitted->err);
}

static int record_regions(struct ckpt_sink *sink, const struct ckpt_regions *regions)
{
	struct json_object *json = NULL;

	(void)ckpt_regions_to_json(regions, &json);
	return note_json(record_of(sink), "regions", json);
}

static int record_end(struct ckpt_sink *sink, const struct ckpt_end *end)
{
	const struct ckpt_threads none = {};
	struct record *record = record_of(sink);
	struct json_object *json = NULL;
	int r;

	(void)ckpt_meta_to_json(end->meta, &json);
	r = note_json(record, "meta", json);
	json = NULL;
	(void)ckpt_info_to_json(end->info, &none, &json);
	if (r == 0)
		r = note_json(record, "info", json);
	if (r < 0)
		return r;
	return note(record, "policy %d %zu %016" PRIx64 " app %d %zu %016" PRIx64 "\n",
		    !!end->policy, end->policy_len, hash(end->policy, end->policy_len),
		    !!end->app_state, end->app_state_len, hash(end->app_state, end->app_state_len));
}

static void record_free(struct ckpt_sink *sink)
{
	struct record *record = record_of(sink);

	fclose(record->f);
	free(record->text);
	free(record);
}

static const struct ckpt_sink_ops record_ops = {
	.begin = record_begin,
	.pages = record_pages,
	.zero = record_zero,
	.thread = record_thread,
	.fd = record_fd,
	.procfile = record_procfile,
	.omitted = record_omitted,
	.regions = record_regions,
	.end = record_end,
	.free = record_free,
};

int record_sink_new(unsigned fail_at, struct ckpt_sink **ret)
{
	struct record *record = calloc(1, sizeof(*record));

	if (!record)
		return -ENOMEM;
	record->sink.ops = &record_ops;
	record->fail_at = fail_at;
	record->f = open_memstream(&record->text, &record->len);
	if (!record->f) {
		free(record);
		return -ENOMEM;
	}
	*ret = &record->sink;
	return 0;
}

const char *record_sink_text(const struct ckpt_sink *sink)
{
	const struct record *record = (const struct record *)sink;

	fflush(record->f);
	return record->text;
}

#define BASE UINT64_C(0x7f0000000000)

static struct ckpt_region region_of(size_t n_pages)
{
	return (struct ckpt_region){
		.start = BASE,
		.end = BASE + n_pages * CKPT_PAGE_SIZE,
		.perms = "rw-p",
		.path = (char *)"[heap]",
	};
}

static int play_begin(struct ckpt_sink *sink, size_t n_pages)
{
	struct ckpt_region region = region_of(n_pages);
	const struct ckpt_regions plan = { .items = &region, .n = 1 };
	const struct ckpt_begin begin = {
		.pid = 4711,
		.expected_bytes = n_pages * CKPT_PAGE_SIZE,
		.plan = &plan,
	};

	return ckpt_sink_begin(sink, &begin);
}

/* By space() where the sink has it, every second time, in runs of odd lengths. */
static int play_pages(struct ckpt_sink *sink, size_t n_pages)
{
	static const size_t max_run = 77;
	cleanup_free unsigned char *own = malloc(max_run * CKPT_PAGE_SIZE);
	int r = own ? 0 : -ENOMEM;

	for (size_t page = 0, turn = 0; r == 0 && page < n_pages; turn++) {
		size_t want = 1 + turn % max_run, len;
		unsigned char *p = own;

		if (want > n_pages - page)
			want = n_pages - page;
		len = want * CKPT_PAGE_SIZE;
		if (sink->ops->space && turn % 2) {
			r = sink->ops->space(sink, len, (void **)&p, &len);
			if (r < 0)
				return r;
		}
		for (size_t i = 0; i < len; i++)
			p[i] = (unsigned char)(i % CKPT_PAGE_SIZE * 7 +
					       (page + i / CKPT_PAGE_SIZE) * 13);
		r = ckpt_sink_pages(sink, BASE + page * CKPT_PAGE_SIZE, len, p);
		page += len / CKPT_PAGE_SIZE;
	}
	return r;
}

static int play_threads(struct ckpt_sink *sink)
{
	unsigned char gpregs[CKPT_GPREGS_SIZE], xstate[2696];
	struct ckpt_thread thread = {
		.tid = 4711,
		.state = 'S',
		.comm = (char *)"main",
		.sigmask = UINT64_C(0x8000000000000001),
		.pending = 2,
		.syscall = (char *)"read",
		.gpregs = gpregs,
		.gpregs_len = sizeof(gpregs),
		.xstate = xstate,
		.xstate_len = sizeof(xstate),
	};
	int r;

	memset(gpregs, 0xa5, sizeof(gpregs));
	memset(xstate, 0x5a, sizeof(xstate));
	r = ckpt_sink_thread(sink, &thread);
	if (r < 0)
		return r;
	thread.tid = 4712;
	thread.comm = (char *)"odd \xff one";
	thread.syscall = NULL;
	thread.xstate = NULL;
	thread.xstate_len = 0;
	return ckpt_sink_thread(sink, &thread);
}

static int play_fds(struct ckpt_sink *sink)
{
	struct ckpt_fdinfo lines[] = { { (char *)"mnt_id", (char *)"9" } };
	const struct ckpt_fd fds[] = {
		{ .fd = 0, .path = (char *)"/dev/null", .type = (char *)"file", .inode = 4 },
		{
		    .fd = 7,
		    .flags = 02,
		    .path = (char *)"socket:[12]",
		    .type = (char *)"socket",
		    .family = (char *)"inet",
		    .sock_type = (char *)"stream",
		    .sock_state = (char *)"listen",
		    .local = (char *)"127.0.0.1:80",
		    .fdinfo = lines,
		    .n_fdinfo = 1,
		},
	};

	for (size_t i = 0; i < 2; i++) {
		int r = ckpt_sink_fd(sink, &fds[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

static int play_procfiles(struct ckpt_sink *sink)
{
	const struct ckpt_omitted omitted = { (char *)"proc/io", (char *)"openat",
					      (char *)"EACCES" };
	const size_t len = (3U << 20) + 5; /* larger than a ring of the least size */
	cleanup_free char *maps = malloc(len);
	int r;

	if (!maps)
		return -ENOMEM;
	for (size_t i = 0; i < len; i++)
		maps[i] = (char)('a' + i % 23);
	r = ckpt_sink_procfile(sink, "maps", maps, len);
	if (r == 0)
		r = ckpt_sink_procfile(sink, "environ", "", 0);
	if (r == 0)
		r = ckpt_sink_procfile(sink, "task/4712/comm", "odd\n", 4);
	if (r == 0)
		r = ckpt_sink_omitted(sink, &omitted);
	return r;
}

static int play_regions(struct ckpt_sink *sink, size_t n_pages)
{
	struct ckpt_region region = region_of(n_pages);
	const struct ckpt_regions regions = { .items = &region, .n = 1 };

	return ckpt_sink_regions(sink, &regions);
}

int play_until_end(struct ckpt_sink *sink, size_t n_pages)
{
	int r;

	r = play_begin(sink, n_pages);
	if (r == 0)
		r = play_pages(sink, n_pages);
	if (r == 0)
		r = ckpt_sink_zero(sink, BASE + CKPT_PAGE_SIZE, CKPT_PAGE_SIZE);
	if (r == 0)
		r = play_threads(sink);
	if (r == 0)
		r = play_fds(sink);
	if (r == 0)
		r = play_procfiles(sink);
	if (r == 0)
		r = play_regions(sink, n_pages);
	return r;
}

int play_all(struct ckpt_sink *sink, size_t n_pages)
{
	struct ckpt_meta meta = {
		.name = (char *)"whatever",
		.ours = true,
		.sandckpt = (char *)SANDCKPT_VERSION,
		.created_sec = 1700000000,
		.created_nsec = 123456789,
		.mode = CKPT_MODE_STOP,
		.mode_reason = (char *)"it was asked for",
		.pause_us = 1234,
	};
	struct ckpt_info info = {
		.pid = 4711,
		.cwd = (char *)"/",
		.exe = (char *)"/bin/\xc3\xa4\xff",
		.full = true,
		.comm = (char *)"main",
		.root = (char *)"/",
	};
	const struct ckpt_end end = {
		.meta = &meta,
		.info = &info,
		.app_state = "state",
		.app_state_len = 5,
	};
	int r;

	r = play_until_end(sink, n_pages);
	return r < 0 ? r : ckpt_sink_end(sink, &end);
}
