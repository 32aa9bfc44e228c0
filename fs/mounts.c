/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "format/cleanup.h"
#include "format/fdio.h"

#define MOUNTS_TEXT_MAX (64U << 20)
#define MOUNTS_DEAD_MAX 64 /* one above the other */
#define MOUNTS_READ_AHEAD_KB 512

/* Compares a field of mountinfo, blanks written as \040 and the like, with a path. */
static bool mounts_path_is(const char *field, size_t len, const char *path)
{
	const char *end = field + len;

	while (field < end) {
		char c = *field;

		if (c == '\\' && end - field >= 4) {
			c = (char)((field[1] - '0') << 6 | (field[2] - '0') << 3 |
				   (field[3] - '0'));
			field += 3;
		}
		if (c != *path)
			return false;
		field++;
		path++;
	}
	return *path == '\0';
}

/* "36 35 98:0 / /mnt rw - ext4 /dev/sda rw": 1 when it is about @dir. */
static int mounts_parse_line(const char *line, size_t len, const char *dir, struct ckfs_mount *ret)
{
	const char *end = line + len, *place = line, *place_end, *type;
	unsigned major, minor;

	if (sscanf(line, "%*d %*d %u:%u", &major, &minor) != 2)
		return 0;
	for (int i = 0; i < 4; i++) {
		place = memchr(place, ' ', (size_t)(end - place));
		if (!place)
			return 0;
		place++;
	}
	place_end = memchr(place, ' ', (size_t)(end - place));
	if (!place_end || !mounts_path_is(place, (size_t)(place_end - place), dir))
		return 0;
	type = memmem(place_end, (size_t)(end - place_end), " - ", 3);
	if (!type)
		return 0;

	*ret = (struct ckfs_mount){
		.major = major,
		.minor = minor,
		.ours = !strncmp(type + 3, CKFS_MOUNT_TYPE " ", strlen(CKFS_MOUNT_TYPE " ")),
	};
	return 1;
}

/**
 * ckfs_mounts_parse() - find what is mounted on a directory, in the text of mountinfo
 * @dir: absolute, resolved
 *
 * Return: 1 with the topmost; 0: nothing is.
 * Source: proc_pid_mountinfo(5); later lines lie above earlier ones.
 */
int ckfs_mounts_parse(const char *mountinfo, const char *dir, struct ckfs_mount *ret)
{
	int found = 0;

	for (const char *line = mountinfo; *line;) {
		size_t len = strcspn(line, "\n");

		found |= mounts_parse_line(line, len, dir, ret);
		line += len + (line[len] == '\n');
	}
	return found;
}

/* The same, now. Return: 1; 0; as open(2). */
int ckfs_mounts_find(const char *dir, struct ckfs_mount *ret)
{
	cleanup_fd int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	cleanup_free void *text = NULL;
	size_t len;
	int r;

	if (fd < 0)
		return -errno;
	r = ckpt_fd_slurp(fd, MOUNTS_TEXT_MAX, &text, &len);
	if (r < 0)
		return r;

	return ckfs_mounts_parse(text, dir, ret);
}

static int mounts_run(char *const argv[])
{
	posix_spawnattr_t attributes;
	sigset_t none;
	int r, status;
	pid_t pid;

	/* Our signals are blocked, to be read from a descriptor: that is not to be inherited. */
	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	r = posix_spawnp(&pid, argv[0], NULL, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	if (r > 0)
		return -r;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

/**
 * ckfs_mounts_detach() - unmount the topmost mount on a directory
 * @lazy: out of sight at once, be it in use or not
 *
 * Return: 0; -EBUSY; as umount2(2), posix_spawn(3).
 */
int ckfs_mounts_detach(const char *dir, bool lazy)
{
	char *const now[] = { (char *)"fusermount3", (char *)"-u", (char *)"-q",
			      (char *)"--",	     (char *)dir,  NULL };
	char *const later[] = { (char *)"fusermount3", (char *)"-u", (char *)"-z", (char *)"-q",
				(char *)"--",	       (char *)dir,  NULL };

	if (umount2(dir, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
		return 0;
	if (errno != EPERM)
		return -errno;

	return mounts_run(lazy ? later : now);
}

/**
 * ckfs_mounts_detach_dead() - clear a directory of mounts of ours whose server is gone
 * @dir: absolute, resolved
 *
 * A new mount would lie on top of them, and they would come to light with every umount.
 *
 * Return: 0; as ckfs_mounts_detach().
 */
int ckfs_mounts_detach_dead(const char *dir)
{
	for (int i = 0; i < MOUNTS_DEAD_MAX; i++) {
		struct ckfs_mount mount;
		struct stat st;
		int r;

		if (stat(dir, &st) == 0 || errno != ENOTCONN)
			return 0;
		r = ckfs_mounts_find(dir, &mount);
		if (r <= 0 || !mount.ours)
			return r;
		r = ckfs_mounts_detach(dir, true);
		if (r < 0)
			return r;
	}
	return -EBUSY;
}

/* Reads files in larger parts; only root may, and without it all works as well. */
void ckfs_mounts_read_ahead(const struct ckfs_mount *mount)
{
	cleanup_fd int fd = -EBADF;
	char path[64], text[32];
	long now;
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", mount->major,
		 mount->minor);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	n = pread(fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return;
	text[n] = '\0';
	now = strtol(text, NULL, 10);
	if (now >= MOUNTS_READ_AHEAD_KB)
		return;
	n = snprintf(text, sizeof(text), "%d", MOUNTS_READ_AHEAD_KB);
	(void)!pwrite(fd, text, (size_t)n, 0);
}
