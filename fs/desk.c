/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/desk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "format/cleanup.h"

/* A FUSE request that waits for the broker. */
struct desk_pending {
	struct desk_pending *next;
	uint64_t id;
	fuse_req_t req;
	struct ckfs_ctl *ctl; /* open as long as the request waits */
	void (*reply)(struct desk_pending *pending, const struct ckfs_answer *answer);
	bool sent, woken; /* an interrupt may come first */
	size_t size;	  /* of the read, or of the write */
	uint64_t offset;
	uid_t uid;
	ckfs_desk_named_t named; /* of a name that was asked about */
	void *userdata;
};

struct ckfs_desk {
	const char *spec; /* the store, as it is called in messages */
	int bus_fd;
	pthread_mutex_t lock;
	/* protected by lock */
	struct desk_pending *pending;
	uint64_t last_id;
	bool broker_is_gone;
};

struct ckfs_ctl {
	uid_t uid; /* who opened it */
	gid_t gid;
	pthread_mutex_t lock;
	/* protected by lock */
	bool wrote;		       /* reading gives the name of what was captured, then EOF */
	char name[CKPT_NAME_SIZE + 1]; /* newline behind; "": the write failed, or goes on */
	size_t told;		       /* bytes of it */
	char *state;		       /* ctl's text, as it was when its start was read */
	size_t state_len;
	uid_t state_uid; /* for whom */
};

int ckfs_ctl_new(const struct fuse_ctx *opener, struct ckfs_ctl **ret)
{
	struct ckfs_ctl *ctl = calloc(1, sizeof(*ctl));

	if (!ctl)
		return -ENOMEM;
	ctl->uid = opener->uid;
	ctl->gid = opener->gid;
	pthread_mutex_init(&ctl->lock, NULL);
	*ret = ctl;
	return 0;
}

struct ckfs_ctl *ckfs_ctl_free(struct ckfs_ctl *ctl)
{
	if (ctl) {
		pthread_mutex_destroy(&ctl->lock);
		free(ctl->state);
	}
	free(ctl);
	return NULL;
}

/* The name is there before write(2) returns: whoever reads next finds it. */
static void desk_reply_write(struct desk_pending *pending, const struct ckfs_answer *answer)
{
	struct ckfs_ctl *ctl = pending->ctl;

	if (answer->error == 0 && answer->len < CKPT_NAME_SIZE) {
		pthread_mutex_lock(&ctl->lock);
		memcpy(ctl->name, answer->text, answer->len);
		memcpy(ctl->name + answer->len, "\n", 2);
		ctl->told = 0;
		pthread_mutex_unlock(&ctl->lock);
	}

	if (answer->error != 0)
		fuse_reply_err(pending->req, answer->error);
	else
		fuse_reply_write(pending->req, pending->size);
}

/*
 * Replies with a copy: as soon as a request is replied to, the handle may be closed, and nothing of
 * it is there any more. NULL: there was no memory for one.
 */
static void ctl_reply_copy(fuse_req_t req, char *copy, size_t len)
{
	if (copy)
		fuse_reply_buf(req, copy, len);
	else
		fuse_reply_err(req, ENOMEM);
	free(copy);
}

/* Under the handle's lock: what a read gets of ctl's text. */
static char *ctl_copy_state(const struct ckfs_ctl *ctl, size_t size, uint64_t offset,
			    size_t *ret_len)
{
	size_t start = offset < ctl->state_len ? offset : ctl->state_len;
	size_t len = ctl->state_len - start < size ? ctl->state_len - start : size;
	char *copy = malloc(len + 1);

	if (copy)
		memcpy(copy, ctl->state + start, len);
	*ret_len = len;
	return copy;
}

/* Under the handle's lock: what a read gets of the name. */
static char *ctl_copy_name(struct ckfs_ctl *ctl, size_t size, size_t *ret_len)
{
	size_t len = strlen(ctl->name) - ctl->told;
	char *copy;

	len = len < size ? len : size;
	copy = malloc(len + 1);
	if (copy) {
		memcpy(copy, ctl->name + ctl->told, len);
		ctl->told += len;
	}
	*ret_len = len;
	return copy;
}

static void desk_reply_state(struct desk_pending *pending, const struct ckfs_answer *answer)
{
	struct ckfs_ctl *ctl = pending->ctl;
	char *text = malloc(answer->len + 1), *copy;
	size_t len;

	if (answer->error != 0 || !text) {
		free(text);
		fuse_reply_err(pending->req, answer->error ?: ENOMEM);
		return;
	}

	memcpy(text, answer->text, answer->len);
	pthread_mutex_lock(&ctl->lock);
	free(ctl->state);
	ctl->state = text;
	ctl->state_len = answer->len;
	ctl->state_uid = pending->uid;
	copy = ctl_copy_state(ctl, pending->size, pending->offset, &len);
	pthread_mutex_unlock(&ctl->lock);

	ctl_reply_copy(pending->req, copy, len);
}

/* Under the lock. */
static struct desk_pending *desk_find(struct ckfs_desk *desk, uint64_t id)
{
	struct desk_pending *pending = desk->pending;

	while (pending && pending->id != id)
		pending = pending->next;
	return pending;
}

/* Whoever takes it replies to it, and frees it. NULL: somebody did. */
static struct desk_pending *desk_take(struct ckfs_desk *desk, uint64_t id)
{
	struct desk_pending **link, *pending;

	pthread_mutex_lock(&desk->lock);
	for (link = &desk->pending; *link && (*link)->id != id;)
		link = &(*link)->next;
	pending = *link;
	if (pending)
		*link = pending->next;
	pthread_mutex_unlock(&desk->lock);
	return pending;
}

static void desk_ask_interrupt(struct ckfs_desk *desk, uint64_t id)
{
	struct ckfs_ask ask = { .kind = CKFS_ASK_INTERRUPT, .id = id };

	/* A broker that takes nothing more cannot look at signals either. */
	(void)ckfs_bus_ask(desk->bus_fd, &ask);
}

/*
 * Called with the request's lock held, by whatever thread read FUSE_INTERRUPT, or at once. It
 * must not reply: the broker says whether the signal ends the capture.
 */
static void desk_interrupted(fuse_req_t req, void *data)
{
	struct ckfs_server *server = fuse_req_userdata(req);
	struct ckfs_desk *desk = server->desk;
	struct desk_pending *pending;
	uint64_t id = (uint64_t)(uintptr_t)data;

	pthread_mutex_lock(&desk->lock);
	pending = desk_find(desk, id);
	if (pending) {
		pending->woken = true;
		if (pending->sent)
			desk_ask_interrupt(desk, id);
	}
	pthread_mutex_unlock(&desk->lock);
}

/* Under the lock. What is not sent yet is the asker's still, whatever happens to the broker. */
static int desk_send(struct ckfs_desk *desk, const struct ckfs_ask *ask)
{
	struct desk_pending *pending = desk_find(desk, ask->id);
	int r;

	if (desk->broker_is_gone)
		return -EIO;
	r = ckfs_bus_ask(desk->bus_fd, ask);
	if (r < 0)
		return r;
	pending->sent = true;
	if (pending->woken)
		desk_ask_interrupt(desk, ask->id);
	return 0;
}

/* Puts the request aside and asks. After 0 it is replied to by the listener. */
static int desk_ask(struct ckfs_desk *desk, const struct desk_pending *pending,
		    struct ckfs_ask *ask)
{
	struct desk_pending *copy = malloc(sizeof(*copy));
	int r;

	if (!copy)
		return -ENOMEM;
	*copy = *pending;

	pthread_mutex_lock(&desk->lock);
	if (desk->broker_is_gone) {
		pthread_mutex_unlock(&desk->lock);
		free(copy);
		return -EIO;
	}
	ask->id = copy->id = ++desk->last_id;
	copy->next = desk->pending;
	desk->pending = copy;
	pthread_mutex_unlock(&desk->lock);

	/* Before it is sent: from then on the request may be replied to, and freed. */
	fuse_req_interrupt_func(pending->req, desk_interrupted, (void *)(uintptr_t)ask->id);

	pthread_mutex_lock(&desk->lock);
	r = desk_send(desk, ask);
	pthread_mutex_unlock(&desk->lock);
	if (r == 0)
		return 0;

	free(desk_take(desk, ask->id));
	return r;
}

/**
 * ckfs_desk_write() - pass on what was written to ctl
 * @req: replied to later when 0 is returned, else still the caller's
 *
 * Return: 0; -EAGAIN, -EIO when the broker cannot be asked; -ENOMEM.
 */
int ckfs_desk_write(struct ckfs_desk *desk, struct ckfs_ctl *ctl, fuse_req_t req, const char *text,
		    size_t len)
{
	const struct fuse_ctx *writer = fuse_req_ctx(req);
	struct desk_pending pending = {
		.req = req,
		.ctl = ctl,
		.reply = desk_reply_write,
		.size = len,
	};
	struct ckfs_ask ask = {
		.kind = CKFS_ASK_COMMAND,
		.tid = writer->pid,
		.uid = writer->uid,
		.gid = writer->gid,
		.open_uid = ctl->uid,
		.open_gid = ctl->gid,
		.len = (uint32_t)(len < sizeof(ask.text) ? len : sizeof(ask.text)),
	};

	memcpy(ask.text, text, ask.len);
	pthread_mutex_lock(&ctl->lock);
	ctl->wrote = true;
	ctl->name[0] = '\0';
	ctl->told = 0;
	pthread_mutex_unlock(&ctl->lock);

	return desk_ask(desk, &pending, &ask);
}

/* True when the handle itself has the answer, and gave it. */
static bool ctl_read_own(struct ckfs_ctl *ctl, fuse_req_t req, size_t size, uint64_t offset)
{
	bool own = true;
	char *copy = NULL;
	size_t len = 0;

	pthread_mutex_lock(&ctl->lock);
	if (ctl->wrote)
		copy = ctl_copy_name(ctl, size, &len);
	else if (offset > 0 && ctl->state && ctl->state_uid == fuse_req_ctx(req)->uid)
		copy = ctl_copy_state(ctl, size, offset, &len);
	else
		own = false;
	pthread_mutex_unlock(&ctl->lock);

	if (own)
		ctl_reply_copy(req, copy, len);
	return own;
}

/**
 * ckfs_desk_read() - what ctl gives to this handle
 *
 * A handle that wrote gets its capture's name once, whatever the offset. Any other gets the
 * state as it was when the start was read, so that its parts fit together.
 *
 * Return: 0, replied to now or later; a negative errno: @req is still the caller's.
 */
int ckfs_desk_read(struct ckfs_desk *desk, struct ckfs_ctl *ctl, fuse_req_t req, size_t size,
		   uint64_t offset)
{
	const struct fuse_ctx *reader = fuse_req_ctx(req);
	struct desk_pending pending = {
		.req = req,
		.ctl = ctl,
		.reply = desk_reply_state,
		.size = size,
		.offset = offset,
		.uid = reader->uid,
	};
	struct ckfs_ask ask = { .kind = CKFS_ASK_STATE, .uid = reader->uid };

	if (ctl_read_own(ctl, req, size, offset))
		return 0;
	return desk_ask(desk, &pending, &ask);
}

static void desk_reply_named(struct desk_pending *pending, const struct ckfs_answer *answer)
{
	pending->named(pending->userdata, pending->req, answer->error);
}

/**
 * ckfs_desk_ask_name() - ask whether a capture that runs will be called @name
 * @named: replies to @req; called by the desk's own thread after 0 is returned, else never
 *
 * Return: 0; -EAGAIN, -EIO when the broker cannot be asked; -ENAMETOOLONG; -ENOMEM.
 */
int ckfs_desk_ask_name(struct ckfs_desk *desk, fuse_req_t req, const char *name,
		       ckfs_desk_named_t named, void *userdata)
{
	struct desk_pending pending = {
		.req = req,
		.reply = desk_reply_named,
		.named = named,
		.userdata = userdata,
	};
	struct ckfs_ask ask = { .kind = CKFS_ASK_NAME, .len = (uint32_t)strlen(name) };

	if (ask.len >= CKPT_NAME_SIZE)
		return -ENAMETOOLONG;
	memcpy(ask.text, name, ask.len);
	return desk_ask(desk, &pending, &ask);
}

/* Tells the broker what needs no answer. */
int ckfs_desk_tell(struct ckfs_desk *desk, enum ckfs_ask_kind kind)
{
	struct ckfs_ask ask = { .kind = kind };

	return ckfs_bus_ask(desk->bus_fd, &ask);
}

static void desk_reply(struct desk_pending *pending, const struct ckfs_answer *answer)
{
	if (!pending)
		return;
	pending->reply(pending, answer);
	free(pending);
}

/* Under the lock: all that was sent; what was not is still being prepared by its asker. */
static struct desk_pending *desk_take_sent(struct ckfs_desk *desk)
{
	struct desk_pending **link = &desk->pending, *sent = NULL;

	while (*link) {
		struct desk_pending *pending = *link;

		if (!pending->sent) {
			link = &pending->next;
			continue;
		}
		*link = pending->next;
		pending->next = sent;
		sent = pending;
	}
	return sent;
}

/* Without a broker there are no captures, but everything can be read. */
static void desk_close(struct ckfs_desk *desk)
{
	const struct ckfs_answer gone = { .error = EIO };
	struct desk_pending *pending, *next;

	syslog(LOG_ERR,
	       "the broker of \"%s\" is gone: nothing is captured any more, and nobody "
	       "unmounts it but umount",
	       desk->spec);
	pthread_mutex_lock(&desk->lock);
	desk->broker_is_gone = true;
	pending = desk_take_sent(desk);
	pthread_mutex_unlock(&desk->lock);

	for (; pending; pending = next) {
		next = pending->next;
		desk_reply(pending, &gone);
	}
}

static void *desk_listen(void *data)
{
	struct ckfs_desk *desk = data;
	struct ckfs_answer *answer = malloc(CKFS_ANSWER_SIZE);

	while (answer && ckfs_bus_take_answer(desk->bus_fd, answer) > 0)
		desk_reply(desk_take(desk, answer->id), answer);

	desk_close(desk);
	free(answer);
	return NULL;
}

/**
 * ckfs_desk_new() - open the desk, and start its thread
 * @spec: the store's name; not owned
 * @bus_fd: the server's end; the desk's from now on. All live as long as the process.
 *
 * Return: 0; -ENOMEM; -EAGAIN.
 */
int ckfs_desk_new(const char *spec, int bus_fd, struct ckfs_desk **ret)
{
	struct ckfs_desk *desk = calloc(1, sizeof(*desk));
	int r;

	if (!desk)
		return -ENOMEM;
	desk->spec = spec;
	desk->bus_fd = bus_fd;
	pthread_mutex_init(&desk->lock, NULL);
	r = ckfs_server_start_thread(desk_listen, desk);
	if (r < 0) {
		free(desk);
		return r;
	}

	*ret = desk;
	return 0;
}
