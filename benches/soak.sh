#!/usr/bin/env bash
# Does one process grow, or give anything back too late? Keys, certificate, configuration,
# applications and session keys are replaced, identity provider and upstreams fail, sessions end and
# slow clients drip, again and again, while 72 callers go on and every answer is checked.
#
#   benches/soak.sh            twenty minutes
#   benches/soak.sh 60         one minute
#
# Ends with 0 only where no verdict was wrong, no request was lost but those of the failed upstream, and
# memory and descriptors at the end are what they were after a tenth of the time.
set -euo pipefail
cd "$(dirname "$0")/.."

. .ci/install.sh
install_cmake

SOAK_SECONDS=${1:-1200} cargo test --release --locked --test gateway \
    chaos::nothing_grows -- --ignored --nocapture
