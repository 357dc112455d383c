#!/usr/bin/env bash
# The gateway at work, on a machine with Rust, a C compiler and curl. Builds it, starts an identity
# provider, an upstream and the gateway, creates an application over the gateway's own API, which
# registers it at the identity provider, and calls an API with each kind of credential. It goes on
# running until Ctrl-C, so that you can do the same, also on the developers' pages.
#
#   examples/quickstart.sh            then try what it prints, in another terminal
#   examples/quickstart.sh --once     ends at once: 0 if every answer was as expected
#
# Everything stays on 127.0.0.1. Ports: GATEWAY_PORT (8000), ADMIN_PORT (8001), PORTAL_PORT (8002),
# UPSTREAM_PORT (9000), IDP_PORT (9400); 0 takes a free one. PROFILE=release builds slower and runs faster. Configuration,
# registry, secrets and logs are in target/quickstart, or in QUICKSTART_DIR.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."

GATEWAY_PORT=${GATEWAY_PORT:-8000}
ADMIN_PORT=${ADMIN_PORT:-8001}
PORTAL_PORT=${PORTAL_PORT:-8002}
UPSTREAM_PORT=${UPSTREAM_PORT:-9000}
IDP_PORT=${IDP_PORT:-9400}
PROFILE=${PROFILE:-dev}
target=${CARGO_TARGET_DIR:-target}
dir=${QUICKSTART_DIR:-$target/quickstart}

step() { printf '\n== %s\n' "$*"; }
die() {
    echo "quickstart.sh: $*" >&2
    exit 1
}

case "$*" in
'') once= ;;
--once) once=1 ;;
*) die "usage: examples/quickstart.sh [--once]" ;;
esac

pids=()
finish() {
    trap - EXIT
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait
}
trap finish EXIT
trap 'exit 130' INT TERM

# Asked before the build, which takes longer.
free() { # NAME PORT
    if [ "$2" != 0 ] && (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null; then
        die "port $2 is taken: choose another one with $1, as in $1=$(($2 + 10000)) examples/quickstart.sh"
    fi
}
free GATEWAY_PORT "$GATEWAY_PORT"
free ADMIN_PORT "$ADMIN_PORT"
free PORTAL_PORT "$PORTAL_PORT"
free UPSTREAM_PORT "$UPSTREAM_PORT"
free IDP_PORT "$IDP_PORT"

. .ci/install.sh
have cargo || die "Rust is missing: see https://rustup.rs"
have cc || die "a C compiler is missing: on Debian, apt-get install gcc"
have curl || from_apt curl || die "curl is missing"

step "build ($PROFILE profile; the first time takes minutes)"
install_cmake || die "cmake is missing and could not be installed"
cargo build --locked --profile "$PROFILE" --bin dcr-gateway --example idp --example echo
built=$target/$([ "$PROFILE" = dev ] && echo debug || echo "$PROFILE")

# start NAME COMMAND...: its output goes to NAME.log.
start() {
    local name=$1
    shift
    "$@" >"$dir/$name.log" 2>&1 &
    pids+=($!)
}

# eventually NAME WHAT COMMAND...: until the command prints something, which is left in $found.
eventually() {
    local name=$1 what=$2
    shift 2
    for _ in $(seq 200); do
        found=$("$@") && [ -n "$found" ] && return
        kill -0 "${pids[${#pids[@]} - 1]}" 2>/dev/null || break
        sleep 0.05
    done
    tail -n 20 "$dir/$name.log" >&2
    die "$what; the lines above are from $dir/$name.log"
}

# member NAME: the text of a member of a JSON object on standard input.
member() { sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p"; }
# listener NAME: where the gateway says that it listens.
listener() { grep "\"listener\":\"$1\"" "$dir/gateway.log" | member address; }
origin() { [ -f "$dir/$1.log" ] && sed -n 's/^listening on \([^ ]*\).*/\1/p' "$dir/$1.log"; }
# Proxies of the environment are not asked for what is on this machine.
call() { curl -s --noproxy '*' "$@"; }
secret() { head -c 32 /dev/urandom | base64 | tr -d '\n'; }

step start
umask 077
mkdir -p "$dir/secrets"
secret >"$dir/secrets/session"
secret >"$dir/secrets/admin"
secret >"$dir/secrets/registry"
# The identity provider forgets everything when it ends, so what was registered there is gone.
rm -f "$dir"/{cookies,registry.db*}

start idp "$built/examples/idp" "127.0.0.1:$IDP_PORT"
eventually idp "the identity provider does not start" origin idp
idp=$found
start upstream "$built/examples/echo" "127.0.0.1:$UPSTREAM_PORT"
eventually upstream "the upstream does not start" origin upstream
upstream=$found

cat >"$dir/gateway.yaml" <<YAML
listeners:
  - address: 127.0.0.1:$GATEWAY_PORT
admin:
  address: 127.0.0.1:$ADMIN_PORT
  token: { file: secrets/admin }
portal:
  address: 127.0.0.1:$PORTAL_PORT
identity_providers:
  - name: idp
    issuer: $idp
    registration: { open: true }
auth_strategies:
  - name: partners
    identity_provider: idp
    auth_methods: [client_credentials, bearer, session]
    audience: [https://api.example.com]
session_keys: [{ file: secrets/session }]
apis:
  - name: flights
    auth_strategies: [partners]
    routes:
      - paths: [/flights]
    upstream:
      targets:
        - address: ${upstream#http://}
registry: { sqlite: registry.db, keys: [{ file: secrets/registry }] }
YAML
start gateway "$built/dcr-gateway" serve --config "$dir/gateway.yaml"
eventually gateway "the gateway does not start" listener proxy
api=http://$found/flights
eventually gateway "the gateway does not start" listener admin
admin=http://$found
eventually gateway "the gateway does not start" listener portal
portal=http://$found
eventually gateway "the gateway does not become ready" call -f "$admin/readyz"

cat <<TEXT
identity provider  $idp   for trying out only: anybody may register, nothing is kept
upstream           $upstream   answers with what it received
gateway            ${api%/flights}   guards /flights
admin              $admin   /readyz, /metrics, /v2/
portal             $portal   for developers and their browsers
files              $dir
TEXT

# operator METHOD PATH [BODY]: asks the gateway's own API, and leaves its answer in $answer.
operator() {
    local body=()
    [ -z "${3:-}" ] || body=(-H 'Content-Type: application/json' -d "$3")
    answer=$(call -X "$1" "$admin$2" -H "Authorization: Bearer $(<"$dir/secrets/admin")" "${body[@]}")
    [[ $answer != *'"code"'* ]] || die "$1 $2: $answer"
}

step "create an application, which registers it at the identity provider (RFC 7591)"
operator GET /v2/application-auth-strategies
strategy=$(sed 's/.*"data":\[{"id":"\([^"]*\)".*/\1/' <<<"$answer")
operator POST /v2/applications "{\"name\": \"Trip Planner\", \"owner\": {\"type\": \"developer\", \"id\": \"dana@example.com\"}, \"auth_strategy_id\": \"$strategy\"}"
application=$(sed 's/^{"id":"\([^"]*\)".*/\1/' <<<"$answer")
id=$(member client_id <<<"$answer")
secret=$(member client_secret <<<"$answer")
operator POST "/v2/applications/$application/registrations" '{"api_id": "flights", "status": "approved"}'
cat <<TEXT
client id          $id
client secret      $secret
shown this once; the application may call /flights, and the running gateway knows
TEXT

step "invite a developer, who sets a password"
operator POST /v2/developers '{"email": "dana@example.com", "full_name": "Dana Smith"}'
token=$(sed 's/.*"token":"\([^"]*\)".*/\1/' <<<"$answer")
password=$(secret)
answer=$(call -w '%{http_code}' -X POST "$portal/api/v2/developer/reset-password" \
    -H 'Content-Type: application/json' -d "{\"token\": \"$token\", \"password\": \"$password\"}")
[ "$answer" = 204 ] || die "the password was not set: $answer"
cat <<TEXT
page               $portal
sign in as         dana@example.com
password           $password
operators          $portal/operator, with the token in $dir/secrets/admin
TEXT

# Printed, so that it can be pasted; run, so that it is known to work.
curl="curl -is$([ -z "${http_proxy:-}${all_proxy:-}${ALL_PROXY:-}" ] || echo " --noproxy '*'")"

# try STATUS TEXT COMMAND: prints a command, runs it, and shows of its answer what is worth a look.
# TEXT must stand in the answer.
try() {
    local status=$1 text=$2 command=$3 answer
    printf '$ %s\n' "$command"
    answer=$(eval "$command" | tr -d '\r') || die "no answer"
    sed -En -e 's/^(Set-Cookie: [^=]*=.{8})[^;]*/\1.../' -e '1p' -e '/^(Set-Cookie|[Ww][Ww][Ww]-[Aa]uthenticate): /p' \
        -e '/^\{"/p' -e '/"x-(app|auth|cred|dev)[^"]*":/p' <<<"$answer"
    [[ $answer == "HTTP/1.1 $status "* ]] || die "expected status $status"
    [[ $answer == *"$text"* ]] || die "expected $text"
    [[ $status != 200 || $answer != *'"authorization"'* ]] || die "the upstream saw the credential"
}

step "client id and secret: Basic, encoded by curl"
try 200 '"x-auth-method": "client_credentials"' "$curl -u $id:$secret $api"

step "the same as Konnect's documentation writes it, not encoded"
try 200 '"x-auth-method": "client_credentials"' "$curl -H 'Authorization: Basic $id:$secret' $api"

step "a token that the client fetched itself: Bearer"
fetch="TOKEN=\$(curl -s${curl#curl -is} -u $id:$secret -d grant_type=client_credentials $idp/token | sed 's/.*\"access_token\":\"\([^\"]*\).*/\1/')"
printf '$ %s\n' "$fetch"
eval "$fetch"
try 200 '"x-auth-method": "bearer"' "$curl -H \"Authorization: Bearer \$TOKEN\" $api"

# Short where the reader stands, absolute where that would be wrong.
jar=$dir/cookies
[ "$here" = "$PWD" ] || [[ $jar == /* ]] || jar=$PWD/$jar
step "the session cookie that a good credential earns, alone"
try 200 'Set-Cookie: dcr_session=' "$curl -c $jar -u $id:$secret $api"
try 200 '"x-auth-method": "session"' "$curl -b $jar $api"

step "refused"
try 401 '"code":"credentials_required"' "$curl $api"
try 401 '"code":"invalid_client"' "$curl -u $id:wrong $api"

if [ -n "$once" ]; then
    step "every answer was as expected"
    exit
fi
step "running; Ctrl-C ends it. Paste the commands above into another terminal, or try"
cat <<TEXT
curl -X PATCH $admin/v2/applications/$application -H "Authorization: Bearer \$(<$dir/secrets/admin)" \\
    -H "Content-Type: application/json" -d '{"status": "suspended"}'   live at once; "active" undoes it
curl -X POST $admin/v2/applications/$application/regenerate-secret -H "Authorization: Bearer \$(<$dir/secrets/admin)"
edit $dir/gateway.yaml        add an API: live within a second
tail -f $dir/gateway.log      a line for each request, with the reason of a refusal
kill ${pids[0]}   stop the identity provider: what is known goes on working, the rest gets 503, not 401
TEXT
wait "${pids[2]}"
die "the gateway has ended: see $dir/gateway.log"
