/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Files whose text depends on the name a checkpoint's directory has now. */

#include <stddef.h>

int ckfs_render_meta(const char *stored, size_t len, const char *name, char **ret, size_t *ret_len);
int ckfs_render_sums(const char *stored, size_t len, const char *meta, size_t meta_len,
		     const char *rendered, size_t rendered_len, char **ret, size_t *ret_len);
