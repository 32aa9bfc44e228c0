/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the factories of mkproc share. A factory builds one thing into the running process and
 * writes down what a test must find in a checkpoint of it:
 *
 *   fds      {"fds":  [{"fd": N, "type": "…", …}]}	each key as in fds.json
 *   memory   {"maps": [{"start": A, "end": B, "name": "…", "pattern": [[FIRST, COUNT]…], …}]}
 *            the named pages hold mkproc-memory.c's pattern, all others are zero
 *   threads  {"threads": [{"tid": N, …}]}
 *   calls    {"threads": [{"tid": N, "call": "…"}], "refused": [{"call": "…"}]}
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

enum {
	MKPROC_PAGE = 4096,
};

/* Where the threads of a factory wait, so that "alive" can have each of them answer. */
struct mkproc_gate {
	pthread_mutex_t lock;
	pthread_cond_t opened;	 /* protected by lock, as all below */
	pthread_cond_t answered; /* ditto */
	uint64_t round;
	unsigned n_threads;
	unsigned n_answers;
};

struct mkproc {
	struct mkproc_gate gate;
	int release_fd; /* a byte written here ends the vfork factory's child; -EBADF: none */
	bool leaderless;
	_Atomic uint64_t n_alarms; /* waits that a signal ended */
	_Atomic uint64_t n_shorts; /* waits that their timeout ended */
};

struct mkproc_factory {
	const char *name;
	const char *what;
	int (*make)(struct mkproc *proc, const char *argument, struct json_object *facts);
	bool optional; /* the kernel may refuse: a fact, not a failure */
};

/* Each ends with a row without a name. */
extern const struct mkproc_factory mkproc_fds[];
extern const struct mkproc_factory mkproc_memory[];
extern const struct mkproc_factory mkproc_threads[];
extern const struct mkproc_factory mkproc_calls[];

unsigned mkproc_gate_ask(struct mkproc_gate *gate);

/* Facts. Each takes over nothing but the new values. */
struct json_object *mkproc_row(struct json_object *facts, const char *array);
void mkproc_int(struct json_object *row, const char *key, uint64_t value);
void mkproc_string(struct json_object *row, const char *key, const char *value);
void mkproc_flag(struct json_object *row, const char *key, bool value);
