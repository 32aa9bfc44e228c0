/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/history.h"

#include <inttypes.h>
#include <string.h>

static size_t history_count(const struct ckfs_history *history, uid_t uid)
{
	size_t n = 0;

	for (size_t i = 0; i < history->n; i++)
		n += history->items[i].uid == uid;
	return n;
}

/* The oldest of whoever has most: nobody pushes out another's captures with a flood of his own. */
static size_t history_victim(const struct ckfs_history *history)
{
	size_t victim = 0, most = 0;

	for (size_t i = 0; i < history->n; i++) {
		size_t n = history_count(history, history->items[i].uid);

		if (n > most) {
			most = n;
			victim = i;
		}
	}
	return victim;
}

/* Keeps a finished capture; one goes where there are too many. */
void ckfs_history_add(struct ckfs_history *history, const struct ckfs_record *record)
{
	if (history->n == CKFS_HISTORY_SIZE) {
		size_t i = history_victim(history);

		history->n--;
		memmove(&history->items[i], &history->items[i + 1],
			(history->n - i) * sizeof(history->items[0]));
	}
	history->items[history->n++] = *record;
}

/* The line is the unit of ctl's text: nothing a target chose may end it. */
static void record_print_said(const char *said, FILE *f)
{
	fputs(" said=", f);
	for (const char *p = said; *p; p++)
		fputc((unsigned char)*p < ' ' || *p == 0x7f ? '?' : *p, f);
}

static void record_print_mode(const struct ckpt_job_status *status, FILE *f)
{
	if (status->mode == CKPT_MODE_LIVE || status->mode == CKPT_MODE_STOP)
		fprintf(f, " mode=%s", ckpt_mode_name(status->mode));
}

static void record_print_running(const struct ckpt_job_status *status, FILE *f)
{
	fprintf(f, " progress=%" PRIu32, status->progress > 100 ? 100 : status->progress);
	record_print_mode(status, f);
	fprintf(f, " bytes=%" PRIu64, status->bytes);
}

static void record_print_done(const struct ckpt_job_status *status, FILE *f)
{
	record_print_mode(status, f);
	fprintf(f, " pause_us=%" PRIu64 " bytes=%" PRIu64 " stored=%" PRIu64, status->pause_us,
		status->bytes, status->stored);
}

static void record_print_failed(const struct ckpt_job_status *status, FILE *f)
{
	const char *name = strerrorname_np(status->error);

	record_print_mode(status, f);
	fprintf(f, " errno=%s", name ?: "EIO");
	if (status->said[0])
		record_print_said(status->said, f);
}

static const struct {
	const char *word;
	void (*print)(const struct ckpt_job_status *status, FILE *f);
} record_states[] = {
	[CKPT_JOB_RUNNING] = { "running", record_print_running },
	[CKPT_JOB_DONE] = { "done", record_print_done },
	[CKPT_JOB_FAILED] = { "failed", record_print_failed },
};

/* Prints the line of a capture, when it is @reader's affair: its own, or root. */
void ckfs_record_print(const struct ckfs_record *record, uid_t reader, FILE *f)
{
	const struct ckpt_job_status *status = &record->status;

	if (reader != 0 && reader != record->uid)
		return;

	fprintf(f, "%s %" PRId32 " %s", record_states[status->state].word, status->pid,
		status->name[0] ? status->name : "-");
	record_states[status->state].print(status, f);
	fputc('\n', f);
}

/* Prints the finished captures that are @reader's affair, newest first. */
void ckfs_history_print(const struct ckfs_history *history, uid_t reader, FILE *f)
{
	for (size_t i = history->n; i-- > 0;)
		ckfs_record_print(&history->items[i], reader, f);
}
