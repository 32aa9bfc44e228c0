/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* System calls that wait for ever, and how to see that a thread sits in one. */

#include <stdbool.h>
#include <sys/types.h>

struct blocking_call {
	const char *name;
	long number;
	/* Sets it up and makes it. Return: what it does; a negative errno of its set-up as well. */
	long (*wait)(void);
	bool shows_eintr; /* after a mere stop, on Linux 6.18 */
};

/* Ends with a row without a name. */
extern const struct blocking_call blocking_calls[];

/* Whether it sleeps in that call now. */
bool blocking_is_in(pid_t tid, long number);
