/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A system call that our stop interrupted goes on as if nothing had been. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/user.h>

struct capture_target;
struct capture_thread;
struct ckpt_calls;

#define CAPTURE_FOREVER UINT64_MAX
#define CAPTURE_NS_UNKNOWN (UINT64_MAX - 1)

/* The kernel's own code for "again, unless a handler is to run"; the target never sees it. */
#define CAPTURE_ERESTARTNOHAND 514

enum capture_call_fd {
	CAPTURE_CALL_OTHER, /* not looked at, too */
	CAPTURE_CALL_INOTIFY,
	CAPTURE_CALL_SOCKET,
};

/* A thread stopped in a call: all that the decision rests on. */
struct capture_call_facts {
	struct user_regs_struct regs;
	unsigned char code[2]; /* before rip */
	/* Of the descriptor in the first argument: */
	enum capture_call_fd fd;
	bool is_unix;
	uint64_t receive_ns, send_ns; /* SO_RCVTIMEO, SO_SNDTIMEO; 0: none */
	uint64_t pointed_ns;	      /* the timeout an argument points to */
};

/* What is to be done about it. */
struct capture_restart {
	uint64_t length_ns; /* how long the call waits at most; or CAPTURE_FOREVER */
	int64_t over;	    /* what it returns then */
};

bool capture_restart_decide(const struct capture_call_facts *facts, struct capture_restart *ret);
bool capture_restart_thread(const struct capture_target *target,
			    const struct capture_thread *thread, struct ckpt_calls *calls);
