#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# For the tests of leases in the guest: results, waiting, a daemon, perftest. To be sourced, with $mode set: the protection
# that is switched off ("--guard-off"), or empty.
# shellcheck disable=SC2034 # it is what "run" was told
break_time=3
scratch=$(mktemp -d)
tests=0 failures=0
pids=()
more_config=() # lines, behind those of "run"
rdma=(-d rxe0 -x 1 -F)

ok() { echo "ok $((++tests)) - $*"; }
not_ok() {
	echo "not ok $((++tests)) - $*"
	failures=$((failures + 1))
}
check() { # WHAT COMMAND...
	local what=$1
	shift
	if "$@"; then ok "$what"; else not_ok "$what"; fi
}
# protected PROTECTIONS WHAT COMMAND...: a check that must fail with that protection (or any of "guard,revoke") off
protected() {
	local protection=${mode#--} what=$2 of=$1
	protection=${protection%-off}
	shift 2
	if [ -z "$mode" ] || [[ ,$of, != *,$protection,* ]]; then
		check "$what" "$@"
	elif "$@" >/dev/null; then
		not_ok "$protection off: still passes, so it does not test it: $what"
	else
		ok "$protection off: fails as it must: $what"
	fi
}
now_ms() { local us=${EPOCHREALTIME/./}; echo $((us / 1000)); }
wait_for() { # SECONDS COMMAND...
	local end=$(($(now_ms) + $1 * 1000))
	shift
	until "$@" 2>/dev/null; do
		[ "$(now_ms)" -lt $end ] || return 1
		read -rt 0.05 <> <(:) || :
	done
}
says() { grep -qE -- "$2" "$1"; }
gone() { ! kill -0 "$1" 2>/dev/null; }

finish() {
	for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null; done
	[ "$failures" -gt 0 ] && tail -n 40 "$scratch"/*.out "$scratch/daemon.log" | sed 's/^/# /'
	echo "1..$tests"
}
start_daemon() {
	# The emulated machine is slow: taking a mapping away takes it half a second.
	sed -e '/^revoke-margin/a fence-time = 20s' -e '/^\[pool ext4\]/a fence = kill' "$DAXLEASE_CONFIG" >"$scratch/conf"
	printf '%s\n' "${more_config[@]}" >>"$scratch/conf"
	daxleased --config "$scratch/conf" "$@" >"$scratch/daemon.log" 2>&1 &
	pids+=($!)
	wait_for 20 says "$scratch/daemon.log" ready\ on || {
		cat "$scratch/daemon.log"
		exit 1
	}
}

make_file() { # FILE MIB CHARACTER
	dd if=/dev/zero bs=1M count="$2" status=none | tr '\0' "$3" >"$1"
	sync "$1"
}
# Whether a file still has nothing but that character.
only() { [ "$(tr -d "$2" <"$1" | head -c 1 | wc -c)" = 0 ]; }

# --- perftest: a program nobody here wrote -------------------------------------------------------------------

listening() { ss -Hltn 'sport = :18515' | grep -q .; }
# perftest PROGRAM SERVER-PREFIX CLIENT-PREFIX SERVER-ARGS CLIENT-ARGS; its outputs: server.out, client.out
perftest() {
	local program=$1 server_prefix=$2 client_prefix=$3 server_args=$4 client_args=$5 server status
	# shellcheck disable=SC2086 # prefixes and arguments are lists
	$server_prefix "$program" "${rdma[@]}" $server_args >"$scratch/server.out" 2>&1 &
	server=$!
	pids+=("$server")
	wait_for 20 listening || return 1
	# shellcheck disable=SC2086
	$client_prefix timeout 60 "$program" "${rdma[@]}" $client_args 10.0.2.15 >"$scratch/client.out" 2>&1
	status=$?
	wait_for 20 gone "$server" || kill -KILL "$server"
	wait "$server"
	return $((status | $?))
}
rate() { awk '/^ *[0-9]+ +[0-9]+ / { print $4 }' "$scratch/client.out"; }

not() { ! "$@"; }

# --- a holder, and a peer that writes to it ---------------------------------------------------------------------

start_pair() { # FILE [OFFSET LENGTH]
	rm -f "$scratch/holder.out" "$scratch/peer.out" # else an earlier pair's words may be read
	"${hold[@]}" rdma_pair holder "$1" "$scratch/sock" "${@:2}" >"$scratch/holder.out" 2>&1 &
	holder=$!
	pids+=("$holder")
	wait_for 20 says "$scratch/holder.out" '^registered' || return 1
	rdma_pair peer "$scratch/sock" >"$scratch/peer.out" 2>&1 &
	peer=$!
	pids+=("$peer")
	wait_for 20 says "$scratch/peer.out" '^writing' && return
	tail -n 3 "$scratch/holder.out" "$scratch/peer.out" | sed 's/^/# /'
	return 1
}
listed() { # FILE
	daxleasectl --json list | python3 -c '
import json, sys
for lease in json.load(sys.stdin)["leases"]:
    if lease["path"] == sys.argv[1] and lease["pid"] == int(sys.argv[2]) and lease["mrs"] == 1 and lease["label"] == sys.argv[3]:
        sys.exit(0)
sys.exit(1)' "$@"
}
no_leases() { [ "$(daxleasectl --json list | grep -c '"pid"')" = 0 ]; }
state_is() { [ "$(sed 's/.*) //; s/ .*//' "/proc/$1/stat")" = "$2" ]; }

# Those of the table $scenarios that have this mode, and of them those that are named, if any are.
run_scenarios() { # [SCENARIO...]
	local line name modes argument protection=${mode#--}
	protection=${protection%-off}
	for line in "${scenarios[@]}"; do
		IFS='|' read -r name modes argument <<<"$line"
		[[ " $modes " = *" ${protection:--} "* ]] || continue
		[ $# -eq 0 ] || [[ " $* " = *" $name "* ]] || continue
		# shellcheck disable=SC2086 # an argument or none
		"scenario_$name" $argument
	done
	[ "$failures" -eq 0 ]
}
