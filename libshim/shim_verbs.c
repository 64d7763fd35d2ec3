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
 * Passed through and not followed, but said if it is on leased memory: ibv_rereg_mr, ibv_reg_mr_ex. Not
 * seen: ibv_import_mr, ibv_reg_dmabuf_mr; and implicit on-demand MRs (the whole address space), which
 * reach what is mapped and nothing else, so that replacing the mapping is all there is to do.
 */
#include <dlfcn.h>
#include <errno.h>
#include <infiniband/verbs.h>
#include <stdint.h>

#include "libshim/shim_mr.h"
#include "libshim/shim_session.h"
#include "libshim/shim_table.h"

#undef ibv_reg_mr
#undef ibv_reg_mr_iova

/* No header declares all of these as functions. */
SHIM_EXPORT struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *addr, size_t length, int access);
SHIM_EXPORT struct ibv_mr *ibv_reg_mr_iova(struct ibv_pd *pd, void *addr, size_t length,
					   uint64_t iova, int access);
SHIM_EXPORT struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *addr, size_t length,
					    uint64_t iova, unsigned int access);
SHIM_EXPORT int ibv_dereg_mr(struct ibv_mr *mr);
SHIM_EXPORT int ibv_close_device(struct ibv_context *context);
SHIM_EXPORT int ibv_rereg_mr(struct ibv_mr *mr, int flags, struct ibv_pd *pd, void *addr, size_t length, int access);
SHIM_EXPORT struct ibv_mr *ibv_reg_mr_ex(struct ibv_pd *pd, void *attributes);

enum verb { REG_MR, REG_MR_IOVA, REG_MR_IOVA2, DEREG_MR, CLOSE_DEVICE, REREG_MR, REG_MR_EX, VERB_COUNT };

static const struct {
	const char *name, *version;
} verbs[VERB_COUNT] = {
	[REG_MR] = {"ibv_reg_mr", "IBVERBS_1.1"},
	[REG_MR_IOVA] = {"ibv_reg_mr_iova", "IBVERBS_1.7"},
	[REG_MR_IOVA2] = {"ibv_reg_mr_iova2", "IBVERBS_1.8"},
	[DEREG_MR] = {"ibv_dereg_mr", "IBVERBS_1.1"},
	[CLOSE_DEVICE] = {"ibv_close_device", "IBVERBS_1.1"},
	[REREG_MR] = {"ibv_rereg_mr", "IBVERBS_1.1"},
	[REG_MR_EX] = {"ibv_reg_mr_ex", "IBVERBS_1.15"},
};

/* libibverbs' ibv_reg_mr calls its ibv_reg_mr_iova2 through the PLT, so comes here again: once is
 * enough. */
static __thread int in_verbs __attribute__((tls_model("initial-exec")));

/* The library's own, or NULL with errno ENOSYS. Every thread that looks finds the same. */
static void *real_verb(enum verb verb)
{
	static void *found[VERB_COUNT];
	void *function = __atomic_load_n(&found[verb], __ATOMIC_ACQUIRE), *library;

	if (function)
		return function;
	/* If a plug-in brought it, it must stay when the plug-in goes: its address is kept here. */
	library = dlopen("libibverbs.so.1", RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
	function = dlvsym(RTLD_NEXT, verbs[verb].name, verbs[verb].version);
	if (!function && library)
		function = dlvsym(library, verbs[verb].name, verbs[verb].version);
	if (library)
		dlclose(library);
	if (!function)
		errno = ENOSYS;
	__atomic_store_n(&found[verb], function, __ATOMIC_RELEASE);
	return function;
}

struct registration {
	enum verb verb;
	struct ibv_pd *pd;
	void *addr;
	size_t length;
	uint64_t iova;
	unsigned access;
};

static struct ibv_mr *real_register(const struct registration *r, unsigned access)
{
	union {
		void *any;
		struct ibv_mr *(*reg_mr)(struct ibv_pd *, void *, size_t, int);
		struct ibv_mr *(*reg_mr_iova)(struct ibv_pd *, void *, size_t, uint64_t, int);
		struct ibv_mr *(*reg_mr_iova2)(struct ibv_pd *, void *, size_t, uint64_t, unsigned);
	} real = {.any = real_verb(r->verb)};
	struct ibv_mr *mr;

	if (!real.any)
		return NULL;
	in_verbs++;
	if (r->verb == REG_MR)
		mr = real.reg_mr(r->pd, r->addr, r->length, (int)access);
	else if (r->verb == REG_MR_IOVA)
		mr = real.reg_mr_iova(r->pd, r->addr, r->length, r->iova, (int)access);
	else
		mr = real.reg_mr_iova2(r->pd, r->addr, r->length, r->iova, access);
	in_verbs--;
	return mr;
}

static int real_deregister(struct ibv_mr *mr)
{
	union {
		void *any;
		int (*dereg_mr)(struct ibv_mr *);
	} real = {.any = real_verb(DEREG_MR)};
	int error;

	if (!real.any)
		return ENOSYS;
	in_verbs++;
	error = real.dereg_mr(mr);
	in_verbs--;
	return error;
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
static void prefetch(const struct registration *r, const struct ibv_mr *mr)
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

static void say_why(const struct registration *r, bool ours, int error)
{
	if (error != EOPNOTSUPP || (r->access & IBV_ACCESS_ON_DEMAND))
		return;
	if (ours && say_first(SAY_NO_ODP, (uintptr_t)r->pd->context, 0))
		say("%s cannot register memory on demand, and the kernel allows nothing else on "
		    "file-system DAX",
		    r->pd->context->device->name);
	else if (!ours && say_first(SAY_UNLEASED_MR, 0, 0))
		say("the kernel refused to register memory that has no lease: if it is a file's on "
		    "file-system DAX, "
		    "the file must be in a pool of the daemon and its mapping leased");
}

/* The record is in MR_REGISTERING: registers, and makes it live or takes it back. */
static struct ibv_mr *register_leased(const struct registration *r, struct mr_record *record)
{
	unsigned access = r->access | (record->pinned ? 0 : (unsigned)IBV_ACCESS_ON_DEMAND);
	struct ibv_mr *mr = real_register(r, access);
	int error = mr ? 0 : errno;
	struct hook hook;

	if (mr) {
		struct uverbs_mr id = {.handle = mr->handle,
				       .lkey = mr->lkey,
				       .rkey = mr->rkey,
				       .length = r->length};

		table_lock(&hook);
		error = -mr_registered(record, mr, &id);
		table_unlock(&hook);
		if (error == 0) {
			if (access != r->access)
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

static struct ibv_mr *reg(const struct registration *r)
{
	struct mr_context *context;
	struct mr_record *record;
	struct ibv_mr *mr;
	struct hook hook;
	int error;

	if (in_verbs || shim_inside || session.mode == SHIM_OFF ||
	    (!r->addr && r->length == SIZE_MAX))
		return real_register(r, r->access);
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
	mr = real_register(r, r->access);
	if (!mr)
		say_why(r, false, errno);
	return mr;
}

SHIM_EXPORT struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *addr, size_t length, int access)
{
	return reg(&(struct registration){.verb = REG_MR,
					  .pd = pd,
					  .addr = addr,
					  .length = length,
					  .iova = (uintptr_t)addr,
					  .access = (unsigned)access});
}

SHIM_EXPORT struct ibv_mr *ibv_reg_mr_iova(struct ibv_pd *pd, void *addr, size_t length,
					   uint64_t iova, int access)
{
	return reg(&(struct registration){.verb = REG_MR_IOVA,
					  .pd = pd,
					  .addr = addr,
					  .length = length,
					  .iova = iova,
					  .access = (unsigned)access});
}

SHIM_EXPORT struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *addr, size_t length,
					    uint64_t iova, unsigned int access)
{
	return reg(&(struct registration){.verb = REG_MR_IOVA2,
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

	if (in_verbs || shim_inside || session.mode == SHIM_OFF)
		return real_deregister(mr);
	table_lock(&hook);
	record = mr_find(mr);
	if (record && (record->state == MR_DESTROYED ||
		       mr_is_gone(record, mr->lkey, mr->rkey, mr->length))) {
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
	union {
		void *any;
		int (*close_device)(struct ibv_context *);
	} real = {.any = real_verb(CLOSE_DEVICE)};
	struct mr_context *context;
	struct hook hook;
	int error;

	if (!real.any)
		return ENOSYS;
	if (in_verbs || shim_inside)
		return real.close_device(verbs_context);
	table_lock(&hook);
	context = mr_context_find(verbs_context);
	if (context)
		mr_context_closing(context);
	table_unlock(&hook);
	in_verbs++;
	error = real.close_device(verbs_context);
	in_verbs--;
	if (context) {
		table_lock(&hook);
		mr_context_closed(context);
		table_unlock(&hook);
	}
	return error;
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
		say("%s: its MR is on leased memory, and the lease does not cover it: it is not destroyed when the "
		    "lease ends; use ibv_reg_mr",
		    verb);
}

SHIM_EXPORT int ibv_rereg_mr(struct ibv_mr *mr, int flags, struct ibv_pd *pd, void *addr, size_t length, int access)
{
	union {
		void *any;
		int (*rereg_mr)(struct ibv_mr *, int, struct ibv_pd *, void *, size_t, int);
	} real = {.any = real_verb(REREG_MR)};
	int error;

	if (!real.any)
		return ENOSYS;
	error = real.rereg_mr(mr, flags, pd, addr, length, access);
	if (error == 0 && (flags & IBV_REREG_MR_CHANGE_TRANSLATION) && !in_verbs && !shim_inside)
		say_uncovered("ibv_rereg_mr", mr);
	return error;
}

SHIM_EXPORT struct ibv_mr *ibv_reg_mr_ex(struct ibv_pd *pd, void *attributes)
{
	union {
		void *any;
		struct ibv_mr *(*reg_mr_ex)(struct ibv_pd *, void *);
	} real = {.any = real_verb(REG_MR_EX)};
	struct ibv_mr *mr;

	if (!real.any)
		return NULL;
	mr = real.reg_mr_ex(pd, attributes);
	if (mr && !in_verbs && !shim_inside)
		say_uncovered("ibv_reg_mr_ex", mr);
	return mr;
}
