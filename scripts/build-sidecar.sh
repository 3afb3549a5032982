#!/usr/bin/env bash
# The release build of the daemon: build/push-sidecar.
source "$(dirname "$0")/lib.sh"

"$CARGO" build --release --locked -p push-sidecar
place "$(target_dir)/release/push-sidecar" "$build/push-sidecar"
