#!/usr/bin/env bash
# install-deps.sh run|test|bench|deb: installs the Debian packages that are missing for it, if any.
source "$(dirname "$0")/lib.sh"

missing=()
# need_command COMMAND PACKAGE...: a command may come from elsewhere than Debian's package.
need_command() { PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null || missing+=("${@:2}"); }
need_package() {
    local package
    for package; do
        [[ $(dpkg-query -Wf '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
            missing+=("$package")
    done
}

command -v "$CARGO" >/dev/null || die "no '$CARGO': install a Rust toolchain first (rustup.rs)"
case ${1-} in
run)
    # libclang is bindgen's; the three -dev packages are what nginx's headers include.
    need_command cc build-essential
    need_command nginx nginx
    need_command node nodejs
    need_command npm npm
    # By which push-bench finds OpenSSL.
    need_command pkg-config pkg-config
    need_package nginx-dev libclang-dev libpcre2-dev libssl-dev zlib1g-dev
    ;;
test)
    need_command redis-server redis-server
    need_command chromium chromium
    need_command php php-cli
    # For the units: systemd-analyze.
    need_command systemd-analyze systemd
    need_package php-curl
    ;;
bench)
    # nchan is what is compared with.
    need_command redis-server redis-server
    need_package libnginx-mod-nchan
    need_command valgrind valgrind
    ;;
deb)
    need_command dpkg-shlibdeps dpkg-dev
    need_command strip binutils
    need_command debootstrap debootstrap
    need_command lintian lintian
    need_command ip iproute2
    ;;
*) die "usage: install-deps.sh run|test|bench|deb" ;;
esac

if ((${#missing[@]})); then
    command -v apt-get >/dev/null ||
        die "missing: ${missing[*]} (names of Debian packages; there is no apt-get here to install them)"
    sudo=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null || die "missing: ${missing[*]}; install them as root, or install sudo"
        sudo=(sudo)
    fi
    say "Installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${sudo[@]}" apt-get update -q
    "${sudo[@]}" apt-get install -qy --no-install-recommends "${missing[@]}"
fi

if [[ $1 == test ]] && ! "$CARGO" nextest --version >/dev/null 2>&1; then
    "$CARGO" install --locked cargo-nextest
fi
