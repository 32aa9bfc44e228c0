/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The grammar of a command written to ctl: PID [name=NAME] [mode=…] [store=…] [cow=PATH]. */

#include <stdbool.h>
#include <stddef.h>

#include "format/job.h"

#define CKFS_COMMAND_MAX 4096 /* bytes of one write, its newline too */

struct ckfs_command {
	pid_t pid;
	char name[CKPT_NAME_SIZE];  /* "": the default one */
	enum ckpt_mode mode;	    /* _CKPT_MODE_INVALID: not said */
	enum ckpt_store_form form;  /* CKPT_FORM_DEFAULT: not said */
	char cow[CKFS_COMMAND_MAX]; /* "": none */
};

int ckfs_command_parse(const char *text, size_t len, struct ckfs_command *ret,
		       char ret_said[CKPT_SAID_SIZE]);
