/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The engine behind struct ckpt_job_ops: a writer process and a reader process a capture. */

#include "format/job.h"

extern const struct ckpt_job_ops capture_job_ops;
