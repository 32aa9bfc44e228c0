/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The sentence that tells the user what was tried, beside the errno. */

#include "format/job.h"

struct capture_said {
	char text[CKPT_SAID_SIZE];
};

int capture_say(struct capture_said *said, int err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
