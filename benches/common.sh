# shellcheck shell=bash disable=SC2034
# For compare.sh, registrations.sh and scale.sh to source, from the root of the repository: what each
# of them starts, asks and counts. Whatever was started ends with the script, and $work goes with it.

. .ci/install.sh

PROFILE=${PROFILE:-release}

work=$(mktemp -d)
pids=()
finish() {
    stop
    rm -rf "$work"
}
trap finish EXIT

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# need PROGRAM: whose package has its name.
need() { have "$1" || from_apt "$1" || die "install $1"; }

# build WHAT...: as cargo names it; leaves in $binaries where the programs are.
build() {
    cargo build --quiet --locked --profile "$PROFILE" "$@"
    binaries=${CARGO_TARGET_DIR:-target}/$([ "$PROFILE" = dev ] && echo debug || echo "$PROFILE")
}

# start CORES LOG COMMAND...: leaves the process id in $started.
start() {
    local cores=$1 log=$work/$2
    shift 2
    # Appending, so that a log may be emptied.
    taskset -c "$cores" "$@" >>"$log" 2>&1 &
    started=$!
    pids+=("$started")
}

# What was started last.
stop_last() {
    kill "${pids[-1]}" 2>/dev/null || true
    wait "${pids[-1]}" 2>/dev/null || true
    unset 'pids[-1]'
}

# Everything, the last first: the gateways before what they ask.
stop() {
    while [ ${#pids[@]} -gt 0 ]; do stop_last; done
}

# wait_for LOG COMMAND...: until the command succeeds.
wait_for() {
    local log=$work/$1
    shift
    for _ in $(seq 1000); do
        "$@" >"$work/last" 2>&1 && return
        sleep 0.02
    done
    tail -n 20 "$log" "$work/last" >&2
    die "$* does not succeed in 20 s"
}

# member NAME: the value of a JSON object's member on standard input.
member() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

# A key of the gateway's, as its configuration wants it.
key() { head -c 32 /dev/urandom | base64 -w0; }

# pace CORE CONNECTIONS RATE PARTS ADDRESS PATH [FIELD]...: a second of requests at random moments, so
# many; says the 50th and 99th percentile of the answers' times in microseconds, medians of the parts of
# the second, how many requests there were, how many failed, how many a second came, and the 99th
# percentile of the whole second.
pace() {
    local core=$1 connections=$2 rate=$3 parts=$4 address=$5 path=$6
    shift 6
    taskset -c "$core" "$binaries/examples/paced" "$address" "$path" "$rate" "$connections" 1 "$parts" "$@"
}

# Of the numbers on standard input.
median() {
    sort -n | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'
}

# column FILE NUMBER: the median of a column.
column() {
    cut -d ' ' -f "$2" "$1" | median
}

# none_failed FILE: of the requests that lines of `pace` are about.
none_failed() {
    local failed
    failed=$(awk '{ failed += $4 } END { print failed + 0 }' "$1")
    [ "$failed" = 0 ] || die "$failed of the caller's requests failed"
}
