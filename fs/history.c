/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/history.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "format/utf8.h"

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

/* Bytes of the character at @text; 0: they are none. */
static size_t said_character(const char *text)
{
	size_t left = strnlen(text, 4);

	for (size_t n = 1; n <= left; n++)
		if (ckpt_utf8_valid(text, n))
			return n;
	return 0;
}

/* C0, DEL, and C1, which are U+0080 to U+009F. */
static bool said_is_control(const char *text, size_t n)
{
	unsigned char first = (unsigned char)text[0], second = (unsigned char)text[n - 1];

	return n == 1 ? first < ' ' || first == 0x7f : n == 2 && first == 0xc2 && second < 0xa0;
}

/**
 * ckfs_said_clean() - make a sentence fit for a line, a log and a terminal
 * @said: changed in place; never longer than before
 *
 * Anybody's command and any target's name may be quoted in it: control characters, and bytes that
 * are no UTF-8, become question marks.
 */
void ckfs_said_clean(char *said)
{
	char *to = said;

	for (const char *from = said; *from;) {
		size_t n = said_character(from);

		if (n == 0 || said_is_control(from, n)) {
			*to++ = '?';
			from += n ?: 1;
			continue;
		}
		memmove(to, from, n);
		to += n;
		from += n;
	}
	*to = '\0';
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
		fprintf(f, " said=%s", status->said);
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
