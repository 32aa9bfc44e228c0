/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the server does beside requests: freeing what was removed, noticing that nobody comes. */

struct ckfs_chores; /* fields are in chores.c */
struct ckfs_server;

int ckfs_chores_new(struct ckfs_server *server, struct ckfs_chores **ret);
void ckfs_chores_sweep(struct ckfs_chores *chores);
