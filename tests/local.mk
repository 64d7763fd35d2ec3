# SPDX-License-Identifier: LGPL-2.1-or-later
# Programs the tests need; what runs them: tests/run-all and `make check`.
EXTRA_DIST += \
	debian-packages \
	tests/build-tree \
	tests/coverage \
	tests/coverage.h \
	tests/demo/check \
	tests/demo/holder.c \
	tests/demo/run \
	tests/demo/run-rdma \
	tests/demo/timeline \
	tests/fuzz/fuzz_protocol.c \
	tests/fuzz/fuzz_session.c \
	tests/fuzz/fuzz_shim.c \
	tests/fuzz/fuzz_shim.h \
	tests/fuzz/fuzz_shim.seeds \
	tests/fuzz/fuzz_shim_daemon.c \
	tests/fuzz/fuzz_protocol.seeds \
	tests/fuzz/run \
	tests/guest/breakers \
	tests/guest/breakers_run \
	tests/guest/devdax \
	tests/guest/fetch-kernel \
	tests/guest/initramfs-init \
	tests/guest/keeper \
	tests/guest/kernel_lease \
	tests/guest/kernel_lease_inside \
	tests/guest/inside \
	tests/guest/leases \
	tests/guest/lib.sh \
	tests/guest/mkinitramfs \
	tests/guest/nfs_export \
	tests/guest/run \
	tests/guest/run-tests \
	tests/guest/service \
	tests/host/breaker_table \
	tests/host/breakers_run \
	tests/host/completion \
	tests/host/doctor \
	tests/host/drain \
	tests/host/fence \
	tests/host/fence_run \
	tests/host/guard_run \
	tests/host/keeper \
	tests/host/kept.sh \
	tests/host/kernel_lease \
	tests/host/kernel_lease_run \
	tests/host/killsteps \
	tests/host/leases \
	tests/host/lib.sh \
	tests/host/pool_check.sh \
	tests/host/prepare \
	tests/host/programs \
	tests/host/replays \
	tests/host/reports \
	tests/host/races \
	tests/host/requests \
	tests/host/run \
	tests/host/shim_threads \
	tests/host/killpoints \
	tests/host/storm \
	tests/host/takeover \
	tests/host/upgrade \
	tests/host/xfs_exchange_feature \
	tests/install-tree \
	tests/model/README.md \
	tests/model/core.pml \
	tests/model/daemon.pml \
	tests/model/lease.pml \
	tests/model/run \
	tests/model/state.pml \
	tests/model/world.pml \
	tests/make-check \
	tests/run-all \
	tests/unit/core_runs

unit_cppflags = $(AM_CPPFLAGS) $(LIBEVENT_CFLAGS) $(LIBSYSTEMD_CFLAGS) $(INIH_CFLAGS) $(CMOCKA_CFLAGS)

# --- unit tests: `make check` ---
unit_programs = \
	proto_validate \
	config_load \
	core_killed \
	core_restore \
	core_rules \
	decode_calls \
	decode_i386 \
	guard_leases \
	guard_tables \
	journal_cut \
	pool_extents \
	pool_mount \
	store_names \
	worker_fence \
	worker_maps \
	worker_queue \
	worker_process
check_PROGRAMS += $(unit_programs)
TESTS += $(unit_programs)

proto_validate_SOURCES = tests/unit/proto_validate.c
proto_validate_CPPFLAGS = $(unit_cppflags)
proto_validate_LDADD = libproto.la $(CMOCKA_LIBS)

config_load_SOURCES = tests/unit/config_load.c daemon/config.c daemon/config.h
config_load_CPPFLAGS = $(unit_cppflags)
config_load_LDADD = $(INIH_LIBS) $(CMOCKA_LIBS)

# It includes daemon/journal.c, as journal_cut does.
core_killed_SOURCES = tests/unit/core_killed.c
core_killed_CPPFLAGS = $(unit_cppflags)
core_killed_LDADD = libcore.la $(CMOCKA_LIBS)

core_restore_SOURCES = tests/unit/core_restore.c tests/unit/core_store.h
core_restore_CPPFLAGS = $(unit_cppflags)
core_restore_LDADD = libcore.la $(CMOCKA_LIBS)

core_rules_SOURCES = tests/unit/core_rules.c
core_rules_CPPFLAGS = $(unit_cppflags)
core_rules_LDADD = libcore.la $(CMOCKA_LIBS)

decode_calls_SOURCES = tests/unit/decode_calls.c
decode_calls_CPPFLAGS = $(unit_cppflags)
decode_calls_LDADD = libguard.la $(CMOCKA_LIBS)

decode_i386_SOURCES = tests/unit/decode_i386.c
decode_i386_CPPFLAGS = $(unit_cppflags)
decode_i386_LDADD = libguard.la $(CMOCKA_LIBS)

guard_leases_SOURCES = tests/unit/guard_leases.c
guard_leases_CPPFLAGS = $(unit_cppflags)
guard_leases_LDADD = libguard.la $(CMOCKA_LIBS) -lpthread

guard_tables_SOURCES = tests/unit/guard_tables.c
guard_tables_CPPFLAGS = $(unit_cppflags)
guard_tables_LDADD = libguard.la $(CMOCKA_LIBS) -lpthread

journal_cut_SOURCES = tests/unit/journal_cut.c
journal_cut_CPPFLAGS = $(unit_cppflags)
journal_cut_LDADD = $(CMOCKA_LIBS)

pool_extents_SOURCES = tests/unit/pool_extents.c
pool_extents_CPPFLAGS = $(unit_cppflags)
pool_extents_LDADD = libpool.la libproto.la $(CMOCKA_LIBS)

pool_mount_SOURCES = tests/unit/pool_mount.c
pool_mount_CPPFLAGS = $(unit_cppflags)
pool_mount_LDADD = libpool.la libproto.la $(CMOCKA_LIBS)

store_names_SOURCES = tests/unit/store_names.c daemon/store_kinds.c daemon/store_kinds.h daemon/uverbs.c daemon/uverbs.h
store_names_CPPFLAGS = $(unit_cppflags)
store_names_LDADD = $(CMOCKA_LIBS)

# What a worker does, without the loop; these tests have a guard_op_settle() of their own.
worker_side = daemon/uverbs.c daemon/uverbs.h daemon/worker.h daemon/worker_fence.c daemon/worker_jobs.c daemon/worker_jobs.h daemon/worker_maps.c
worker_all = $(worker_side) daemon/worker.c daemon/worker_spawn.c

worker_fence_SOURCES = tests/unit/worker_fence.c $(worker_side)
worker_fence_CPPFLAGS = $(unit_cppflags)
worker_fence_LDADD = libpool.la libproto.la $(CMOCKA_LIBS) -lpthread

worker_maps_SOURCES = tests/unit/worker_maps.c $(worker_side)
worker_maps_CPPFLAGS = $(unit_cppflags)
worker_maps_LDADD = libpool.la libproto.la $(CMOCKA_LIBS) -lpthread

worker_queue_SOURCES = tests/unit/worker_queue.c tests/unit/worker_fixture.h $(worker_all)
worker_queue_CPPFLAGS = $(unit_cppflags)
worker_queue_LDADD = libpool.la libproto.la $(LIBEVENT_LIBS) $(CMOCKA_LIBS) -lpthread

worker_process_SOURCES = tests/unit/worker_process.c tests/unit/worker_fixture.h $(worker_all)
worker_process_CPPFLAGS = $(unit_cppflags)
worker_process_LDADD = libpool.la libproto.la $(LIBEVENT_LIBS) $(CMOCKA_LIBS) -lpthread

# --- programs that scripts run ---
check_PROGRAMS += api breakers core_property fence_holder guard_events holder keeper_child keeper_clients mr_destroy pool_check pool_stuck \
	rdma_pair

api_SOURCES = tests/host/api.c
api_LDADD = libdaxlease.la

breaker_calls = \
	tests/host/breaker_calls.h \
	tests/host/breaker_free.c \
	tests/host/breaker_i386.c \
	tests/host/breaker_place.c \
	tests/host/breaker_remap.c \
	tests/host/breaker_size.c \
	tests/host/breaker_write.c \
	tests/host/guard_harness.c \
	tests/host/guard_harness.h \
	tests/host/guard_uring.c \
	tests/host/guard_uring.h \
	tests/host/guard_uring_calls.c

breakers_SOURCES = \
	$(breaker_calls) \
	tests/host/breakers.c \
	tests/host/breakers.h \
	tests/host/breakers_oracle.c \
	tests/host/breakers_rows.c
breakers_LDADD = libdaxlease.la -lpthread

guard_events_SOURCES = \
	$(breaker_calls) \
	tests/host/guard_calls.c \
	tests/host/guard_calls.h \
	tests/host/guard_cases.c \
	tests/host/guard_events.c \
	tests/host/guard_settling.c
guard_events_LDADD = libguard.la -lpthread

store_all = daemon/store.c daemon/store.h daemon/store_ask.c daemon/store_inside.h daemon/store_kinds.c daemon/store_kinds.h \
	daemon/store_start.c daemon/notify.c daemon/notify.h daemon/log.c daemon/log.h daemon/uverbs.c daemon/uverbs.h
keeper_child_SOURCES = tests/host/keeper_child.c tests/host/keeper_child.h daemon/keeper.c daemon/keeper.h \
	daemon/keeper_start.c daemon/keeper_start.h daemon/keeper_table.c daemon/keeper_table.h $(store_all)
keeper_child_CPPFLAGS = $(unit_cppflags)
keeper_child_LDADD = $(LIBSYSTEMD_LIBS) -lpthread

keeper_clients_SOURCES = tests/host/keeper_clients.c tests/host/keeper_child.h

pool_check_SOURCES = tests/host/pool_check.c
pool_check_LDADD = libpool.la libproto.la

pool_stuck_SOURCES = tests/host/pool_stuck.c $(worker_all)
pool_stuck_CPPFLAGS = $(unit_cppflags)
pool_stuck_LDADD = libpool.la libproto.la $(LIBEVENT_LIBS) -lpthread

mr_destroy_SOURCES = tests/guest/mr_destroy.c $(worker_side)
mr_destroy_CPPFLAGS = $(unit_cppflags) $(LIBIBVERBS_CFLAGS)
mr_destroy_LDADD = libpool.la libproto.la $(LIBIBVERBS_LIBS) -lpthread

core_property_SOURCES = tests/unit/core_property.c tests/unit/core_store.h
core_property_LDADD = libcore.la

# Not sanitized: they run under the shim, whose runtime they are to be without.
fence_holder_SOURCES = tests/host/fence_holder.c libshim/client.c libshim/inherit.c proto/validate.c proto/wire.c proto/words.c
fence_holder_CFLAGS = -std=gnu17 $(WARNINGS)
fence_holder_LDFLAGS =

holder_SOURCES = tests/host/holder.c
storm_SOURCES = tests/host/storm.c
killed_at_SOURCES = tests/host/killed_at.c
holder_CFLAGS = -std=gnu17 $(WARNINGS)
holder_LDFLAGS =

rdma_pair_SOURCES = tests/guest/rdma_pair.c
rdma_pair_CFLAGS = -std=gnu17 $(WARNINGS)
rdma_pair_LDFLAGS =
rdma_pair_LDADD = $(LIBIBVERBS_LIBS)

# The daemon as the tests want it (daemon/test_build.h): never installed.
check_PROGRAMS += daxleased_test
daxleased_test_SOURCES = tests/host/test_build.c $(daxleased_SOURCES) $(libcore_la_SOURCES) $(libguard_la_SOURCES)
daxleased_test_CPPFLAGS = $(daxleased_CPPFLAGS) -DDAXLEASE_TEST_BUILD
daxleased_test_LDADD = libpool.la libproto.la $(LIBEVENT_LIBS) $(LIBSYSTEMD_LIBS) $(INIH_LIBS) $(LIBDAXCTL_LIBS) -lpthread

# --- administration ---
check_PROGRAMS += churn storm killed_at
churn_SOURCES = tests/host/churn.c
churn_LDADD = libdaxlease.la
