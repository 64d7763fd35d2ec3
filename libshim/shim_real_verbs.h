/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The program's libibverbs, called: one table of its verbs. The functions are looked up, in the
 * versions that programs are linked to, when they are first needed: the library may come with a
 * plug-in only. May include: headers of libibverbs.
 */
#ifndef DAXLEASE_SHIM_REAL_VERBS_H
#define DAXLEASE_SHIM_REAL_VERBS_H

#include <infiniband/verbs.h>
#include <stddef.h>
#include <stdint.h>

#undef ibv_reg_mr
#undef ibv_reg_mr_iova

enum verb {
	REG_MR,
	REG_MR_IOVA,
	REG_MR_IOVA2,
	DEREG_MR,
	CLOSE_DEVICE,
	REREG_MR,
	REG_MR_EX,
	VERB_COUNT
};

/* One call: what any of the verbs takes, and what it gives. */
struct verb_call {
	enum verb verb;
	struct ibv_context *context;
	struct ibv_mr *mr;
	int flags;
	struct ibv_pd *pd;
	void *addr;
	size_t length;
	uint64_t iova;
	unsigned access;
	void *attributes; /* of ibv_reg_mr_ex */
};

struct verb_result {
	struct ibv_mr *mr;
	int code;
};

/* The library's own verb. Where it has none: errno ENOSYS, and the verb's way to say no. */
struct verb_result real_verb(const struct verb_call *call);

/* Not 0: the library itself is calling, which comes to our hooks through the PLT. Once is enough. */
extern __thread int in_verbs __attribute__((tls_model("initial-exec")));

#endif
