#!/usr/bin/env bash
# How many applications can a file hold? Time from the program's start to its first answer, time
# from an edit to the moment that it is live, and memory, by the number of applications. Measures
# and asserts nothing. See README.md here for how to read the table.
#
#   benches/scale.sh                   1,000, 20,000 and 200,000 applications, release build
#   benches/scale.sh 50000             other numbers
#   PROFILE=dev ROUNDS=1 benches/scale.sh 1000         does the script work?
#
# ROUNDS starts and ROUNDS edits are measured of each size; PORT is the first of three ports.
set -euo pipefail
cd "$(dirname "$0")/.."

PROFILE=${PROFILE:-release}
ROUNDS=${ROUNDS:-5}
PORT=${PORT:-18200}

gateway=127.0.0.1:$PORT
admin=127.0.0.1:$((PORT + 1))
# Nobody listens here: neither start nor edit waits for an identity provider.
nobody=127.0.0.1:$((PORT + 2))

sizes=("$@")
[ ${#sizes[@]} -gt 0 ] || sizes=(1000 20000 200000)

work=$(mktemp -d)
pid=
stop() {
    [ -n "$pid" ] || return 0
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    pid=
}
finish() {
    stop
    rm -rf "$work"
}
trap finish EXIT

die() {
    echo "scale.sh: $*" >&2
    exit 1
}

build() {
    cargo build --quiet --locked --profile "$PROFILE" --bin dcr-gateway
    program=${CARGO_TARGET_DIR:-target}/$([ "$PROFILE" = dev ] && echo debug || echo "$PROFILE")/dcr-gateway
}

configure() {
    cat >"$work/gateway.yaml" <<YAML
listeners: [{ address: "$gateway" }]
admin: { address: "$admin" }
grace_period: 1s
log: { level: warn, access: off }
identity_providers: [{ name: idp, issuer: "http://$nobody" }]
auth_strategies:
  - { name: partners, identity_provider: idp, auth_methods: [client_credentials, bearer], audience: [scale] }
apis:
  - name: flights
    auth_strategies: [partners]
    routes: [{ paths: [/flights] }]
    upstream: { targets: [{ address: "$nobody" }] }
  - name: hotels
    auth_strategies: [partners]
    routes: [{ paths: [/hotels] }]
    upstream: { targets: [{ address: "$nobody" }] }
registry: { file: applications.yaml }
YAML
}

# applications FROM TO: those entries of the file.
applications() {
    awk -v from="$1" -v to="$2" 'BEGIN {
        for (i = from; i <= to; i++) {
            printf "  - name: Application %d\n    developer: developer-%d@example.com\n", i, i % 5000
            printf "    auth_strategy: partners\n    client_id: %08x-5c1e-4f6a-9d2b-%012x\n", i * 2654435761 % 4294967296, i
            printf "    status: active\n    registrations:\n      flights: approved\n      hotels: pending\n"
        }
    }'
}

now() { date +%s%N; }

# until_live COUNT: waits until so many applications are live.
until_live() {
    local tries=0
    until curl -s "http://$admin/metrics" | grep -q "^dcr_applications $1\$"; do
        tries=$((tries + 1))
        [ "$tries" -lt 3000 ] || die "$1 applications are not live; the program says: $(tail -3 "$work/log")"
        sleep 0.01
    done
}

# start: runs the gateway, leaving $pid, and adds the milliseconds to its first answer to a list.
start() {
    local before
    before=$(now)
    "$program" serve --config "$work/gateway.yaml" >"$work/log" 2>&1 &
    pid=$!
    # The address is bound before the applications are read, and served after that.
    until curl -s -o "$work/last" "http://$gateway/flights"; do
        kill -0 "$pid" 2>/dev/null || die "the gateway does not run: $(cat "$work/log")"
        sleep 0.005
    done
    echo $((($(now) - before) / 1000000)) >>"$work/start.$1"
}

# edit COUNT: renames a file with so many applications over the one in use, and adds the
# milliseconds until they are live to a list.
edit() {
    local before
    before=$(now)
    mv "$work/new.yaml" "$work/applications.yaml"
    until_live "$1"
    echo $((($(now) - before) / 1000000)) >>"$work/edit.$2"
}

# memory NAME: MiB that the kernel counts for the process now (VmRSS) or at most (VmHWM).
memory() {
    awk -v name="$1:" '$1 == name { printf "%.0f", $2 / 1024 }' "/proc/$pid/status"
}

median() {
    sort -n "$1" | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'
}

most() {
    sort -n "$1" | tail -n 1
}

build
configure
printf '%12s %8s %18s %18s %12s %12s %12s   (%s, %s rounds)\n' applications 'file MB' 'start ms (most)' \
    'edit ms (most)' 'started MiB' 'edited MiB' 'peak MiB' "$PROFILE" "$ROUNDS"
for size in "${sizes[@]}"; do
    { echo 'applications:'; applications 1 "$size"; } >"$work/base.yaml"
    cp "$work/base.yaml" "$work/applications.yaml"
    for _ in $(seq "$ROUNDS"); do
        stop
        start "$size"
    done
    until_live "$size"
    sleep 1
    started=$(memory VmRSS)
    for round in $(seq "$ROUNDS"); do
        { cat "$work/base.yaml"; applications $((size + 1)) $((size + round)); } >"$work/new.yaml"
        edit $((size + round)) "$size"
    done
    sleep 1
    printf '%12s %8s %18s %18s %12s %12s %12s\n' "$size" \
        "$(awk -v b="$(stat -c %s "$work/base.yaml")" 'BEGIN { printf "%.1f", b / 1e6 }')" \
        "$(median "$work/start.$size") ($(most "$work/start.$size"))" \
        "$(median "$work/edit.$size") ($(most "$work/edit.$size"))" \
        "$started" "$(memory VmRSS)" "$(memory VmHWM)"
    stop
done
