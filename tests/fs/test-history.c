/* SPDX-License-Identifier: Apache-2.0 */
/* What `cat ctl` shows: the lines, whose they are, and which of the finished ones stay. */
#include "fs/history.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct ckfs_record record(uid_t uid, enum ckpt_job_state state, int32_t pid,
				 const char *name)
{
	struct ckfs_record r = { .uid = uid, .status = { .state = state, .pid = pid } };

	strcpy(r.status.name, name);
	return r;
}

static void assert_line(const struct ckfs_record *r, uid_t reader, const char *expected)
{
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	ckfs_record_print(r, reader, f);
	fclose(f);
	assert_string_equal(text, expected);
	free(text);
}

static char *print(const struct ckfs_history *history, uid_t reader)
{
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	ckfs_history_print(history, reader, f);
	fclose(f);
	return text;
}

static void a_running_one_shows_its_progress(void **state)
{
	struct ckfs_record r = record(7, CKPT_JOB_RUNNING, 12, "");

	r.status.progress = 42;
	r.status.bytes = 4096;
	assert_line(&r, 7, "running 12 - progress=42 bytes=4096\n");
	r.status.mode = CKPT_MODE_STOP;
	strcpy(r.status.name, "a");
	assert_line(&r, 7, "running 12 a progress=42 mode=stop bytes=4096\n");
}

static void a_done_one_shows_what_it_cost(void **state)
{
	struct ckfs_record r = record(7, CKPT_JOB_DONE, 12, "a");

	r.status.mode = CKPT_MODE_LIVE;
	r.status.pause_us = 1234;
	r.status.bytes = UINT64_MAX;
	r.status.stored = 1;
	assert_line(&r, 7,
		    "done 12 a mode=live pause_us=1234 bytes=18446744073709551615 stored=1\n");
}

static void a_failed_one_ends_with_a_sentence(void **state)
{
	struct ckfs_record r = record(7, CKPT_JOB_FAILED, 12, "");

	r.status.error = ESRCH;
	strcpy(r.status.said, "there is no process \"12\"");
	assert_line(&r, 7, "failed 12 - errno=ESRCH said=there is no process \"12\"\n");
}

static void a_sentence_stays_in_its_line(void **state)
{
	struct ckfs_record r = record(7, CKPT_JOB_FAILED, 12, "");

	r.status.error = EIO;
	strcpy(r.status.said, "a\nb\tc\x1b[1m\x7f");
	ckfs_said_clean(r.status.said);
	assert_line(&r, 7, "failed 12 - errno=EIO said=a?b?c?[1m?\n");
}

static void a_sentence_is_utf8_without_controls(void **state)
{
	static const struct {
		const char *said, *clean;
	} sentences[] = {
		{ "", "" },
		{ "gr\xc3\xbc\xc3\x9f"
		  "e \xe2\x82\xac \xf0\x9f\x90\x84",
		  "gr\xc3\xbc\xc3\x9f"
		  "e \xe2\x82\xac \xf0\x9f\x90\x84" },
		{ "\xc2\x9b"
		  "31m\xc2\x80\xc2\xa0",
		  "?31m?\xc2\xa0" },
		{ "\x9b"
		  "31m\xff",
		  "?31m?" },
		{ "cut \xe2\x82", "cut ??" },
		{ "\xc2", "?" },
		{ "\xed\xa0\x80.", "???." },
	};

	for (size_t i = 0; i < sizeof(sentences) / sizeof(sentences[0]); i++) {
		char said[CKPT_SAID_SIZE];

		strcpy(said, sentences[i].said);
		ckfs_said_clean(said);
		assert_string_equal(said, sentences[i].clean);
	}
}

static void an_unknown_error_is_eio(void **state)
{
	struct ckfs_record r = record(7, CKPT_JOB_FAILED, 12, "");

	r.status.error = 100000;
	assert_line(&r, 7, "failed 12 - errno=EIO\n");
}

static void others_see_nothing_and_root_all(void **state)
{
	struct ckfs_record r = record(7, CKPT_JOB_RUNNING, 12, "a");

	assert_line(&r, 8, "");
	assert_line(&r, 0, "running 12 a progress=0 bytes=0\n");
}

static void the_newest_comes_first(void **state)
{
	struct ckfs_history history = {};
	struct ckfs_record r;
	char *text;

	for (int pid = 1; pid <= 3; pid++) {
		r = record(7, CKPT_JOB_FAILED, pid, "");
		r.status.error = EIO;
		ckfs_history_add(&history, &r);
	}
	text = print(&history, 7);
	assert_string_equal(text,
			    "failed 3 - errno=EIO\nfailed 2 - errno=EIO\nfailed 1 - errno=EIO\n");
	free(text);
}

static void the_last_64_stay(void **state)
{
	struct ckfs_history history = {};
	struct ckfs_record r;

	for (int pid = 1; pid <= 100; pid++) {
		r = record(7, CKPT_JOB_DONE, pid, "a");
		ckfs_history_add(&history, &r);
	}
	assert_int_equal(history.n, 64);
	assert_int_equal(history.items[0].status.pid, 37);
	assert_int_equal(history.items[63].status.pid, 100);
}

static void a_flood_pushes_out_nobody_elses(void **state)
{
	struct ckfs_history history = {};
	struct ckfs_record r = record(0, CKPT_JOB_DONE, 1, "evidence");
	char *text;

	ckfs_history_add(&history, &r);
	for (int i = 0; i < 1000; i++) {
		r = record(7, CKPT_JOB_FAILED, 2, "");
		ckfs_history_add(&history, &r);
	}
	text = print(&history, 0);
	assert_non_null(strstr(text, "done 1 evidence "));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_running_one_shows_its_progress),
		cmocka_unit_test(a_done_one_shows_what_it_cost),
		cmocka_unit_test(a_failed_one_ends_with_a_sentence),
		cmocka_unit_test(a_sentence_stays_in_its_line),
		cmocka_unit_test(a_sentence_is_utf8_without_controls),
		cmocka_unit_test(an_unknown_error_is_eio),
		cmocka_unit_test(others_see_nothing_and_root_all),
		cmocka_unit_test(the_newest_comes_first),
		cmocka_unit_test(the_last_64_stay),
		cmocka_unit_test(a_flood_pushes_out_nobody_elses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
