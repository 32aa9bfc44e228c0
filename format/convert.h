/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Between the objects of format/checkpoint.h and their JSON: what the files of a checkpoint
 * hold, and what passes over the ring. The _from functions fill a zeroed struct, check every
 * range, and leave it empty on error.
 */

#include <json-c/json.h>

#include "format/checkpoint.h"

int ckpt_meta_to_json(const struct ckpt_meta *meta, struct json_object **ret);
int ckpt_meta_from_json(struct json_object *object, struct ckpt_meta *ret);

int ckpt_info_to_json(const struct ckpt_info *info, const struct ckpt_threads *threads,
		      struct json_object **ret);
int ckpt_info_from_json(struct json_object *object, struct ckpt_info *ret,
			struct ckpt_threads *ret_threads);

int ckpt_fd_to_json(const struct ckpt_fd *fd, struct json_object **ret);
int ckpt_fd_from_json(struct json_object *object, struct ckpt_fd *ret);
int ckpt_fds_to_json(const struct ckpt_fds *fds, struct json_object **ret);
int ckpt_fds_from_json(struct json_object *array, struct ckpt_fds *ret);

int ckpt_regions_to_json(const struct ckpt_regions *regions, struct json_object **ret);
int ckpt_regions_from_json(struct json_object *array, struct ckpt_regions *ret);

/* Without the raw registers. */
int ckpt_thread_to_json(const struct ckpt_thread *thread, struct json_object **ret);
int ckpt_thread_from_json(struct json_object *object, struct ckpt_thread *ret);

int ckpt_omitted_to_json(const struct ckpt_omitted *omitted, struct json_object **ret);
int ckpt_omitted_from_json(struct json_object *object, struct ckpt_omitteds *omitted);
