#!/usr/bin/env bash
# build-module.sh installed: the module for the installed nginx, build/ngx_http_bx_push_module.so.
# build-module.sh echo: the same with `bx_push echo`, for tests alone, in build/echo/; not optimised.
# build-module.sh vendored: nginx of crate nginx-src and the module for it, in build/vendored/.
source "$(dirname "$0")/lib.sh"

cargo_build=("$CARGO" build --release --locked -p ngx-push-module)
built=$(target_dir)/release/libngx_push_module.so

case ${1-} in
installed)
    scripts/configure-nginx.sh
    NGINX_SOURCE_DIR=/usr/share/nginx/src NGINX_BUILD_DIR=$build/nginx-objs "${cargo_build[@]}"
    place "$built" "$build/$module"
    ;;
echo)
    scripts/configure-nginx.sh
    NGINX_SOURCE_DIR=/usr/share/nginx/src NGINX_BUILD_DIR=$build/nginx-objs \
        "$CARGO" build --locked -p ngx-push-module --features test-echo --target-dir "$(target_dir)/echo"
    place "$(target_dir)/echo/debug/libngx_push_module.so" "$build/echo/$module"
    ;;
vendored)
    unset NGINX_SOURCE_DIR NGINX_BUILD_DIR
    messages=$(mktemp)
    trap 'rm -f "$messages"' EXIT
    "${cargo_build[@]}" --features vendored --message-format=json-render-diagnostics >"$messages"
    # The build script of nginx-sys compiles nginx in its own output folder.
    out=$(sed -nE '/"reason":"build-script-executed"/s|.*[#/]nginx-sys[@#].*"out_dir":"([^"]*)".*|\1|p' "$messages")
    [[ -x $out/objs/nginx ]] || die "cargo left no nginx in '$out/objs'"
    place "$out/objs/nginx" "$build/vendored/nginx"
    place "$built" "$build/vendored/$module"
    ;;
*) die "usage: build-module.sh installed|echo|vendored" ;;
esac
