#!/usr/bin/env bash
# Does any verdict go wrong, or any request get lost, while keys, certificate, configuration,
# applications and binary are replaced, and while identity provider and upstreams fail? 64 callers
# go on all the time, and every answer is checked. See README.md here for figures.
#
#   benches/chaos.sh            ten minutes
#   benches/chaos.sh 60         one minute
#
# Ends with 0 only where no verdict was wrong, and no request lost but those of the failed upstream.
set -euo pipefail
cd "$(dirname "$0")/.."

. .ci/install.sh
install_cmake

CHAOS_SECONDS=${1:-600} cargo test --release --locked --test gateway \
    chaos::no_verdict_is_wrong -- --nocapture
