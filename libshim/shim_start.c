// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The constructor, and the check that `daxlease-run --check` asks for with DAXLEASE_CHECK=1:
 * whether the hooks would fire in this program, and whether there is a daemon with pools. It ends
 * the program before its main().
 */
#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "libshim/shim_end.h"
#include "libshim/shim_fork.h"
#include "libshim/shim_session.h"
#include "libshim/shim_table.h"

/* Whose definition a symbol of the program is bound to: ours, or another preload's that comes
 * before us. */
static bool hook_fires(const char *name)
{
	void *found = dlsym(RTLD_DEFAULT, name);
	Dl_info theirs, ours;

	if (found && dladdr(found, &theirs) && dladdr((void *)&fork_follow, &ours) &&
	    theirs.dli_fbase == ours.dli_fbase)
		return true;
	printf("%s is not hooked: it is %s's\n", name,
	       found && dladdr(found, &theirs) && theirs.dli_fname ? theirs.dli_fname : "nobody");
	return false;
}

static int check(void)
{
	static const char *const hooks[] = {"mmap",
					    "mmap64",
					    "munmap",
					    "mremap",
					    "madvise",
					    "ibv_reg_mr",
					    "ibv_reg_mr_iova",
					    "ibv_reg_mr_iova2",
					    "ibv_dereg_mr",
					    "ibv_close_device"};
	static const char *const modes[] = {"prefer", "require", "off"};
	const struct session_pools *pools;
	bool good = true;

	for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++)
		good &= hook_fires(hooks[i]);
	printf("hooks: %s\nmode: %s\n", good ? "all in place" : "not all in place",
	       modes[session.mode]);
	pools = session_pools();
	if (!pools) {
		printf("daemon: none at %s\n", session.socket);
		good = false;
	} else {
		printf("daemon: %s, %u pools\n", session.socket, pools->count);
		for (unsigned i = 0; i < pools->count; i++)
			printf("pool: %s (%s, device %u:%u): %s\n", pools->pool[i].name,
			       dlp_pool_type_text(pools->pool[i].type), major(pools->pool[i].dev),
			       minor(pools->pool[i].dev),
			       pools->pool[i].label ? dlp_label_text(pools->pool[i].label)
						    : "not ready, see 'daxleasectl pools'");
	}
	return fflush(stdout) == 0 && good ? 0 : 1;
}

__attribute__((constructor)) void shim_start(void)
{
	static bool started;
	const char *asked = getenv("DAXLEASE_CHECK");

	if (started)
		return;
	started = true;
	real_bind();
	session_configure();
	fork_follow();
	end_follow();
	if (asked && strcmp(asked, "1") == 0)
		_exit(check());
}
