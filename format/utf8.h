/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

bool ckpt_utf8_valid(const char *s, size_t len);
int ckpt_utf8_lossy(const char *s, size_t len, char **ret, size_t *ret_len);
