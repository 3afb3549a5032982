#!/usr/bin/env bash
# stage.sh SBINDIR: what is installed and is not in the repository as it is goes to build/stage:
# programs without symbols, man pages, completions, units that start SBINDIR/push-sidecar.
source "$(dirname "$0")/lib.sh"

sbin=${1:?usage: stage.sh SBINDIR}
stage=$build/stage
rm -rf "$stage"
mkdir -p "$stage/units"
"$CARGO" run --release --locked --quiet -p push-sidecar --example manual -- "$stage" nginx-conf/push-sidecar.toml
gzip -9n "$stage"/man/*
gzip -9nc CHANGELOG.md >"$stage/changelog.gz"
for file in push-sidecar "$module"; do
    strip --strip-unneeded -o "$stage/$file" "$build/$file"
done
for unit in packaging/systemd/*; do
    sed "s|/usr/sbin/push-sidecar|$sbin/push-sidecar|" "$unit" >"$stage/units/${unit##*/}"
done
