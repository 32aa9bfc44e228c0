/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What json-c's tokener lets pass, refused before it sees the text. */

#include <stddef.h>

#define CKPT_JSON_CONTAINERS_MAX (1U << 20) /* objects and arrays; json-c takes up to 1 KiB each */

/* Values of all kinds, keys apart; up to 150 bytes each. A map of CKPT_REGIONS_MAX rows has 7 a row. */
#define CKPT_JSON_VALUES_MAX (1U << 23)

int ckpt_json_scan(const char *text, size_t len, size_t *ret_n_members);
