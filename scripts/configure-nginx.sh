#!/usr/bin/env bash
# Configures the sources that nginx-dev brings, as the installed nginx was configured, in
# build/nginx-objs: the module is built against the headers that this makes. Nothing of nginx is
# compiled, and nothing is written outside build/. Does nothing when nginx is still the same.
source "$(dirname "$0")/lib.sh"

sources=/usr/share/nginx/src
objs=$build/nginx-objs
[[ -x $NGINX_BINARY ]] || die "no nginx at $NGINX_BINARY (set NGINX_BINARY=/path/to/nginx)"
[[ -r $sources/conf_flags ]] || die "no sources in $sources: is the package nginx-dev installed?"

running=$("$NGINX_BINARY" -v 2>&1 | sed -nE 's|.*nginx/([0-9.]+).*|\1|p')
brought=$(sed -nE 's|^#define NGINX_VERSION +"([0-9.]+)".*|\1|p' "$sources/src/core/nginx.h")
[[ $running == "$brought" ]] ||
    die "$NGINX_BINARY is $running, but nginx-dev brings the sources of $brought: a module loads only into the version it was built for"

stamp=$( ("$NGINX_BINARY" -V 2>&1 && cat "$sources/conf_flags" "$sources/src/core/nginx.h") | sha256sum)
if [[ -f $objs/ngx_auto_config.h && -f $objs/Makefile && $(cat "$objs/stamp" 2>/dev/null) == "$stamp" ]]; then
    exit 0
fi

say "Configuring the sources of nginx $running"
rm -rf "$objs"
mkdir -p "$objs"
NGX_CONF_FLAGS=()
# shellcheck source=/dev/null
source "$sources/conf_flags"
if ! (cd "$sources" && ./configure "${NGX_CONF_FLAGS[@]}" --builddir="$objs") >"$objs/configure.log" 2>&1; then
    tail -n 20 "$objs/configure.log" >&2
    die "nginx's configure failed; the whole of it is in $objs/configure.log"
fi
printf '%s\n' "$stamp" >"$objs/stamp"
