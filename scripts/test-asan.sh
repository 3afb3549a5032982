#!/usr/bin/env bash
# The end-to-end suites on a module and an nginx that watch every access to memory: AddressSanitizer
# (with LeakSanitizer when a process ends) in both, UndefinedBehaviorSanitizer in nginx. Ends with a
# verdict in one line; reports are left in build/asan/reports.
#
# nginx is the one that crate nginx-src brings, built with NGX_DEBUG_PALLOC: each allocation from a
# pool is one of its own, so that going beyond it is seen. It brings the sanitizers' runtime (gcc's),
# which the module, built by a nightly compiler or a stable one that is told to be one, finds in it.
# The sidecar, which has no unsafe code of ours, is built as always.
source "$(dirname "$0")/lib.sh"

asan=$build/asan
reports=$asan/reports
# Not asked of nginx, which knows what it does there: memcpy of 0 bytes from a null pointer (ngx_pstrdup), and
# unaligned words where the processor has them (NGX_HAVE_NONALIGNED, in HTTP/2). There are no other exceptions.
flags="-fsanitize=address,undefined -fno-sanitize=nonnull-attribute,alignment -fno-omit-frame-pointer -g -O1 -DNGX_DEBUG_PALLOC=1"
# What runs while things are built has leaks of its own.
export ASAN_OPTIONS=detect_leaks=0

sources=$("$CARGO" metadata --locked --all-features --format-version 1 |
    sed -nE 's|.*"manifest_path":"([^"]*/nginx-src-[^"/]*)/Cargo.toml".*|\1/nginx|p')
[[ -d $sources ]] || die "cargo has not brought the sources of nginx: '$sources'"
stamp=$(printf '%s\n' "$sources" "$flags" "$(cc --version)" | sha256sum)
if [[ ! -x $asan/vendored/nginx || $(cat "$asan/stamp" 2>/dev/null) != "$stamp" ]]; then
    say "Building an nginx that watches itself"
    rm -rf "$asan"
    mkdir -p "$asan/vendored"
    cp -r "$sources" "$asan/source"
    if ! (
        cd "$asan/source"
        ./auto/configure --with-compat --with-debug --with-threads --with-http_ssl_module --with-http_v2_module \
            --with-http_realip_module --builddir="$asan/objs" \
            --with-cc-opt="$flags" --with-ld-opt="-fsanitize=address,undefined -static-libasan -static-libubsan"
        make -j"$(nproc)" -f "$asan/objs/Makefile" binary
    ) >"$asan/nginx.log" 2>&1; then
        tail -n 20 "$asan/nginx.log" >&2
        die "nginx could not be built; the whole of it is in $asan/nginx.log"
    fi
    cp "$asan/objs/nginx" "$asan/vendored/nginx"
    printf '%s\n' "$stamp" >"$asan/stamp"
fi

if cargo +nightly --version >/dev/null 2>&1; then
    nightly=(cargo +nightly)
else
    export RUSTC_BOOTSTRAP=1
    nightly=("$CARGO")
fi
target=$(rustc -vV | sed -n 's/^host: //p')
say "Building a module that is watched"
NGINX_SOURCE_DIR=$asan/source NGINX_BUILD_DIR=$asan/objs RUSTFLAGS="-Zsanitizer=address -Cforce-frame-pointers=yes" \
    "${nightly[@]}" build --locked --quiet -p ngx-push-module --target "$target" --target-dir "$(target_dir)/asan"
unset RUSTC_BOOTSTRAP
for place in "$asan" "$asan/vendored"; do
    place "$(target_dir)/asan/$target/debug/libngx_push_module.so" "$place/$module"
done
scripts/build-sidecar.sh
place "$build/push-sidecar" "$asan/push-sidecar"
# Not by grep -q: it ends at the first line, and nm with it, by a signal.
if [[ $(nm -D "$asan/$module") != *' U __asan_report_load'* ]]; then
    die "the module is not instrumented"
fi

rm -rf "$reports"
mkdir -p "$reports"
options=detect_stack_use_after_return=1:log_path=$reports/report
export UBSAN_OPTIONS=print_stacktrace=1:log_path=$reports/report

# A watch that sees nothing would be content with everything.
cc -c -fPIC -g -fsanitize=address,undefined -o "$asan/canary.o" tests/sanitizers/canary.c
# The runtime is nginx's.
cc -shared -o "$asan/canary.so" "$asan/canary.o"
for fault in freed:heap-use-after-free undefined:'shift exponent' leak:'4321 byte'; do
    CANARY=${fault%%:*} ASAN_OPTIONS=$options UBSAN_OPTIONS=log_path=$reports/report \
        "$asan/vendored/nginx" -t -q -e stderr -p "$asan" -c /dev/null -g "load_module $asan/canary.so;" >/dev/null 2>&1 || true
    cat "$reports"/report.* 2>/dev/null | grep -q "${fault#*:}" || die "a deliberate fault (${fault%%:*}) was not reported"
    rm -f "$reports"/report.*
done

# Both names of nginx mean the watched one; tests with the installed one would do the same again.
# Left out: what measures, what goes by `make run`, which starts other builds, and `migrate`, each of
# whose tests begins with `nginx -t` (see below).
export BX_TEST_BUILD=$asan NGINX_BINARY=$asan/vendored/nginx
suites='package(push-tests) and not test(installed) and not (binary(load) | binary(run) | binary(clients) | binary(sdk) | binary(migrate))'
# `nginx -t` ends without giving back what its configuration took: there is no worker to look at.
only_t='(binary(directives) | binary(samples) | binary(guides))'
passed=0 failed=0
run() {
    local log=$asan/tests-$1.log
    ASAN_OPTIONS=$options:detect_leaks=$2 "$CARGO" nextest run --locked -p push-tests --no-fail-fast \
        --status-level fail --final-status-level fail -E "$3" >"$log" 2>&1 || true
    local summary
    summary=$(grep -E '^ *Summary ' "$log") || { tail -n 40 "$log" >&2; die "the suites did not run"; }
    grep -E '^ *(FAIL|TIMEOUT|SIGKILL|SIGSEGV) ' "$log" | sort -u || true
    ((passed += $(sed -nE 's/.* ([0-9]+) passed.*/\1/p' <<<"$summary"))) || true
    ((failed += $(sed -nE 's/.* ([0-9]+) (failed|timed out).*/\1/p' <<<"$summary" | grep . || echo 0))) || true
}
install_clients
say "Running the end-to-end suites"
run nginx-t 0 "$suites and $only_t"
run servers 1 "$suites and not $only_t"

# An nginx that found a port of its taken leaves from main() with the pool of its first cycle: the test tries others.
# No other leak is let pass: one that runs has given that pool back.
did_not_start() {
    local leaks
    leaks=$(grep -c '^Direct leak' "$1") || return
    ! grep -qE 'ERROR: AddressSanitizer|runtime error' "$1" &&
        ((leaks == $(grep -cE '^ +#3 .* in main src/core/nginx\.c:' "$1" || true))) &&
        ! grep -q 'src/os/unix/ngx_process_cycle' "$1"
}
for report in "$reports"/report.*; do
    if [[ -e $report ]] && did_not_start "$report"; then rm "$report"; fi
done
count=$(find "$reports" -name 'report.*' | wc -l)
for report in $(find "$reports" -name 'report.*' | head -n 3); do
    say "--- $report"
    head -n 30 "$report"
done
verdict="test-asan: AddressSanitizer, LeakSanitizer, UndefinedBehaviorSanitizer; $passed tests passed, $failed failed, reports $count"
if ((failed || count)); then
    die "$verdict"
fi
say "$verdict: passed"
