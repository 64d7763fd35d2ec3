// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Registration of memory for RDMA. On file-system DAX the kernel refuses long-term pins, so what is
 * registered there is made on demand (C21), where the device can; everything else is registered as
 * the program asked. What stands on leased mappings is recorded (shim_mr.h), so that it ends with
 * its lease.
 *
 * The program gets libibverbs' own struct ibv_mr: other verbs go on working on it. Only the headers
 * of libibverbs are used here; its functions are looked up, in the versions that programs are
 * linked to, when they are first needed: it may come with a plug-in only.
 *
 * Programs that take the functions with dlsym from the library's own handle (NCCL does): its ibv_reg_mr
 * calls ibv_reg_mr_iova2 through the PLT and so comes here, its ibv_dereg_mr does not. So their MRs are
 * covered, but that they end is seen late, which is then said (mr_notice_gone), or never.
 *
 * Not followed:
 *   ibv_reg_mr_ex	(IBVERBS_1.15) is passed through, and said if it is on leased memory
 *   implicit on-demand MRs (the whole address space) reach what is mapped and nothing else: replacing
 *			the mapping is all there is to do
 *   ibv_import_mr	gives another name to an MR that somebody has registered and that ends with his
 *			lease; deregistering it afterwards fails with ENOENT
 *   ibv_reg_dmabuf_mr	no dma-buf can be made of a pool's file: udmabuf wants a sealed memfd
 *   ibv_advise_mr	changes nothing that a registration has not
 *   memory windows	an MR with one bound cannot be destroyed: the revocation fails, the daemon is
 *			told so, and it fences
 */
#include <errno.h>
#include <stdint.h>

#include "libshim/shim_mr.h"
#include "libshim/shim_real_verbs.h"
#include "libshim/shim_session.h"
#include "libshim/shim_table.h"

/* No header declares all of these as functions. */
SHIM_EXPORT struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *addr, size_t length, int access);
SHIM_EXPORT struct ibv_mr *ibv_reg_mr_iova(struct ibv_pd *pd, void *addr, size_t length,
					   uint64_t iova, int access);
SHIM_EXPORT struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *addr, size_t length,
					    uint64_t iova, unsigned int access);
SHIM_EXPORT int ibv_dereg_mr(struct ibv_mr *mr);
SHIM_EXPORT int ibv_close_device(struct ibv_context *context);
SHIM_EXPORT int ibv_rereg_mr(struct ibv_mr *mr, int flags, struct ibv_pd *pd, void *addr,
			     size_t length, int access);
SHIM_EXPORT struct ibv_mr *ibv_reg_mr_ex(struct ibv_pd *pd, void *attributes);

/* Is the call to go straight to the library? */
static bool passes(void)
{
	return in_verbs || shim_inside || session.mode == SHIM_OFF;
}

static int real_deregister(struct ibv_mr *mr)
{
	return real_verb(&(struct verb_call){.verb = DEREG_MR, .mr = mr}).code;
}

static struct uverbs_mr id_of(const struct ibv_mr *mr, size_t length)
{
	return (struct uverbs_mr){.handle = mr->handle,
				  .lkey = mr->lkey,
				  .rkey = mr->rkey,
				  .length = length};
}

/* Whether the device can do on-demand MRs at all; its name says nothing. */
static bool can_odp(struct ibv_context *context)
{
	struct ibv_device_attr_ex attr = {0};
	struct verbs_context *extended = verbs_get_ctx_op(context, query_device_ex);

	if (!extended || extended->query_device_ex(context, NULL, &attr, sizeof(attr)) != 0)
		return false;
	return attr.odp_caps.general_caps & IBV_ODP_SUPPORT;
}

/* Asks the device outside the lock. NULL: no memory, or no descriptor. */
static struct mr_context *context_of(struct ibv_context *verbs_context)
{
	struct mr_context *context;
	struct hook hook;
	bool odp;

	table_lock(&hook);
	context = mr_context_find(verbs_context);
	table_unlock(&hook);
	if (context)
		return context;
	odp = can_odp(verbs_context);
	table_lock(&hook);
	context = mr_context_find(verbs_context);
	if (!context)
		context = mr_context_add(verbs_context, verbs_context->cmd_fd, odp);
	table_unlock(&hook);
	return context;
}

/* Touches the pages beforehand, as a pinned registration would have; a wish only. */
static void prefetch(const struct verb_call *r, const struct ibv_mr *mr)
{
	struct verbs_context *extended = verbs_get_ctx_op(r->pd->context, advise_mr);
	const unsigned writing = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
				 IBV_ACCESS_REMOTE_ATOMIC;
	enum ibv_advise_mr_advice advice = r->access & writing ? IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE
							       : IBV_ADVISE_MR_ADVICE_PREFETCH;
	uint64_t address = r->verb == REG_MR ? (uintptr_t)r->addr : r->iova;
	int saved = errno;

	if (!extended)
		return;
	/* a scatter element is at most 4 GiB; 1 GiB keeps whole pages */
	for (size_t done = 0, part; done < r->length; done += part) {
		struct ibv_sge sge = {.addr = address + done, .lkey = mr->lkey};

		part = r->length - done < (1u << 30) ? r->length - done : 1u << 30;
		sge.length = (uint32_t)part;
		if (extended->advise_mr(r->pd, advice, 0, &sge, 1) != 0)
			break;
	}
	errno = saved;
}

static const struct ibv_context *device_of(const struct verb_call *r)
{
	return r->mr ? r->mr->context : r->pd->context;
}

static void say_why(const struct verb_call *r, bool ours, int error)
{
	if (error != EOPNOTSUPP || (r->access & IBV_ACCESS_ON_DEMAND))
		return;
	if (ours && say_first(SAY_NO_ODP, (uintptr_t)device_of(r), 0))
		say("%s cannot register memory on demand, and the kernel allows nothing else on "
		    "file-system DAX",
		    device_of(r)->device->name);
	else if (!ours && say_first(SAY_UNLEASED_MR, 0, 0))
		say("the kernel refused to register memory that has no lease: if it is a file's on "
		    "file-system DAX, "
		    "the file must be in a pool of the daemon and its mapping leased");
}

/* The record is in MR_REGISTERING: registers, and makes it live or takes it back. */
static struct ibv_mr *register_leased(const struct verb_call *r, struct mr_record *record)
{
	struct verb_call on_demand = *r;
	struct ibv_mr *mr;
	struct hook hook;
	int error;

	on_demand.access |= record->pinned ? 0 : (unsigned)IBV_ACCESS_ON_DEMAND;
	mr = real_verb(&on_demand).mr;
	error = mr ? 0 : errno;
	if (mr) {
		struct uverbs_mr id = id_of(mr, r->length);

		table_lock(&hook);
		error = -mr_registered(record, mr, &id);
		table_unlock(&hook);
		if (error == 0) {
			if (on_demand.access != r->access)
				prefetch(r, mr);
			return mr;
		}
		real_deregister(mr);
	}
	say_why(r, record->fsdax, error);
	table_lock(&hook);
	mr_end(record);
	table_unlock(&hook);
	errno = error;
	return NULL;
}

static struct ibv_mr *reg(const struct verb_call *r)
{
	struct mr_context *context;
	struct mr_record *record;
	struct ibv_mr *mr;
	struct hook hook;
	int error;

	if (passes() || (!r->addr && r->length == SIZE_MAX))
		return real_verb(r).mr;
	error = 1;
	if (table_hits(r->addr, r->length)) {
		context = context_of(r->pd->context);
		table_lock(&hook);
		if (table_first((uintptr_t)r->addr, (uintptr_t)r->addr + r->length))
			error = context ? mr_begin((uintptr_t)r->addr, r->length, context,
						   r->access & IBV_ACCESS_ON_DEMAND, &record)
					: -ENOMEM;
		table_unlock(&hook);
	}
	if (error < 0) {
		errno = -error;
		return NULL;
	}
	if (error == 0)
		return register_leased(r, record);
	mr = real_verb(r).mr;
	if (!mr)
		say_why(r, false, errno);
	return mr;
}

SHIM_EXPORT struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *addr, size_t length, int access)
{
	return reg(&(struct verb_call){.verb = REG_MR,
				       .pd = pd,
				       .addr = addr,
				       .length = length,
				       .iova = (uintptr_t)addr,
				       .access = (unsigned)access});
}

SHIM_EXPORT struct ibv_mr *ibv_reg_mr_iova(struct ibv_pd *pd, void *addr, size_t length,
					   uint64_t iova, int access)
{
	return reg(&(struct verb_call){.verb = REG_MR_IOVA,
				       .pd = pd,
				       .addr = addr,
				       .length = length,
				       .iova = iova,
				       .access = (unsigned)access});
}

SHIM_EXPORT struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *addr, size_t length,
					    uint64_t iova, unsigned int access)
{
	return reg(&(struct verb_call){.verb = REG_MR_IOVA2,
				       .pd = pd,
				       .addr = addr,
				       .length = length,
				       .iova = iova,
				       .access = access});
}

SHIM_EXPORT int ibv_dereg_mr(struct ibv_mr *mr)
{
	struct mr_record *record = NULL;
	struct hook hook;
	bool destroyed = false;
	int error;

	if (passes())
		return real_deregister(mr);
	table_lock(&hook);
	record = mr_find(mr);
	if (record &&
	    (record->state == MR_DESTROYED || mr_is_gone(record, mr->lkey, mr->rkey, mr->length))) {
		/* The struct is lost on purpose: only the real function could free it, and that
		 * would first destroy by its handle, which may be another MR's by now. */
		destroyed = true;
		mr_end(record);
	} else if (record) {
		record->state = MR_DEREGISTERING;
	}
	table_unlock(&hook);
	if (destroyed)
		return 0;
	error = real_deregister(mr);
	if (!record)
		return error;
	table_lock(&hook);
	if (error == 0) {
		mr_end(record);
	} else {
		record->state = MR_LIVE;
		table_wake();
	}
	table_unlock(&hook);
	return error;
}

SHIM_EXPORT int ibv_close_device(struct ibv_context *verbs_context)
{
	const struct verb_call call = {.verb = CLOSE_DEVICE, .context = verbs_context};
	struct mr_context *context;
	struct hook hook;
	int error;

	if (in_verbs || shim_inside)
		return real_verb(&call).code;
	table_lock(&hook);
	context = mr_context_find(verbs_context);
	if (context)
		mr_context_closing(context);
	table_unlock(&hook);
	error = real_verb(&call).code;
	if (context) {
		table_lock(&hook);
		mr_context_closed(context);
		table_unlock(&hook);
	}
	return error;
}

/* --- re-registration ------------------------------------------------------------------------- */

struct rereg {
	struct verb_call call;
	bool moves; /* to other memory */
	struct mr_record *old, *fresh;
};

/* 0, or a code of ibv_rereg_mr and errno: the library is not asked. */
static int rereg_begin(struct rereg *r)
{
	uint64_t start = (uintptr_t)r->call.addr;
	struct mr_context *context = NULL;
	struct hook hook;
	int error = 0;

	if (r->moves && table_hits(r->call.addr, r->call.length))
		context = context_of(r->call.mr->context);
	table_lock(&hook);
	r->old = mr_find(r->call.mr);
	if (r->old && r->old->state == MR_DESTROYED) {
		table_unlock(&hook);
		errno = ENXIO; /* revoked; what can still be done is to deregister it */
		return IBV_REREG_MR_ERR_CMD;
	}
	if (r->moves && table_first(start, start + r->call.length)) {
		bool on_demand = r->call.flags & IBV_REREG_MR_CHANGE_ACCESS
					 ? r->call.access & IBV_ACCESS_ON_DEMAND
					 : r->old && !r->old->pinned;

		error = context ? mr_begin(start, r->call.length, context, on_demand, &r->fresh)
				: -ENOMEM;
	}
	if (error == 0 && r->old)
		r->old->state = MR_DEREGISTERING;
	table_unlock(&hook);
	errno = -error;
	return error < 0 ? IBV_REREG_MR_ERR_INPUT : 0;
}

static void rereg_end(struct rereg *r, int code)
{
	bool done = code == 0 || code == IBV_REREG_MR_ERR_DO_FORK_OLD;
	bool valid = code == IBV_REREG_MR_ERR_INPUT || code == IBV_REREG_MR_ERR_DONT_FORK_NEW;
	size_t length = done && r->moves ? r->call.length : r->call.mr->length;
	struct uverbs_mr id = id_of(r->call.mr, length);
	struct hook hook;

	if (!r->old && !r->fresh)
		return;
	table_lock(&hook);
	if (done)
		mr_reregistered(r->old, r->fresh, r->moves, r->call.mr, &id);
	else
		mr_rereg_failed(r->old, r->fresh, valid, r->call.mr, &id);
	table_unlock(&hook);
}

SHIM_EXPORT int ibv_rereg_mr(struct ibv_mr *mr, int flags, struct ibv_pd *pd, void *addr,
			     size_t length, int access)
{
	struct rereg r = {
		.call = {.verb = REREG_MR,
			 .mr = mr,
			 .flags = flags,
			 .pd = pd,
			 .addr = addr,
			 .length = length,
			 .access = (unsigned)access},
		.moves = flags & IBV_REREG_MR_CHANGE_TRANSLATION,
	};
	const struct mr_record *stays;
	int code, error;

	if (passes())
		return real_verb(&r.call).code;
	code = rereg_begin(&r);
	if (code)
		return code;
	/* on demand it was made, or must be: the program's wish for other access says nothing of that */
	stays = r.moves ? r.fresh : r.old;
	if (stays && !stays->pinned && (flags & IBV_REREG_MR_CHANGE_ACCESS))
		r.call.access |= IBV_ACCESS_ON_DEMAND;
	code = real_verb(&r.call).code;
	/* rxe changes the rights of an on-demand MR, but does not take the word on-demand with them */
	if (code == IBV_REREG_MR_ERR_CMD && errno == EOPNOTSUPP && !r.moves &&
	    r.call.access != (unsigned)access) {
		r.call.access = (unsigned)access;
		code = real_verb(&r.call).code;
	}
	error = errno;
	if (code == IBV_REREG_MR_ERR_CMD && r.fresh)
		say_why(&r.call, r.fresh->fsdax, error);
	rereg_end(&r, code);
	errno = error;
	return code;
}

/* An MR made past us. Its memory is not kept for it, and it does not end with the lease. */
static void say_uncovered(const char *verb, const struct ibv_mr *mr)
{
	uint64_t start = (uintptr_t)mr->addr, end = start + mr->length;
	struct hook hook;
	bool leased;

	if (!table_hits(mr->addr, mr->length))
		return;
	table_lock(&hook);
	leased = table_first(start, end) != NULL;
	table_unlock(&hook);
	if (leased && say_first(SAY_UNCOVERED, 0, 0))
		say("%s: its MR is on leased memory, and the lease does not cover it: it is not "
		    "destroyed when the "
		    "lease ends; use ibv_reg_mr",
		    verb);
}

SHIM_EXPORT struct ibv_mr *ibv_reg_mr_ex(struct ibv_pd *pd, void *attributes)
{
	struct ibv_mr *mr = real_verb(&(struct verb_call){.verb = REG_MR_EX,
							  .pd = pd,
							  .attributes = attributes})
				    .mr;

	if (mr && !in_verbs && !shim_inside)
		say_uncovered("ibv_reg_mr_ex", mr);
	return mr;
}
