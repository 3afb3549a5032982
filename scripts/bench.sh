#!/usr/bin/env bash
# bench.sh [quick|serve|...options of `push-bench suite`]: sets up what is compared in a folder of
# its own, measures, and leaves nothing running. `make bench` and `make bench-quick` start it.
source "$(dirname "$0")/lib.sh"

arguments=(--page docs/performance.md)
case ${1-} in
quick) arguments=(--quick) && shift ;;
serve) arguments=(--serve) && shift ;;
esac

"$CARGO" build --release --locked -p push-bench
dir=$(mktemp -d)
# push-bench ends what it has started; this is for when it was killed itself. A pid file names a
# process only while that still is the program that the file is named after.
clean() {
    local file pid name
    for file in "$dir"/*.pid; do
        [[ -e $file ]] || continue
        pid=$(<"$file") name=${file##*/} name=${name%-*}
        [[ $(readlink "/proc/$pid/exe" 2>/dev/null) == *"${name/floor/push-bench}"* ]] || continue
        kill -TERM "$pid" 2>/dev/null || true
    done
    rm -rf "$dir"
}
trap clean EXIT
trap 'exit 130' INT TERM HUP

# Clients and servers have many sockets each.
ulimit -Sn "$(ulimit -Hn)"
"$(target_dir)/release/push-bench" suite --dir "$dir" --nginx "$NGINX_BINARY" \
    --module "$build/$module" --sidecar "$build/push-sidecar" "${arguments[@]}" "$@"
