# Shared by the scripts beside it: sourced, never run.
# shellcheck shell=bash

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

build=$root/build
module=ngx_http_bx_push_module.so
: "${CARGO:=cargo}" "${NGINX_BINARY:=/usr/sbin/nginx}"

say() { printf '%s\n' "$*"; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Where cargo leaves its builds, as an absolute path.
target_dir() {
    local dir=${CARGO_TARGET_DIR:-target}
    [[ $dir == /* ]] || dir=$root/$dir
    printf '%s\n' "$dir"
}

# Cargo's version of all crates.
version() { sed -nE '/^\[workspace.package\]/,/^\[/s/^version = "(.*)"/\1/p' Cargo.toml; }

# place FROM TO: puts a build where it is used from, as a new file, so that a running process
# keeps the one it has loaded; leaves an equal file alone.
place() {
    cmp -s "$1" "$2" && return
    mkdir -p "$(dirname "$2")"
    install -m 755 "$1" "$2.new"
    mv -f "$2.new" "$2"
}

# The clients that tests drive, as package-lock.json names them.
install_clients() {
    local modules=tests/node/node_modules
    if [[ ! -e $modules/.package-lock.json || tests/node/package-lock.json -nt $modules/.package-lock.json ]]; then
        (cd tests/node && npm ci --silent)
    fi
}
