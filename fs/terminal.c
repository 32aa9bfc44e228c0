/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/terminal.h"

#include <fcntl.h>
#include <syslog.h>
#include <unistd.h>

#include "format/cleanup.h"

#define TERMINAL_PROGRAM "mount.sandckpt"

/*
 * Opens the log, with a copy of it on stderr. Where stdin, stdout or stderr are closed, they are
 * opened on nothing: else what we open next would be taken for them.
 */
void ckfs_terminal_keep(void)
{
	int null;

	do
		null = open("/dev/null", O_RDWR);
	while (null >= 0 && null <= STDERR_FILENO);
	close_fd(null);
	openlog(TERMINAL_PROGRAM, LOG_PERROR, LOG_DAEMON);
}

/*
 * Lets go of stdin, stdout and stderr, each of our processes for itself: who reads from a pipe
 * what mounting says waits for the last of them.
 */
void ckfs_terminal_leave(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
		(void)dup2(null, fd);
	if (null > STDERR_FILENO)
		close_fd(null);

	closelog();
	openlog(TERMINAL_PROGRAM, LOG_PID, LOG_DAEMON);
}
