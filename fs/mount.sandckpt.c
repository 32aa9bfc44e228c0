/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/mount.h"
#include "capture/job.h"

int main(int argc, char **argv)
{
	return ckfs_mount_main(argc, argv, &capture_job_ops);
}
