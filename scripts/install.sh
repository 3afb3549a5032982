#!/usr/bin/env bash
# install.sh install|uninstall: puts what was built where PREFIX (/usr/local) and nginx say, below
# DESTDIR; takes it away again, configuration aside.
source "$(dirname "$0")/lib.sh"
source scripts/files.sh

prefix=${PREFIX:-/usr/local}
[[ $prefix == /* ]] || die "PREFIX=$prefix: an absolute path is wanted"
destination=${DESTDIR:-}

# modules_path: where the installed nginx looks for `modules/`.
modules_path() {
    local options
    options=$("$NGINX_BINARY" -V 2>&1) || die "$NGINX_BINARY -V failed: is nginx installed? NGINX_BINARY names it"
    if [[ $options =~ --modules-path=([^ ]+) ]]; then
        printf '%s\n' "${BASH_REMATCH[1]}"
    elif [[ $options =~ --prefix=([^ ]+) ]]; then
        printf '%s\n' "${BASH_REMATCH[1]}/modules"
    else
        printf '/usr/local/nginx/modules\n'
    fi
}

modules=${MODULESDIR:-$(modules_path)}
# Where the distribution's nginx.conf includes load_module lines from.
if [[ -d $destination/etc/nginx/modules-enabled ]]; then
    load=/etc/nginx/modules-enabled/50-mod-http-bx-push.conf
elif [[ -d $destination/usr/share/nginx/modules ]]; then
    load=/usr/share/nginx/modules/mod-http-bx-push.conf
else
    load=-
fi
values=(
    stage="$build/stage" sbin="$prefix/sbin" modules="$modules" share="$prefix/share" doc="$prefix/share/doc/bx-push"
    units="${UNITDIR:-$prefix/lib/systemd/system}" sysusers="$prefix/lib/sysusers.d" tmpfiles="$prefix/lib/tmpfiles.d"
    etc=/etc nginx_http=/etc/nginx/conf.d/bx-push.conf nginx_locations=/etc/nginx/snippets/bx-push-locations.conf
    nginx_load="$load"
)

case ${1-} in
install)
    scripts/stage.sh "$prefix/sbin"
    files "${values[@]}" | while read -r mode keep from to; do
        if [[ $keep == keep && -e $destination$to ]]; then
            cmp -s "$from" "$destination$to" && continue
            say "$to is kept; the one of this version is $to.dist"
            to=$to.dist
        fi
        # As a new file: a running process keeps the one it has loaded.
        install -D -m "$mode" "$from" "$destination$to.new"
        mv -f "$destination$to.new" "$destination$to"
    done
    say "Installed below ${destination:-/}: $prefix/sbin/push-sidecar, $modules/$module"
    [[ $load != - ]] || say "Put 'load_module $modules/$module;' at the top of nginx.conf"
    if [[ ! $destination ]]; then
        say "Next, as docs/en/install.md tells: systemd-sysusers; systemd-tmpfiles --create; the key; systemctl enable --now push-sidecar.socket push-sidecar"
    fi
    ;;
uninstall)
    files "${values[@]}" | while read -r _ keep _ to; do
        if [[ $keep == keep ]]; then
            [[ ! -e $destination$to ]] || say "$to is left: it may be an operator's"
        else
            rm -f "$destination$to"
        fi
    done
    for folder in docs/en docs/ru docs/images docs examples packaging/monitoring packaging ''; do
        rmdir --ignore-fail-on-non-empty "$destination$prefix/share/doc/bx-push/$folder" 2>/dev/null || true
    done
    ;;
*) die "usage: install.sh install|uninstall" ;;
esac
