/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* policy.dat: bincode over sandlock's struct Policy, as a JSON tree by a table of its fields. */

#include <json-c/json.h>
#include <stddef.h>

#define CKPT_POLICY_MAX (4U << 20) /* bytes of a policy.dat */

int ckpt_policy_decode(const void *data, size_t len, struct json_object **ret);
int ckpt_policy_encode(struct json_object *policy, void **ret, size_t *ret_len);
int ckpt_policy_default(void **ret, size_t *ret_len);
