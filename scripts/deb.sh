#!/usr/bin/env bash
# deb.sh: build/bx-push_VERSION_ARCHITECTURE.deb from what `make build` has left in build/, for the
# nginx that is installed. The last line names it. BX_PUSH_VERSION: another version than Cargo's.
source "$(dirname "$0")/lib.sh"
source scripts/files.sh

cargo_deb=3.8.0
tool=$build/tools/bin/cargo-deb
if [[ $("$tool" --version 2>/dev/null) != "cargo-deb $cargo_deb" ]]; then
    say "Installing cargo-deb $cargo_deb"
    "$CARGO" install --quiet --locked --root "$build/tools" --target-dir "$(target_dir)/tools" cargo-deb --version "$cargo_deb"
fi

# The module loads into one nginx only. Debian's tells by a virtual package what fits it.
abi=$(dpkg-query -Wf '${Provides}' nginx 2>/dev/null | grep -o 'nginx-abi-[^ ,]*' || true)
[[ $abi ]] || abi="nginx (= $(dpkg-query -Wf '${Version}' nginx))"

scripts/stage.sh /usr/sbin
work=$build/deb
rm -rf "$work"
mkdir -p "$work/debian" "$work/units"
touch "$work/lib.rs"
cp packaging/deb/{postinst,prerm,postrm} "$work/"
cp "$build"/stage/units/* "$work/units/"

# dpkg-shlibdeps wants to stand in a source package.
printf 'Source: bx-push\n\nPackage: bx-push\nArchitecture: any\n' >"$work/debian/control"
libraries=$(cd "$work" && dpkg-shlibdeps -O --warnings=0 -e"$build/stage/push-sidecar" -e"$build/stage/$module" 2>/dev/null | sed -n 's/^shlibs:Depends=//p')

assets='' conffiles=''
while read -r mode keep from to; do
    [[ $from == /* ]] || from=$root/$from
    assets+="    [\"$from\", \"${to#/}\", \"$mode\"],"$'\n'
    if [[ $keep == keep ]]; then conffiles+="\"$to\", "; fi
done < <(files stage="$build/stage" sbin=/usr/sbin modules=/usr/lib/nginx/modules share=/usr/share doc=/usr/share/doc/bx-push \
    units=- sysusers=/usr/lib/sysusers.d tmpfiles=/usr/lib/tmpfiles.d etc=/etc nginx_http=/etc/nginx/bx-push/http.conf \
    nginx_locations=/etc/nginx/bx-push/locations.conf nginx_load=/usr/share/nginx/modules-available/mod-http-bx-push.conf)

version=${BX_PUSH_VERSION:-$(version)}
maintainer=${DEBEMAIL:-bx-push developers <bx-push@localhost>}
depends="$libraries, $abi, systemd, init-system-helpers (>= 1.52)"
cat >"$work/changelog" <<END
bx-push ($version-1) unstable; urgency=medium

  * changelog.gz tells what is new.

 -- $maintainer  $(date -R -d "@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}")
END
awk -v version="$version" -v maintainer="$maintainer" -v depends="$depends" -v conffiles="$conffiles" -v assets="$assets" '
    function put(name, value,    at) {
        while ((at = index($0, name)) > 0) $0 = substr($0, 1, at - 1) value substr($0, at + length(name))
    }
    /^# / { next }
    { put("@VERSION@", version); put("@MAINTAINER@", maintainer); put("@DEPENDS@", depends); put("@CONFFILES@", conffiles); put("@ASSETS@", assets); print }
' packaging/deb/Cargo.toml.in >"$work/Cargo.toml"

"$tool" deb --no-build --no-strip --quiet --manifest-path "$work/Cargo.toml" --output "$work/" >/dev/null
package=("$work"/*.deb)
mv -f "${package[0]}" "$build/"
say "build/${package[0]##*/}"
