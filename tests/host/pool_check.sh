#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# pool_check on loop-mounted images of ext4 and xfs, and on tmpfs. TAP. Needs root and loop devices; what cannot be
# mounted is skipped. The program is $POOL_CHECK, else the one in the build directory.
set -euo pipefail

program=${POOL_CHECK:-${abs_top_builddir:-.}/tests/host/pool_check}

if [ "$(id -u)" != 0 ]; then
	echo "1..0 # SKIP needs root, to mount"
	exit 0
fi
# The mounts end with this script, however it ends.
if [ -z "${POOL_CHECK_UNSHARED-}" ]; then
	program=$(realpath "$program")
	export POOL_CHECK=$program POOL_CHECK_UNSHARED=1
	exec unshare --mount --propagation private "$0" "$@"
fi

dir=$(mktemp -d)
trap 'cd /; umount "$dir/mnt" 2>/dev/null || true; rm -rf "$dir"' EXIT
mkdir "$dir/mnt"
next=1
status=0

# try NAME MOUNT-COMMAND...: mounts on $dir/mnt and runs the program there
try() {
	local name=$1 line
	shift
	if ! "$@" >"$dir/log" 2>&1; then
		echo "ok $next - $name # SKIP cannot be mounted: $(tail -1 "$dir/log")"
		next=$((next + 1))
		return
	fi
	"$program" "$dir/mnt" "$name" "$next" >"$dir/output" || status=1
	cat "$dir/output"
	line=$(sed -n 's/^# next //p' "$dir/output")
	[ -n "$line" ] || exit 1 # it bailed out
	next=$line
	umount "$dir/mnt"
}

# image SIZE MKFS...
image() {
	rm -f "$dir/image"
	truncate -s "$1" "$dir/image"
	shift
	"$@" "$dir/image"
	mount -o loop "$dir/image" "$dir/mnt"
}

try ext4 image 64M mkfs.ext4 -q -F -b 4096
try ext4-1k image 64M mkfs.ext4 -q -F -b 1024
try ext4-inline image 64M mkfs.ext4 -q -F -b 4096 -I 256 -O inline_data
try xfs image 320M mkfs.xfs -q -f -m reflink=1
try tmpfs mount -t tmpfs -o size=64M none "$dir/mnt"
echo "1..$((next - 1))"
exit $status
