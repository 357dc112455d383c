#!/usr/bin/env bash
# How many applications can there be, and how many tokens? See README.md here for how to read the
# tables.
#
#   benches/scale.sh                   all that follows, release build
#   benches/scale.sh file              applications.yaml of 1,000, 20,000 and 200,000 applications:
#                                      start, edits, memory; asserts nothing
#   benches/scale.sh registry          a registry in SQLite of 1,000,000 applications: start, memory,
#                                      one change, a caller beside 10,000 changes at once
#   benches/scale.sh tokens            1,000,000 new tokens through a memory of 100,000
#   PROFILE=dev ROUNDS=1 SIZES=1000 APPLICATIONS=2000 CHANGES=100 SECONDS_EACH=2 TOKENS=70000 CACHE=30000 \
#       MOST_BYTES=10000 MOST_CHANGE=1000 RATIO=100 benches/scale.sh   does the script work?
#
# Of registry and tokens it ends with 0 only where every bound holds. ROUNDS starts and ROUNDS edits
# are measured of each size; GATEWAY_CORE and OTHERS_CORE choose the cores, which a gateway with a file
# or a registry may both use; PORT is the first of six ports.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

ROUNDS=${ROUNDS:-5}
SIZES=${SIZES:-1000 20000 200000}
APPLICATIONS=${APPLICATIONS:-1000000}
CHANGES=${CHANGES:-10000}
SECONDS_EACH=${SECONDS_EACH:-20}
RATIO=${RATIO:-1.2}
TOKENS=${TOKENS:-1000000}
CACHE=${CACHE:-100000}
GATEWAY_CORE=${GATEWAY_CORE:-0}
OTHERS_CORE=${OTHERS_CORE:-1}
PORT=${PORT:-18200}
both=$GATEWAY_CORE,$OTHERS_CORE

# The bounds of a registry: bytes of an application beyond its names, and milliseconds.
MOST_BYTES=${MOST_BYTES:-300}
MOST_START=${MOST_START:-5000}
MOST_CHANGE=${MOST_CHANGE:-10}

gateway=127.0.0.1:$PORT
admin=127.0.0.1:$((PORT + 1))
# Nobody listens here: neither start nor edit waits for an identity provider.
nobody=127.0.0.1:$((PORT + 2))
idp=127.0.0.1:$((PORT + 3))
upstream=127.0.0.1:$((PORT + 4))
bare=127.0.0.1:$((PORT + 5))

parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(file registry tokens)

# Edits are written outside the watched directory, so that writing starts no pause of the watch.
mkdir "$work/edit"

# configure_file: for a list of applications in a file.
configure_file() {
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

# begin CORES COMMAND...: runs the gateway, leaving $pid, until the command succeeds; leaves the
# milliseconds that it took in $took.
begin() {
    local cores=$1 before
    shift
    : >"$work/log"
    before=$(now)
    start "$cores" log "$binaries/dcr-gateway" serve --config "$work/gateway.yaml"
    pid=$started
    until "$@"; do
        kill -0 "$pid" 2>/dev/null || die "the gateway does not run: $(cat "$work/log")"
        [ $(($(now) - before)) -lt 120000000000 ] || die "not within two minutes: $*: $(cat "$work/last")"
        sleep 0.005
    done
    took=$((($(now) - before) / 1000000))
}

# answered STATUS: whether the caller is, with $token.
answered() {
    [ "$(curl -s -o "$work/last" -w '%{http_code}' "http://$gateway/flights" -H "Authorization: Bearer $token")" = "$1" ]
}

# edit COUNT: renames a file with so many applications over the one in use, and adds the
# milliseconds until they are live to a list.
edit() {
    local before
    before=$(now)
    mv "$work/edit/applications.yaml" "$work/applications.yaml"
    until_live "$1"
    echo $((($(now) - before) / 1000000)) >>"$work/edit.$2"
}

# memory NAME: MiB that the kernel counts for the process now (VmRSS) or at most (VmHWM).
memory() {
    awk -v name="$1:" '$1 == name { printf "%.0f", $2 / 1024 }' "/proc/$pid/status"
}

most() {
    sort -n "$1" | tail -n 1
}

measure_file() {
    configure_file
    printf '%12s %8s %18s %18s %12s %12s %12s   (%s, %s rounds)\n' applications 'file MB' 'start ms (most)' \
        'edit ms (most)' 'started MiB' 'edited MiB' 'peak MiB' "$PROFILE" "$ROUNDS"
    local size started
    for size in $SIZES; do
        { echo 'applications:'; applications 1 "$size"; } >"$work/base.yaml"
        cp "$work/base.yaml" "$work/applications.yaml"
        for _ in $(seq "$ROUNDS"); do
            stop
            # The address is bound before the applications are read, and served after that.
            begin "$both" curl -s -o "$work/last" "http://$gateway/flights"
            echo "$took" >>"$work/start.$size"
        done
        until_live "$size"
        sleep 1
        started=$(memory VmRSS)
        for round in $(seq "$ROUNDS"); do
            { cat "$work/base.yaml"; applications $((size + 1)) $((size + round)); } >"$work/edit/applications.yaml"
            edit $((size + round)) "$size"
        done
        sleep 1
        printf '%12s %8s %18s %18s %12s %12s %12s\n' "$size" \
            "$(awk -v b="$(stat -c %s "$work/base.yaml")" 'BEGIN { printf "%.1f", b / 1e6 }')" \
            "$(median <"$work/start.$size") ($(most "$work/start.$size"))" \
            "$(median <"$work/edit.$size") ($(most "$work/edit.$size"))" \
            "$started" "$(memory VmRSS)" "$(memory VmHWM)"
        stop
    done
}

# configure_registry FILE: for applications in a database.
configure_registry() {
    cat >"$work/gateway.yaml" <<YAML
listeners: [{ address: "$gateway" }]
admin: { address: "$admin", token: { file: admin } }
threads: 1
grace_period: 1s
log: { level: warn, access: off }
identity_providers: [{ name: idp, issuer: "http://$idp" }]
auth_strategies:
  - { name: partners, identity_provider: idp, auth_methods: [client_credentials, bearer], audience: ["https://api.example.com"] }
apis:
  - name: flights
    auth_strategies: [partners]
    routes: [{ paths: [/flights] }]
    upstream: { targets: [{ address: "$upstream" }] }
  - name: hotels
    auth_strategies: [partners]
    routes: [{ paths: [/hotels] }]
    upstream: { targets: [{ address: "$upstream" }] }
registry: { sqlite: $1, keys: [{ file: key }] }
YAML
}

# rested NAME: KiB as in memory, when what the start sets in motion has come to rest.
rested() {
    sleep 5
    awk -v name="$1:" '$1 == name { print $2 }' "/proc/$pid/status"
}

# call FILE: the caller, a line of figures for each second.
call() {
    for _ in $(seq "$SECONDS_EACH"); do
        pace "$both" 8 700 1 "$gateway" /flights "Authorization: Bearer $token" >>"$1"
    done
    none_failed "$1"
}

# bound WHAT VALUE MOST UNIT: tells a figure, and remembers one that is too large.
bound() {
    local verdict=ok
    awk -v value="$2" -v most="$3" 'BEGIN { exit value > most }' || { verdict=BROKEN; broken=1; }
    printf '  %-60s %10s %-6s (bound %s) %s\n' "$1" "$2" "$4" "$3" "$verdict"
}

measure_registry() {
    local name round names empty full peak application secret changer
    for name in admin key; do
        key >"$work/$name"
    done
    start "$both" upstream.log "$binaries/examples/fixed" "$upstream"
    wait_for upstream.log curl -s "http://$upstream/"
    start "$OTHERS_CORE" idp.log "$binaries/examples/idp" "$idp"
    wait_for idp.log curl -sf "http://$idp/.well-known/openid-configuration"
    curl -sf "http://$idp/register" -H 'Content-Type: application/json' -d '{"client_name": "Caller"}' >"$work/client"
    client=$(member client_id <"$work/client")
    secret=$(member client_secret <"$work/client")
    token=$(curl -sf "http://$idp/token" -d grant_type=client_credentials -d "client_id=$client" \
        -d "client_secret=$secret" | member access_token)
    configure_registry registry.db
    # The gateway makes the database; nobody is known yet.
    begin "$both" answered 403
    empty=$(rested VmRSS)
    stop_last
    names=$(python3 benches/scale.py fill "$work/registry.db" "$APPLICATIONS" "$client")
    echo "$APPLICATIONS applications in SQLite ($PROFILE, $(($(stat -c %s "$work/registry.db") / 1000000)) MB," \
        "$((names / APPLICATIONS)) bytes of names each)"
    for round in $(seq "$ROUNDS"); do
        [ "$round" = 1 ] || stop_last
        begin "$both" answered 200
        echo "$took" >>"$work/starts"
    done
    bound "start, to the first answer for an application" "$(median <"$work/starts")" "$MOST_START" ms
    full=$(rested VmRSS)
    peak=$(awk '$1 == "VmHWM:" { print int($2 / 1024) }' "/proc/$pid/status")
    bound "memory of an application beyond its names ($((full / 1024)) MiB, peak $peak)" \
        "$((((full - empty) * 1024 - names) / APPLICATIONS))" "$MOST_BYTES" bytes
    application=$(curl -sf "http://$admin/v2/applications?filter%5Bclient_id%5D=$client" \
        -H "Authorization: Bearer $(cat "$work/admin")" | python3 -c 'import json, sys; print(json.load(sys.stdin)["data"][0]["id"])')
    ADMIN=$admin GATEWAY=$gateway TOKEN=$token ADMIN_TOKEN=$(cat "$work/admin") APPLICATION=$application \
        taskset -c "$OTHERS_CORE" python3 benches/scale.py patch 50 >"$work/patched" || die "$(cat "$work/patched")"
    bound "one change, to its being live (longest $(most "$work/patched"))" "$(median <"$work/patched")" "$MOST_CHANGE" ms
    call "$work/before"
    start "$OTHERS_CORE" changed python3 benches/scale.py change "$work/registry.db" "$CHANGES"
    changer=$started
    sleep 1
    call "$work/during"
    kill -0 "$changer" 2>/dev/null || die "no changes: $(cat "$work/changed")"
    bound "p99 beside $CHANGES changes a second ($(column "$work/before" 2), $(column "$work/during" 2) us)" \
        "$(awk -v b="$(column "$work/before" 2)" -v d="$(column "$work/during" 2)" 'BEGIN { printf "%.2f", d / b }')" \
        "$RATIO" "x"
    stop
}

measure_tokens() {
    cat >"$work/gateway.yaml" <<YAML
listeners: [{ address: "$gateway" }]
admin: { address: "$admin" }
threads: 1
grace_period: 1s
log: { level: warn, access: off }
identity_providers:
  - { name: idp, issuer: "http://127.0.0.1", discovery_url: "http://$idp/metadata" }
auth_strategies:
  - name: partners
    identity_provider: idp
    auth_methods: [bearer]
    audience: ["https://api.example.com"]
    bearer: { cache_size: $CACHE }
apis:
  - name: flights
    auth_strategies: [partners]
    routes: [{ paths: [/flights] }]
    upstream: { targets: [{ address: "$upstream" }] }
registry: { file: applications.yaml }
YAML
    cat >"$work/applications.yaml" <<YAML
applications:
  - name: Caller
    developer: caller@example.com
    auth_strategy: partners
    client_id: 0oa6f2c1e9e3c1b4b555
    registrations: { flights: approved }
YAML
    start "$OTHERS_CORE" upstream.log "$binaries/examples/fixed" "$upstream"
    wait_for upstream.log curl -s "http://$upstream/"
    start "$GATEWAY_CORE" bare.log "$binaries/examples/bare" "$bare" "$upstream"
    wait_for bare.log curl -s "http://$bare/"
    token=none
    begin "$GATEWAY_CORE" answered 401
    echo "$TOKENS new tokens through a memory of $CACHE ($PROFILE)"
    # The build is not pinned: it may take both cores.
    cargo bench --quiet --locked --profile "$PROFILE" --bench tokens --no-run
    taskset -c "$OTHERS_CORE" cargo bench --quiet --locked --profile "$PROFILE" --bench tokens -- \
        "$idp" "$gateway" "$bare" "$admin" "$pid" "$TOKENS" "$CACHE" || broken=1
    stop
}

build --bin dcr-gateway --example bare --example fixed --example idp --example paced
broken=0
for part in "${parts[@]}"; do
    case $part in
        file | registry | tokens) "measure_$part" ;;
        *) die "$part: expected file, registry or tokens" ;;
    esac
done
[ "$broken" = 0 ] || die "a bound is broken"
