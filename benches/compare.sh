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
# rotation, TWO_CORES where two workers run, PORT the first of seventeen ports.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh
. benches/peers.sh

ROUNDS=${ROUNDS:-5}
SECONDS_EACH=${SECONDS_EACH:-1}
CONNECTIONS=${CONNECTIONS:-32}
TOKENS=${TOKENS:-20000}
PROXY_CORE=${PROXY_CORE:-0}
LOAD_CORE=${LOAD_CORE:-1}
TWO_CORES=${TWO_CORES:-$PROXY_CORE,$LOAD_CORE}
PORT=${PORT:-18100}

# More than any cache of the `first` case holds, so that a token is forgotten before it comes again.
FIRST_CACHE=1000

port() { echo "127.0.0.1:$((PORT + $1))"; }
bare=$(port 0) gateway=$(port 1) logged=$(port 3) two=$(port 5) bare_two=$(port 15) signed=$(port 16)
haproxy=$(port 7) haproxy_jwt=$(port 8) nginx=$(port 9) envoy=$(port 10) envoy_jwt=$(port 11)
upstream=$(port 12) idp=$(port 13) issuer=$(port 14)

ours=(bearer basic session earning logged rotation first anonymous expired garbage wrong forged two p99)
peers=(nginx haproxy haproxy-jwt envoy envoy-jwt)
cases=("$@")
[ ${#cases[@]} -gt 0 ] || cases=(bare "${ours[@]}" "${peers[@]}")

# wants CASE...: whether any of them was asked for.
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
    first) echo signed 1.4 ;;
    anonymous | expired | garbage | wrong) echo bare 0.5 ;;
    # Two workers do 1.9 times the work of one where a request costs them no more than this, beyond what
    # they cost bare: there is no core for the load alone.
    two) echo one 1.053 ;;
    p99) echo added 100 ;;
    esac
}

check_names() {
    local name
    for name in "${cases[@]}"; do
        case " bare ${ours[*]} ${peers[*]} " in
        *" $name "*) ;;
        *) die "no such case: $name" ;;
        esac
    done
}

install() {
    install_cmake
    need wrk
    need curl
    PATH=$PATH:/usr/sbin
    ! wants "${ours[@]}" || need python3
    install_peers
    local name left=()
    for name in "${cases[@]}"; do
        case " ${missing[*]-} " in
        *" $name "*) echo "compare.sh: $name cannot be installed and is left out" >&2 ;;
        *) left+=("$name") ;;
        esac
    done
    cases=("${left[@]}")
}

build_wanted() {
    local what=(--example bare --example fixed --example paced)
    ! wants "${ours[@]}" "${peers[@]}" || what+=(--example tokens)
    ! wants "${ours[@]}" || what+=(--bin dcr-gateway --example idp)
    build "${what[@]}"
}

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
    mkdir -p "$dir"
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
    wait_for "$1.log" curl -s "http://$2/"
}

# What the gateway asks, and a client there.
start_idps() {
    start "$LOAD_CORE" issuer.log python3 -m http.server --bind "${issuer%:*}" --directory "$work/tokens" "${issuer##*:}"
    wait_for issuer.log curl -s "http://$issuer/metadata.json"
    start "$LOAD_CORE" idp.log "$binaries/examples/idp" "$idp"
    wait_for idp.log curl -sf "http://$idp/.well-known/openid-configuration"
    register
}

start_gateways() {
    start_gateway gateway "$gateway" "$PROXY_CORE" 1 off
    gateway_pid=$started
    cookie=$(curl -s -o "$work/last" -D - "http://$gateway/cookies" -H "Authorization: Bearer $token" |
        sed -n 's/^set-cookie: *\([^;]*\).*/\1/Ip' | tr -d '\r')
    if wants logged; then
        start_gateway logged "$logged" "$PROXY_CORE" 1 on
        logged_pid=$started
    fi
    if wants two; then
        start_gateway two "$two" "$TWO_CORES" 2 off
        two_pid=$started
        start "$TWO_CORES" bare-two.log "$binaries/examples/bare" "$bare_two" "$upstream" 2
        bare_two_pid=$started
        wait_for bare-two.log curl -s "http://$bare_two/"
    fi
}

# begin: bare and the gateways, new, and what they shall know is known. Two starts of one program may
# differ by some hundredths for as long as they run: where the system puts them is chance.
begin() {
    local name
    while [ ${#pids[@]} -gt "$lasting" ]; do stop_last; done
    start "$PROXY_CORE" bare.log "$binaries/examples/bare" "$bare" "$upstream"
    bare_pid=$started
    wait_for bare.log curl -s "http://$bare/"
    if wants first; then
        start "$PROXY_CORE" signed.log "$binaries/examples/bare" "$signed" "$upstream" 1 "$work/tokens/public.der"
        signed_pid=$started
        wait_for signed.log curl -s "http://$signed/"
    fi
    ! wants "${ours[@]}" || start_gateways
    for name in bare "${cases[@]}"; do
        [ "$name" != p99 ] || name=bearer
        probe "$name"
    done
    measure bare
    ! wants "${ours[@]}" || measure bearer
    for _ in $(seq 20); do
        ! wants rotation || [ "$(cached many misses)" -ge "$TOKENS" ] || measure rotation
    done
}

write_rotation() {
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
}

# aim CASE: leaves where its requests go, with what, and what they are answered. `bare:CASE` and
# `pair:CASE` send the requests of a case to the proxies that only forward, `signed:CASE` to the one
# that checks signatures too.
aim() {
    address=$gateway pid=${gateway_pid:-} path=/known header=() script=() status=200
    case ${1#*:} in
    bare) address=$bare pid=$bare_pid path=/ ;;
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
    esac
    case $1 in
    bare:*) address=$bare pid=$bare_pid status=200 ;;
    pair:*) address=$bare_two pid=$bare_two_pid status=200 ;;
    signed:*) address=$signed pid=$signed_pid status=200 ;;
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
    # A machine that gives its time to others for a whole second has measured nothing.
    for _ in 1 2 3; do
        before=$(cpu "$pid")
        taskset -c "$LOAD_CORE" wrk -t 1 -c "$CONNECTIONS" -d "${SECONDS_EACH}s" "${script[@]}" "${header[@]}" \
            "http://$address$path" -- "$work/tokens/valid" >"$work/wrk" || die "wrk: $(cat "$work/wrk")"
        after=$(cpu "$pid")
        grep -q '^ *0 requests in' "$work/wrk" || break
        echo "$1: no answer at all, once more" >&2
    done
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

# beside CASE: measures a case and bare with the same requests, one right after the other, and in the
# next round the other way round.
beside() {
    local own
    if [ $((round % 2)) = 1 ]; then
        measure "$1"
        own=$cost
        measure "bare:$1"
        keep "$1" "$own" "$cost"
    else
        measure "bare:$1"
        own=$cost
        measure "$1"
        keep "$1" "$cost" "$own"
    fi
}

# Two workers beside one, and how much dearer a second worker makes bare's requests here.
play_two() {
    local single own bare_single
    measure bearer
    single=$cost
    measure two
    own=$cost
    measure bare:bearer
    bare_single=$cost
    measure pair:bearer
    keep two "$own" "$(awk -v one="$single" -v bare="$bare_single" -v pair="$cost" 'BEGIN { printf "%.2f\n", one * pair / bare }')"
    keep bare-two "$cost" "$bare_single"
}

# One round.
play() {
    local name signature
    for name in "${cases[@]}"; do
        case $name in
        p99) ;;
        two) play_two ;;
        bare)
            measure bare
            keep bare "$cost" "$cost"
            ;;
        first)
            signature=$(taskset -c "$PROXY_CORE" "$binaries/examples/tokens" check "$work/tokens")
            keep signature "$signature" 0
            beside first
            measure signed:first
            keep signed "$cost" "$(tail -n 1 "$work/first.base")"
            ;;
        *) beside "$name" ;;
        esac
    done
}

# paced CASE RATE: a second of so many requests; leaves $p99 in microseconds, and $whole, that of the
# second in one piece.
paced() {
    local rate
    aim "$1"
    # What curl and wrk take as `-H FIELD`.
    pace "$LOAD_CORE" 64 "$2" 20 "$address" "$path" "${header[1]}" >"$work/paced"
    none_failed "$work/paced"
    read -r _ p99 _ _ rate whole <"$work/paced"
    echo "$rate" >>"$work/rates"
}

# What the gateway adds to bare's 99th percentile where half of bare's peak comes in. Seconds of both
# take turns, and each difference is of two neighbours: others' work spoils one and not the median.
play_p99() {
    local peak half base base_whole
    for _ in 1 2 3; do
        taskset -c "$LOAD_CORE" wrk -t 1 -c 64 -d 1s "http://$bare/" | awk '/^Requests\/sec:/ { printf "%d\n", $2 }'
    done >"$work/peak"
    peak=$(median <"$work/peak")
    half=$((peak / 2))
    for _ in $(seq $((2 * ROUNDS + 1))); do
        paced bare:bearer "$half"
        base=$p99 base_whole=$whole
        paced bearer "$half"
        echo "$((p99 - base))" >>"$work/added"
        echo "$p99" >>"$work/p99.cost"
        echo "$base_whole" >>"$work/whole-bare"
        echo "$whole" >>"$work/whole-bearer"
        echo "p99: bare $base us (of the whole second $base_whole), bearer $p99 us ($whole)" >&2
    done
    echo "p99: of whole seconds, medians: bare $(median <"$work/whole-bare") us, bearer $(median <"$work/whole-bearer")" >&2
    echo "p99: $(median <"$work/rates") requests/s came, half of bare's peak is $half" >&2
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

# figure CASE UNIT: the median of the rounds' own figures; fails where something is not measured.
figure() {
    local own=("$work/$1.cost" "$work/$1.base")
    case $2 in
    added) cat "$work/added" ;;
    bare | one) paste "${own[@]}" | awk '{ printf "%.3f\n", $1 / $2 }' ;;
    signed) paste "${own[@]}" "$work"/signed.{cost,base} | awk '{ printf "%.3f\n", ($1 - $2) / ($3 - $4) }' ;;
    *)
        [ -e "$work/$2.cost" ] || return 1
        paste "${own[@]}" "$work/$2.cost" "$work/$2.base" | awk 'NF == 4 { printf "%.3f\n", $1 / $2 / ($3 / $4) }'
        ;;
    esac | median
}

tell() {
    local name times beside unit limit value bound verdict
    echo "$PROFILE, median of $ROUNDS rounds; \`first\` is bare + so many times what \`signed\` takes beyond bare"
    printf '| %-11s | %8s | %7s | %11s | %-41s | %-18s |\n' case µs '× bare' '× envoy-jwt' 'bounds: measured, allowed' ''
    printf '| %s | %s: | %s: | %s: | %s | %s |\n' ----------- ------- ------ ---------- \
        ----------------------------------------- ------------------
    for name in bare signature signed "${cases[@]}" bare-two; do
        [ -e "$work/$name.cost" ] || continue
        # Named twice, told once.
        [ ! -e "$work/$name.told" ] || continue
        : >"$work/$name.told"
        times='' beside='' bound='' verdict=''
        case $name in
        signature | p99 | two) ;;
        bare-two) times=$(figure "$name" bare) ;;
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
        printf '| %-11s | %7s | %6s | %11s | %-41s | %-18s |\n' "$name" "$(median <"$work/$name.cost")" \
            "$times" "$beside" "$bound" "$verdict"
    done
}

check_names
install
build_wanted
write_rotation
start "$LOAD_CORE" upstream.log "$binaries/examples/fixed" "$upstream"
wait_for upstream.log curl -s "http://$upstream/"
! wants "${ours[@]}" "${peers[@]}" || mint
! wants "${ours[@]}" || start_idps
! wants nginx || start_nginx
! wants haproxy haproxy-jwt || start_haproxy
! wants envoy envoy-jwt || start_envoy
lasting=${#pids[@]}

for round in $(seq "$ROUNDS"); do
    begin
    play
    ! wants "${ours[@]}" || check_caches
done
! wants p99 || play_p99

broken=()
tell
[ ${#broken[@]} -eq 0 ] || die "broken: $(printf '%s, ' "${broken[@]}" | sed 's/, $//')"
