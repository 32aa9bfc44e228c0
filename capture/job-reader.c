/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/job-internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/capture.h"
#include "capture/identity.h"
#include "format/cleanup.h"
#include "format/ring.h"
#include "format/sink.h"

#define RING_LEAST (UINT64_C(1) << 20)

struct job_reader {
	const struct job_child *child;
	struct job_report *report;
	struct ckpt_sink *sink;
};

/* A quarter of what the kernel would give without swapping; the least where it does not say. */
static uint64_t quarter_of_free(void)
{
	cleanup_file FILE *f = fopen("/proc/meminfo", "re");
	char line[128];
	uint64_t kib;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %" SCNu64 " kB", &kib) == 1)
			return kib / 4 * 1024;
	return RING_LEAST;
}

/* All that is expected and what came since; more than the limit waits for the disk. */
static uint64_t ring_size(const struct ckpt_request *request, uint64_t expected)
{
	uint64_t limit = request->copy_limit ? request->copy_limit : quarter_of_free();

	if (expected > limit)
		return limit;
	expected += expected / 20 + RING_LEAST;
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
	while (r == -ENOMEM && (size /= 2) >= RING_LEAST);
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

static int reader_capture(struct job_reader *reader, struct capture_result *result)
{
	const struct ckpt_request *request = reader->child->request;
	const struct capture_params params = {
		.pid = request->pid,
		.pidfd = request->pidfd,
		.name = request->name,
		.cow = request->cow,
		.owner_uid = request->owner_uid,
		.mode = request->mode,
		.deadline_ms = request->deadline_ms,
		.open_sink = reader_open_sink,
		.patience = reader_patience,
		.userdata = reader,
	};
	int r;

	r = capture_process(&params, result);
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
