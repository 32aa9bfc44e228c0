/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/job-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "capture/capture.h"
#include "capture/identity.h"
#include "format/cleanup.h"
#include "format/ring.h"
#include "format/sink.h"

struct job_reader {
	const struct job_child *child;
	struct job_report *report;
	struct ckpt_sink *sink;
};

/* All that is expected and what came since; more than the limit waits for the disk. */
static uint64_t ring_size(const struct ckpt_request *request, uint64_t expected)
{
	uint64_t limit = request->copy_limit ? request->copy_limit : capture_job_memory_free();

	if (expected > limit)
		return limit;
	expected += expected / 20 + JOB_RING_LEAST;
	return expected < limit ? expected : limit;
}

static int reader_open_sink(void *userdata, uint64_t expected_bytes, struct ckpt_sink **ret)
{
	struct job_reader *reader = userdata;
	uint64_t size = ring_size(reader->child->request, expected_bytes);
	int r;

	reader->report->kind = JOB_GOING;
	reader->report->expected = expected_bytes;
	capture_job_tell(reader->child, reader->report);

	/* A smaller one is slower, no more: the kernel may have less than it said. */
	do
		r = ckpt_ring_sink_new(reader->child->ring, size, &reader->sink);
	while (r == -ENOMEM && (size /= 2) >= JOB_RING_LEAST);
	if (r == 0)
		*ret = reader->sink;
	return r;
}

static void reader_patience(void *userdata, uint64_t timeout_ms)
{
	struct job_reader *reader = userdata;

	if (reader->sink)
		ckpt_ring_sink_set_patience(reader->sink, timeout_ms);
}

static int reader_become(const struct job_child *child)
{
	int r;

	if (child->request->identity) {
		r = capture_identity_take(child->request->identity);
		if (r < 0)
			return r;
	}
	return capture_identity_hide(child->parent);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void tell_calls(const struct job_child *child, const struct job_calls *packet)
{
	ssize_t n;

	do
		n = send(child->status, packet, sizeof(*packet), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
}

/* Those of this capture, so that the next one knows of them. */
static void reader_tell_calls(const struct job_child *child, const struct ckpt_calls *calls,
			      uint64_t since_ns)
{
	struct job_calls packet = {};

	for (size_t i = 0; i < CKPT_CALLS_MAX; i++) {
		const struct ckpt_call *call = &calls->items[i];

		if (call->pid != child->request->pid || call->last_ns < since_ns)
			continue;
		packet.items[packet.n++] = *call;
		if (packet.n == JOB_CALLS_MAX) {
			tell_calls(child, &packet);
			packet = (struct job_calls){};
		}
	}
	if (packet.n > 0)
		tell_calls(child, &packet);
}

static int reader_capture(struct job_reader *reader, struct capture_result *result)
{
	const struct ckpt_request *request = reader->child->request;
	/* Without a memory of its caller's, that of this one's tries to stop the process. */
	cleanup_free struct ckpt_calls *own = request->calls ? NULL : calloc(1, sizeof(*own));
	const struct capture_params params = {
		.pid = request->pid,
		.pidfd = request->pidfd,
		.name = request->name,
		.cow = request->cow,
		.owner_uid = request->owner_uid,
		.mode = request->mode,
		.deadline_ms = request->deadline_ms,
		.calls = request->calls ? request->calls : own,
		.open_sink = reader_open_sink,
		.patience = reader_patience,
		.userdata = reader,
	};
	uint64_t begin = now_ns();
	int r;

	r = capture_process(&params, result);
	if (request->calls)
		reader_tell_calls(reader->child, request->calls, begin);
	reader->sink = ckpt_sink_free(reader->sink);
	return r;
}

/**
 * capture_job_read() - the reader process: the target's image goes into the ring
 * @report: mode, pause and bytes, or what failed
 */
void capture_job_read(const struct job_child *child, struct job_report *report)
{
	struct job_reader reader = { .child = child, .report = report };
	struct capture_result result = {};
	struct capture_said said = {};
	int r;

	r = reader_become(child);
	if (r < 0) {
		(void)capture_say(&said, r, "cannot take on the rights of user %u: %m",
				  child->request->identity ? child->request->identity->uid : 0);
	} else {
		r = reader_capture(&reader, &result);
		memcpy(said.text, result.said, sizeof(said.text));
		(void)capture_say(&said, r, "cannot capture process %d: %m", child->request->pid);
	}

	report->error = -r;
	report->mode = result.mode;
	report->pause_us = result.pause_us;
	report->bytes = result.bytes;
	memcpy(report->said, said.text, sizeof(report->said));
}
