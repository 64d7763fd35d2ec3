// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libshim/shim_real_verbs.h"

#include <dlfcn.h>
#include <errno.h>

__thread int in_verbs __attribute__((tls_model("initial-exec")));

/* A function of libibverbs, by the type that the one who calls it knows. */
union function {
	void *any;
	struct ibv_mr *(*reg_mr)(struct ibv_pd *, void *, size_t, int);
	struct ibv_mr *(*reg_mr_iova)(struct ibv_pd *, void *, size_t, uint64_t, int);
	struct ibv_mr *(*reg_mr_iova2)(struct ibv_pd *, void *, size_t, uint64_t, unsigned);
	struct ibv_mr *(*reg_mr_ex)(struct ibv_pd *, void *);
	int (*dereg_mr)(struct ibv_mr *);
	int (*rereg_mr)(struct ibv_mr *, int, struct ibv_pd *, void *, size_t, int);
	int (*close_device)(struct ibv_context *);
};

/* name, version that programs link to, the code where the library has no such verb */
static const struct {
	const char *name, *version;
	int missing;
} verbs[VERB_COUNT] = {
	[REG_MR] = {"ibv_reg_mr", "IBVERBS_1.1", 0},
	[REG_MR_IOVA] = {"ibv_reg_mr_iova", "IBVERBS_1.7", 0},
	[REG_MR_IOVA2] = {"ibv_reg_mr_iova2", "IBVERBS_1.8", 0},
	[DEREG_MR] = {"ibv_dereg_mr", "IBVERBS_1.1", ENOSYS},
	[CLOSE_DEVICE] = {"ibv_close_device", "IBVERBS_1.1", ENOSYS},
	[REREG_MR] = {"ibv_rereg_mr", "IBVERBS_1.1", IBV_REREG_MR_ERR_INPUT},
	[REG_MR_EX] = {"ibv_reg_mr_ex", "IBVERBS_1.15", 0},
};

/* NULL with errno ENOSYS. Every thread that looks finds the same. */
static void *look_up(enum verb verb)
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

static struct verb_result call(union function f, const struct verb_call *c)
{
	struct verb_result result = {0};

	switch (c->verb) {
	case REG_MR:
		result.mr = f.reg_mr(c->pd, c->addr, c->length, (int)c->access);
		break;
	case REG_MR_IOVA:
		result.mr = f.reg_mr_iova(c->pd, c->addr, c->length, c->iova, (int)c->access);
		break;
	case REG_MR_IOVA2:
		result.mr = f.reg_mr_iova2(c->pd, c->addr, c->length, c->iova, c->access);
		break;
	case REG_MR_EX:
		result.mr = f.reg_mr_ex(c->pd, c->attributes);
		break;
	case DEREG_MR:
		result.code = f.dereg_mr(c->mr);
		break;
	case REREG_MR:
		result.code = f.rereg_mr(c->mr, c->flags, c->pd, c->addr, c->length,
					 (int)c->access);
		break;
	case CLOSE_DEVICE:
		result.code = f.close_device(c->context);
		break;
	case VERB_COUNT:
		break;
	}
	return result;
}

struct verb_result real_verb(const struct verb_call *c)
{
	union function function = {.any = look_up(c->verb)};
	struct verb_result result = {.code = verbs[c->verb].missing};

	if (!function.any)
		return result;
	in_verbs++;
	result = call(function, c);
	in_verbs--;
	return result;
}
