#!/usr/bin/env bash
# Chaos: a box with a spool among real NATS servers that are killed, cut off, moved, made slow and put back to an earlier
# state, for SECONDS (60), with the choices of SEED (any). At the end of each round of 20 seconds every line that a client
# has a receipt for has to be in the stream, once and in order. Exit 0: it was.
#   tests/chaos.sh 3600        an hour
#   tests/chaos.sh 60 42       the choices of a run that said so
#   CHAOS_SECONDS, CHAOS_SEED  the same
# The servers: .ci/install-clients gets them.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-${CHAOS_SECONDS:-60}}
[[ $seconds =~ ^[1-9][0-9]{0,6}$ ]] || { echo "usage: tests/chaos.sh [SECONDS [SEED]]" >&2; exit 2; }
seed=${2:-${CHAOS_SEED:-}}
[[ $seed =~ ^[0-9]{0,19}$ ]] || { echo "usage: tests/chaos.sh [SECONDS [SEED]]" >&2; exit 2; }
if [ -z "${LUMBERJACK_NATS_SERVER:-}" ] && [ -f target/ci/env ]; then
    # shellcheck source=/dev/null  # written by .ci/install-clients
    . target/ci/env
fi
export CHAOS_SECONDS=$seconds
if [ -n "$seed" ]; then export CHAOS_SEED=$seed; fi
# A round is not cut off, and its end waits for what is left to be delivered.
export LUMBERJACK_TEST_SECONDS=$((seconds + 600))
exec cargo test --locked --release --test nats chaos::chaos -- --nocapture
