# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What the tests of the installed daemon under a real systemd share. Sourced, in the guest, by root.
set -uo pipefail
tests=0 failures=0 since=
check() { # WHAT COMMAND...
	local what=$1
	shift
	if "$@"; then echo "ok $((++tests)) - $what"; else
		echo "not ok $((++tests)) - $what"
		failures=$((failures + 1))
	fi
}
not() { ! "$@"; }
wait_for() { # SECONDS COMMAND...
	local end=$((SECONDS + $1))
	shift
	until "$@" 2>/dev/null; do
		[ $SECONDS -lt $end ] || return 1
		read -rt 0.1 <> <(:) || :
	done
}
gone() { ! kill -0 "$1" 2>/dev/null; }
says() { grep -qE -- "$2" "$1"; }

answered() { timeout 60 daxleasectl status >/dev/null; }
main_pid() { systemctl show -p MainPID --value daxleased; }
is_active() { [ "$(systemctl show -p ActiveState --value daxleased)" = active ]; }
# With nothing of the one before, which `systemctl restart` would keep.
restart() { systemctl stop daxleased; systemctl start daxleased; }
# Lines for the service's unit from the next restart on; none: as it is installed.
drop_in() { # [LINE...]
	mkdir -p /run/systemd/system/daxleased.service.d
	{ echo '[Service]' && printf '%s\n' "$@"; } >/run/systemd/system/daxleased.service.d/test.conf
	systemctl daemon-reload
}

# The journal from a moment on: since=$(moment), then in_journal MATCH... or journal_says PATTERN.
moment() { journalctl -n 0 --show-cursor | sed -n 's/^-- cursor: //p'; }
in_journal() { journalctl --after-cursor "$since" -u daxleased "$@" --output cat | grep -q .; }
journal_says() { journalctl --after-cursor "$since" -u daxleased --output cat | grep -qE -- "$1"; }
# Whether `journalctl -x` explains a message about it since then: the subject of the catalog's entry.
explained() { journalctl --after-cursor "$since" -u daxleased -x | grep -qE -- "Subject: $1"; }

pool_is() { daxleasectl pools | awk -v name="$1" -v state="$2" '$1 == name && $3 == state { found = 1 } END { exit !found }'; }
lease_is() { # PATH STATE
	daxleasectl list --output path,state | awk -v path="$1" -v state="$2" '$1 == path && $2 == state { found = 1 } END { exit !found }'
}

# A written file of 4 MiB, its owner's alone, in a directory that is its owner's alone: what the daemon may not read by itself.
make_file() { # FILE [OWNER]
	mkdir -p "$(dirname "$1")"
	dd if=/dev/zero bs=1M count=4 status=none | tr '\0' x >"$1"
	sync "$1"
	if [ $# -gt 1 ]; then
		chown "$2" "$1" "$(dirname "$1")"
		chmod 600 "$1"
		chmod 700 "$(dirname "$1")"
	fi
}
# Where everybody can run it.
cp "$DAXLEASE_BUILD/holder" "$DAXLEASE_BUILD/rdma_pair" /usr/local/bin/
as() { # USER COMMAND...
	local user=$1
	shift
	setpriv --reuid "$user" --regid nogroup --clear-groups "$@"
}
# Sets $holder; its output is in /tmp/holder.out.
hold() { # USER FILE [HOLDER-OPTION...] [OFFSET LENGTH]
	local user=$1 file=$2 options=()
	shift 2
	while [[ ${1-} == --* ]]; do options+=("$1") && shift; done
	# By a new name: what a holder before it says is not its word.
	rm -f /tmp/holder.out
	setpriv --reuid "$user" --regid nogroup --clear-groups daxlease-run -- holder "${options[@]}" "$file" "$@" >/tmp/holder.out 2>&1 &
	holder=$!
	disown # no line about its death
	wait_for 20 lease_is "$file" held
}
end_holder() {
	kill -KILL "$holder"
	# Not before the daemon knows it, too.
	wait_for 20 test "$(daxleasectl list --output pid | grep -c "^ *$holder\$")" = 0
}
punch() { timeout 60 fallocate --punch-hole --offset 0 --length 4096 "$@"; }

finish() {
	[ "$failures" -eq 0 ] || {
		systemctl --no-pager status daxleased daxleased.socket
		journalctl -b -u daxleased -u daxleased.socket | tail -n 100
		cat /tmp/*.out
	} 2>&1 | sed 's/^/# /'
	echo "1..$tests"
}
trap finish EXIT
