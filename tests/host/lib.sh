# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What the host tests share: a scratch file system as pool, a private daemon, holders and breakers, conditions
# that are waited for. Sourced. Needs: $DAXLEASE_BUILD (tools and shim), $DAXLEASE_DAEMON_BUILD (daemon).
set -uo pipefail
shopt -s lastpipe
src=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${DAXLEASE_BUILD:-$src/build}
daemon_build=${DAXLEASE_DAEMON_BUILD:-$build}
break_time=${BREAK_TIME:-2} # seconds
margin=1
tests=0 failures=0
pids=() # everything started, to be ended by pid

ok() { echo "ok $((++tests)) - $*"; }
not_ok() {
	echo "not ok $((++tests)) - $*"
	failures=$((failures + 1))
}
# check WHAT COMMAND...: a test whose outcome is the command's status
check() {
	local what=$1
	shift
	if "$@"; then ok "$what"; else not_ok "$what"; fi
}
skip() { echo "ok $((++tests)) - $1 # SKIP $2"; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
	local end=$(($(now_ms) + $1 * 1000))
	shift
	until "$@" 2>/dev/null; do
		[ "$(now_ms)" -lt $end ] || return 1
		read -rt 0.02 <> <(:) || :
	done
}
gone() { ! kill -0 "$1" 2>/dev/null; }
says() { grep -qE -- "$2" "$1"; } # FILE PATTERN

start_scratch() { # FSTYPE
	scratch=$(mktemp -d /var/tmp/daxlease.XXXXXX)
	fstype=$1
	pool=$scratch/pool
	mkdir "$pool"
	truncate -s 400M "$scratch/image"
	case $1 in
	xfs) mkfs.xfs -q "$scratch/image" ;;
	ext4) mkfs.ext4 -qF "$scratch/image" ;;
	esac
	mount -o loop "$scratch/image" "$pool"
	socket=$scratch/run/sock
	mkdir "$scratch/run" "$scratch/advisory"
	export DAXLEASE_SOCKET=$socket
}

write_config() {
	cat >"$scratch/conf" <<-END
		[daemon]
		socket = $socket
		lease-break-time = ${break_time}s
		revoke-margin = ${margin}s
		fence-time = 5s
		[pool scratch]
		type = mount
		path = $pool
		[pool loose]
		type = directory
		path = $scratch/advisory
		${more_pools-}
	END
}

await_daemon() { # SECONDS
	wait_for "$1" ctl status >/dev/null || {
		cat "$scratch/daemon.log"
		echo "Bail out! the daemon does not answer"
		exit 1
	}
}

start_daemon() { # [OPTION...]
	write_config
	"$daemon_build/daxleased" --config "$scratch/conf" --debug "$@" >>"$scratch/daemon.log" 2>&1 &
	daemon=$!
	pids+=("$daemon")
	await_daemon 10
}

stop_daemon() {
	kill -TERM "$daemon" 2>/dev/null
	wait_for 20 gone "$daemon" || kill -KILL "$daemon"
	wait "$daemon" 2>/dev/null
}

ctl() { "$build/daxleasectl" --socket "$socket" "$@"; }
# Text, not JSON: starting an interpreter can take longer than what a test waits for.
leases() { local out && out=$(ctl list --output lease 2>/dev/null) && echo $(($(wc -l <<<"$out") - 1)); }
leases_are() { [ "$(leases)" = "$1" ]; }

# A written file: 1 MiB unless said otherwise.
make_file() { # NAME [MIB]
	dd if=/dev/zero bs=1M count="${2:-1}" status=none | tr '\0' a >"$pool/$1"
	sync "$pool/$1"
}

# Of a run that failed, if the test has set keep_as: where it happens once in a thousand times, the logs are all there is.
keep_logs() {
	local place=$daemon_build/logs/$keep_as.$$
	mkdir -p "$place" && cp "$scratch"/*.log "$scratch"/*.out "$scratch"/conf "$place" && echo "# all logs are kept in $place"
}

# Starts tests/host/holder under the shim; its output goes to $scratch/NAME.out, and it is killed at the end.
# hold NAME HOLDER-ARGUMENTS... ; environment passes through
hold() {
	local name=$1 looked
	looked=$(second_looks)
	shift
	"$build/daxlease-run" -- "$build/holder" "$@" >"$scratch/$name.out" 2>&1 &
	holder=$!
	pids+=("$holder")
	wait_for 10 says "$scratch/$name.out" '^mapped' || {
		cat "$scratch/$name.out" "$scratch/daemon.log"
		return 1
	}
	# Not before the second look: with the guard off it would be the one that finds a change and revokes.
	[ "$(leases)" = 0 ] || wait_for 5 test_second_look "$looked"
}
second_looks() { grep -c 'second look at' "$scratch/daemon.log"; }
test_second_look() { [ "$(second_looks)" -gt "$1" ]; }

# Runs a breaker in the background; its duration in ms goes to $scratch/NAME.ms and its status to NAME.rc.
breaker() { # NAME COMMAND...
	local name=$1
	shift
	rm -f "$scratch/$name".{ms,rc,err}
	(
		begin=$(now_ms)
		"$@" 2>"$scratch/$name.err"
		echo $? >"$scratch/$name.rc"
		echo $(($(now_ms) - begin)) >"$scratch/$name.ms"
	) &
	breaker=$!
	pids+=("$breaker")
}
breaker_done() { [ -s "$scratch/$1.ms" ]; }
took() { # NAME MIN MAX (ms)
	local ms
	ms=$(cat "$scratch/$1.ms" 2>/dev/null) || return 1
	[ "$ms" -ge "$2" ] && [ "$ms" -le "$3" ] || {
		echo "# $1 took $ms ms, wanted $2..$3"
		return 1
	}
}
punch() { fallocate --punch-hole --offset "$2" --length "$3" "$pool/$1"; } # FILE OFFSET LENGTH
waiting_is() { [ "$(ctl status 2>/dev/null | sed -n 's/^breakers waiting *//p')" = "$1" ]; }

# One that has ended is reaped by the shell, and its number may be that of another test's process by now.
is_ours() { [ "$(ps -o ppid= -p "$1" | tr -d ' ')" = "$$" ]; }
finish() {
	local status=$?
	trap - EXIT
	for pid in "${pids[@]}"; do [ "$pid" != "${daemon:-0}" ] && is_ours "$pid" && kill -KILL "$pid" 2>/dev/null; done
	[ -n "${daemon:-}" ] && stop_daemon
	grep -E 'ERROR: (Address|Thread|Leak)Sanitizer|runtime error' "${scratch:-/nonexistent}/daemon.log" &&
		cat "$scratch/daemon.log" && not_ok "the daemon's sanitizer is silent"
	[ "$failures" -gt 0 ] && tail -n 60 "$scratch/daemon.log" | sed 's/^/# /'
	[ "$failures" -gt 0 ] && [ -n "${keep_as-}" ] && keep_logs
	if mountpoint -q "${pool:-/nonexistent}"; then umount "$pool" || umount -l "$pool"; fi
	rm -rf "${scratch:?}"
	[ "$failures" -gt 0 ] && status=1
	echo "1..$tests"
	exit "$status"
}
trap finish EXIT
