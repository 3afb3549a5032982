#!/usr/bin/env bash
# The fuzzing client of Autobahn's test suite, cases 1 to 7 and 10, against an echo location of a
# build of the module for tests (feature test-echo, in build/echo). Ends with a verdict in one line.
#
# The suite runs on Python 2.7 only, which Debian has no more: PYTHON2 names one, or it is looked
# for in PATH and among pyenv's.
source "$(dirname "$0")/lib.sh"

suite=autobahntestsuite==25.10.1
installed=$build/autobahn/$suite
python2=${PYTHON2-}
for candidate in python2.7 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7*/bin/python2.7; do
    [[ $python2 ]] && break
    # pyenv puts shims into PATH that work only if their version is chosen.
    if "$candidate" -c 'import pip' >/dev/null 2>&1; then python2=$candidate; fi
done
[[ $python2 ]] || die "no Python 2.7 with pip: name one as PYTHON2=/path/to/python2.7 (pyenv install 2.7.18 makes one)"

if [[ ! -d $installed ]]; then
    say "Installing $suite"
    rm -rf "$installed.new"
    "$python2" -m pip install --disable-pip-version-check --quiet --target "$installed.new" "$suite" 2>&1 |
        { grep -v DEPRECATION || true; }
    mv "$installed.new" "$installed"
fi
scripts/build-sidecar.sh
scripts/build-module.sh echo
place "$build/push-sidecar" "$build/echo/push-sidecar"

BX_TEST_BUILD=$build/echo BX_TEST_PYTHON2=$python2 BX_TEST_AUTOBAHN=$installed BX_TEST_REPORTS=$build/autobahn/reports \
    "$CARGO" test --locked --quiet -p push-tests --test autobahn -- --ignored --nocapture
