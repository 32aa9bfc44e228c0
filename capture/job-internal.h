/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Between a job and its two processes: what they are given, what they report. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "capture/said.h"
#include "format/job.h"

#define JOB_CALLS_MAX 32
#define JOB_RING_LEAST (UINT64_C(1) << 20) /* bytes */

enum job_role {
	JOB_WRITER,
	JOB_READER,
	_JOB_ROLE_MAX,
};

enum job_report_kind {
	JOB_GOING, /* expected or bytes are news */
	JOB_ENDED, /* the last one */
};

/* One packet on the status socket; what a role does not know is 0. */
struct job_report {
	uint32_t kind;
	int32_t error; /* positive errno; ENDED */
	int32_t mode;  /* enum ckpt_mode */
	uint32_t unused;
	uint64_t pause_us;
	uint64_t expected; /* bytes there will be, about */
	uint64_t bytes, stored;
	char name[CKPT_NAME_SIZE];
	char said[CKPT_SAID_SIZE];
};

/* Another, from the reader only: what it learnt of interrupted calls. Told apart by the size. */
struct job_calls {
	uint64_t n;
	struct ckpt_call items[JOB_CALLS_MAX];
};
_Static_assert(sizeof(struct job_calls) != sizeof(struct job_report), "told apart by the size");

/* What a process starts with. All its other descriptors but 0, 1 and 2 are closed. */
struct job_child {
	const struct ckpt_request *request;
	pid_t parent;
	int ring;   /* to the other process */
	int status; /* to the job; its end of file is the order to stop */
};

/* In the child: what it does; its last report, an error in it. */
void capture_job_write(const struct job_child *child, struct job_report *report);
void capture_job_read(const struct job_child *child, struct job_report *report);

/* How large the ring is, and how large it can be: bytes. */
uint64_t capture_job_memory_free(void);
uint64_t capture_job_memory_most(void);
uint64_t capture_job_cgroup_room(const char *proc_cgroup, const char *sysfs);

void capture_job_tell(const struct job_child *child, const struct job_report *report);
void capture_job_child(enum job_role role, const struct job_child *from) __attribute__((noreturn));
