/* SPDX-License-Identifier: Apache-2.0 */
#include "format/name.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "format/job.h"
#include "format/utf8.h"

#define NAME_MAX_BYTES (CKPT_NAME_SIZE - 1)

/* Length of a control character at @s, which is UTF-8: C0, DEL, or C1; 0: there is none. */
static size_t name_control(const char *s)
{
	const unsigned char *c = (const unsigned char *)s;

	if (c[0] < 0x20 || c[0] == 0x7f)
		return 1;
	return c[0] == 0xc2 && c[1] < 0xa0 ? 2 : 0;
}

static bool name_ends_with(const char *name, size_t len, const char *tail)
{
	size_t n = strlen(tail);

	return len >= n && memcmp(name + len - n, tail, n) == 0;
}

/**
 * ckpt_name_check() - whether a checkpoint can have a name
 *
 * 1 to 255 bytes of UTF-8, no slash, no control characters, no leading dot, not ending in .tmp
 * (sandlock stages under such names), not ctl.
 *
 * Return: 0; -EINVAL; -ENAMETOOLONG.
 */
int ckpt_name_check(const char *name)
{
	size_t len = strlen(name);

	if (len > NAME_MAX_BYTES)
		return -ENAMETOOLONG;
	if (len == 0 || name[0] == '.' || strchr(name, '/') || !ckpt_utf8_valid(name, len))
		return -EINVAL;
	if (name_ends_with(name, len, ".tmp") || strcmp(name, "ctl") == 0)
		return -EINVAL;

	for (const char *p = name; *p; p++)
		if (name_control(p) > 0)
			return -EINVAL;
	return 0;
}

static bool name_keeps(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("-_.+", c));
}

/* Bytes of the whole character at @s that a name may keep; 0: an odd byte. */
static size_t name_step(const char *s, size_t left)
{
	if (!((unsigned char)*s & 0x80))
		return name_keeps(*s) ? 1 : 0;
	for (size_t n = 2; n <= 4 && n <= left; n++)
		if (ckpt_utf8_valid(s, n))
			return name_control(s) ? 0 : n;
	return 0;
}

/* Never longer than @comm. */
static void name_clean(const char *comm, char *ret)
{
	size_t len = strlen(comm), n;

	for (size_t i = 0; i < len; i += n ? n : 1) {
		n = name_step(comm + i, len - i);
		if (n == 0 || (i == 0 && comm[i] == '.')) {
			*ret++ = '_';
			continue;
		}
		memcpy(ret, comm + i, n);
		ret += n;
	}
	*ret = '\0';
}

/**
 * ckpt_name_default() - the name of a checkpoint nobody named: COMM-PID-YYYYMMDDTHHMMSSZ
 * @comm: any bytes; all but letters, digits, `-_.+` and UTF-8 beyond ASCII become `_`
 * @when: seconds since the epoch; shown in UTC
 * @attempt: 1 gives the bare name, N > 1 appends .N
 * @ret: a name that ckpt_name_check() takes
 *
 * Return: 0; -ENAMETOOLONG when it has more bytes than a name, or than @ret_size; -EINVAL for a
 * time before the year 1 or after 9999.
 */
int ckpt_name_default(const char *comm, pid_t pid, time_t when, unsigned attempt, char *ret,
		      size_t ret_size)
{
	char clean[CKPT_NAME_SIZE], name[2 * CKPT_NAME_SIZE], suffix[16] = "";
	struct tm tm;
	int len;

	if (strlen(comm) > NAME_MAX_BYTES)
		return -ENAMETOOLONG;
	if (!gmtime_r(&when, &tm) || tm.tm_year < 1 - 1900 || tm.tm_year > 9999 - 1900)
		return -EINVAL;

	name_clean(*comm ? comm : "_", clean);
	if (attempt > 1)
		snprintf(suffix, sizeof(suffix), ".%u", attempt);
	len = snprintf(name, sizeof(name), "%s-%d-%04d%02d%02dT%02d%02d%02dZ%s", clean, (int)pid,
		       tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
		       tm.tm_sec, suffix);
	if (len < 0 || (size_t)len > NAME_MAX_BYTES || (size_t)len >= ret_size)
		return -ENAMETOOLONG;

	memcpy(ret, name, (size_t)len + 1);
	return 0;
}
