#!/usr/bin/env bash
# Every test: those of the pure crates first, then the end-to-end suites on the builds that
# `make test` has made before.
source "$(dirname "$0")/lib.sh"

for file in "$build/$module" "$build/push-sidecar" "$build/vendored/nginx" "$build/vendored/$module" "$build/demo/index.html"; do
    [[ -e $file ]] || die "no $file: run 'make test'"
done
install_clients

"$CARGO" test --locked --workspace --exclude ngx-push-module --doc --quiet
"$CARGO" nextest run --locked --workspace --exclude ngx-push-module "$@"
