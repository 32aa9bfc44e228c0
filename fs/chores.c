/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/chores.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "format/store.h"
#include "fs/desk.h"
#include "fs/options.h"
#include "fs/server-internal.h"

struct ckfs_chores {
	struct ckfs_server *server;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool sweep; /* protected by lock */
};

/* Asks for a sweep of what was removed: freeing blocks takes longer than a request may. */
void ckfs_chores_sweep(struct ckfs_chores *chores)
{
	pthread_mutex_lock(&chores->lock);
	chores->sweep = true;
	pthread_cond_signal(&chores->wake);
	pthread_mutex_unlock(&chores->lock);
}

static long long chores_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void chores_watch(struct ckfs_server *server, long long timeout_ms)
{
	if (timeout_ms == 0 || atomic_load(&server->n_open) > 0 ||
	    chores_now_ms() - atomic_load(&server->last_used_ms) < timeout_ms)
		return;

	/* Once a timeout, should the mount be busy in a way that is not seen here. */
	atomic_store(&server->last_used_ms, chores_now_ms());
	(void)ckfs_desk_tell(server->desk, CKFS_ASK_IDLE);
}

/* True when a sweep was asked for; false when it is time to look whether anybody is there. */
static bool chores_wait(struct ckfs_chores *chores, long long timeout_ms)
{
	struct timespec until;
	bool sweep;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 2000 + 1;

	pthread_mutex_lock(&chores->lock);
	while (!chores->sweep && r == 0)
		r = timeout_ms > 0 ? pthread_cond_timedwait(&chores->wake, &chores->lock, &until)
				   : pthread_cond_wait(&chores->wake, &chores->lock);
	sweep = chores->sweep;
	chores->sweep = false;
	pthread_mutex_unlock(&chores->lock);
	return sweep;
}

static void *chores_work(void *data)
{
	struct ckfs_chores *chores = data;
	struct ckfs_server *server = chores->server;
	long long timeout_ms = (long long)server->params.options->idle_timeout_s * 1000;
	int r;

	for (;;) {
		r = chores_wait(chores, timeout_ms) ? ckpt_store_sweep(server->params.store) : 0;
		if (r < 0)
			syslog(LOG_WARNING, "cannot free what was removed from \"%s\": %s",
			       server->params.options->spec, strerror(-r));
		chores_watch(server, timeout_ms);
	}
	return NULL;
}

/**
 * ckfs_chores_new() - start the thread; it lives as long as the process
 *
 * Return: 0; -ENOMEM; -EAGAIN.
 */
int ckfs_chores_new(struct ckfs_server *server, struct ckfs_chores **ret)
{
	struct ckfs_chores *chores = calloc(1, sizeof(*chores));
	pthread_condattr_t monotonic;
	int r;

	if (!chores)
		return -ENOMEM;
	chores->server = server;
	atomic_store(&server->last_used_ms, chores_now_ms());
	pthread_mutex_init(&chores->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&chores->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);

	r = ckfs_server_start_thread(chores_work, chores);
	if (r < 0) {
		free(chores);
		return r;
	}

	*ret = chores;
	return 0;
}
