#!/usr/bin/env bash
# test-package.sh: the package in a fresh Debian 12: installed with apt's dependencies, started, used,
# installed again in another version, removed, purged. Ends with a verdict in one line.
#
# Wants root, for debootstrap and namespaces. Everything happens in namespaces of its own, so that
# no process, mount or port is left, however it ends. A fresh root is kept in build/debian12.tar.
source "$(dirname "$0")/lib.sh"

suite=bookworm
((EUID == 0)) || die "run it as root: it makes a Debian root and mounts"

scripts/deb.sh
first=$build/bx-push_$(version)-1_$(dpkg --print-architecture).deb
# Only the number differs: what is tested is an upgrade, not what is new in it.
BX_PUSH_VERSION=$(version)+next scripts/deb.sh
next=$build/bx-push_$(version)+next-1_$(dpkg --print-architecture).deb

# The sender's address is a packager's to give (DEBEMAIL), and nobody asked for this package.
lintian --fail-on error --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog,initial-upload-closes-no-bugs \
    --allow-root "$first"

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Release: $suite" | head -n1)
[[ $mirror ]] || die "this machine's apt knows no mirror of $suite"
base=$build/debian12.tar
if [[ ! -e $base ]]; then
    say "Making a root of $suite"
    fresh=$(mktemp -d)
    trap 'rm -rf "$fresh"' EXIT
    debootstrap --variant=minbase "$suite" "$fresh" "$mirror" >"$build/debootstrap.log" ||
        die "debootstrap failed: build/debootstrap.log"
    tar -C "$fresh" --numeric-owner -cf "$base.new" .
    mv "$base.new" "$base"
    rm -rf "$fresh"
    trap - EXIT
fi

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
mkdir "$work/root"
tar -C "$work/root" -xf "$base"
chmod 755 "$work" "$work/root"
cp "$first" "$next" "$work/root/root/"
install -m 755 scripts/test-package-inside.sh "$work/root/root/inside.sh"
# The machine's own way to Debian's archive.
apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | grep " $suite" |
    sort -u >"$work/root/etc/apt/sources.list"
apt-config dump | grep -E '^Acquire::(http|https|Check-)' >"$work/root/etc/apt/apt.conf.d/99host" || true
cp /etc/resolv.conf /etc/hosts "$work/root/etc/"

# The process namespace ends with its first process, and takes everything along.
inside() { # inside OPTIONS STEP: runs a step in the root
    unshare --mount --pid --fork --kill-child --ipc "${@:1:$#-1}" -- bash -euc '
        mount --make-rprivate /
        mount -t proc proc "$1/proc"
        mount -t tmpfs tmpfs "$1/run"
        mount --rbind /dev "$1/dev"
        mount -t sysfs -o ro sysfs "$1/sys" 2>/dev/null || true
        [[ $2 == online ]] || ip link set lo up 2>/dev/null || true
        exec chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
            /root/inside.sh "$2" "/root/$3" "/root/$4"
    ' inside "$work/root" "${*: -1}" "${first##*/}" "${next##*/}"
}
inside online
# From here on there is no network but loopback, and no port of this machine.
inside --net offline
say "test-package good: ${first##*/} in a fresh Debian 12: installed, started, doctor green, upgraded, removed, purged without a trace"
