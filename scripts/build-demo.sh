#!/usr/bin/env bash
# Bundles the demo page into build/demo/, when something of it has changed.
source "$(dirname "$0")/lib.sh"

out=$build/demo
inputs=(demo/package-lock.json demo/build.mjs demo/src/*)
stamp=$(sha256sum "${inputs[@]}")
if [[ -f $out/index.html && $(cat "$build/demo.stamp" 2>/dev/null) == "$stamp" ]]; then
    exit 0
fi

say "Bundling the demo page"
(cd demo && npm ci --silent && node build.mjs "$out")
for file in index.html app.js app.css icon.svg; do
    [[ -s $out/$file ]] || die "the bundle has no $file"
done
grep -q 'binaryMode' "$out/app.js" || die "the bundle lacks the pull client"
printf '%s\n' "$stamp" >"$build/demo.stamp"
