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
#define MOUNTS_DEAD_MAX 64   /* one above the other */
#define MOUNTS_PLACES_MAX 64 /* of one mount, bound to other places */
#define MOUNTS_READ_AHEAD_KB 512

/* A field of mountinfo, blanks written as \040 and the like, as a path. */
static bool mounts_get_path(const char *field, size_t len, char ret[PATH_MAX])
{
	const char *end = field + len;
	size_t n = 0;

	while (field < end && n < PATH_MAX - 1) {
		char c = *field;

		if (c == '\\' && end - field >= 4) {
			c = (char)((field[1] - '0') << 6 | (field[2] - '0') << 3 |
				   (field[3] - '0'));
			field += 3;
		}
		ret[n++] = c;
		field++;
	}
	ret[n] = '\0';
	return field == end;
}

/* "36 35 98:0 / /mnt rw - ext4 /dev/sda rw": 1 with what is mounted, and where. */
static int mounts_parse_line(const char *line, size_t len, char ret_place[PATH_MAX],
			     struct ckfs_mount *ret)
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
	if (!place_end || !mounts_get_path(place, (size_t)(place_end - place), ret_place))
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
		struct ckfs_mount mount;
		char place[PATH_MAX];

		if (mounts_parse_line(line, len, place, &mount) && !strcmp(place, dir)) {
			*ret = mount;
			found = 1;
		}
		line += len + (line[len] == '\n');
	}
	return found;
}

static bool mounts_are_same(const struct ckfs_mount *a, const struct ckfs_mount *b)
{
	return a->major == b->major && a->minor == b->minor && a->ours == b->ours;
}

/**
 * ckfs_mounts_parse_device() - find where a mount lies by now, in the text of mountinfo
 * @ret: a place where it is the topmost; directories above it may have been renamed
 *
 * Return: 1; 0: it is nowhere; -EBUSY: another one covers it.
 */
int ckfs_mounts_parse_device(const char *mountinfo, const struct ckfs_mount *mount,
			     char ret[PATH_MAX])
{
	bool covered = false;

	for (const char *line = mountinfo; *line;) {
		size_t len = strcspn(line, "\n");
		struct ckfs_mount found, top;

		if (mounts_parse_line(line, len, ret, &found) && mounts_are_same(&found, mount)) {
			if (ckfs_mounts_parse(line, ret, &top) > 0 && mounts_are_same(&top, mount))
				return 1;
			covered = true;
		}
		line += len + (line[len] == '\n');
	}
	return covered ? -EBUSY : 0;
}

static int mounts_read(char **ret)
{
	cleanup_fd int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	void *text;
	size_t len;
	int r;

	if (fd < 0)
		return -errno;
	r = ckpt_fd_slurp(fd, MOUNTS_TEXT_MAX, &text, &len);
	if (r < 0)
		return r;

	*ret = text;
	return 0;
}

/* As ckfs_mounts_parse(), now. Return: 1; 0; as open(2). */
int ckfs_mounts_find(const char *dir, struct ckfs_mount *ret)
{
	cleanup_free char *text = NULL;
	int r;

	r = mounts_read(&text);
	return r < 0 ? r : ckfs_mounts_parse(text, dir, ret);
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
 * @force: out of sight at once, be it in use or not, and requests that wait for its server fail
 *
 * Return: 0; -EBUSY; as umount2(2), posix_spawn(3).
 */
int ckfs_mounts_detach(const char *dir, bool force)
{
	char *const now[] = { (char *)"fusermount3", (char *)"-u", (char *)"-q",
			      (char *)"--",	     (char *)dir,  NULL };
	char *const later[] = { (char *)"fusermount3", (char *)"-u", (char *)"-z", (char *)"-q",
				(char *)"--",	       (char *)dir,  NULL };

	if (umount2(dir, UMOUNT_NOFOLLOW | (force ? MNT_DETACH | MNT_FORCE : 0)) == 0)
		return 0;
	if (errno != EPERM)
		return -errno;

	return mounts_run(force ? later : now);
}

static bool mounts_is_dead(const char *dir)
{
	struct stat st;

	return stat(dir, &st) < 0 && errno == ENOTCONN;
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
		int r;

		if (!mounts_is_dead(dir))
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

/**
 * ckfs_mounts_leave() - unmount a filesystem wherever it is mounted, and nothing else
 * @mount: by its device number, which nobody else has while its server lives
 *
 * Return: 0, also when it is nowhere; -EBUSY when it is in use, or something is mounted upon it;
 * as ckfs_mounts_detach().
 */
int ckfs_mounts_leave(const struct ckfs_mount *mount, enum ckfs_leave how)
{
	for (int i = 0; i < MOUNTS_PLACES_MAX; i++) {
		cleanup_free char *text = NULL;
		char place[PATH_MAX];
		int r;

		r = mounts_read(&text);
		if (r < 0)
			return r;
		r = ckfs_mounts_parse_device(text, mount, place);
		if (r <= 0)
			return r;
		if (how == CKFS_LEAVE_DEAD && !mounts_is_dead(place))
			return 0;
		r = ckfs_mounts_detach(place, how != CKFS_LEAVE_UNUSED);
		if (r < 0)
			return r;
	}
	return -EBUSY;
}

/*
 * Ends a connection: all requests fail, so that a server that waits for itself, or for a dead
 * disk, holds nobody. Where fusectl is not mounted, only a forced unmount does it.
 */
void ckfs_mounts_abort(const struct ckfs_mount *mount)
{
	cleanup_fd int fd = -EBADF;
	char path[64];

	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", mount->minor);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		(void)!write(fd, "1", 1);
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
