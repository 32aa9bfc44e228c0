/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/job-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "capture/identity.h"
#include "format/cleanup.h"
#include "format/ring.h"
#include "format/sink.h"
#include "format/store.h"
#include "format/writer.h"

#define TELL_MS 100 /* from one report of progress to the next */

struct job_writer {
	const struct job_child *child;
	struct job_report *report;
	struct timespec told;
};

static void writer_progress(void *userdata, uint64_t bytes)
{
	struct job_writer *writer = userdata;
	struct timespec now;
	int64_t ms;

	clock_gettime(CLOCK_MONOTONIC, &now);
	ms = (now.tv_sec - writer->told.tv_sec) * 1000 +
	     (now.tv_nsec - writer->told.tv_nsec) / 1000000;
	if (ms < TELL_MS)
		return;

	writer->told = now;
	writer->report->kind = JOB_GOING;
	writer->report->bytes = bytes;
	capture_job_tell(writer->child, writer->report);
}

static bool writer_cancelled(void *userdata)
{
	const struct job_writer *writer = userdata;
	char byte;

	return recv(writer->child->status, &byte, sizeof(byte), MSG_DONTWAIT | MSG_PEEK) == 0;
}

/* Becomes the owner of the store's directory, by which files and quota are judged. */
static int writer_become_owner(const struct job_child *child)
{
	struct stat st;
	int r;

	if (fstat(child->request->store_fd, &st) < 0)
		return -errno;
	r = capture_identity_become_owner(st.st_uid, st.st_gid);
	if (r < 0)
		return r;
	return capture_identity_hide(child->parent);
}

static int writer_open(struct job_writer *writer, struct ckpt_store *store, struct ckpt_sink **ret)
{
	const struct ckpt_request *request = writer->child->request;
	const struct ckpt_writer_params params = {
		.store = store,
		.name = request->name,
		.name_is_default = request->name_is_default,
		.form = request->form,
		.reserve_percent = request->reserve_percent,
		.owner_uid = request->owner_uid,
		.cow = request->cow,
		.progress = writer_progress,
		.cancelled = writer_cancelled,
		.userdata = writer,
	};

	return ckpt_writer_new(&params, ret);
}

static int writer_drain(struct job_writer *writer, struct ckpt_store *store)
{
	cleanup_sink struct ckpt_sink *sink = NULL;
	struct job_report *report = writer->report;
	uint64_t limit = writer->child->request->copy_limit;
	int r;

	r = writer_open(writer, store, &sink);
	if (r == 0)
		r = ckpt_ring_drain(writer->child->ring, limit ? limit : capture_job_memory_most(),
				    sink);
	if (r < 0)
		return r;

	snprintf(report->name, sizeof(report->name), "%s", ckpt_writer_name(sink));
	report->bytes = ckpt_writer_bytes(sink);
	report->stored = ckpt_writer_stored(sink);
	return 0;
}

static int writer_run(struct job_writer *writer)
{
	cleanup_store struct ckpt_store *store = NULL;
	int fd, r;

	r = writer_become_owner(writer->child);
	if (r < 0)
		return r;
	fd = fcntl(writer->child->request->store_fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = ckpt_store_open_at(fd, false, &store);
	if (r < 0) {
		close_fd(fd);
		return r;
	}
	return writer_drain(writer, store);
}

/**
 * capture_job_write() - the writer process: what comes over the ring becomes a checkpoint
 * @report: name, bytes and stored when it is durable; else why not
 */
void capture_job_write(const struct job_child *child, struct job_report *report)
{
	struct job_writer writer = { .child = child, .report = report };
	struct capture_said said = {};
	int r;

	r = writer_run(&writer);
	if (r < 0) {
		report->error = -r;
		(void)capture_say(&said, r, "cannot write the checkpoint \"%s\": %m",
				  child->request->name);
		memcpy(report->said, said.text, sizeof(report->said));
	}
}
