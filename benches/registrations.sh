#!/usr/bin/env bash
# Do registrations get lost, or disturb requests? Many clients make applications at once, over the
# REST of two gateways that share a PostgreSQL; meanwhile a caller with a known token measures how
# long its requests take. See README.md here for how to read the table.
#
#   benches/registrations.sh               1,000 applications by 50 clients, five rounds, release build
#   PROFILE=dev APPLICATIONS=50 CLIENTS=8 ROUNDS=1 SECONDS_EACH=2 RATIO=100 benches/registrations.sh
#                                          does the script work?
#
# Ends with 0 only where every application is there once, and passes both gateways, and the caller's
# 99th percentile is within RATIO of what it was before. GATEWAY_CORE and OTHERS_CORE choose the
# cores; CONNECTIONS and RATE the caller's load, in requests a second; PORT is the first of six ports.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

APPLICATIONS=${APPLICATIONS:-1000}
CLIENTS=${CLIENTS:-50}
ROUNDS=${ROUNDS:-5}
SECONDS_EACH=${SECONDS_EACH:-10}
RATIO=${RATIO:-1.2}
CONNECTIONS=${CONNECTIONS:-8}
RATE=${RATE:-700}
GATEWAY_CORE=${GATEWAY_CORE:-0}
OTHERS_CORE=${OTHERS_CORE:-1}
PORT=${PORT:-18300}

gateways=("127.0.0.1:$PORT" "127.0.0.1:$((PORT + 1))")
admins=("127.0.0.1:$((PORT + 2))" "127.0.0.1:$((PORT + 3))")
idp=127.0.0.1:$((PORT + 4))
upstream=127.0.0.1:$((PORT + 5))

install() {
    install_cmake
    need python3
    local place
    for place in "" target/tools/postgresql; do
        [ -x "$place/usr/lib/postgresql/15/bin/initdb" ] && break
    done
    [ -x "$place/usr/lib/postgresql/15/bin/initdb" ] || tree_of_apt postgresql postgresql-15 ||
        die "install PostgreSQL 15 (package postgresql-15)"
    postgresql=(env)
    if [ -n "$place" ]; then
        place=$PWD/$place
        postgresql+=("LD_LIBRARY_PATH=$place/usr/lib/$(uname -m)-linux-gnu")
    fi
    # PostgreSQL refuses to run as root; this is Debian's `nobody`.
    [ "$(id -u)" -ne 0 ] || postgresql+=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    programs=$place/usr/lib/postgresql/15/bin
}

start_postgresql() {
    local dir=$work/postgresql
    # Its own user has to come through, and sees no more than that.
    chmod 711 "$work"
    mkdir "$dir"
    [ "$(id -u)" -ne 0 ] || chown 65534:65534 "$dir"
    (cd / && "${postgresql[@]}" "$programs/initdb" "$dir/data" --username=postgres --auth=trust \
        --encoding=UTF8 --locale=C --no-instructions) >"$work/initdb.log" 2>&1 ||
        die "initdb: $(cat "$work/initdb.log")"
    # Durable as it comes: only the network is off.
    start "$OTHERS_CORE" postgresql.log "${postgresql[@]}" "$programs/postgres" -D "$dir/data" -k "$dir" \
        -c listen_addresses=
    wait_for postgresql.log grep -q ready "$dir/data/postmaster.pid"
    export DATABASE_URL="postgres:///postgres?user=postgres&host=$dir"
}

# start_gateway NUMBER CORE
start_gateway() {
    cat >"$work/gateway-$1.yaml" <<YAML
listeners: [{ address: "${gateways[$1]}" }]
admin: { address: "${admins[$1]}", token: { file: secrets/admin } }
threads: 1
grace_period: 1s
log: { level: warn, access: off }
session_keys: [{ file: secrets/session }]
identity_providers: []
auth_strategies: []
apis:
  - name: flights
    auth_strategies: [partners]
    routes: [{ paths: [/flights] }]
    upstream: { targets: [{ address: "$upstream" }] }
registry: { postgres: { env: DATABASE_URL }, keys: [{ file: secrets/registry }] }
YAML
    start "$2" "gateway-$1.log" "$binaries/dcr-gateway" serve --config "$work/gateway-$1.yaml"
    wait_for "gateway-$1.log" curl -s "http://${admins[$1]}/livez"
}

# operate PATH BODY: makes something at the first gateway; its answer.
operate() {
    curl -s --fail-with-body -o "$work/answer" "http://${admins[0]}$1" -H 'Content-Type: application/json' \
        -H "Authorization: Bearer $(cat "$work/secrets/admin")" -d "$2" || die "POST $1: $(cat "$work/answer")"
    cat "$work/answer"
}

# What an operator does: provider, strategy, and the caller's application.
prepare() {
    local provider made application
    provider=$(operate /v2/dcr-providers '{
        "name": "idp", "display_name": "Example", "provider_type": "generic", "issuer": "http://'"$idp"'",
        "dcr_config": { "open": true } }' | member id)
    strategy=$(operate /v2/application-auth-strategies '{
        "name": "partners", "display_name": "Partners", "strategy_type": "openid_connect",
        "dcr_provider_id": "'"$provider"'",
        "configs": { "openid-connect": {
            "issuer": "http://'"$idp"'", "auth_methods": ["client_credentials", "bearer"],
            "credential_claim": ["client_id"], "audience_required": ["https://api.example.com"] } } }' | member id)
    for number in 0 1; do
        wait_for "gateway-$number.log" curl -sf "http://${admins[number]}/readyz"
    done
    made=$(operate /v2/applications '{
        "name": "Caller", "owner": { "type": "developer", "id": "caller@example.com" },
        "auth_strategy_id": "'"$strategy"'" }')
    application=$(member id <<<"$made")
    operate "/v2/applications/$application/registrations" '{ "api_id": "flights", "status": "approved" }' >"$work/last"
    token=$(curl -sf "http://$idp/token" -d grant_type=client_credentials -d "client_id=$(member client_id <<<"$made")" \
        -d "client_secret=$(member client_secret <<<"$made")" | member access_token)
    # The clients look for it with their own.
    python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)))' <<<"$made" >"$work/made"
    wait_for gateway-0.log curl -sf "http://${gateways[0]}/flights" -H "Authorization: Bearer $token"
}

# call SECONDS FILE: the caller, a line of figures for each second, for so long or until FILE.enough is
# there. What a shared machine takes away for a moment spoils the seconds that it fell in and no other.
call() {
    local second
    for ((second = 0; second < $1; second++)); do
        pace "$GATEWAY_CORE" "$CONNECTIONS" "$RATE" 1 "${gateways[0]}" /flights \
            "Authorization: Bearer $token" >"$work/second"
        # The second in which the creation ended is of neither kind.
        [ ! -e "$2.enough" ] || break
        cat "$work/second" >>"$2"
    done
}

# figures FILE: leaves $p50 and $p99 in microseconds, the medians of the seconds'.
figures() {
    none_failed "$1"
    p50=$(column "$1" 1)
    p99=$(column "$1" 2)
}

# clients COMMAND: what registrations.py says.
clients() {
    WORK=$work ADMINS="${admins[*]}" GATEWAYS="${gateways[*]}" IDP=$idp CLIENTS=$CLIENTS APPLICATIONS=$APPLICATIONS \
        STRATEGY=$strategy API=flights ROUND=$round \
        taskset -c "$OTHERS_CORE" python3 benches/registrations.py "$1"
}

# One round: the caller alone, the caller while applications are made, and what became of them.
play() {
    rm -f "$work"/{warm,before,during}*
    call 1 "$work/warm"
    call "$SECONDS_EACH" "$work/before"
    figures "$work/before"
    local p50_before=$p50 before=$p99 told lag caller
    call 600 "$work/during" &
    caller=$!
    told=$(clients make) || die "round $round: not all were made"
    touch "$work/during.enough"
    wait "$caller"
    figures "$work/during"
    lag=$(clients check) || die "round $round: not all is as it has to be"
    # seconds, a creation's median and 99th percentile, and how often clients were told to wait
    read -r took usual slow waits <<<"$told"
    echo "$before $p99" | awk '{ printf "%.3f\n", $2 / $1 }' >>"$work/ratio"
    printf '%5s %12s %12s %12s %12s %8s %10s %14s %8s %8s\n' "$round" "$p50_before" "$p50" "$before" "$p99" \
        "$(tail -n 1 "$work/ratio")" "$took" "$usual, $slow" "$waits" "$lag"
}

install
build --bin dcr-gateway --example fixed --example idp --example paced
mkdir "$work/secrets"
for name in admin registry session; do
    key >"$work/secrets/$name"
done
start_postgresql
start "$GATEWAY_CORE" upstream.log "$binaries/examples/fixed" "$upstream"
wait_for upstream.log curl -s "http://$upstream/"
start "$OTHERS_CORE" idp.log "$binaries/examples/idp" "$idp"
wait_for idp.log curl -sf "http://$idp/.well-known/openid-configuration"
start_gateway 0 "$GATEWAY_CORE"
start_gateway 1 "$OTHERS_CORE"
prepare

echo "$APPLICATIONS applications by $CLIENTS clients in each round ($PROFILE)"
printf '%5s %12s %12s %12s %12s %8s %10s %14s %8s %8s\n' round 'p50 before' 'p50 during' 'p99 before' 'p99 during' \
    ratio 'made in s' 'creation ms' waits 'lag ms'
for round in $(seq "$ROUNDS"); do
    play
done
ratio=$(median <"$work/ratio")
echo "none lost, none double, every one passes both gateways; p99 during is $ratio x before (median, bound $RATIO)"
awk -v ratio="$ratio" -v bound="$RATIO" 'BEGIN { exit ratio > bound }' || die "the bound is broken"
