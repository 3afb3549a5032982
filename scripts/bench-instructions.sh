#!/usr/bin/env bash
# Counts the instructions of the hot paths; arguments go to `push-bench instructions`.
source "$(dirname "$0")/lib.sh"

"$CARGO" build --release --locked -p push-bench
"$(target_dir)/release/push-bench" instructions "$@"
