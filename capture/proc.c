/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/cleanup.h"
#include "format/fdio.h"

/* A path that the kernel shows is at most a page, but " (deleted)" and names of our own follow. */
#define LINK_MAX_BYTES (64U * 1024)

/**
 * capture_proc_read() - read a whole file below /proc/PID
 * @proc_fd: the directory, not owned
 * @max: the most bytes it may have
 * @ret: the bytes and one NUL; the caller frees
 *
 * Return: 0; -EFBIG above @max; -ESRCH when the process or thread is gone; as openat(2), read(2).
 */
int capture_proc_read(int proc_fd, const char *path, size_t max, char **ret, size_t *ret_len)
{
	cleanup_fd int fd = -EBADF;
	void *data = NULL;
	int r;

	fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;

	r = ckpt_fd_slurp(fd, max, &data, ret_len);
	if (r < 0)
		return r;

	*ret = data;
	return 0;
}

/**
 * capture_proc_readlink() - where a link below /proc/PID points to, exact bytes
 * @ret: NUL ended; the caller frees
 *
 * Return: 0; -ENAMETOOLONG; as readlinkat(2).
 */
int capture_proc_readlink(int proc_fd, const char *path, char **ret)
{
	cleanup_free char *buf = NULL;
	ssize_t n;

	buf = malloc(LINK_MAX_BYTES);
	if (!buf)
		return -ENOMEM;

	n = readlinkat(proc_fd, path, buf, LINK_MAX_BYTES);
	if (n < 0)
		return -errno;
	if (n == LINK_MAX_BYTES)
		return -ENAMETOOLONG;

	buf[n] = '\0';
	*ret = realloc(buf, (size_t)n + 1);
	if (!*ret)
		return -ENOMEM;

	(void)steal_pointer(buf);
	return 0;
}

/**
 * capture_status_find() - the value of a "Key:\tvalue" line
 * @status: text of status or of a file like it, NUL ended
 * @ret: points into @status, not NUL ended
 *
 * Return: whether there is such a line.
 */
bool capture_status_find(const char *status, const char *key, const char **ret, size_t *ret_len)
{
	size_t len = strlen(key);

	for (const char *line = status; line && *line; line = strchr(line, '\n')) {
		const char *value;

		if (*line == '\n')
			line++;
		if (strncmp(line, key, len) != 0 || line[len] != ':')
			continue;

		value = line + len + 1;
		value += strspn(value, " \t");
		*ret = value;
		*ret_len = strcspn(value, "\n");
		return true;
	}

	return false;
}

/* The first number of a "Key:" line. Return: 0; -ENOENT no such line; -EBADMSG not a number. */
int capture_status_u64(const char *status, const char *key, int base, uint64_t *ret)
{
	const char *value;
	size_t len;
	char *end;

	if (!capture_status_find(status, key, &value, &len))
		return -ENOENT;

	errno = 0;
	*ret = strtoull(value, &end, base);
	return errno || end == value || (size_t)(end - value) > len ? -EBADMSG : 0;
}

/**
 * capture_stat_state() - find the state letter in the text of stat
 *
 * The name before it, in parentheses, is the process's own choice and may hold anything: only the
 * last parenthesis counts.
 *
 * Return: a pointer to the letter in @stat; NULL when there is none.
 */
char *capture_stat_state(char *stat)
{
	char *p = strrchr(stat, ')');

	return p && p[1] == ' ' && p[2] ? p + 2 : NULL;
}

/* A numeric field of stat by its number in proc_pid_stat(5), from 4. Return: 0; -EBADMSG. */
int capture_stat_u64(const char *stat, unsigned field, uint64_t *ret)
{
	const char *p = strrchr(stat, ')');
	char *end;

	/* "(comm) S 1 2 …": field 3 is behind the first blank. */
	for (unsigned i = 2; p && i < field; i++) {
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	if (!p)
		return -EBADMSG;

	*ret = strtoull(p, &end, 10);
	return end == p ? -EBADMSG : 0;
}
