//! WebSockets (RFC 6455): real peers through the gateway, and when a tunnel ends.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    APP, SECRET, World, add, application,
    client::{Call, Connection},
    eventually,
    gateway::Setup,
    idp::Idp,
    now, pass,
    peer::Peer,
    rfc3339,
    sockets::Sockets,
};

/// The real server behind `flights`, and the URL at which clients find it.
async fn real() -> (World, Peer, String) {
    let (server, address) = Peer::serve("websocket.mjs", &["server"]).await;
    let world = World::with(|setup| {
        setup.config["apis"][0]["upstream"]["targets"] = json!([{"address": address.to_string()}]);
    })
    .await;
    let url = format!("ws://{}/flights/live?seat=1", world.gateway.proxy);
    (world, server, url)
}

fn client(url: &str, headers: &Value) -> Peer {
    Peer::start("websocket.mjs", &["client", url, &headers.to_string()])
}

#[tokio::test]
async fn real_peers_speak_through_the_gateway() {
    let (world, mut server, url) = real().await;
    let token = format!("Bearer {}", world.token());
    let mut client = client(&url, &json!({"Authorization": token}));
    let open = client.hear("open").await;
    assert_eq!(open["open"], "chat");
    assert_eq!(open["extensions"], "permessage-deflate");
    let opened = server.hear("opened").await;
    assert_eq!(opened["opened"], "/flights/live?seat=1");
    let seen = &opened["headers"];
    assert_eq!(seen["x-credential-identifier"], APP);
    assert_eq!(seen["authorization"], Value::Null);
    assert_eq!(seen["sec-websocket-version"], "13");

    client.tell(json!({"text": "hello"})).await;
    assert_eq!(client.hear("message").await["message"]["text"], "hello");
    // Larger than every buffer on the way.
    for bytes in [0_u64, 1, 125, 126, 65_536, 3_000_000] {
        client.tell(json!({"bytes": bytes})).await;
        let sum = (0..bytes).fold(0, |sum, i| (sum + i % 251) % 65_521);
        let message = &client.hear("message").await["message"];
        assert_eq!(*message, json!({"bytes": bytes, "sum": sum}));
    }
    client.tell(json!({"ping": "there?"})).await;
    assert_eq!(server.hear("ping").await["ping"], "there?");
    assert_eq!(client.hear("pong").await["pong"], "there?");
    server.tell(json!({"text": "by the way"})).await;
    let message = client.hear("message").await;
    assert_eq!(message["message"]["text"], "by the way");
    // Codes and reasons are the peers' own, whoever closes.
    client.tell(json!({"close": 4001, "reason": "done"})).await;
    let closed = json!({"closed": 4001, "reason": "done"});
    assert_eq!(server.hear("closed").await, closed);
    assert_eq!(client.hear("closed").await, closed);
    eventually!(!world.gateway.access_log().is_empty(), "a line is written");
    let line = world.gateway.access_log().remove(0);
    assert_eq!(
        (&line["status"], &line["code"]),
        (&json!(101), &json!("permit"))
    );
    assert_eq!(line["reason"], Value::Null, "{line}");
}

#[tokio::test]
async fn a_server_may_close_and_a_client_may_vanish() {
    let (world, mut server, url) = real().await;
    let headers = json!({"Authorization": format!("Bearer {}", world.token())});
    let mut first = client(&url, &headers);
    first.hear("open").await;
    server.hear("opened").await;
    server.tell(json!({"close": 4002})).await;
    let closed = first.hear("closed").await;
    assert_eq!(closed, json!({"closed": 4002, "reason": "server"}));
    server.hear("closed").await;
    let mut second = client(&url, &headers);
    second.hear("open").await;
    server.hear("opened").await;
    drop(second);
    // 1006: no close frame came.
    assert_eq!(server.hear("closed").await["closed"], 1006);
}

#[tokio::test]
async fn a_real_client_is_told_the_refusal() {
    let (world, mut server, url) = real().await;
    for (headers, status) in [
        (json!({}), 401),
        (json!({"Authorization": "Bearer abc"}), 401),
        (json!({"Authorization": "Bearer \"abc\""}), 400),
    ] {
        let mut client = client(&url, &headers);
        assert_eq!(client.hear("refused").await["refused"], status, "{headers}");
    }
    // The first that the server sees is the one that was let through.
    let headers = json!({"Authorization": format!("Bearer {}", world.token()), "X-Nth": "1"});
    let mut client = client(&url, &headers);
    client.hear("open").await;
    assert_eq!(server.hear("opened").await["headers"]["x-nth"], "1");
}

/// An upgrade of this call: the connection, whose tunnel was seen to work.
async fn open(call: Call) -> Connection {
    let mut connection = upgrade(call).await;
    works(&mut connection).await;
    connection
}

async fn upgrade(call: Call) -> Connection {
    let call = call
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13");
    let mut connection = Connection::open(call.address).await;
    connection.send(call.bytes()).await;
    let response = connection.response().await.expect("an answer");
    assert_eq!(response.status, 101, "{response:?}");
    connection
}

/// The tunnel carries bytes both ways.
async fn works(connection: &mut Connection) {
    connection.send("ping").await;
    let mut echo = [0; 4];
    connection.read_exact(&mut echo).await;
    assert_eq!(&echo, b"ping");
}

/// A world of echoing sockets whose credentials end to the second.
async fn world(sockets: &Sockets, change: impl FnOnce(&mut Setup)) -> World {
    world_around(Idp::start().await, sockets, change).await
}

async fn world_around(idp: Idp, sockets: &Sockets, change: impl FnOnce(&mut Setup)) -> World {
    World::around(idp, |setup| {
        sockets.stand_behind(setup);
        setup.config["auth_strategies"][0]["bearer"] = json!({"leeway": "0s"});
        change(setup);
    })
    .await
}

/// Waits for the end of a tunnel: both sides are closed, the log says why, and nobody failed.
async fn ends(world: &World, sockets: &Sockets, connection: &mut Connection, reason: &str) {
    assert!(connection.is_closed().await, "{reason}: still open");
    eventually!(
        sockets.closed() == sockets.opened(),
        "{reason}: the upstream's side is closed"
    );
    let of_tunnel = |line: &Value| line["status"] == 101;
    eventually!(
        world.gateway.access_log().iter().any(of_tunnel),
        "{reason}: a line is written"
    );
    let log = world.gateway.access_log();
    let line = log.iter().find(|line| of_tunnel(line)).unwrap();
    assert_eq!(
        (&line["reason"], &line["code"]),
        (&json!(reason), &json!("permit"))
    );
}

#[tokio::test]
async fn an_idle_tunnel_ends_with_its_token() {
    let sockets = Sockets::start().await;
    let world = world(&sockets, |_| {}).await;
    let token = world.idp.token(APP).claim("exp", now() + 3).build();
    let mut connection = open(world.flights().bearer(&token)).await;
    // `timeouts.read` is a minute, and nobody says a word.
    ends(&world, &sockets, &mut connection, "credential_ended").await;
    world
        .refuses(world.flights().bearer(&token), 401, "invalid_token")
        .await;
}

#[tokio::test]
async fn a_busy_tunnel_ends_with_its_token() {
    let sockets = Sockets::start().await;
    let world = world(&sockets, |_| {}).await;
    let exp = now() + 3;
    let token = world.idp.token(APP).claim("exp", exp).build();
    let mut connection = open(world.flights().bearer(&token)).await;
    let mut rounds = 0;
    loop {
        connection.send("x").await;
        let Some(1) = connection.read_some(&mut [0; 1]).await else {
            break;
        };
        rounds += 1;
        assert!(now() <= exp + 3, "still open");
    }
    assert!(now() >= exp, "ended too soon, after {rounds} rounds");
    ends(&world, &sockets, &mut connection, "credential_ended").await;
}

#[tokio::test]
async fn a_tunnel_ends_while_its_client_takes_nothing() {
    let (world, mut server, _) = real().await;
    let exp = now() + 3;
    let token = world.idp.token(APP).claim("exp", exp - 30).build();
    let mut connection = upgrade(world.flights().bearer(&token)).await;
    server.hear("opened").await;
    // More than fits into every buffer on the way.
    for _ in 0..20 {
        server.tell(json!({"text": "x".repeat(1 << 20)})).await;
    }
    assert_eq!(server.hear("closed").await["closed"], 1006);
    assert!(now() >= exp, "ended too soon");
    eventually!(
        world.gateway.logged(&["credential_ended"]),
        "a line is written"
    );
    assert!(connection.rest().await.len() < 20 << 20);
}

#[tokio::test]
async fn a_session_s_absolute_end_counts_and_its_idle_one_does_not() {
    let sockets = Sockets::start().await;
    let world = world(&sockets, |setup| {
        setup.config["auth_strategies"][0]["session"] =
            json!({"idle_timeout": "1s", "absolute_timeout": "4s"});
    })
    .await;
    let plain = world.gateway.get("/plain").bearer(&world.token());
    let cookie = plain.send().await.cookie().unwrap();
    let mut connection = open(world.flights().cookie(&cookie)).await;
    // What must not happen: that the idle deadline ends it.
    pass(Duration::from_millis(2_000)).await;
    works(&mut connection).await;
    ends(&world, &sockets, &mut connection, "credential_ended").await;
}

#[tokio::test]
async fn a_pair_s_tunnel_ends_with_the_token_that_the_pair_was_exchanged_for() {
    let sockets = Sockets::start().await;
    let idp = Idp::start().await;
    idp.turn(|knobs| {
        knobs.claims.insert("exp".to_owned(), json!(now() + 4));
    });
    let world = world_around(idp, &sockets, |_| {}).await;
    let mut connection = open(world.flights().basic(APP, SECRET)).await;
    ends(&world, &sockets, &mut connection, "credential_ended").await;
}

#[tokio::test]
async fn a_tunnel_ends_when_its_application_may_no_longer_call() {
    for (reason, change) in [
        ("application_suspended", json!({"status": "suspended"})),
        (
            "registration_revoked",
            json!({"registrations": {"flights": "revoked"}}),
        ),
        ("registration_required", json!({"registrations": {}})),
        (
            "credentials_changed",
            json!({"credentials_valid_from": rfc3339(now() + 60)}),
        ),
        ("unknown_application", json!({"client_id": "renamed"})),
    ] {
        let sockets = Sockets::start().await;
        let world = world(&sockets, |setup| {
            add(&mut setup.applications, application("app-2"));
        })
        .await;
        let mut connection = open(world.flights().bearer(&world.token())).await;
        world
            .gateway
            .register(|applications| {
                for (name, value) in change.as_object().unwrap() {
                    applications["applications"][0][name] = value.clone();
                }
            })
            .await;
        let other = world.idp.token("app-2").build();
        ends(&world, &sockets, &mut connection, reason).await;
        // Others go on.
        works(&mut open(world.flights().bearer(&other)).await).await;
    }
}

#[tokio::test]
async fn logout_ends_the_tunnels_of_its_session_and_no_others() {
    let sockets = Sockets::start().await;
    let world = world(&sockets, |_| {}).await;
    let earn = || async {
        let plain = world.gateway.get("/plain").bearer(&world.token());
        plain.send().await.cookie().unwrap()
    };
    let (mine, other) = (earn().await, earn().await);
    let mut stays = open(world.flights().cookie(&other)).await;
    let mut connection = open(world.flights().cookie(&mine)).await;
    let logout = world.gateway.post("/-/logout").cookie(&mine).send().await;
    logout.assert_status(204);
    assert!(connection.is_closed().await, "still open");
    eventually!(sockets.closed() == 1, "the upstream's side is closed");
    eventually!(
        world.gateway.logged(&["\"reason\":\"logged_out\""]),
        "a line is written"
    );
    works(&mut stays).await;
}

#[tokio::test]
async fn a_tunnel_ends_with_the_key_of_its_token() {
    use crate::harness::{idp::Overlap, keys::Alg};
    let sockets = Sockets::start().await;
    let world = world(&sockets, |setup| {
        setup.config["identity_providers"][0]["jwks"] = json!({"unknown_kid_interval": "1s"});
    })
    .await;
    let mut connection = open(world.flights().bearer(&world.token())).await;
    world.idp.rotate(Alg::Es256, Overlap::Drop);
    eventually!(
        open_or_refused(&world).await,
        "the new key is known, and the old one is not"
    );
    ends(&world, &sockets, &mut connection, "key_withdrawn").await;
}

/// Whether a token of the present key is let through.
async fn open_or_refused(world: &World) -> bool {
    let plain = world.gateway.get("/plain").bearer(&world.token());
    plain.send().await.status == 200
}

#[tokio::test]
async fn a_tunnel_ends_when_a_new_configuration_would_not_let_it_in() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 8] = [
        ("insufficient_scope", |c| {
            c["apis"][0]["scopes_required"] = json!(["nobodys"]);
        }),
        ("insufficient_scope", |c| {
            c["auth_strategies"][0]["scopes_required"] = json!(["nobodys"]);
        }),
        ("configuration_changed", |c| {
            c["apis"].as_array_mut().unwrap().remove(0);
        }),
        ("configuration_changed", |c| {
            c["apis"][0]["auth_strategies"] = json!(["second"]);
        }),
        ("configuration_changed", |c| {
            let strategy = c["auth_strategies"][0].as_object_mut().unwrap();
            strategy["auth_methods"] = json!(["client_credentials"]);
            strategy.remove("bearer");
        }),
        ("configuration_changed", |c| {
            c["auth_strategies"][0]["audience"] = json!(["another"]);
        }),
        ("configuration_changed", |c| {
            c["auth_strategies"][0]["credential_claim"] = json!(["sub"]);
        }),
        ("configuration_changed", |c| {
            c["identity_providers"][0]["issuer"] = json!("http://127.0.0.1:1/other");
        }),
    ];
    for (reason, change) in changes {
        let sockets = Sockets::start().await;
        let world = world(&sockets, |setup| {
            let mut second = setup.config["auth_strategies"][0].clone();
            second["name"] = json!("second");
            let strategies = setup.config["auth_strategies"].as_array_mut().unwrap();
            strategies.push(second);
        })
        .await;
        let mut connection = open(world.flights().bearer(&world.token())).await;
        // What takes nothing away ends nothing, how often it comes.
        for retries in [1, 2] {
            let harmless = |c: &mut Value| {
                c["auth_strategies"][0]["bearer"]["cache_size"] = json!(1_000 + retries);
                c["apis"].as_array_mut().unwrap().swap(1, 2);
            };
            world.gateway.reconfigure(harmless).await;
            pass(Duration::from_millis(1_200)).await;
            works(&mut connection).await;
        }
        world.gateway.reconfigure(change).await;
        ends(&world, &sockets, &mut connection, reason).await;
    }
}

#[tokio::test]
async fn a_session_s_tunnel_ends_with_its_key() {
    let sockets = Sockets::start().await;
    let world = world(&sockets, |_| {}).await;
    let plain = world.gateway.get("/plain").bearer(&world.token());
    let cookie = plain.send().await.cookie().unwrap();
    let mut connection = open(world.flights().cookie(&cookie)).await;
    let mut other = open(world.flights().bearer(&world.token())).await;
    world
        .gateway
        .overwrite("secrets/session", &crate::harness::session_key(42));
    assert!(connection.is_closed().await, "still open");
    eventually!(
        world
            .gateway
            .logged(&["\"reason\":\"configuration_changed\""]),
        "a line is written"
    );
    works(&mut other).await;
}

#[tokio::test]
async fn a_tunnel_that_nobody_uses_ends_and_is_no_failure() {
    let sockets = Sockets::start().await;
    let world = world(&sockets, |setup| {
        let upstream = &mut setup.config["apis"][0]["upstream"];
        upstream["timeouts"] = json!({"read": "1s"});
        upstream["passive_health"] = json!({"failures": 1});
    })
    .await;
    let mut connection = open(world.flights().bearer(&world.token())).await;
    ends(&world, &sockets, &mut connection, "tunnel_idle").await;
    let failed = world
        .gateway
        .metric("dcr_requests_total", &[("code", "upstream_timeout")])
        .await;
    assert!(failed < 0.5, "{failed}");
    assert!(!world.gateway.logged(&["is left alone"]));
}

#[tokio::test]
async fn a_public_tunnel_has_no_credential_to_end_with() {
    let sockets = Sockets::start().await;
    let world = world(&sockets, |setup| {
        setup.config["apis"][1]["upstream"] = setup.config["apis"][0]["upstream"].clone();
    })
    .await;
    let mut public = open(world.gateway.get("/open")).await;
    let mut known = open(world.flights().bearer(&world.token())).await;
    world
        .gateway
        .register(|applications| applications["applications"] = json!([]))
        .await;
    assert!(known.is_closed().await);
    works(&mut public).await;
    // It ends with what let it in: that the API is public.
    let mut another = open(world.gateway.get("/open")).await;
    world
        .gateway
        .reconfigure(|c| {
            c["apis"][1]["access"] = json!("client");
            c["apis"][1]["auth_strategies"] = c["apis"][0]["auth_strategies"].clone();
        })
        .await;
    for tunnel in [&mut public, &mut another] {
        assert!(tunnel.is_closed().await, "still open");
    }
    eventually!(
        world.gateway.logged(&["configuration_changed"]),
        "a line is written"
    );
}
