/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Between the server, who has the FUSE requests, and the broker, who has the rights: whole
 * messages over a SOCK_SEQPACKET pair, so that the other side's death is an EOF.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "format/job.h"
#include "fs/ctl.h"

#define CKFS_STATE_MAX (128U << 10) /* bytes of ctl's text; 72 lines of at most 700 */

enum ckfs_ask_kind {
	CKFS_ASK_READY,	    /* the kernel has its FUSE_INIT */
	CKFS_ASK_COMMAND,   /* text was written to ctl */
	CKFS_ASK_INTERRUPT, /* the writer of command @id has a signal waiting, perhaps */
	CKFS_ASK_STATE,	    /* ctl is read */
	CKFS_ASK_IDLE,	    /* nobody used the mount for idle_timeout */
	CKFS_ASK_NAME,	    /* may a checkpoint be called that? EEXIST: a capture will be */
	_CKFS_ASK_MAX,
};

/* Server to broker. */
struct ckfs_ask {
	enum ckfs_ask_kind kind;
	uint64_t id;
	pid_t tid; /* the thread in write(2) */
	uid_t uid, open_uid;
	gid_t gid, open_gid;
	uint32_t len; /* of the text; CKFS_COMMAND_MAX + 1 stands for all that is longer */
	char text[CKFS_COMMAND_MAX + 1];
};

/* Broker to server. */
struct ckfs_answer {
	uint64_t id;
	int32_t error; /* positive errno; 0: well */
	uint32_t len;  /* of the text: a checkpoint's name, or ctl's text */
	char text[];
};

int ckfs_bus_new(int ret[2]);
int ckfs_bus_ask(int fd, const struct ckfs_ask *ask);
int ckfs_bus_take_ask(int fd, struct ckfs_ask *ret);
int ckfs_bus_answer(int fd, uint64_t id, int error, const char *text, size_t len);
int ckfs_bus_take_answer(int fd, struct ckfs_answer *ret);

#define CKFS_ANSWER_SIZE (sizeof(struct ckfs_answer) + CKFS_STATE_MAX)
