#!/usr/bin/env bash
# Runs the sidecar and nginx in the foreground until Ctrl-C, SIGTERM or the end of one of them.
# `make run` starts it and gives the variables; `make help` tells what they mean.
source "$(dirname "$0")/lib.sh"

: "${BX_PUSH_DIR:?start me by 'make run'}" "${BX_PUSH_PUBLIC:?}" "${BX_PUSH_INTERNAL:?}" "${BX_PUSH_WORKERS:?}"

# Sets host and port from ADDRESS, e.g. 127.0.0.1:8080 or [::1]:8080.
split_address() {
    [[ $2 =~ ^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})$ ]] || die "$1=$2: want host:port"
    host=${BASH_REMATCH[1]} port=${BASH_REMATCH[2]}
    ((10#$port >= 1 && 10#$port <= 65535)) || die "$1=$2: no such port"
}
# Whether something listens there. An address for all interfaces is asked on loopback.
listening() {
    local to=${1#[} && to=${to%]}
    case $to in 0.0.0.0) to=127.0.0.1 ;; ::) to=::1 ;; esac
    (exec 3<>"/dev/tcp/$to/$2") 2>/dev/null
}
alive() { [[ $1 ]] && kill -0 "$1" 2>/dev/null; }

split_address BX_PUSH_PUBLIC "$BX_PUSH_PUBLIC"
public_host=$host public_port=$port
split_address BX_PUSH_INTERNAL "$BX_PUSH_INTERNAL"
internal_host=$host internal_port=$port
[[ $internal_host =~ ^(127\.[0-9.]+|\[::1\]|localhost)$ ]] ||
    die "BX_PUSH_INTERNAL=$BX_PUSH_INTERNAL: must be a loopback address, because whoever reaches it may publish to everybody"
[[ $BX_PUSH_WORKERS =~ ^(auto|[1-9][0-9]*)$ ]] || die "BX_PUSH_WORKERS=$BX_PUSH_WORKERS: want a number or auto"
for file in "$build/$module" "$build/push-sidecar" "$build/demo/index.html"; do
    [[ -e $file ]] || die "no $file: run 'make build demo' first"
done

umask 077
mkdir -p "$BX_PUSH_DIR"
dir=$(cd "$BX_PUSH_DIR" && pwd)
[[ $dir =~ ^[A-Za-z0-9._/+-]+$ ]] || die "BX_PUSH_DIR=$dir: nginx.conf has no room for these characters"
socket=$dir/push-sidecar.sock
((${#socket} < 108)) || die "BX_PUSH_DIR=$dir: too long, a Unix socket's path has at most 107 bytes"
for name in nginx push-sidecar; do
    pid=$(cat "$dir/$name.pid" 2>/dev/null || true)
    if alive "$pid" && [[ $(readlink "/proc/$pid/exe") == *"/$name"* ]]; then
        die "$name already runs in $dir with pid $pid"
    fi
    rm -f "$dir/$name.pid"
done
for name in public internal; do
    host=${name}_host port=${name}_port
    if listening "${!host}" "${!port}"; then
        die "${!host}:${!port} is taken by another process: give a free one as BX_PUSH_${name^^}"
    fi
done
mkdir -p "$dir"/{logs,temp,demo}

# The key goes into a file, never on a command line or into nginx.conf.
if [[ ${BX_PUSH_KEY-} ]]; then
    key_file=$dir/given.key
    printf '%s' "$BX_PUSH_KEY" >"$key_file"
else
    key_file=$dir/security.key
    [[ -s $key_file ]] || od -An -tx1 -N32 /dev/urandom | tr -d ' \n' >"$key_file"
fi
chmod 600 "$key_file"
unset BX_PUSH_KEY
node scripts/demo-channels.mjs "$key_file" "$dir/demo" "$BX_PUSH_INTERNAL"

# nginx keeps a structure for each connection it may have: enough for a trial, within the limits.
files=$(ulimit -Hn)
[[ $files == unlimited ]] && files=65536
ulimit -Sn "$files" 2>/dev/null || files=$(ulimit -Sn)
connections=$((files - 128 > 16384 ? 16384 : files - 128))
# As root nginx would run its workers as a user who may not enter the run directory.
user=
((EUID == 0)) && user="user root;"

config=$(<nginx-conf/run.conf.template)
put() { config=${config//"@$1@"/"$2"}; }
put MODULE "$build/$module"
put DIR "$dir"
put DEMO "$build/demo"
put KEY_FILE "$key_file"
put USER "$user"
put WORKERS "$BX_PUSH_WORKERS"
put CONNECTIONS "$connections"
put PUBLIC "$BX_PUSH_PUBLIC"
put INTERNAL "$BX_PUSH_INTERNAL"
printf '%s\n' "$config" >"$dir/nginx.conf"
"$NGINX_BINARY" -t -q -p "$dir" -e stderr -c "$dir/nginx.conf" || die "nginx refuses $dir/nginx.conf, see above"

sidecar='' nginx=''
# Children are in sessions of their own: Ctrl-C reaches this script alone, which stops nginx first,
# so that clients are told, then the sidecar.
stop() {
    local child patience
    for child in $nginx $sidecar; do
        alive "$child" || continue
        if [[ $child == "$nginx" ]]; then kill -QUIT "$child"; else kill -TERM "$child"; fi
        for ((patience = 50; patience > 0; patience--)); do
            alive "$child" || break
            ((patience == 10)) && kill -TERM "$child" 2>/dev/null
            sleep 0.1
        done
        alive "$child" && kill -KILL "$child"
        wait "$child" 2>/dev/null || true
    done
    rm -f "$dir/nginx.pid" "$dir/push-sidecar.pid" "$socket"
}
trap 'exit 0' INT TERM HUP
trap stop EXIT

# fail WHAT LOG: the end when a child did not start or died.
fail() {
    printf -- '--- the end of %s\n' "$2" >&2
    tail -n 15 "$2" >&2 || true
    die "$1"
}
# await WHAT LOG PID COMMAND...: until the command succeeds, for 10 seconds, while PID lives.
await() {
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        if "${@:4}"; then return; fi
        alive "$3" || fail "$1 ended while starting" "$2"
        sleep 0.05
    done
    fail "$1 is not ready after 10 seconds" "$2"
}

store=memory
[[ ${BX_PUSH_REDIS-} ]] && store=Redis
rm -f "$socket"
# It reads BX_PUSH_REDIS from the environment: a command line would show its password to everybody.
setsid "$build/push-sidecar" serve --socket "$socket" --pid-file "$dir/push-sidecar.pid" \
    >>"$dir/logs/push-sidecar.log" 2>&1 </dev/null &
sidecar=$!
await push-sidecar "$dir/logs/push-sidecar.log" "$sidecar" test -S "$socket"

setsid "$NGINX_BINARY" -p "$dir" -e "$dir/logs/nginx.log" -c "$dir/nginx.conf" >>"$dir/logs/nginx.log" 2>&1 </dev/null &
nginx=$!
await nginx "$dir/logs/nginx.log" "$nginx" listening "$public_host" "$public_port"
await nginx "$dir/logs/nginx.log" "$nginx" listening "$internal_host" "$internal_port"
await nginx "$dir/logs/nginx.log" "$nginx" test -s "$dir/nginx.pid"

cat <<TEXT

  Demo page   http://$BX_PUSH_PUBLIC/
  Subscribe   ws://$BX_PUSH_PUBLIC/bitrix/subws/   http://$BX_PUSH_PUBLIC/bitrix/sub/
  Publish     http://$BX_PUSH_INTERNAL/bitrix/pub/
  Messages    kept in $store
  Key         $key_file
  Logs        $dir/logs/
  Pids        nginx $nginx, push-sidecar $sidecar

Ctrl-C stops it.
TEXT

# `wait -n` would forget a child that has ended a moment before. A `read` that nothing is ever
# written for makes way for signals at once, and leaves no `sleep` behind.
exec {nothing}<> <(:)
while alive "$nginx" && alive "$sidecar"; do
    read -rt 0.25 -u "$nothing" || true
done
if alive "$nginx"; then
    fail "push-sidecar has ended; stopping nginx" "$dir/logs/push-sidecar.log"
else
    fail "nginx has ended; stopping push-sidecar" "$dir/logs/nginx.log"
fi
