/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What is asked of a capture, what is told of it, and the table by which a program that wants
 * captures (the mount's broker) is handed the engine that makes them (capture/job.h), so that
 * neither folder knows the other.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "format/checkpoint.h"

#define CKPT_NAME_SIZE 256 /* 255 bytes and a NUL */
#define CKPT_SAID_SIZE 256

enum ckpt_store_form {
	CKPT_FORM_DEFAULT, /* what .sandckpt/default says */
	CKPT_FORM_PLAIN,
	CKPT_FORM_PACKED,
	_CKPT_FORM_MAX,
	_CKPT_FORM_INVALID = -22, /* -EINVAL */
};

/* Whose rights the reader takes on before it touches the target. */
struct ckpt_identity {
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* not owned */
	size_t n_groups;
	uint64_t caps; /* effective capabilities to keep, those we have at most */
};

#define CKPT_CALLS_MAX 1024

/* A system call with a timeout that a capture interrupted and had started again. */
struct ckpt_call {
	int32_t pid, tid;     /* of the thread; 0: none */
	uint64_t start_ticks; /* the thread's */
	uint64_t number, rip, rsp, args[6];
	uint64_t switches;	    /* of the thread's, voluntary ones, at the last stop */
	uint64_t first_ns, last_ns; /* CLOCK_MONOTONIC: seen first, running again */
	uint64_t length_ns;	    /* how long it may take; 0: over */
};

/*
 * What is known of such calls from capture to capture, so that they end under frequent ones. All
 * zero to begin with. It belongs to whoever asks for the captures.
 */
struct ckpt_calls {
	struct ckpt_call items[CKPT_CALLS_MAX];
};

struct ckpt_request {
	pid_t pid;
	int pidfd;	      /* of the target, not owned; -EBADF: opened by @pid */
	const char *name;     /* valid, see ckpt_name_check() */
	bool name_is_default; /* .2, .3 … may be added where it is taken */
	enum ckpt_mode mode;
	enum ckpt_store_form form;
	const char *cow;      /* cow_snapshot, or NULL */
	uint64_t deadline_ms; /* how long to try to stop the target */
	uint64_t
	    copy_limit; /* bytes held in memory while it is stopped; 0: a quarter of what is free */
	unsigned reserve_percent;	      /* of the store's filesystem that stays free */
	int store_fd;			      /* the store's directory, not owned */
	const struct ckpt_identity *identity; /* NULL: as we are */
	uint32_t owner_uid;
	struct ckpt_calls *calls; /* updated by step(); not owned; NULL: none are known */
};

enum ckpt_job_state {
	CKPT_JOB_RUNNING,
	CKPT_JOB_DONE,
	CKPT_JOB_FAILED,
};

/* Where a capture stands. Complete at any time; sent between processes of one program as it is. */
struct ckpt_job_status {
	enum ckpt_job_state state;
	enum ckpt_mode mode; /* AUTO: not decided yet */
	int32_t pid;
	int32_t error;	   /* positive errno when FAILED */
	uint32_t progress; /* percent */
	uint64_t pause_us;
	uint64_t bytes;		   /* captured so far, without holes */
	uint64_t stored;	   /* bytes it takes in the store */
	char name[CKPT_NAME_SIZE]; /* "" while there is none; final when DONE */
	char said[CKPT_SAID_SIZE]; /* a sentence of what was tried, when FAILED */
};

struct ckpt_job;

struct ckpt_job_ops {
	/* Starts the writer and the reader. The caller is single-threaded. 0 or a negative errno. */
	int (*start)(const struct ckpt_request *request, struct ckpt_job **ret);
	/* Becomes readable whenever step() should be called; owned by the job. */
	int (*fd)(const struct ckpt_job *job);
	/* Takes what happened; never blocks. */
	void (*step)(struct ckpt_job *job);
	const struct ckpt_job_status *(*status)(const struct ckpt_job *job);
	/* Ends it: FAILED with ECANCELED soon, or DONE if it was durable already. */
	void (*cancel)(struct ckpt_job *job);
	/* Whether @pid is one of its own processes. */
	bool (*owns)(const struct ckpt_job *job, pid_t pid);
	/* Kills what still runs. NULL ok. */
	struct ckpt_job *(*free)(struct ckpt_job *job);
};
