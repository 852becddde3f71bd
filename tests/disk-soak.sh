#!/usr/bin/env bash
# An ext4 disk of 16 MB that is pulled and put back, made read-only, filled and freed for MINUTES under load. Exit 0: nothing was lost
# that it could hold, and nothing stood still. 1: something was. 2: it could not run. It mounts, so it needs root.
#   LUMBERJACK=path   takes that binary instead of building one;  SEED=N   other dice
set -euo pipefail
cd "$(dirname "$0")/.."

minutes=${1:-}
[[ $minutes =~ ^[0-9]{1,4}(\.[0-9]+)?$ ]] || { echo "usage: tests/disk-soak.sh MINUTES" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "it mounts a disk: run it as root" >&2; exit 2; }
for program in python3 mkfs.ext4 losetup; do
    command -v "$program" > /dev/null || { echo "$program is missing: install it" >&2; exit 2; }
done

binary=${LUMBERJACK:-}
if [ -z "$binary" ]; then
    cargo build --locked --release
    binary=${CARGO_TARGET_DIR:-target}/release/lumberjack
fi
# Mounts of its own: whatever happens, none is left.
exec unshare -m python3 -B tests/soak/disk.py "$binary" "$minutes"
