# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# A daemon under its keeper, to be killed. Sourced behind lib.sh. $program: what is run (default: the daemon).
program=${program:-$daemon_build/daxleased}

# The keeper's child: the daemon itself.
child() { tr ' ' '\n' <"/proc/$daemon/task/$daemon/children" | head -n 1; }
start_kept() { # BREAK-TIME-SECONDS
	break_time=$1
	write_config
	: >"$scratch/daemon.log"
	"$program" --keeper --config "$scratch/conf" --debug >>"$scratch/daemon.log" 2>&1 &
	daemon=$!
	pids+=("$daemon")
	await_daemon 20
}
# Both, and everybody else of the scenario.
stop_kept() {
	local one
	one=$(child)
	kill -KILL "$daemon"
	[ -z "$one" ] || kill -KILL "$one"
	for pid in "${pids[@]}"; do kill -KILL "$pid"; done
	wait_for 20 gone "$one"
	pids=()
	rm -f "$socket"
} 2>/dev/null
is_back() {
	local now
	now=$(child)
	[ -n "$now" ] && [ "$now" != "$old" ] && ctl status >/dev/null
}
kill_daemon() { # [PID...]: with these
	old=$(child)
	kill -KILL "$old" "$@"
}
not() { ! "$@"; }
