#!/usr/bin/env bash
# The simulation: many seeds and a verdict, or with SEED one of them with everything that happens.
source "$(dirname "$0")/lib.sh"

"$CARGO" build --quiet --profile sim --locked -p push-simulation
simulation=$(target_dir)/sim/push-simulation
if [[ -n ${SEED:-} ]]; then
    exec "$simulation" --seed "$SEED" --trace
fi
exec "$simulation" --seeds "${SEEDS:-10000}" --first "${FIRST:-1}"
