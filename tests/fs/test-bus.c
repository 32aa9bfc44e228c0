/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between the server and the broker, whole or refused. */
#include "fs/bus.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int setup(void **state)
{
	int *ends = malloc(2 * sizeof(*ends));

	*state = ends;
	return ckfs_bus_new(ends);
}

static int teardown(void **state)
{
	int *ends = *state;

	close(ends[0]);
	close(ends[1]);
	free(ends);
	return 0;
}

static void a_question_arrives_as_it_was(void **state)
{
	struct ckfs_ask ask = { .kind = CKFS_ASK_COMMAND, .id = 7, .tid = 8, .uid = 9, .len = 3 };
	struct ckfs_ask got = {};
	int *ends = *state;

	memcpy(ask.text, "123", 3);
	assert_int_equal(ckfs_bus_ask(ends[1], &ask), 0);
	assert_int_equal(ckfs_bus_take_ask(ends[0], &got), 1);
	assert_int_equal(got.kind, CKFS_ASK_COMMAND);
	assert_int_equal(got.id, 7);
	assert_int_equal(got.tid, 8);
	assert_int_equal(got.uid, 9);
	assert_int_equal(got.len, 3);
	assert_memory_equal(got.text, "123", 3);
	assert_int_equal(ckfs_bus_take_ask(ends[0], &got), -EAGAIN);
}

static void the_largest_answer_passes_while_nobody_reads(void **state)
{
	struct ckfs_answer *got = malloc(CKFS_ANSWER_SIZE);
	char *text = malloc(CKFS_STATE_MAX + 1);
	int *ends = *state;

	memset(text, 'x', CKFS_STATE_MAX + 1);
	assert_int_equal(ckfs_bus_answer(ends[0], 5, 0, text, CKFS_STATE_MAX), 0);
	assert_int_equal(ckfs_bus_take_answer(ends[1], got), 1);
	assert_int_equal(got->id, 5);
	assert_int_equal(got->len, CKFS_STATE_MAX);
	assert_memory_equal(got->text, text, CKFS_STATE_MAX);
	assert_int_equal(ckfs_bus_answer(ends[0], 5, 0, text, CKFS_STATE_MAX + 1), -EMSGSIZE);
	free(text);
	free(got);
}

static void a_full_bus_does_not_hold_the_asker(void **state)
{
	struct ckfs_ask ask = { .kind = CKFS_ASK_STATE, .len = CKFS_COMMAND_MAX };
	int *ends = *state;
	int r = 0;

	for (int i = 0; i < 100000 && r == 0; i++)
		r = ckfs_bus_ask(ends[1], &ask);
	assert_int_equal(r, -EAGAIN);
}

static void the_other_sides_end_is_seen(void **state)
{
	struct ckfs_answer *answer = malloc(CKFS_ANSWER_SIZE);
	struct ckfs_ask ask = { .kind = CKFS_ASK_STATE };
	int ends[2];

	assert_int_equal(ckfs_bus_new(ends), 0);
	close(ends[0]);
	assert_int_equal(ckfs_bus_take_answer(ends[1], answer), 0);
	assert_int_equal(ckfs_bus_ask(ends[1], &ask), -EIO);
	close(ends[1]);

	assert_int_equal(ckfs_bus_new(ends), 0);
	close(ends[1]);
	assert_int_equal(ckfs_bus_take_ask(ends[0], &ask), 0);
	assert_int_equal(ckfs_bus_answer(ends[0], 1, 0, "", 0), -EPIPE);
	close(ends[0]);
	free(answer);
}

static void a_message_that_is_none_is_ebadmsg(void **state)
{
	struct ckfs_ask ask = { .kind = CKFS_ASK_COMMAND, .len = 10 }, got = {};
	int *ends = *state;

	assert_int_equal(send(ends[1], "x", 1, 0), 1);
	assert_int_equal(ckfs_bus_take_ask(ends[0], &got), -EBADMSG);

	/* Says more than it brings. */
	assert_true(send(ends[1], &ask, offsetof(struct ckfs_ask, text) + 9, 0) > 0);
	assert_int_equal(ckfs_bus_take_ask(ends[0], &got), -EBADMSG);

	ask.kind = _CKFS_ASK_MAX;
	assert_int_equal(ckfs_bus_ask(ends[1], &ask), 0);
	assert_int_equal(ckfs_bus_take_ask(ends[0], &got), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_question_arrives_as_it_was, setup, teardown),
		cmocka_unit_test_setup_teardown(the_largest_answer_passes_while_nobody_reads, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_full_bus_does_not_hold_the_asker, setup,
						teardown),
		cmocka_unit_test(the_other_sides_end_is_seen),
		cmocka_unit_test_setup_teardown(a_message_that_is_none_is_ebadmsg, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
