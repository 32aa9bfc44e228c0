/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/capture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "capture/fd.h"
#include "capture/info.h"
#include "capture/maps.h"
#include "capture/memory.h"
#include "capture/out.h"
#include "capture/procfile.h"
#include "capture/registers.h"
#include "capture/said.h"
#include "capture/target.h"
#include "capture/threads.h"
#include "format/checkpoint.h"
#include "format/sink.h"

/* A sink that takes nothing for so long while the target is held may be what the target serves. */
#define HELD_PATIENCE_MS 1000
#define ESTIMATE_TRIES 50
#define MODE_REASON "this version captures by stopping the process"

/* One capture: what passes from step to step. */
struct capture {
	const struct capture_params *params;
	struct capture_said said;
	struct capture_target target;
	struct capture_threads threads;
	struct capture_out out;
	struct capture_maps maps; /* of before the stop, then of the image */
	struct capture_memory memory;
	struct ckpt_info info;
	struct timespec created;
};

static int check_params(struct capture *capture)
{
	if (capture->params->mode == CKPT_MODE_LIVE)
		return capture_say(&capture->said, -EINVAL,
				   "this version has no live capture: use mode=stop or mode=auto");
	if (capture->params->mode != CKPT_MODE_AUTO && capture->params->mode != CKPT_MODE_STOP)
		return capture_say(&capture->said, -EINVAL, "not a mode of capture");

	return 0;
}

/* Before the stop: a live thread to look through. The leader may be a zombie. */
static int open_first_view(struct capture *capture, struct capture_view *ret)
{
	pid_t *tids = NULL;
	size_t n = 0;
	int r;

	r = capture_threads_list(&capture->target, &tids, &n);
	if (r < 0)
		return capture_say(&capture->said, r, "cannot list the threads of process %d: %m",
				   capture->target.pid);

	r = -ESRCH;
	for (size_t i = 0; i < n && r == -ESRCH; i++) {
		/* Of a dead one, mem has nothing behind it, and only the last word counts. */
		struct capture_said said = {};

		r = capture_view_open(&capture->target, tids[i], ret, &said);
		if (r == -ESRCH)
			continue;
		if (r < 0)
			capture->said = said;
	}
	free(tids);
	return capture_say(&capture->said, r, "cannot capture process %d: %m", capture->target.pid);
}

/* The mappings with their flags; without smaps the flags stay unknown. */
static int read_maps(struct capture *capture, const struct capture_view *view)
{
	int r;

	r = capture_maps_read(view->proc_fd, "smaps", &capture->maps);
	if (r == -ENOENT)
		r = capture_maps_read(view->proc_fd, "maps", &capture->maps);
	if (r < 0)
		return capture_say(&capture->said, r == -EACCES ? -EPERM : r,
				   "cannot read the mappings of process %d: %m",
				   capture->target.pid);

	return 0;
}

/* How much there will be and where, as far as a running process shows it. */
static int estimate(struct capture *capture, struct capture_memory *memory)
{
	cleanup_view struct capture_view view = CAPTURE_VIEW_UNSET;
	int r;

	r = open_first_view(capture, &view);
	if (r < 0)
		return r;
	r = read_maps(capture, &view);
	if (r < 0)
		return r;

	memory->view = &view;
	memory->maps = &capture->maps;
	r = capture_memory_walk(memory);
	memory->view = NULL;
	/* Else what is there so far will do: it is a hint. */
	return r == -ENOMEM || r == -E2BIG ? r : 0;
}

/* An exec takes away what was just opened, which looks as if the process had ended. */
static int estimate_again(struct capture *capture, struct capture_memory *memory)
{
	struct capture_said said = capture->said;
	int r = -ESRCH;

	for (unsigned i = 0; i < ESTIMATE_TRIES && r == -ESRCH; i++) {
		capture->said = said;
		capture_memory_done(memory);
		capture_maps_done(&capture->maps);
		*memory = (struct capture_memory){};
		r = estimate(capture, memory);
	}

	return r;
}

static int plan(struct capture *capture)
{
	cleanup_memory struct capture_memory memory = {};
	struct ckpt_begin begin = { .pid = capture->target.pid };
	const struct capture_params *params = capture->params;
	int r;

	r = estimate_again(capture, &memory);
	if (r < 0)
		return r;

	r = params->open_sink(params->userdata, memory.expected, &capture->out.sink);
	if (r < 0)
		return capture_say(&capture->said, r, "cannot start to store process %d: %m",
				   capture->target.pid);

	begin.expected_bytes = memory.expected;
	begin.plan = &memory.regions;
	r = ckpt_sink_begin(capture->out.sink, &begin);
	return capture_say(&capture->said, r, "cannot store process %d: %m", capture->target.pid);
}

/* Flags of mappings that have not changed are known already: smaps takes far longer than maps. */
static int read_final_maps(struct capture *capture, const struct capture_view *view)
{
	struct capture_maps maps = {};
	size_t n_unknown;
	int r;

	r = capture_maps_read(view->proc_fd, "maps", &maps);
	if (r < 0)
		return r;

	n_unknown = capture_maps_adopt(&maps, &capture->maps);
	capture_maps_done(&capture->maps);
	capture->maps = maps;
	if (n_unknown == 0)
		return 0;

	maps = (struct capture_maps){};
	r = capture_maps_read(view->proc_fd, "smaps", &maps);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	(void)capture_maps_adopt(&capture->maps, &maps);
	capture_maps_done(&maps);
	return 0;
}

static int read_threads(struct capture *capture)
{
	for (size_t i = 0; i < capture->threads.n; i++) {
		struct ckpt_thread thread = {};
		int r;

		if (capture->threads.items[i].hold != CAPTURE_STOPPED)
			continue;
		r = capture_thread_read(&capture->target, &capture->threads.items[i], &thread);
		if (r < 0)
			return r;
		r = ckpt_sink_thread(capture->out.sink, &thread);
		ckpt_thread_done(&thread);
		if (r < 0)
			return r;
	}

	return 0;
}

/* All of the image, while every thread is held. */
static int read_image(struct capture *capture)
{
	cleanup_view struct capture_view view = CAPTURE_VIEW_UNSET;
	int r;

	(void)clock_gettime(CLOCK_REALTIME, &capture->created);
	/* Opened anew: what the plan was made through may be the image before an exec. */
	r = capture_view_open(&capture->target, capture_threads_lowest(&capture->threads), &view,
			      &capture->said);
	if (r == 0)
		r = read_final_maps(capture, &view);
	if (r == 0)
		r = read_threads(capture);
	if (r == 0)
		r = capture_fds_read(&view, &capture->out);
	if (r == 0)
		r = capture_info_read(&capture->target, &view, &capture->out, &capture->info);
	if (r == 0)
		r = capture_procfiles_read(&view, &capture->threads, &capture->maps, &capture->out);
	if (r < 0)
		return r;

	capture->memory.view = &view;
	capture->memory.maps = &capture->maps;
	capture->memory.out = &capture->out;
	r = capture_memory_walk(&capture->memory);
	capture->memory.view = NULL;
	return r;
}

static void set_patience(struct capture *capture, uint64_t timeout_ms)
{
	if (capture->params->patience)
		capture->params->patience(capture->params->userdata, timeout_ms);
}

/* Stops the process, takes the image, lets it go whatever came of that. */
static int hold(struct capture *capture)
{
	int r;

	r = capture_threads_init(&capture->threads, &capture->target);
	if (r < 0)
		return r;
	capture->threads.calls = capture->params->calls;
	r = capture_threads_freeze(&capture->threads, capture->params->deadline_ms, &capture->said);
	if (r < 0)
		return r;

	set_patience(capture, HELD_PATIENCE_MS);
	r = read_image(capture);
	if (r == 0)
		r = capture_threads_check(&capture->threads);
	capture_threads_thaw(&capture->threads);
	set_patience(capture, UINT64_MAX);

	if (r == -ETIMEDOUT)
		return capture_say(&capture->said, r,
				   "the store took nothing for %d ms while process %d was stopped",
				   HELD_PATIENCE_MS, capture->target.pid);
	return capture_say(&capture->said, r, "cannot take the image of process %d: %m",
			   capture->target.pid);
}

static int finish(struct capture *capture)
{
	const struct capture_params *params = capture->params;
	struct ckpt_meta meta = {
		.name = (char *)params->name,
		.cow_snapshot = (char *)params->cow,
		.ours = true,
		.sandckpt = (char *)SANDCKPT_VERSION,
		.created_sec = capture->created.tv_sec,
		.created_nsec = (uint32_t)capture->created.tv_nsec,
		.owner_uid = params->owner_uid,
		.mode = CKPT_MODE_STOP,
		.mode_reason = params->mode == CKPT_MODE_AUTO ? (char *)MODE_REASON : NULL,
		.pause_us = capture->threads.longest_ns / 1000,
		.bytes = capture->out.bytes,
	};
	struct ckpt_end end = { .meta = &meta, .info = &capture->info };
	int r;

	r = ckpt_sink_regions(capture->out.sink, &capture->memory.regions);
	if (r == 0)
		r = ckpt_sink_end(capture->out.sink, &end);
	return capture_say(&capture->said, r, "cannot store process %d: %m", capture->target.pid);
}

static void capture_done(struct capture *capture)
{
	capture_threads_done(&capture->threads);
	capture_memory_done(&capture->memory);
	capture_maps_done(&capture->maps);
	ckpt_info_done(&capture->info);
	capture_target_done(&capture->target);
}

/**
 * capture_process() - capture one live process into a sink
 * @params: what and how
 * @ret: filled on success; on failure its @said tells what was tried
 *
 * The process is stopped while its image is taken, and runs on as it was, whatever happens. The
 * caller is single-threaded, traces nothing else and waits for no child meanwhile. After
 * -ETIMEDOUT its process should end soon: only that detaches a thread that would not stop.
 *
 * Return: 0; -ESRCH no such process, or it ended meanwhile; -EINVAL a thread's number, or a mode
 * that there is not; -EPERM may not be traced, or a kernel thread; -EBUSY traced by another;
 * -EDEADLK the caller itself; -ETIMEDOUT would not stop, or the sink took nothing for a second
 * while it was held; -E2BIG; -ENOMEM; what the sink returned.
 */
int capture_process(const struct capture_params *params, struct capture_result *ret)
{
	struct capture capture = { .params = params, .target = CAPTURE_TARGET_UNSET };
	struct capture_result result = { .mode = CKPT_MODE_STOP };
	int r;

	r = check_params(&capture);
	if (r == 0)
		r = capture_target_open(params->pid, params->pidfd, &capture.target, &capture.said);
	if (r == 0)
		r = plan(&capture);
	if (r == 0)
		r = hold(&capture);
	if (r == 0)
		r = finish(&capture);

	result.pause_us = capture.threads.longest_ns / 1000;
	result.bytes = capture.out.bytes;
	memcpy(result.said, capture.said.text, sizeof(result.said));
	*ret = result;
	capture_done(&capture);
	return r;
}
