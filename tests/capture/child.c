/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/capture/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READY_TIMEOUT_MS 20000

/*
 * What the sanitizer keeps aside of freed memory is inherited by every child, and captured: with
 * its default of 256 MiB a test takes minutes.
 */
const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
	return "quarantine_size_mb=1";
}

static void need(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	abort();
}

struct child child_start(child_fn fn)
{
	struct child child = {};
	int ready[2], go[2];
	struct pollfd poll_fd;
	char byte;

	child.facts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	need(child.facts != MAP_FAILED, "mmap");
	need(pipe2(ready, O_CLOEXEC) == 0 && pipe2(go, O_CLOEXEC) == 0, "pipe");

	child.pid = fork();
	need(child.pid >= 0, "fork");
	if (child.pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)close(ready[0]);
		(void)close(go[1]);
		child.ready = ready[1];
		child.wait = go[0];
		fn(&child);
		_exit(0);
	}

	(void)close(ready[1]);
	(void)close(go[0]);
	poll_fd = (struct pollfd){ .fd = ready[0], .events = POLLIN };
	need(poll(&poll_fd, 1, READY_TIMEOUT_MS) == 1, "the child is not ready in time");
	need(read(ready[0], &byte, 1) == 1, "the child could not be set up");
	(void)close(ready[0]);
	child.go = go[1];
	return child;
}

void child_end(struct child *child)
{
	(void)close(child->go);
	(void)kill(child->pid, SIGKILL);
	(void)waitpid(child->pid, NULL, 0);
	(void)munmap((void *)child->facts, 4096);
}

void child_say_ready(struct child *child)
{
	child_need(write(child->ready, "r", 1) == 1);
}

void child_wait(struct child *child)
{
	char byte;

	child_say_ready(child);
	while (read(child->wait, &byte, 1) != 0)
		;
	_exit(0);
}

void child_need(int ok)
{
	if (!ok) {
		perror("child");
		_exit(1);
	}
}

char child_state(pid_t tid)
{
	char path[32], text[512], *p;
	int fd;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	p = strrchr(text, ')');
	return p ? p[2] : 0;
}

int child_await_state(pid_t pid, const char *states)
{
	struct timespec start, now;
	char state;

	(void)clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		state = child_state(pid);
		if (state && strchr(states, state))
			return 1;
		(void)poll(NULL, 0, 1);
		(void)clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - start.tv_sec < 10);

	return 0;
}

void child_stop(const struct child *child)
{
	siginfo_t event;

	need(kill(child->pid, SIGSTOP) == 0, "kill");
	need(waitid(P_PID, (id_t)child->pid, &event, WSTOPPED) == 0, "waitid");
}

void child_continue(const struct child *child)
{
	siginfo_t event;

	need(kill(child->pid, SIGCONT) == 0, "kill");
	need(waitid(P_PID, (id_t)child->pid, &event, WCONTINUED) == 0, "waitid");
}

static int open_sink(void *userdata, uint64_t expected_bytes, struct ckpt_sink **ret)
{
	struct memory_sink **sink = userdata;

	(void)expected_bytes;
	*ret = &(*sink)->sink;
	return 0;
}

struct capture_params child_params(const struct child *child, struct memory_sink **sink)
{
	return (struct capture_params){
		.pid = child->pid,
		.pidfd = -1,
		.name = "test",
		.mode = CKPT_MODE_AUTO,
		.deadline_ms = 10000,
		.open_sink = open_sink,
		.userdata = sink,
	};
}

int child_capture(const struct child *child, struct memory_sink **ret_sink,
		  struct capture_result *ret)
{
	struct capture_params params = child_params(child, ret_sink);
	int r;

	*ret_sink = memory_sink_new(true);
	r = capture_process(&params, ret);
	if (r < 0)
		(void)fprintf(stderr, "capture of %d: %s: %s\n", child->pid, strerror(-r),
			      ret->said);
	return r;
}
