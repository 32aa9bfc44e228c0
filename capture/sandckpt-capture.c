/* SPDX-License-Identifier: Apache-2.0 */

/* sandckpt-capture: one process into a store, without a mount; see sandckpt-capture.1. */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "capture/job.h"
#include "capture/proc.h"
#include "capture/said.h"
#include "capture/target.h"
#include "format/cleanup.h"
#include "format/json.h"
#include "format/name.h"
#include "format/store.h"

#define PROGRAM "sandckpt-capture"
#define EXIT_USAGE 2
#define DEADLINE_DEFAULT_MS 10000
#define DEADLINE_MAX_S 86400
#define RESERVE_PERCENT 5 /* of the store's filesystem; the mount's default as well */
#define PROGRESS_MS 250
#define COMM_MAX 64

struct options {
	const char *name; /* NULL: COMM-PID-TIME */
	enum ckpt_mode mode;
	enum ckpt_store_form form;
	const char *cow;
	uint64_t deadline_ms;
	bool json, help, version;
	pid_t pid;
	const char *store;
};

static void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void complain(const char *format, ...)
{
	va_list args;

	fputs(PROGRAM ": ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

/* Options */

static int take_name(struct options *options, const char *text)
{
	options->name = text;
	return ckpt_name_check(text);
}

static int take_mode(struct options *options, const char *text)
{
	options->mode = ckpt_mode_parse(text);
	return options->mode < 0 ? -EINVAL : 0;
}

static int take_form(struct options *options, const char *text)
{
	if (strcmp(text, "plain") == 0)
		options->form = CKPT_FORM_PLAIN;
	else if (strcmp(text, "packed") == 0)
		options->form = CKPT_FORM_PACKED;
	else
		return -EINVAL;
	return 0;
}

static int take_cow(struct options *options, const char *text)
{
	options->cow = text;
	return *text ? 0 : -EINVAL;
}

/* A whole number of digits alone, in [1, @max]. */
static int parse_number(const char *text, unsigned long max, unsigned long *ret)
{
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	*ret = strtoul(text, &end, 10);
	return errno || *end || *ret == 0 || *ret > max ? -EINVAL : 0;
}

static int take_deadline(struct options *options, const char *text)
{
	unsigned long seconds = 0;
	int r;

	r = parse_number(text, DEADLINE_MAX_S, &seconds);
	options->deadline_ms = (uint64_t)seconds * 1000;
	return r;
}

static int take_json(struct options *options, const char *text)
{
	options->json = true;
	return 0;
}

static int take_help(struct options *options, const char *text)
{
	options->help = true;
	return 0;
}

static int take_version(struct options *options, const char *text)
{
	options->version = true;
	return 0;
}

/* What is parsed, and what --help says of it. */
static const struct option_row {
	const char *name;
	const char *argument; /* NULL: takes none */
	const char *wants;    /* what an argument must be */
	int (*take)(struct options *options, const char *text);
	const char *help;
} option_rows[] = {
	{ "name", "NAME", "1 to 255 bytes of UTF-8 without \"/\", not beginning with \".\"",
	  take_name, "name of the checkpoint (COMM-PID-TIME)" },
	{ "mode", "MODE", "auto, live or stop", take_mode,
	  "how the process is captured: auto, live, stop (auto)" },
	{ "store", "FORM", "packed or plain", take_form,
	  "how it is kept: packed, plain (as the store says)" },
	{ "cow", "PATH", "a path", take_cow, "snapshot of its files that belongs to it" },
	{ "deadline", "SECONDS", "a whole number of seconds, 1 to 86400", take_deadline,
	  "how long to try to stop the process (10)" },
	{ "json", NULL, NULL, take_json, "print the result as a JSON object" },
	{ "help", NULL, NULL, take_help, "show this help" },
	{ "version", NULL, NULL, take_version, "show the version" },
};
#define N_OPTIONS (sizeof(option_rows) / sizeof(option_rows[0]))

static void print_help(void)
{
	printf("Usage: " PROGRAM " [OPTION]... PID STORE\n"
	       "Takes a checkpoint of process PID into the directory STORE, which is made where\n"
	       "only it is missing, and prints the checkpoint's name.\n\n");
	for (size_t i = 0; i < N_OPTIONS; i++) {
		const struct option_row *row = &option_rows[i];
		char left[32];

		snprintf(left, sizeof(left), "--%s%s%s", row->name, row->argument ? " " : "",
			 row->argument ? row->argument : "");
		printf("  %-20s  %s\n", left, row->help);
	}
	printf("\nExit status: 0 done, 1 failed, 2 wrong usage.\n");
}

static int usage_error(void)
{
	fputs("Try \"" PROGRAM " --help\".\n", stderr);
	return -EINVAL;
}

static int parse_operands(struct options *options, char **operands, int n)
{
	unsigned long pid;

	if (n != 2) {
		complain("a process id and a store are needed, and nothing else");
		return usage_error();
	}
	if (parse_number(operands[0], INT_MAX, &pid) < 0) {
		complain("\"%s\" is not a process id", operands[0]);
		return usage_error();
	}
	if (!*operands[1]) {
		complain("\"\" is not a store");
		return usage_error();
	}

	options->pid = (pid_t)pid;
	options->store = operands[1];
	return 0;
}

static int parse_options(int argc, char **argv, struct options *options)
{
	struct option long_options[N_OPTIONS + 1] = {};
	int i, key;

	for (i = 0; i < (int)N_OPTIONS; i++)
		long_options[i] = (struct option){
			.name = option_rows[i].name,
			.has_arg = option_rows[i].argument ? required_argument : no_argument,
		};

	opterr = 0;
	while ((key = getopt_long(argc, argv, ":", long_options, &i)) != -1) {
		if (key != 0) {
			complain("\"%s\" %s", argv[optind - 1],
				 key == ':' ? "needs an argument" : "is not an option");
			return usage_error();
		}
		if (option_rows[i].take(options, optarg) < 0) {
			complain("\"--%s\" takes %s, not \"%s\"", option_rows[i].name,
				 option_rows[i].wants, optarg);
			return usage_error();
		}
	}
	if (options->help || options->version)
		return 0;
	return parse_operands(options, argv + optind, argc - optind);
}

/* Progress, on a terminal */

struct progress {
	bool shown;
	struct timespec since;
};

static void format_size(double bytes, char *ret, size_t size)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	size_t i = 0;

	for (; bytes >= 1024 && i + 1 < sizeof(units) / sizeof(units[0]); i++)
		bytes /= 1024;
	snprintf(ret, size, i ? "%.1f %s" : "%.0f %s", bytes, units[i]);
}

static void show_progress(struct progress *progress, const struct ckpt_job_status *status)
{
	char done[32], rate[32], left[32] = "";
	struct timespec now;
	double seconds;

	if (!isatty(STDERR_FILENO))
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	seconds = (double)(now.tv_sec - progress->since.tv_sec) +
		  (double)(now.tv_nsec - progress->since.tv_nsec) / 1e9;
	format_size((double)status->bytes, done, sizeof(done));
	format_size(seconds > 0 ? (double)status->bytes / seconds : 0, rate, sizeof(rate));
	if (status->progress > 0 && status->progress < 100) {
		unsigned rest = (unsigned)(seconds * (100 - status->progress) / status->progress);

		snprintf(left, sizeof(left), ", %u:%02u left", rest / 60, rest % 60);
	}

	fprintf(stderr, "\r%3" PRIu32 "%%  %s, %s/s%s\033[K", status->progress, done, rate, left);
	progress->shown = true;
}

static void clear_progress(const struct progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
}

/* The capture */

/* The signals that end us, as an fd; those somebody told us to ignore stay ignored. */
static int open_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct sigaction old;

		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaddset(&set, signals[i]);
	}
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* Until it is over, or has been cancelled twice. */
static void follow(struct ckpt_job *job, int signal_fd)
{
	const struct ckpt_job_status *status = capture_job_ops.status(job);
	struct pollfd fds[] = {
		{ .fd = capture_job_ops.fd(job), .events = POLLIN },
		{ .fd = signal_fd, .events = POLLIN },
	};
	struct progress progress = {};
	struct signalfd_siginfo info;
	unsigned cancels = 0;

	clock_gettime(CLOCK_MONOTONIC, &progress.since);
	while (status->state == CKPT_JOB_RUNNING && cancels < 2) {
		if (poll(fds, 2, PROGRESS_MS) < 0 && errno != EINTR)
			break;
		capture_job_ops.step(job);
		if (read(signal_fd, &info, sizeof(info)) == sizeof(info)) {
			capture_job_ops.cancel(job);
			cancels++;
		}
		if (status->state == CKPT_JOB_RUNNING)
			show_progress(&progress, status);
	}
	clear_progress(&progress);
}

static int print_json(const struct ckpt_job_status *status)
{
	cleanup_json struct json_object *object = json_object_new_object();
	cleanup_free char *text = NULL;
	size_t len;
	int r = object ? 0 : -ENOMEM;

	if (r == 0)
		r = ckpt_json_add_str(object, "name", status->name);
	if (r == 0)
		r = ckpt_json_add_i64(object, "pid", status->pid);
	if (r == 0)
		r = ckpt_json_add_str(object, "mode", ckpt_mode_name(status->mode));
	if (r == 0)
		r = ckpt_json_add_u64(object, "pause_us", status->pause_us);
	if (r == 0)
		r = ckpt_json_add_u64(object, "bytes", status->bytes);
	if (r == 0)
		r = ckpt_json_add_u64(object, "stored", status->stored);
	if (r == 0)
		r = ckpt_json_print(object, &text, &len);
	if (r == 0 && puts(text) < 0)
		r = -errno;
	return r;
}

static int print_result(const struct options *options, const struct ckpt_job_status *status)
{
	int r = 0;

	if (options->json)
		r = print_json(status);
	else if (puts(status->name) < 0)
		r = -errno;
	if (r == 0 && fflush(stdout) != 0)
		r = -errno;
	if (r < 0) {
		errno = -r;
		complain("cannot print the result, the checkpoint \"%s\" is there: %m",
			 status->name);
	}
	return r;
}

/* After a writer that was killed, and had no time for it. Whoever interrupts once more means it. */
static void clean_up(struct ckpt_store *store)
{
	sigset_t all;

	sigfillset(&all);
	(void)sigprocmask(SIG_UNBLOCK, &all, NULL);
	(void)ckpt_store_sweep(store);
}

static int run_job(const struct options *options, const struct ckpt_request *request,
		   struct ckpt_store *store)
{
	cleanup_fd int signal_fd = open_signals();
	const struct ckpt_job_status *status;
	struct ckpt_job *job;
	bool killed;
	int r;

	if (signal_fd < 0) {
		errno = -signal_fd;
		complain("cannot wait for signals: %m");
		return signal_fd;
	}
	r = capture_job_ops.start(request, &job);
	if (r < 0) {
		errno = -r;
		complain("cannot start the capture of process %d: %m", request->pid);
		return r;
	}

	follow(job, signal_fd);
	status = capture_job_ops.status(job);
	killed = status->state == CKPT_JOB_RUNNING;
	if (status->state == CKPT_JOB_DONE) {
		r = print_result(options, status);
	} else {
		r = -ECANCELED;
		complain("%s", killed ? "the capture was killed" : status->said);
	}
	capture_job_ops.free(job);
	if (killed)
		clean_up(store);
	return r;
}

/* COMM-PID-TIME, of the process as it is now. */
static int make_name(const struct capture_target *target, char ret[CKPT_NAME_SIZE])
{
	cleanup_free char *comm = NULL;
	size_t len;
	int r;

	r = capture_proc_read(target->proc_fd, "comm", COMM_MAX, &comm, &len);
	if (r < 0)
		return r;
	comm[strcspn(comm, "\n")] = '\0';
	return ckpt_name_default(comm, target->pid, time(NULL), 1, ret, CKPT_NAME_SIZE);
}

static int capture_into(const struct options *options, const struct capture_target *target,
			struct ckpt_store *store)
{
	char name[CKPT_NAME_SIZE];
	struct ckpt_request request = {
		.pid = options->pid,
		.pidfd = target->pidfd,
		.name = options->name,
		.mode = options->mode,
		.form = options->form,
		.cow = options->cow,
		.deadline_ms = options->deadline_ms,
		.reserve_percent = RESERVE_PERCENT,
		.store_fd = ckpt_store_fd(store),
		.owner_uid = geteuid(),
	};
	int r;

	if (!request.name) {
		r = make_name(target, name);
		if (r < 0) {
			errno = -r;
			complain("cannot find a name for process %d: %m", options->pid);
			return r;
		}
		request.name = name;
		request.name_is_default = true;
	}
	return run_job(options, &request, store);
}

static int capture(const struct options *options)
{
	cleanup_target struct capture_target target = CAPTURE_TARGET_UNSET;
	cleanup_store struct ckpt_store *store = NULL;
	struct capture_said said = {};
	int r;

	if (options->form == CKPT_FORM_PACKED) {
		complain("packed checkpoints are not supported yet: leave out \"--store=packed\"");
		return -EINVAL;
	}
	/* First, so that a wrong number does not leave an empty store behind. */
	r = capture_target_open(options->pid, -EBADF, &target, &said);
	if (r < 0) {
		complain("%s", said.text);
		return r;
	}
	r = ckpt_store_open(options->store, true, false, &store);
	if (r < 0) {
		errno = -r;
		complain("cannot open the store \"%s\": %m", options->store);
		return r;
	}
	return capture_into(options, &target, store);
}

/*
 * Who started us without standard descriptors must not find our output in the store: each gets one
 * that refuses what it is for, so that a lost result is an error still.
 */
static int open_standard(void)
{
	static const int modes[] = { O_WRONLY, O_RDONLY, O_RDONLY };

	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* All below are open, so this is the lowest that is free. */
		if (open("/dev/null", modes[fd]) != fd)
			return -EBADF;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct options options = { .deadline_ms = DEADLINE_DEFAULT_MS };

	if (open_standard() < 0)
		return EXIT_FAILURE;
	if (parse_options(argc, argv, &options) < 0)
		return EXIT_USAGE;
	if (options.help) {
		print_help();
		return EXIT_SUCCESS;
	}
	if (options.version) {
		puts(PROGRAM " " SANDCKPT_VERSION);
		return EXIT_SUCCESS;
	}
	return capture(&options) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
