/* SPDX-License-Identifier: Apache-2.0 */

/*
 * mkproc FACTORY[=ARGUMENT]… - builds a process to order, in the working directory.
 *
 * Once all is built one line of JSON says what a test needs to know: {"pid": N, "FACTORY":
 * {…facts…}, …}. A factory the kernel refuses, where it may, has {"skipped": "why"}. Then
 * commands are read from stdin, each answered with a line of JSON; at EOF the process exits 0.
 */

#include "helpers/mkproc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

struct group {
	const char *name;
	const struct mkproc_factory *factories;
};

static const struct group groups[] = {
	{ "all-fds", mkproc_fds },
	{ "all-memory", mkproc_memory },
	{ "all-threads", mkproc_threads },
	{ "all-calls", mkproc_calls },
};

#define N_GROUPS (sizeof(groups) / sizeof(groups[0]))

struct json_object *mkproc_row(struct json_object *facts, const char *array)
{
	struct json_object *rows, *row = json_object_new_object();

	if (!json_object_object_get_ex(facts, array, &rows)) {
		rows = json_object_new_array();
		json_object_object_add(facts, array, rows);
	}
	json_object_array_add(rows, row);
	return row;
}

void mkproc_int(struct json_object *row, const char *key, uint64_t value)
{
	json_object_object_add(row, key, json_object_new_uint64(value));
}

void mkproc_string(struct json_object *row, const char *key, const char *value)
{
	json_object_object_add(row, key, json_object_new_string(value));
}

void mkproc_flag(struct json_object *row, const char *key, bool value)
{
	json_object_object_add(row, key, json_object_new_boolean(value));
}

static void say(struct json_object *line)
{
	printf("%s\n", json_object_to_json_string_ext(line, JSON_C_TO_STRING_PLAIN));
	fflush(stdout);
}

static int build_one(struct mkproc *proc, const struct mkproc_factory *factory,
		     const char *argument, struct json_object *ret)
{
	struct json_object *facts = json_object_new_object();
	int r;

	json_object_object_add(ret, factory->name, facts);

	r = factory->make(proc, argument, facts);
	if (r < 0 && !factory->optional) {
		fprintf(stderr, "mkproc: cannot build \"%s\": %s\n", factory->name, strerror(-r));
		return r;
	}
	if (r < 0)
		mkproc_string(facts, "skipped", strerror(-r));

	return 0;
}

static int build_all(struct mkproc *proc, const struct mkproc_factory *factories,
		     struct json_object *ret)
{
	int r = 0;

	for (const struct mkproc_factory *f = factories; f->name && r >= 0; f++)
		r = build_one(proc, f, NULL, ret);

	return r;
}

static int build_word(struct mkproc *proc, const char *word, struct json_object *ret)
{
	const char *equals = strchrnul(word, '=');
	const char *argument = *equals ? equals + 1 : NULL;
	size_t len = equals - word;

	for (size_t i = 0; i < N_GROUPS; i++) {
		if (!strcmp(word, groups[i].name))
			return build_all(proc, groups[i].factories, ret);

		for (const struct mkproc_factory *f = groups[i].factories; f->name; f++)
			if (strlen(f->name) == len && !strncmp(word, f->name, len))
				return build_one(proc, f, argument, ret);
	}

	fprintf(stderr, "mkproc: no such factory: \"%s\"\n", word);
	return -EINVAL;
}

static void help(void)
{
	printf("Usage: mkproc FACTORY[=ARGUMENT]...\n");
	for (size_t i = 0; i < N_GROUPS; i++) {
		printf("\n%s:\n", groups[i].name);
		for (const struct mkproc_factory *f = groups[i].factories; f->name; f++)
			printf("  %-16s %s\n", f->name, f->what);
	}
}

static void command_alive(struct mkproc *proc, struct json_object *answer)
{
	mkproc_int(answer, "alive", mkproc_gate_ask(&proc->gate));
}

static void command_release(struct mkproc *proc, struct json_object *answer)
{
	mkproc_flag(answer, "released", write(proc->release_fd, "", 1) == 1);
}

static void command_waits(struct mkproc *proc, struct json_object *answer)
{
	mkproc_int(answer, "alarms", proc->n_alarms);
	mkproc_int(answer, "shorts", proc->n_shorts);
}

static const struct {
	const char *name;
	void (*run)(struct mkproc *proc, struct json_object *answer);
} commands[] = {
	{ "alive", command_alive },
	{ "release", command_release },
	{ "waits", command_waits },
};

static void command_run(struct mkproc *proc, const char *name)
{
	struct json_object *answer = json_object_new_object();

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(name, commands[i].name))
			commands[i].run(proc, answer);

	say(answer);
	json_object_put(answer);
}

static void *serve(void *userdata)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	while ((len = getline(&line, &size, stdin)) > 0) {
		if (line[len - 1] == '\n')
			line[len - 1] = '\0';
		command_run(userdata, line);
	}

	free(line);
	/* Not exit(): threads may still use what its handlers would take away. */
	_exit(0);
}

static int serve_from_another_thread(struct mkproc *proc)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, serve, proc))
		return EXIT_FAILURE;

	pthread_exit(NULL);
}

int main(int argc, char *argv[])
{
	struct mkproc proc = {
		.gate = {
			.lock = PTHREAD_MUTEX_INITIALIZER,
			.opened = PTHREAD_COND_INITIALIZER,
			.answered = PTHREAD_COND_INITIALIZER,
		},
		.release_fd = -EBADF,
	};
	/* The process outlives main()'s frame when its leader exits. */
	struct mkproc *kept = malloc(sizeof(*kept));
	struct json_object *facts = json_object_new_object();

	if (!kept)
		return EXIT_FAILURE;
	*kept = proc;

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		help();
		return EXIT_SUCCESS;
	}

	mkproc_int(facts, "pid", getpid());
	for (int i = 1; i < argc; i++)
		if (build_word(kept, argv[i], facts) < 0)
			return EXIT_FAILURE;

	say(facts);
	json_object_put(facts);

	if (kept->leaderless)
		return serve_from_another_thread(kept);

	serve(kept);
	return EXIT_SUCCESS;
}
