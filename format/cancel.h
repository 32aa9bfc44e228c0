/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What work that may take long asks again and again: whether it is still wanted. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

struct ckpt_cancel {
	bool (*asked)(void *userdata); /* called by several threads at once; NULL: never */
	void *userdata;
};

/* 0; -ECANCELED. NULL ok. */
static inline int ckpt_cancel_check(const struct ckpt_cancel *cancel)
{
	return cancel && cancel->asked && cancel->asked(cancel->userdata) ? -ECANCELED : 0;
}
