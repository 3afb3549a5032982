#!/bin/bash
# test-package-inside.sh online|offline FIRST NEXT: what test-package.sh does within the root.
set -euo pipefail
step=$1 first=$2 next=$3

die() {
    printf 'test-package: %s\n' "$*" >&2
    exit 1
}
check() { # check WHAT COMMAND…
    local what=$1 out
    shift
    out=$("$@" 2>&1) || die "$what: '$*' failed:"$'\n'"$out"
    printf 'good: %s\n' "$what"
}
is() { [[ $1 == "$2" ]] || die "'$1' instead of '$2'"; }
until_true() { # until_true WHAT COMMAND…: within 10 s
    local what=$1 tries
    shift
    for ((tries = 0; tries < 200; tries++)); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.05
    done
    die "$what did not happen within 10 s"
}
# What is on the disk, but for what dpkg, logs and nginx keep of their own.
disk() {
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /root -o -path /var/cache \
        -o -path /var/log -o -path /var/lib/nginx -o -path /var/lib/dpkg -o -path /var/lib/apt \) -prune -o -print | sort
}

if [[ $step == online ]]; then
    # There is no init here; what is started, is started below.
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    apt-get update -qq
    check 'dependencies, by apt' apt-get satisfy -qy --no-install-recommends "$(dpkg-deb -f "$first" Depends)"
    exit
fi

sidecar_pid=
start_sidecar() {
    # As the units say: systemd makes the socket, the daemon runs as its user.
    rm -f /run/push-server/push-sidecar.sock
    systemd-socket-activate --listen=/run/push-server/push-sidecar.sock \
        setpriv --reuid push-server --regid push-server --init-groups --no-new-privs \
        /usr/sbin/push-sidecar serve --config /etc/push-sidecar/push-sidecar.toml 2>>/var/log/push-sidecar.log &
    sidecar_pid=$!
    until_true 'the socket' test -S /run/push-server/push-sidecar.sock
    chown push-server:www-data /run/push-server/push-sidecar.sock
    chmod 0660 /run/push-server/push-sidecar.sock
}
stop_sidecar() {
    kill "$sidecar_pid"
    wait "$sidecar_pid" || true
}

disk >/root/before
check 'dpkg -i' dpkg -i "$first"
is "$(stat -c '%U:%G %a' /etc/nginx/bx-push.key)" 'root:www-data 640'
is "$(tr -d '\n' </etc/nginx/bx-push.key | wc -c)" 128
is "$(stat -c '%U:%G %a' /etc/push-sidecar/push-sidecar.toml)" 'root:push-server 640'
is "$(systemctl is-enabled push-sidecar.service push-sidecar.socket | sort -u)" enabled
check 'nginx -t' nginx -t
check 'systemd-analyze verify' systemd-analyze verify --man=no push-sidecar.service push-sidecar.socket
exposure=$(systemd-analyze security --no-pager --offline=true push-sidecar.service | sed -nE 's/.*Overall exposure level.*: ([0-9.]+).*/\1/p')
[[ $exposure && ${exposure%%.*} -lt 2 ]] || die "exposure $exposure, and not below 2.0"
printf 'good: systemd-analyze security, exposure %s\n' "$exposure"
for page in /usr/share/man/man8/push-sidecar*.8.gz; do gzip -t "$page"; done
check 'completions for bash' bash -n /usr/share/bash-completion/completions/push-sidecar

# What the guide tells: the locations go into the portal's server block.
site=/etc/nginx/sites-enabled/default
cp --remove-destination /etc/nginx/sites-available/default "$site"
sed -i 's|^\tserver_name _;|&\n\tinclude snippets/bx-push-locations.conf;|' "$site"
grep -q bx-push-locations "$site" || die "no server block in $site took the include"
check 'nginx -t with the locations' nginx -t
# At boot.
systemd-tmpfiles --create push-sidecar.conf
start_sidecar
# The daemon itself starts when somebody connects.
check 'push-sidecar check, as ExecStartPre' setpriv --reuid push-server --regid push-server --init-groups \
    push-sidecar check --before-start --config /etc/push-sidecar/push-sidecar.toml
nginx
until_true 'a worker linked' push-sidecar health
check 'push-sidecar check' push-sidecar check --config /etc/push-sidecar/push-sidecar.toml --nginx /etc/nginx/nginx.conf
check 'push-sidecar doctor' push-sidecar doctor
push-sidecar doctor

# A message from the portal's side to a browser's.
private=$(printf 'ab%.0s' {1..16})
push-sidecar listen --count 1 --timeout 20 "$private" >/root/heard &
listener=$!
heard() {
    push-sidecar publish --text '{"n":1}' "$private"
    sleep 0.1
    grep -q '"n":1' /root/heard
}
until_true 'a message heard' heard
wait "$listener" || die "listen ended with $?"
printf 'good: published and heard\n'

cp /etc/nginx/bx-push.key /root/key
printf '# an operator was here\n' >>/etc/nginx/bx-push/http.conf
check 'upgrade' dpkg -i "$next"
is "$(dpkg-query -Wf '${Version}' bx-push)" "$(dpkg-deb -f "$next" Version)"
cmp /etc/nginx/bx-push.key /root/key
grep -q 'an operator was here' /etc/nginx/bx-push/http.conf || die 'the upgrade took away what an operator wrote'
check 'nginx -t after the upgrade' nginx -t
stop_sidecar
start_sidecar
nginx -s quit
until_true 'nginx ended' test ! -e /run/nginx.pid
nginx
until_true 'a worker linked' push-sidecar health
check 'doctor after the upgrade' push-sidecar doctor

stop_sidecar
check 'remove' dpkg -r bx-push
cmp /etc/nginx/bx-push.key /root/key
[[ ! -e /usr/sbin/push-sidecar ]] || die 'the program is left'
check 'nginx -t after removal, locations still included' nginx -t
check 'installed again' dpkg -i "$first"
check 'nginx -t' nginx -t
nginx -T 2>/dev/null | grep -q 'bx_push sub;' || die 'the locations are not back'
cmp /etc/nginx/bx-push.key /root/key
nginx -s quit
until_true 'nginx ended' test ! -e /run/nginx.pid

ln -sfn /etc/nginx/sites-available/default "$site"
check 'purge' dpkg -P bx-push
check 'nginx -t after purge' nginx -t
disk >/root/after
diff /root/before /root/after || die 'purge has left files, or taken others'
printf 'good: purge left no file\n'
