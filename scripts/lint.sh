#!/usr/bin/env bash
# Formatting and lints of all crates, the module included.
source "$(dirname "$0")/lib.sh"

"$CARGO" fmt --all --check
"$CARGO" clippy --locked --workspace --exclude ngx-push-module --all-targets -- -D warnings
scripts/configure-nginx.sh
NGINX_SOURCE_DIR=/usr/share/nginx/src NGINX_BUILD_DIR=$build/nginx-objs \
    "$CARGO" clippy --locked -p ngx-push-module -- -D warnings
if "$CARGO" deny --version >/dev/null 2>&1; then
    # Advisories need a data base from outside; the rest is in the lock file.
    "$CARGO" deny --locked check bans licenses sources
    "$CARGO" deny --config deny.toml --locked --manifest-path fuzz/Cargo.toml check bans licenses sources
else
    say "cargo-deny is not installed: licences and sources were not checked"
fi
