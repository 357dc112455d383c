//! Canaries: whatever a client, an IdP or an operator keeps secret is driven through every path of
//! failure, and must show nowhere.

use serde_json::json;

use crate::harness::{
    APP, World,
    client::Response,
    gateway::ADMIN_TOKEN,
    http1::{Answer, Manner},
    idp::{Endpoint, Format},
    session_key,
};

const CANARY: &str = "canary-7f3a";

#[tokio::test]
async fn no_secret_shows_in_any_log_metric_or_answer() {
    let world = World::with(|s| {
        s.config["log"] = json!({"level": "trace"});
        s.config["identity_providers"][0]["client"] =
            json!({"id": "gateway", "secret": {"file": "secrets/own"}});
        s.config["limits"] = json!({"header_timeout": "300ms", "header_size": "8KiB"});
        s.files
            .push(("secrets/own".to_owned(), format!("{CANARY}-own-secret")));
    })
    .await;
    let secret = format!("{CANARY}:client/secret");
    world.idp.client(APP, &secret);
    let mut answers: Vec<Response> = Vec::new();
    let mut hidden = vec![CANARY.to_owned(), ADMIN_TOKEN.to_owned(), session_key(7)];

    // Good ones, and what they earn.
    let good = world.token();
    let response = world.flights().bearer(&good).send().await;
    let cookie = response.cookie().unwrap();
    let value = cookie.split_once('=').unwrap().1.to_owned();
    hidden.push(value.clone());
    answers.push(world.flights().basic(APP, &secret).send().await);
    answers.push(world.flights().cookie(&cookie).send().await);
    // Bad ones.
    let expired = world.idp.token(APP).claim("exp", 1).build();
    let unknown = world.idp.token("stranger").build();
    let odd = world
        .idp
        .token(APP)
        .header("kid", format!("{CANARY}-kid\n"))
        .build();
    for token in [
        &good,
        &expired,
        &unknown,
        &odd,
        &format!("{good}x"),
        &format!("{CANARY}-opaque"),
    ] {
        answers.push(world.flights().bearer(token).send().await);
        let signature = token.rsplit('.').next().unwrap();
        hidden.push(signature.to_owned());
    }
    for line in [
        format!("Basic {CANARY}"),
        format!("Basic {APP}:{CANARY}-wrong"),
        format!("Basic nobody:{CANARY}"),
        format!("Bearer \"{CANARY}\""),
        format!("{CANARY} x"),
        format!("Digest {CANARY}"),
        format!("Bearer {CANARY}, Basic {CANARY}"),
    ] {
        answers.push(world.flights().authorization(&line).send().await);
    }
    for line in [
        format!("dcr_session={CANARY}"),
        format!("{cookie}; dcr_session={CANARY}"),
        format!("{cookie}x"),
        format!("other={CANARY}"),
    ] {
        answers.push(world.flights().cookie(&line).send().await);
    }
    answers.push(
        world
            .gateway
            .get("/nowhere")
            .bearer(&format!("{CANARY}x"))
            .send()
            .await,
    );
    let large = world
        .flights()
        .header("X-Large", &"x".repeat(9_000))
        .bearer(&format!("{CANARY}y"));
    answers.push(large.send().await);
    let mut slow = crate::harness::client::Connection::open(world.gateway.proxy).await;
    slow.send(format!(
        "GET / HTTP/1.1\r\nAuthorization: Bearer {CANARY}\r\n"
    ))
    .await;
    answers.extend(slow.response().await);
    let mut malformed = crate::harness::client::Connection::open(world.gateway.proxy).await;
    malformed
        .send(format!(
            "GET / HTTP/1.1\r\nAuthorization : Bearer {CANARY}\r\n\r\n"
        ))
        .await;
    malformed.rest().await;

    // An IdP that fails, and says what it should not.
    for answer in [
        Answer::new(500, format!("{CANARY} in a page")),
        Answer::json(
            400,
            &json!({"error": "invalid_scope", "error_description": CANARY}),
        ),
        Answer::json(
            200,
            &json!({"access_token": format!("{CANARY}.a.b"), "token_type": "Bearer"}),
        ),
        Answer::json(200, &json!({"access_token": 7, "refresh_token": CANARY})),
        Answer::new(200, format!("{{\"access_token\": \"{CANARY}")),
        Answer::new(200, "x".repeat(99)).manner(Manner::Truncated),
        Answer::new(200, "").manner(Manner::HangUp),
    ] {
        world.idp.fault(Endpoint::Token, answer.clone());
        world.idp.fault(Endpoint::Introspection, answer);
        answers.push(
            world
                .flights()
                .basic(APP, &format!("{CANARY}-{}", answers.len()))
                .send()
                .await,
        );
        answers.push(
            world
                .flights()
                .bearer(&format!("{CANARY}-{}", answers.len()))
                .send()
                .await,
        );
    }
    world.idp.up();
    world.idp.turn(|k| k.format = Format::Opaque);
    answers.push(
        world
            .gateway
            .post("/-/logout")
            .cookie(&cookie)
            .body("")
            .send()
            .await,
    );
    answers.push(world.flights().cookie(&cookie).send().await);
    // An upstream that fails.
    world
        .upstream
        .answer(Answer::new(200, "").manner(Manner::HangUp));
    answers.push(world.flights().bearer(&good).send().await);
    // The operator's own.
    let admin = crate::harness::client::Call::new(world.gateway.admin, "GET", "/elsewhere");
    answers.push(admin.clone().bearer(ADMIN_TOKEN).send().await);
    answers.push(admin.bearer(CANARY).send().await);
    world.gateway.signal("HUP").await;
    crate::harness::eventually!(
        world.gateway.reloads("configuration", "applied").await > 0.5,
        "the configuration is read again"
    );

    let metrics = world.gateway.status("/metrics").await.text();
    // The access log is written by a timer: its last line tells that all is there.
    let last = "the-last-request";
    world.gateway.get(&format!("/{last}")).send().await;
    crate::harness::eventually!(world.gateway.logged(&[last]), "the log is written");
    let log = world.gateway.log();
    let admin =
        crate::harness::client::Call::new(world.gateway.admin, "GET", "/explain?limit=4096");
    let refusals = admin.bearer(ADMIN_TOKEN).send().await.text();
    assert!(refusals.contains("invalid_token"), "{refusals}");
    for hidden in hidden {
        assert!(!refusals.contains(&hidden), "{hidden} in {refusals}");
        for line in &log {
            assert!(!line.contains(&hidden), "{hidden} in the log: {line}");
        }
        assert!(!metrics.contains(&hidden), "{hidden} in a metric");
        for answer in answers.iter().filter(|a| a.status >= 400) {
            let text = format!("{:?} {}", answer.lines, answer.text());
            assert!(!text.contains(&hidden), "{hidden} in an answer: {text}");
        }
    }
}

#[tokio::test]
async fn nothing_that_a_client_sends_makes_a_line_of_its_own_in_the_log() {
    let world = World::start().await;
    let token = world
        .idp
        .token(APP)
        .header("kid", "x\n{\"forged\":1}\r\n")
        .build();
    world
        .refuses(world.flights().bearer(&token), 401, "invalid_token")
        .await;
    let strange = world.idp.token("a\n{\"forged\":1}").build();
    let response = world.flights().bearer(&strange).send().await;
    assert!([401, 403].contains(&response.status));
    let agent = world.flights().header("User-Agent", "x\\n{\"forged\":1}");
    agent.send().await;
    crate::harness::eventually!(world.gateway.access_log().len() > 2, "requests are logged");
    for line in world.gateway.log() {
        let parsed: serde_json::Value =
            serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(parsed.get("forged").is_none(), "{line}");
    }
}
