/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Verifies capture/job.c and its two processes: a capture that ends well, one that fails in
 * either process, one that is cancelled or whose process is killed; who the processes are; and
 * that none of them, and nothing half written, is left behind.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "capture/job-internal.h"
#include "capture/job.h"
#include "format/checkpoint.h"
#include "format/cleanup.h"
#include "format/fdio.h"
#include "format/layout.h"
#include "format/store.h"

#define DEADLINE_MS 30000
#define NOBODY 65534

struct fixture {
	char dir[64];
	struct ckpt_store *store;
	pid_t target; /* 0: none */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/test-job-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(ckpt_store_open(f->dir, false, false, &f->store), 0);
	*state = f;
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

/* Whatever has been captured still lives: it dies here, of our signal. */
static int teardown(void **state)
{
	struct fixture *f = *state;
	int status;

	if (f->target > 0) {
		assert_int_equal(waitpid(f->target, &status, WNOHANG), 0);
		assert_int_equal(kill(f->target, SIGKILL), 0);
		assert_int_equal(waitpid(f->target, &status, 0), f->target);
	}
	/* The job's processes are all reaped: we have no child left. */
	assert_int_equal(waitpid(-1, &status, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);

	ckpt_store_free(f->store);
	nftw(f->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static void wait_ready(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char byte;

	assert_int_equal(poll(&pfd, 1, DEADLINE_MS), 1);
	assert_int_equal(read(fd, &byte, 1), 1);
}

/* Waits for ever, in a call that can be stopped. */
static void be_idle(int ready)
{
	(void)!write(ready, "r", 1);
	for (;;)
		pause();
}

/* Waits for a vfork child for ever: a thread in that state does not stop. */
static void be_unstoppable(int ready)
{
	if (vfork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)!write(ready, "r", 1);
		for (;;)
			pause();
	}
	_exit(1);
}

static void start_target(struct fixture *f, void (*be)(int ready), uid_t uid)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	f->target = fork();
	assert_true(f->target >= 0);
	if (f->target == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (uid && (setgid(uid) < 0 || setuid(uid) < 0))
			_exit(1);
		if (uid) /* what a new uid has taken away, as if it had been executed */
			prctl(PR_SET_DUMPABLE, 1);
		be(fds[1]);
	}
	close_fd(fds[1]);
	wait_ready(fds[0]);
	close_fd(fds[0]);
}

static struct ckpt_request request_of(const struct fixture *f)
{
	return (struct ckpt_request){
		.pid = f->target,
		.pidfd = -EBADF,
		.name = "x",
		.deadline_ms = DEADLINE_MS,
		.store_fd = ckpt_store_fd(f->store),
		.owner_uid = 4321,
	};
}

static struct ckpt_job *start(const struct ckpt_request *request)
{
	struct ckpt_job *job = NULL;

	assert_int_equal(capture_job_ops.start(request, &job), 0);
	assert_int_equal(capture_job_ops.status(job)->state, CKPT_JOB_RUNNING);
	return job;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Steps whenever there is reason to, until it is over; frees it. */
static struct ckpt_job_status finish(struct ckpt_job *job)
{
	const int64_t deadline = now_ms() + DEADLINE_MS;
	struct pollfd pfd = { .fd = capture_job_ops.fd(job), .events = POLLIN };
	struct ckpt_job_status status;

	while (capture_job_ops.status(job)->state == CKPT_JOB_RUNNING) {
		int64_t left = deadline - now_ms();

		assert_true(left > 0);
		assert_int_equal(poll(&pfd, 1, (int)left), 1);
		capture_job_ops.step(job);
	}
	status = *capture_job_ops.status(job);
	assert_null(capture_job_ops.free(job));
	return status;
}

static struct ckpt_job_status capture(const struct ckpt_request *request)
{
	return finish(start(request));
}

static void assert_failed(const struct ckpt_job_status *status, int error, const char *part)
{
	assert_int_equal(status->state, CKPT_JOB_FAILED);
	assert_int_equal(status->error, error);
	assert_string_equal(status->name, "");
	if (!strstr(status->said, part))
		fail_msg("\"%s\" does not say \"%s\"", status->said, part);
}

static unsigned count_entries(const struct fixture *f, const char *below)
{
	cleanup_dir DIR *dir = NULL;
	struct dirent *de;
	char path[128];
	unsigned n = 0;

	snprintf(path, sizeof(path), "%s%s", f->dir, below);
	dir = opendir(path);
	while (dir && (de = readdir(dir)))
		n += de->d_name[0] != '.';
	return n;
}

static void assert_nothing_left(const struct fixture *f)
{
	assert_int_equal(count_entries(f, ""), 0);
	assert_int_equal(count_entries(f, "/.sandckpt/staging"), 0);
}

/* Litter goes in a process that outlives the job. */
static void wait_swept(const struct fixture *f)
{
	const int64_t deadline = now_ms() + DEADLINE_MS;

	while (count_entries(f, "/.sandckpt/staging") > 0) {
		assert_true(now_ms() < deadline);
		assert_int_equal(poll(NULL, 0, 1), 0);
	}
}

/* The job's process of this comm, as soon as it calls itself so. */
static pid_t find_process(const struct ckpt_job *job, const char *comm)
{
	const int64_t deadline = now_ms() + DEADLINE_MS;

	while (now_ms() < deadline) {
		cleanup_dir DIR *dir = opendir("/proc");
		struct dirent *de;

		assert_non_null(dir);
		while ((de = readdir(dir))) {
			pid_t pid = atoi(de->d_name);
			cleanup_file FILE *file = NULL;
			char path[64], line[64] = "";

			if (!capture_job_ops.owns(job, pid))
				continue;
			snprintf(path, sizeof(path), "/proc/%d/comm", pid);
			file = fopen(path, "re");
			if (file && fgets(line, sizeof(line), file) &&
			    strcspn(line, "\n") == strlen(comm) &&
			    strncmp(line, comm, strlen(comm)) == 0)
				return pid;
		}
	}
	fail_msg("no process %s", comm);
	return -1;
}

/* Until the writer has begun, and so the reader: each is what it is going to be. */
static void wait_staged(const struct fixture *f, struct ckpt_job *job)
{
	struct pollfd pfd = { .fd = capture_job_ops.fd(job), .events = POLLIN };
	const int64_t deadline = now_ms() + DEADLINE_MS;

	while (count_entries(f, "/.sandckpt/staging") == 0) {
		assert_true(now_ms() < deadline);
		assert_true(poll(&pfd, 1, 1) >= 0);
		capture_job_ops.step(job);
		if (capture_job_ops.status(job)->state != CKPT_JOB_RUNNING)
			fail_msg("%s", capture_job_ops.status(job)->said);
	}
}

static void capture_ends_with_a_checkpoint(void **state)
{
	cleanup_checkpoint struct ckpt_checkpoint *c = NULL;
	cleanup_fd int dirfd = -EBADF;
	struct fixture *f = *state;
	struct ckpt_job_status status;
	struct ckpt_request request;

	start_target(f, be_idle, 0);
	request = request_of(f);
	request.cow = "/snap/1";
	status = capture(&request);
	assert_int_equal(status.state, CKPT_JOB_DONE);
	assert_int_equal(status.error, 0);
	assert_int_equal(status.pid, f->target);
	assert_int_equal(status.progress, 100);
	assert_int_equal(status.mode, CKPT_MODE_STOP);
	assert_string_equal(status.name, "x");
	assert_true(status.pause_us > 0 && status.bytes > 0 && status.stored >= status.bytes);

	assert_int_equal(ckpt_store_lookup(f->store, "x", &dirfd), 0);
	assert_int_equal(ckpt_layout_read(dirfd, &c), 0);
	assert_int_equal(c->info.pid, f->target);
	assert_int_equal(c->meta.owner_uid, 4321);
	assert_int_equal(c->meta.bytes, status.bytes);
	assert_int_equal(c->meta.pause_us, status.pause_us);
	assert_string_equal(c->meta.cow_snapshot, "/snap/1");
	assert_int_equal(count_entries(f, "/.sandckpt/staging"), 0);
}

static void memory_is_what_the_target_holds(void **state)
{
	cleanup_checkpoint struct ckpt_checkpoint *c = NULL;
	cleanup_fd int dirfd = -EBADF;
	cleanup_free char *known = malloc(3000);
	struct fixture *f = *state;
	struct ckpt_request request;
	uint64_t addr = (uint64_t)(uintptr_t)known;
	bool found = false;

	for (size_t i = 0; i < 3000; i++)
		known[i] = (char)(i * 31 + 7);
	start_target(f, be_idle, 0); /* a copy of us */
	request = request_of(f);
	assert_int_equal(capture(&request).state, CKPT_JOB_DONE);

	assert_int_equal(ckpt_store_lookup(f->store, "x", &dirfd), 0);
	assert_int_equal(ckpt_layout_read(dirfd, &c), 0);
	for (size_t i = 0; i < c->regions.n; i++) {
		const struct ckpt_region *region = &c->regions.items[i];
		cleanup_fd int fd = -EBADF;
		char got[3000];

		if (addr < region->start || addr + 3000 > region->end)
			continue;
		fd = ckpt_layout_open_segment(dirfd, c, i);
		assert_true(fd >= 0);
		assert_int_equal(ckpt_fd_pread(fd, got, sizeof(got), addr - region->start), 0);
		assert_memory_equal(got, known, sizeof(got));
		found = true;
	}
	assert_true(found);
}

static void small_copy_limit_is_enough(void **state)
{
	struct fixture *f = *state;
	struct ckpt_request request;

	start_target(f, be_idle, 0);
	request = request_of(f);
	request.copy_limit = 1;
	assert_int_equal(capture(&request).state, CKPT_JOB_DONE);
}

static void no_such_process_is_esrch(void **state)
{
	struct fixture *f = *state;
	struct ckpt_job_status status;
	struct ckpt_request request;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	request = request_of(f);
	request.pid = pid;
	status = capture(&request);
	assert_failed(&status, ESRCH, "No such process");
	assert_nothing_left(f);
}

static void taken_name_is_eexist(void **state)
{
	struct fixture *f = *state;
	struct ckpt_job_status status;
	struct ckpt_request request;

	start_target(f, be_idle, 0);
	request = request_of(f);
	assert_int_equal(capture(&request).state, CKPT_JOB_DONE);
	status = capture(&request);
	assert_failed(&status, EEXIST, "\"x\"");
	assert_int_equal(count_entries(f, ""), 1);

	request.name_is_default = true;
	status = capture(&request);
	assert_int_equal(status.state, CKPT_JOB_DONE);
	assert_string_equal(status.name, "x.2");
}

static void no_room_is_enospc(void **state)
{
	struct fixture *f = *state;
	struct ckpt_job_status status;
	struct ckpt_request request;

	start_target(f, be_idle, 0);
	request = request_of(f);
	request.reserve_percent = 100;
	status = capture(&request);
	assert_failed(&status, ENOSPC, "No space left on device");
	assert_nothing_left(f);
}

static void target_that_does_not_stop_is_etimedout(void **state)
{
	struct fixture *f = *state;
	struct ckpt_job_status status;
	struct ckpt_request request;

	start_target(f, be_unstoppable, 0);
	request = request_of(f);
	request.deadline_ms = 200;
	status = capture(&request);
	assert_failed(&status, ETIMEDOUT, "");
	assert_nothing_left(f);
}

static void cancelled_is_ecanceled_and_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct ckpt_job_status status;
	struct ckpt_request request;
	struct ckpt_job *job;

	start_target(f, be_unstoppable, 0);
	request = request_of(f);
	job = start(&request);
	(void)find_process(job, "sandckpt-reader");
	(void)find_process(job, "sandckpt-writer");
	assert_false(capture_job_ops.owns(job, f->target));
	assert_false(capture_job_ops.owns(job, getpid()));
	capture_job_ops.cancel(job);
	status = finish(job);
	assert_failed(&status, ECANCELED, "cancelled");
	assert_nothing_left(f);
}

static void cancelled_when_done_stays_done(void **state)
{
	struct fixture *f = *state;
	struct ckpt_request request;
	struct ckpt_job *job;

	start_target(f, be_idle, 0);
	request = request_of(f);
	job = start(&request);
	while (capture_job_ops.status(job)->state == CKPT_JOB_RUNNING) {
		struct pollfd pfd = { .fd = capture_job_ops.fd(job), .events = POLLIN };

		assert_int_equal(poll(&pfd, 1, DEADLINE_MS), 1);
		capture_job_ops.step(job);
	}
	capture_job_ops.cancel(job);
	capture_job_ops.step(job);
	assert_int_equal(capture_job_ops.status(job)->state, CKPT_JOB_DONE);
	capture_job_ops.free(job);
}

static void killed_reader_is_eio_and_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct ckpt_job_status status;
	struct ckpt_request request;
	struct ckpt_job *job;

	start_target(f, be_unstoppable, 0);
	request = request_of(f);
	job = start(&request);
	assert_int_equal(kill(find_process(job, "sandckpt-reader"), SIGKILL), 0);
	status = finish(job);
	assert_failed(&status, EIO, "the reader was killed by signal 9");
	assert_nothing_left(f);
}

static void what_a_killed_writer_left_goes_with_the_next(void **state)
{
	struct fixture *f = *state;
	struct ckpt_job_status status;
	struct ckpt_request request;
	struct ckpt_job *job;

	start_target(f, be_unstoppable, 0);
	request = request_of(f);
	request.deadline_ms = 1000;
	job = start(&request);
	wait_staged(f, job);
	assert_int_equal(kill(find_process(job, "sandckpt-writer"), SIGKILL), 0);
	status = finish(job);
	assert_int_equal(status.state, CKPT_JOB_FAILED);
	assert_int_equal(count_entries(f, "/.sandckpt/staging"), 1);
	assert_int_equal(count_entries(f, ""), 0);

	request.deadline_ms = 1;
	assert_int_equal(capture(&request).state, CKPT_JOB_FAILED);
	wait_swept(f);
	assert_nothing_left(f);
}

static void free_ends_what_still_runs(void **state)
{
	struct fixture *f = *state;
	struct ckpt_request request;
	struct ckpt_job *job;

	start_target(f, be_unstoppable, 0);
	request = request_of(f);
	job = start(&request);
	(void)find_process(job, "sandckpt-reader");
	assert_null(capture_job_ops.free(job)); /* teardown looks for children */
}

static void impossible_name_is_einval(void **state)
{
	struct fixture *f = *state;
	struct ckpt_request request = request_of(f);
	struct ckpt_job *job = NULL;

	request.name = "a/b";
	assert_int_equal(capture_job_ops.start(&request, &job), -EINVAL);
	assert_null(job);
}

static void need_root(void)
{
	if (geteuid() != 0)
		skip();
}

static void identity_is_judged_by_the_kernel(void **state)
{
	const struct ckpt_identity nobody = { .uid = NOBODY, .gid = NOBODY };
	struct fixture *f = *state;
	struct ckpt_job_status status;
	struct ckpt_request request;

	need_root();
	start_target(f, be_idle, 0);
	request = request_of(f);
	request.identity = &nobody;
	status = capture(&request);
	assert_failed(&status, EPERM, "Operation not permitted");
	assert_nothing_left(f);
}

static void identity_captures_its_own(void **state)
{
	const struct ckpt_identity nobody = { .uid = NOBODY, .gid = NOBODY };
	struct fixture *f = *state;
	struct ckpt_job_status status;
	struct ckpt_request request;

	need_root();
	start_target(f, be_idle, NOBODY);
	request = request_of(f);
	request.identity = &nobody;
	status = capture(&request);
	if (status.state != CKPT_JOB_DONE)
		fail_msg("%s", status.said);
}

/* The line of a process's status. */
static void status_line(pid_t pid, const char *key, char *ret, size_t size)
{
	cleanup_file FILE *file = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(ret, (int)size, file))
		if (strncmp(ret, key, strlen(key)) == 0)
			return;
	fail_msg("no %s", key);
}

static void reader_has_just_the_rights_it_was_given(void **state)
{
	const gid_t groups[] = { 7, 9 };
	/* CAP_SYS_PTRACE is 19; bit 63 is nobody's. */
	const struct ckpt_identity identity = { .uid = NOBODY,
						.gid = NOBODY,
						.groups = groups,
						.n_groups = 2,
						.caps = UINT64_C(1) << 19 | UINT64_C(1) << 63 };
	static const char *const want[] = {
		"Uid:\t65534\t65534\t65534\t65534\n",
		"Gid:\t65534\t65534\t65534\t65534\n",
		"Groups:\t7 9 \n",
		"CapInh:\t0000000000000000\n",
		"CapPrm:\t0000000000080000\n",
		"CapEff:\t0000000000080000\n",
		"CapAmb:\t0000000000000000\n",
	};
	struct fixture *f = *state;
	struct ckpt_request request;
	struct ckpt_job *job;
	char line[256];
	pid_t pid;

	need_root();
	start_target(f, be_unstoppable, NOBODY);
	request = request_of(f);
	request.identity = &identity;
	job = start(&request);
	wait_staged(f, job);
	pid = find_process(job, "sandckpt-reader");
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		char key[16];

		snprintf(key, sizeof(key), "%.*s", (int)strcspn(want[i], "\t"), want[i]);
		status_line(pid, key, line, sizeof(line));
		assert_string_equal(line, want[i]);
	}
	capture_job_ops.cancel(job);
	(void)finish(job);
}

/* That the kernel would take us before the target, and that no exec gives back what we gave up. */
static void both_processes_die_first_and_gain_nothing(void **state)
{
	static const char *const comms[] = { "sandckpt-reader", "sandckpt-writer" };
	struct fixture *f = *state;
	struct ckpt_request request;
	struct ckpt_job *job;

	start_target(f, be_unstoppable, 0);
	request = request_of(f);
	job = start(&request);
	wait_staged(f, job);
	for (size_t i = 0; i < 2; i++) {
		pid_t pid = find_process(job, comms[i]);
		cleanup_file FILE *file = NULL;
		char path[64], line[256];

		snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
		file = fopen(path, "re");
		assert_non_null(file);
		assert_non_null(fgets(line, sizeof(line), file));
		assert_string_equal(line, "1000\n");
		status_line(pid, "NoNewPrivs", line, sizeof(line));
		assert_string_equal(line, "NoNewPrivs:\t1\n");
	}
	capture_job_ops.cancel(job);
	(void)finish(job);
}

/* CAP_DAC_OVERRIDE is 1, CAP_FOWNER is 3. */
static void writer_of_a_root_owned_store_has_rights_over_files_alone(void **state)
{
	struct fixture *f = *state;
	struct ckpt_request request;
	struct ckpt_job *job;
	char line[256];
	pid_t pid;

	need_root();
	start_target(f, be_unstoppable, 0);
	request = request_of(f);
	job = start(&request);
	wait_staged(f, job);
	pid = find_process(job, "sandckpt-writer");
	status_line(pid, "CapPrm", line, sizeof(line));
	assert_string_equal(line, "CapPrm:\t000000000000000a\n");
	status_line(pid, "CapEff", line, sizeof(line));
	assert_string_equal(line, "CapEff:\t000000000000000a\n");
	status_line(pid, "Groups", line, sizeof(line));
	assert_string_equal(line, "Groups:\t \n");
	capture_job_ops.cancel(job);
	(void)finish(job);
}

static void file_size_limit_is_efbig_and_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct ckpt_job_status status;
	struct ckpt_request request;
	struct rlimit old, low;

	start_target(f, be_idle, 0);
	request = request_of(f);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low = (struct rlimit){ .rlim_cur = 8192, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	status = capture(&request);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_failed(&status, EFBIG, "File too large");
	assert_nothing_left(f);
}

/* What the program has there instead is neither overwritten nor lost. */
static void closed_standard_descriptors_are_no_obstacle(void **state)
{
	struct fixture *f = *state;
	int saved[2], store_fd = ckpt_store_fd(f->store);
	struct ckpt_job_status status;
	struct ckpt_request request;

	start_target(f, be_idle, 0);
	request = request_of(f);
	for (int i = 0; i < 2; i++) {
		saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
		assert_true(saved[i] >= 0);
		close(i);
	}
	request.store_fd = dup(store_fd); /* 0, and 1 is the job's epoll */
	status = capture(&request);
	close(request.store_fd);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(dup2(saved[i], i), i);
		close(saved[i]);
	}
	assert_int_equal(request.store_fd, 0);
	if (status.state != CKPT_JOB_DONE)
		fail_msg("%s", status.said);
}

static void put_file(const char *dir, const char *path, const char *text)
{
	char full[256];
	FILE *file;

	snprintf(full, sizeof(full), "%s/%s", dir, path);
	for (char *p = full + strlen(dir) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		(void)mkdir(full, 0700);
		*p = '/';
	}
	file = fopen(full, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static uint64_t room_of(const char *dir, const char *groups)
{
	char path[128], sysfs[128];

	put_file(dir, "cgroup", groups);
	snprintf(path, sizeof(path), "%s/cgroup", dir);
	snprintf(sysfs, sizeof(sysfs), "%s/fs", dir);
	return capture_job_cgroup_room(path, sysfs);
}

static void least_room_of_the_groups_above_counts(void **state)
{
	const struct fixture *f = *state;

	assert_true(room_of(f->dir, "0::/a/b/c\n") == UINT64_MAX);
	put_file(f->dir, "fs/a/b/c/memory.max", "max\n");
	put_file(f->dir, "fs/a/b/c/memory.current", "5\n");
	assert_true(room_of(f->dir, "0::/a/b/c\n") == UINT64_MAX);
	put_file(f->dir, "fs/a/b/memory.max", "5000\n");
	put_file(f->dir, "fs/a/b/memory.current", "1000\n");
	assert_int_equal(room_of(f->dir, "0::/a/b/c\n"), 4000);
	/* Page cache that nobody uses can be had. */
	put_file(f->dir, "fs/a/b/memory.stat", "anon 400\ninactive_file 600\n");
	assert_int_equal(room_of(f->dir, "0::/a/b/c\n"), 4600);
	put_file(f->dir, "fs/memory.max", "900\n");
	put_file(f->dir, "fs/memory.current", "1000\n");
	assert_int_equal(room_of(f->dir, "0::/a/b/c\n"), 0);
	assert_int_equal(room_of(f->dir, "0::/not/there\n"), 0);
}

static void room_of_version_1_groups_counts(void **state)
{
	const struct fixture *f = *state;
	static const char groups[] = "9:name=systemd:/x\n4:cpu,memory:/m\n0::/\n";

	put_file(f->dir, "fs/memory/m/memory.limit_in_bytes", "700\n");
	put_file(f->dir, "fs/memory/m/memory.usage_in_bytes", "100\n");
	assert_int_equal(room_of(f->dir, groups), 600);
	assert_true(room_of(f->dir, "4:memoryish:/m\n") == UINT64_MAX);
	assert_true(room_of(f->dir, "rubbish\n:\n\n") == UINT64_MAX);
}

static void files_belong_to_the_owner_of_the_store(void **state)
{
	struct fixture *f = *state;
	struct ckpt_request request;
	struct stat st;
	char path[128];

	need_root();
	assert_int_equal(chown(f->dir, NOBODY, NOBODY), 0);
	start_target(f, be_idle, 0);
	request = request_of(f);
	assert_int_equal(capture(&request).state, CKPT_JOB_DONE);
	snprintf(path, sizeof(path), "%s/x/meta.json", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, NOBODY);
	assert_int_equal(st.st_gid, NOBODY);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(capture_ends_with_a_checkpoint),
		TEST(memory_is_what_the_target_holds),
		TEST(small_copy_limit_is_enough),
		TEST(no_such_process_is_esrch),
		TEST(taken_name_is_eexist),
		TEST(no_room_is_enospc),
		TEST(target_that_does_not_stop_is_etimedout),
		TEST(cancelled_is_ecanceled_and_leaves_nothing),
		TEST(cancelled_when_done_stays_done),
		TEST(killed_reader_is_eio_and_leaves_nothing),
		TEST(what_a_killed_writer_left_goes_with_the_next),
		TEST(free_ends_what_still_runs),
		TEST(impossible_name_is_einval),
		TEST(identity_is_judged_by_the_kernel),
		TEST(identity_captures_its_own),
		TEST(reader_has_just_the_rights_it_was_given),
		TEST(both_processes_die_first_and_gain_nothing),
		TEST(writer_of_a_root_owned_store_has_rights_over_files_alone),
		TEST(file_size_limit_is_efbig_and_leaves_nothing),
		TEST(closed_standard_descriptors_are_no_obstacle),
		TEST(least_room_of_the_groups_above_counts),
		TEST(room_of_version_1_groups_counts),
		TEST(files_belong_to_the_owner_of_the_store),
	};

	alarm(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
