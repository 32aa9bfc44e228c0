/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where messages go: to whoever mounts, and once there is a mount, to the system's log. */

void ckfs_terminal_keep(void);
void ckfs_terminal_leave(void);
