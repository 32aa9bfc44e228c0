/* SPDX-License-Identifier: Apache-2.0 */
/* Captures from command to answer, with an engine that does what the test says. */
#include "fs/captures.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "format/cleanup.h"
#include "format/store.h"
#include "fs/options.h"

#define PROCESSES 4
#define ANSWERS 8
#define JOBS_MAX 480 /* lines of nearly 300 bytes: more than ctl shows */

struct ckpt_job {
	struct ckpt_job_status status;
	char name[CKPT_NAME_SIZE];
	int event;
	bool cancelled;
	bool
	    knows_caller; /* it was told whose rights to take on; none of ours but root's are more */
};

/* What was said to whom, and when: the engine's starts are counted among the answers. */
struct said {
	uint64_t id;
	int error;
	char name[CKPT_NAME_SIZE];
	size_t n_started; /* before it */
};

static struct engine {
	struct ckpt_job *jobs[JOBS_MAX];
	size_t n_started;
	size_t n_alive;
	int start_error;
} engine;

static struct fixture {
	char dir[32];
	struct ckpt_store *store;
	struct ckfs_options options;
	struct ckfs_captures *captures;
	pid_t processes[PROCESSES];
	struct said said[ANSWERS];
	size_t n_said;
} fixture;

static int engine_start(const struct ckpt_request *request, struct ckpt_job **ret)
{
	struct ckpt_job *job;

	if (engine.start_error)
		return engine.start_error;
	job = calloc(1, sizeof(*job));
	job->event = eventfd(0, EFD_CLOEXEC);
	job->status.state = CKPT_JOB_RUNNING;
	job->knows_caller = request->identity && request->identity->uid == geteuid();
	strcpy(job->name, request->name);
	engine.jobs[engine.n_started++] = job;
	engine.n_alive++;
	*ret = job;
	return 0;
}

static int engine_fd(const struct ckpt_job *job)
{
	return job->event;
}

static void engine_step(struct ckpt_job *job)
{
}

static const struct ckpt_job_status *engine_status(const struct ckpt_job *job)
{
	return &job->status;
}

static void engine_cancel(struct ckpt_job *job)
{
	job->cancelled = true;
}

static bool engine_owns(const struct ckpt_job *job, pid_t pid)
{
	return false;
}

static struct ckpt_job *engine_free(struct ckpt_job *job)
{
	if (job) {
		close_fd(job->event);
		engine.n_alive--;
	}
	free(job);
	return NULL;
}

static const struct ckpt_job_ops engine_ops = {
	.start = engine_start,
	.fd = engine_fd,
	.step = engine_step,
	.status = engine_status,
	.cancel = engine_cancel,
	.owns = engine_owns,
	.free = engine_free,
};

static void on_answer(void *userdata, uint64_t id, int error, const char *name)
{
	struct said *said = &fixture.said[fixture.n_said++];

	assert_true(fixture.n_said <= ANSWERS);
	*said = (struct said){ .id = id, .error = error, .n_started = engine.n_started };
	strcpy(said->name, name);
}

static pid_t make_process(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			(void)pause();
	}
	return pid;
}

static void end_process(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

static int setup(void **state)
{
	struct ckfs_captures_params params = {
		.options = &fixture.options,
		.ops = &engine_ops,
		.answer = on_answer,
	};

	engine = (struct engine){};
	fixture = (struct fixture){
		.dir = "/tmp/test-captures-XXXXXX",
		.options = { .captures = 2,
			     .captures_per_user = 2,
			     .deadline_s = 1,
			     .mode = CKPT_MODE_AUTO },
	};
	if (!mkdtemp(fixture.dir) || ckpt_store_open(fixture.dir, true, false, &fixture.store) < 0)
		return -1;
	for (int i = 0; i < PROCESSES; i++)
		fixture.processes[i] = make_process();
	params.store = fixture.store;
	return ckfs_captures_new(&params, &fixture.captures);
}

static int teardown(void **state)
{
	char remove[64];

	ckfs_captures_free(fixture.captures);
	ckpt_store_free(fixture.store);
	for (int i = 0; i < PROCESSES; i++)
		end_process(fixture.processes[i]);
	snprintf(remove, sizeof(remove), "rm -rf %s", fixture.dir);
	return engine.n_alive == 0 ? system(remove) : -1;
}

/* What process 0 writes to ctl. */
static void command_for(uint64_t id, pid_t target, const char *words)
{
	struct ckfs_ask ask = {
		.kind = CKFS_ASK_COMMAND,
		.id = id,
		.tid = fixture.processes[0],
		.uid = geteuid(),
		.gid = getegid(),
		.open_uid = geteuid(),
		.open_gid = getegid(),
	};

	ask.len = (uint32_t)snprintf(ask.text, sizeof(ask.text), "%d %s", (int)target, words);
	ckfs_captures_command(fixture.captures, &ask);
}

static void command(uint64_t id, int target, const char *words)
{
	command_for(id, fixture.processes[target], words);
}

static char *print(uid_t reader)
{
	char *text = NULL;
	size_t len;

	assert_int_equal(ckfs_captures_print(fixture.captures, reader, &text, &len), 0);
	text[len] = '\0';
	return text;
}

static void assert_said(size_t i, uint64_t id, int error, const char *name)
{
	assert_true(i < fixture.n_said);
	assert_int_equal(fixture.said[i].id, id);
	assert_int_equal(fixture.said[i].error, error);
	assert_string_equal(fixture.said[i].name, name);
}

static void assert_last_line_holds(const char *part)
{
	char *text = print(geteuid());

	if (!strstr(text, part))
		fail_msg("no \"%s\" in \"%s\"", part, text);
	free(text);
}

static void a_capture_is_answered_when_it_is_done(void **state)
{
	command(7, 1, "name=a");
	assert_int_equal(fixture.n_said, 0);
	assert_int_equal(ckfs_captures_running(fixture.captures), 1);
	assert_true(engine.jobs[0]->knows_caller == (geteuid() == 0));

	engine.jobs[0]->status.state = CKPT_JOB_DONE;
	strcpy(engine.jobs[0]->status.name, "a");
	ckfs_captures_step(fixture.captures);
	assert_int_equal(fixture.n_said, 1);
	assert_said(0, 7, 0, "a");
	assert_int_equal(ckfs_captures_running(fixture.captures), 0);
	assert_last_line_holds("done ");
}

static void a_name_is_reserved_while_its_capture_runs(void **state)
{
	command(1, 1, "name=a");
	command(2, 2, "name=a");
	assert_said(0, 2, EEXIST, "");

	engine.jobs[0]->status =
	    (struct ckpt_job_status){ .state = CKPT_JOB_FAILED, .error = EPERM };
	ckfs_captures_step(fixture.captures);
	assert_said(1, 1, EPERM, "");
	command(3, 2, "name=a");
	assert_int_equal(engine.n_started, 2);
}

static void no_more_run_than_the_options_allow(void **state)
{
	command(1, 1, "");
	command(2, 2, "");
	command(3, 3, "");
	assert_said(0, 3, EAGAIN, "");
	assert_last_line_holds("said=2 captures of this user are running");

	fixture.options.captures_per_user = 9;
	command(4, 3, "");
	assert_said(1, 4, EAGAIN, "");
	assert_last_line_holds("said=2 captures are running");
	assert_int_equal(engine.n_started, 2);
}

static void a_process_is_captured_once_at_a_time(void **state)
{
	command(1, 1, "");
	command(2, 1, "");
	assert_said(0, 2, EBUSY, "");
}

static void who_captures_itself_is_answered_first(void **state)
{
	command(5, 0, "name=self");
	assert_int_equal(fixture.n_said, 1);
	assert_said(0, 5, 0, "self");
	assert_int_equal(fixture.said[0].n_started, 0);
	assert_int_equal(engine.n_started, 1);

	/* And not once more. */
	engine.jobs[0]->status.state = CKPT_JOB_DONE;
	ckfs_captures_step(fixture.captures);
	assert_int_equal(fixture.n_said, 1);
}

static void a_failure_without_an_error_is_eio(void **state)
{
	command(1, 1, "");
	engine.jobs[0]->status.state = CKPT_JOB_FAILED;
	ckfs_captures_step(fixture.captures);
	assert_said(0, 1, EIO, "");
}

static void a_cancelled_one_is_eintr(void **state)
{
	command(1, 1, "");
	engine.jobs[0]->status =
	    (struct ckpt_job_status){ .state = CKPT_JOB_FAILED, .error = ECANCELED };
	ckfs_captures_step(fixture.captures);
	assert_said(0, 1, EINTR, "");
}

static void an_interrupt_without_a_signal_cancels_nothing(void **state)
{
	command(1, 1, "");
	ckfs_captures_interrupt(fixture.captures, 1);
	assert_false(engine.jobs[0]->cancelled);
	/* A later signal brings no second interrupt: it is looked for. */
	assert_true(ckfs_captures_timeout(fixture.captures) > 0);
}

static void an_interrupt_cancels_its_capture_alone(void **state)
{
	command(1, 1, "");
	command(2, 2, "");
	/* A writer that is gone waits no more. */
	end_process(fixture.processes[0]);
	ckfs_captures_interrupt(fixture.captures, 2);
	assert_false(engine.jobs[0]->cancelled);
	assert_true(engine.jobs[1]->cancelled);
}

static void all_are_cancelled_at_the_end(void **state)
{
	command(1, 1, "");
	command(2, 2, "");
	ckfs_captures_cancel(fixture.captures);
	assert_true(engine.jobs[0]->cancelled && engine.jobs[1]->cancelled);
}

static void what_the_system_lacks_is_eagain_and_named(void **state)
{
	static const struct {
		int error;
		const char *said;
	} lacks[] = {
		{ -EMFILE, "RLIMIT_NOFILE" },
		{ -ENFILE, "the system has no descriptors left" },
		{ -EAGAIN, "RLIMIT_NPROC" },
	};

	for (size_t i = 0; i < sizeof(lacks) / sizeof(lacks[0]); i++) {
		engine.start_error = lacks[i].error;
		command(i + 1, 1, "");
		assert_said(i, i + 1, EAGAIN, "");
		assert_last_line_holds(lacks[i].said);
	}
	engine.start_error = -EDOM;
	command(9, 1, "");
	assert_said(3, 9, EDOM, "");
}

static void what_a_sentence_quotes_cannot_move_the_cursor(void **state)
{
	command(1, 1, "\x1b[2Jname");
	assert_said(0, 1, EINVAL, "");
	assert_last_line_holds("\"?[2Jname\"");

	command(2, 1, "name=a");
	engine.jobs[0]->status =
	    (struct ckpt_job_status){ .state = CKPT_JOB_FAILED, .error = EIO, .said = "\xc2\x9bK" };
	ckfs_captures_step(fixture.captures);
	assert_last_line_holds("said=?K\n");
}

static void a_text_above_the_limit_is_cut_between_lines(void **state)
{
	char *text;
	size_t len;

	fixture.options.captures = fixture.options.captures_per_user = JOBS_MAX;
	for (size_t i = 0; i < JOBS_MAX; i++) {
		pid_t target = make_process();
		char words[CKPT_NAME_SIZE + 8];

		snprintf(words, sizeof(words), "name=%0255zu", i);
		command_for(i + 1, target, words);
		assert_int_equal(engine.n_started, i + 1);
		end_process(target);
	}
	text = print(geteuid());
	len = strlen(text);
	assert_true(len <= CKFS_STATE_MAX);
	assert_true(len > CKFS_STATE_MAX - 512);
	assert_int_equal(text[len - 1], '\n');
	free(text);
}

static void others_cannot_write_through_a_descriptor_of_ours(void **state)
{
	struct ckfs_ask ask = {
		.kind = CKFS_ASK_COMMAND,
		.id = 1,
		.tid = fixture.processes[0],
		.uid = geteuid(),
		.gid = getegid(),
		.open_uid = geteuid() + 1,
		.open_gid = getegid(),
	};

	ask.len = (uint32_t)snprintf(ask.text, sizeof(ask.text), "%d", (int)fixture.processes[1]);
	ckfs_captures_command(fixture.captures, &ask);
	assert_said(0, 1, EPERM, "");
	assert_int_equal(engine.n_started, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_capture_is_answered_when_it_is_done),
		TEST(a_name_is_reserved_while_its_capture_runs),
		TEST(no_more_run_than_the_options_allow),
		TEST(a_process_is_captured_once_at_a_time),
		TEST(who_captures_itself_is_answered_first),
		TEST(a_failure_without_an_error_is_eio),
		TEST(a_cancelled_one_is_eintr),
		TEST(an_interrupt_without_a_signal_cancels_nothing),
		TEST(an_interrupt_cancels_its_capture_alone),
		TEST(all_are_cancelled_at_the_end),
		TEST(what_the_system_lacks_is_eagain_and_named),
		TEST(what_a_sentence_quotes_cannot_move_the_cursor),
		TEST(a_text_above_the_limit_is_cut_between_lines),
		TEST(others_cannot_write_through_a_descriptor_of_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
