/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/said.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

/**
 * capture_say() - keep the first sentence about a failure
 * @said: where; may be NULL. A sentence that is there already stays: it is nearer to the cause.
 * @err: negative errno; with another value nothing is said
 * @format: may hold %m, which then means @err
 *
 * Return: @err.
 */
int capture_say(struct capture_said *said, int err, const char *format, ...)
{
	va_list args;

	if (err >= 0 || !said || said->text[0])
		return err;

	va_start(args, format);
	errno = -err;
	(void)vsnprintf(said->text, sizeof(said->text), format, args);
	va_end(args);
	return err;
}
