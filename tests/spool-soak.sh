#!/bin/sh
# A million worlds of a spool (src/spool/world.rs): lines, outputs, failing disks, kills, power cuts and damage in an order that
# dice choose. For who has ten minutes, or an hour:
#
#     tests/spool-soak.sh [WORLDS [FIRST]]
#
# WORLDS from the one of seed FIRST [1000000 and 0], in parts of 10,000, with the least priority. It stops at the first that fails, and
# names its seed: SPOOL_SEED=N cargo test --release --lib --features spool spool::world -- --nocapture tells that one step by step.
set -eu
worlds=${1:-1000000}
from=${2:-0}
end=$((from + worlds))
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo test --release --lib --features spool --no-run
while [ "$from" -lt "$end" ]; do
    to=$((from + 10000))
    [ "$to" -le "$end" ] || to=$end
    if ! SPOOL_SEEDS=$from..$to nice -n 19 cargo test --quiet --release --lib --features spool spool::world -- --nocapture >"$log" 2>&1; then
        cat "$log" >&2
        exit 1
    fi
    grep ' worlds, ' "$log" | sed "s/^/seeds $from..$to: /"
    from=$to
done
