#!/usr/bin/env bash
# Soak: a release binary for MINUTES among honest and hostile clients, on loopback, with a line of figures a minute and a
# verdict at the end. Exit 0: it held. 1: it did not. 2: it could not run. `tests/soak.sh 2` shows that the script works.
#   LUMBERJACK=path   takes that binary instead of building one
set -euo pipefail
cd "$(dirname "$0")/.."

minutes=${1:-}
[[ $minutes =~ ^[1-9][0-9]{0,4}$ ]] || { echo "usage: tests/soak.sh MINUTES (1 to 99999)" >&2; exit 2; }
command -v python3 > /dev/null || { echo "the clients are written in Python: install python3" >&2; exit 2; }

binary=${LUMBERJACK:-}
if [ -z "$binary" ]; then
    cargo build --locked --release
    binary=${CARGO_TARGET_DIR:-target}/release/lumberjack
fi
[ -x "$binary" ] || { echo "$binary is no program" >&2; exit 2; }

# In place of this shell, so that Ctrl-C and SIGTERM reach the one process that has to stop the other.
exec python3 -B tests/soak/soak.py "$binary" "$minutes"
