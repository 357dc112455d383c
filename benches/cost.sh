#!/usr/bin/env bash
# What does a request cost? CPU time of the gateway's process for one request, beside a bare
# Pingora proxy built with the same flags. One worker thread on one core; load generator, upstream
# and identity provider on another. See README.md here for how to read the table.
#
#   benches/cost.sh                    all cases, release build
#   benches/cost.sh bare bearer        some cases: bare bearer basic session earning refused
#   PROFILE=dev ROUNDS=1 SECONDS_EACH=1 benches/cost.sh bare       does the script work?
#
# PROXY_CORE and LOAD_CORE choose the cores, CONNECTIONS the load, PORT the first of six ports.
set -euo pipefail
cd "$(dirname "$0")/.."

PROFILE=${PROFILE:-release}
ROUNDS=${ROUNDS:-3}
SECONDS_EACH=${SECONDS_EACH:-10}
CONNECTIONS=${CONNECTIONS:-32}
PROXY_CORE=${PROXY_CORE:-0}
LOAD_CORE=${LOAD_CORE:-1}
PORT=${PORT:-18100}

bare=127.0.0.1:$PORT
gateway=127.0.0.1:$((PORT + 1))
admin=127.0.0.1:$((PORT + 2))
upstream=127.0.0.1:$((PORT + 3))
idp=127.0.0.1:$((PORT + 4))

cases=("$@")
[ ${#cases[@]} -gt 0 ] || cases=(bare bearer basic session earning refused)

work=$(mktemp -d)
pids=()
finish() {
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

die() {
    echo "cost.sh: $*" >&2
    exit 1
}

install_wrk() {
    command -v wrk >/dev/null && return
    local sudo=
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo apt-get update -q && $sudo apt-get install -yq wrk || die "wrk is missing and cannot be installed"
}

wants_gateway() {
    [ "${cases[*]}" != bare ]
}

build() {
    local what=(--example bare --example fixed)
    wants_gateway && what+=(--bin dcr-gateway --example idp)
    cargo build --quiet --profile "$PROFILE" "${what[@]}"
    binaries=${CARGO_TARGET_DIR:-target}/$([ "$PROFILE" = dev ] && echo debug || echo "$PROFILE")
}

# start CORE LOG COMMAND...: leaves the process id in $started.
start() {
    local core=$1 log=$work/$2
    shift 2
    taskset -c "$core" "$@" >"$log" 2>&1 &
    started=$!
    pids+=("$started")
}

# wait_for URL LOG: until anything answers there.
wait_for() {
    for _ in $(seq 500); do
        curl -s -o "$work/last" "$1" && return
        sleep 0.02
    done
    cat "$work/$2" >&2
    die "nothing answers at $1"
}

# member NAME: the string value of a JSON object's member on standard input.
member() {
    sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p"
}

# Registers a client (RFC 7591), leaving $client_id and $client_secret.
register() {
    local answer
    answer=$(curl -sf "http://$idp/register" -H 'Content-Type: application/json' -d '{
        "client_name": "cost", "grant_types": ["client_credentials"], "redirect_uris": [],
        "response_types": [], "token_endpoint_auth_method": "client_secret_post" }' | tr -d '\n') ||
        die "the identity provider does not register clients"
    client_id=$(member client_id <<<"$answer")
    client_secret=$(member client_secret <<<"$answer")
}

# Gets a token with the registered client, leaving $token.
fetch_token() {
    local endpoint
    endpoint=$(curl -sf "http://$idp/.well-known/openid-configuration" | tr -d '\n' | member token_endpoint)
    token=$(curl -sf "$endpoint" -d grant_type=client_credentials --data-urlencode "client_id=$client_id" \
        --data-urlencode "client_secret=$client_secret" | tr -d '\n' | member access_token)
    [ -n "$token" ] || die "the identity provider gives no token"
}

start_gateway() {
    start "$LOAD_CORE" idp.log "$binaries/examples/idp" "$idp"
    wait_for "http://$idp/.well-known/openid-configuration" idp.log
    register
    fetch_token
    cat >"$work/gateway.yaml" <<YAML
listeners: [{ address: "$gateway" }]
admin: { address: "$admin" }
threads: 1
log: { level: warn, access: off }
identity_providers: [{ name: idp, issuer: "http://$idp" }]
auth_strategies:
  - { name: machines, identity_provider: idp, auth_methods: [client_credentials, bearer] }
  - { name: browsers, identity_provider: idp, auth_methods: [client_credentials, bearer, session] }
apis:
  - name: cost
    auth_strategies: [machines]
    routes: [{ paths: [/] }]
    upstream: { targets: [{ address: "$upstream" }] }
  - name: cookies
    auth_strategies: [browsers]
    routes: [{ paths: [/cookies] }]
    upstream: { targets: [{ address: "$upstream" }] }
registry: { file: applications.yaml }
YAML
    cat >"$work/applications.yaml" <<YAML
applications:
  - name: Cost
    developer: cost@example.com
    auth_strategy: machines
    client_id: "$client_id"
    registrations: { cost: approved }
  - name: Cookies
    developer: cost@example.com
    auth_strategy: browsers
    client_id: "$client_id"
    registrations: { cookies: approved }
YAML
    start "$PROXY_CORE" gateway.log "$binaries/dcr-gateway" serve --config "$work/gateway.yaml"
    gateway_pid=$started
    wait_for "http://$gateway/" gateway.log
    basic=$(printf '%s:%s' "$client_id" "$client_secret" | base64 -w0)
    cookie=$(curl -s -o "$work/last" -D - "http://$gateway/cookies" -H "Authorization: Bearer $token" |
        sed -n 's/^set-cookie: *\([^;]*\).*/\1/Ip' | tr -d '\r')
}

# cpu PID: clock ticks that a process has used, user and system.
cpu() {
    # The name in parentheses may hold anything, so fields are counted after it.
    sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'
}

# measure CASE: microseconds of CPU for each request.
measure() {
    local address=$gateway pid=${gateway_pid:-} header=() status=200 path=/
    case $1 in
    bare) address=$bare pid=$bare_pid ;;
    bearer) header=(-H "Authorization: Bearer $token") ;;
    basic) header=(-H "Authorization: Basic $basic") ;;
    session) header=(-H "Cookie: $cookie") path=/cookies ;;
    earning) header=(-H "Authorization: Bearer $token") path=/cookies ;;
    refused) status=401 ;;
    *) die "no such case: $1" ;;
    esac
    local got
    got=$(curl -s -o "$work/last" -w '%{http_code}' "${header[@]}" "http://$address$path")
    [ "$got" = "$status" ] || die "$1 answers $got, not $status"
    local load=(taskset -c "$LOAD_CORE" wrk -t 1 -c "$CONNECTIONS" "${header[@]}" "http://$address$path")
    "${load[@]}" -d 1s >"$work/last"
    local before after
    before=$(cpu "$pid")
    "${load[@]}" -d "${SECONDS_EACH}s" >"$work/wrk"
    after=$(cpu "$pid")
    awk -v ticks=$((after - before)) -v hertz="$(getconf CLK_TCK)" \
        '/requests in/ { printf "%.2f\n", ticks / hertz * 1e6 / $1; found = 1 } END { exit !found }' \
        "$work/wrk" || die "wrk says nothing of requests"
}

median() {
    sort -n | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'
}

install_wrk
build
start "$LOAD_CORE" upstream.log "$binaries/examples/fixed" "$upstream"
wait_for "http://$upstream/" upstream.log
start "$PROXY_CORE" bare.log "$binaries/examples/bare" "$bare" "$upstream"
bare_pid=$started
wait_for "http://$bare/" bare.log
if wants_gateway; then
    start_gateway
fi

# Each round measures bare anew, so that what disturbs the machine disturbs both sides of a ratio.
for round in $(seq "$ROUNDS"); do
    base=$(measure bare)
    for name in "${cases[@]}"; do
        cost=$base
        [ "$name" = bare ] || cost=$(measure "$name")
        echo "$cost" >>"$work/$name.cost"
        awk -v cost="$cost" -v base="$base" 'BEGIN { printf "%.3f\n", cost / base }' >>"$work/$name.ratio"
        echo "round $round: $name $cost us" >&2
    done
done

printf '%-10s %12s %10s   (%s, median of %s rounds)\n' case 'us/request' 'x bare' "$PROFILE" "$ROUNDS"
for name in "${cases[@]}"; do
    printf '%-10s %12s %10s\n' "$name" "$(median <"$work/$name.cost")" "$(median <"$work/$name.ratio")"
done
