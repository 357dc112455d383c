//! Bearer tokens that are JWTs: which pass, every forgery that must not, and keys that change.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{
    APP, World, eventually,
    http1::Answer,
    idp::{Endpoint, Form, Idp, Overlap},
    keys::{Alg, Key, hs256},
    now,
    token::{Token, assemble},
};

#[tokio::test]
async fn the_upstream_learns_who_calls() {
    let world = World::start().await;
    world.passes(world.flights().bearer(&world.token())).await;
    let seen = world.upstream.last();
    for (name, value) in [
        ("X-Application-Name", "Trip Planner"),
        ("X-Developer-Id", "dana@example.com"),
        ("X-Credential-Identifier", APP),
        ("X-Auth-Strategy", "partners"),
        ("X-Auth-Method", "bearer"),
        ("X-Authenticated-Scope", "read"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}: {:?}", seen.lines);
    }
    assert!(seen.header("X-Application-Id").is_some());
    assert_eq!(seen.header("Authorization"), None);
}

#[tokio::test]
async fn the_scheme_compares_without_case() {
    let world = World::start().await;
    let token = world.token();
    for scheme in ["bearer", "BEARER", "bEaReR", "Bearer  "] {
        world
            .passes(world.flights().authorization(&format!("{scheme} {token}")))
            .await;
    }
}

#[tokio::test]
async fn each_kind_of_key_verifies() {
    for alg in [
        Alg::Rs256,
        Alg::Rs512,
        Alg::Ps256,
        Alg::Es256,
        Alg::Es384,
        Alg::EdDsa,
    ] {
        let idp = Idp::start().await;
        idp.rotate(alg, Overlap::Drop);
        let world = World::around(idp, |_| {}).await;
        world.passes(world.flights().bearer(&world.token())).await;
    }
}

#[tokio::test]
async fn harmless_variations_pass() {
    let world = World::start().await;
    let good = || world.idp.token(APP);
    for (case, token) in [
        ("typ JWT", good().header("typ", "JWT").build()),
        ("typ in lower case", good().header("typ", "jwt").build()),
        (
            "typ with application/",
            good().header("typ", "application/AT+jwt").build(),
        ),
        ("no typ", good().without_header("typ").build()),
        ("no kid", good().without_header("kid").build()),
        (
            "strange header member",
            good().header("x-extra", json!([1])).build(),
        ),
        (
            "strange claim",
            good().claim("extra", json!({"a": [1]})).build(),
        ),
        (
            "several audiences",
            good()
                .claim("aud", json!(["other", "https://api.test"]))
                .build(),
        ),
        (
            "fraction of a second",
            good().claim("exp", json!(now() as f64 + 60.5)).build(),
        ),
        (
            "expired within the leeway",
            good().claim("exp", now() - 10).build(),
        ),
        (
            "not before, within the leeway",
            good().claim("nbf", now() + 10).build(),
        ),
        (
            "issued within the leeway",
            good().claim("iat", now() + 10).build(),
        ),
        ("no iat", good().without("iat").build()),
        (
            "white space",
            good().sign_texts(
                &format!(" {} ", good().head()),
                &format!("\n{}\n", good().payload()),
            ),
        ),
    ] {
        let response = world.flights().bearer(&token).send().await;
        assert_eq!(response.status, 200, "{case}: {response:?}");
    }
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let world = World::start().await;
    let good = || world.idp.token(APP);
    let key = world.idp.key();
    let foreign = Key::new(Alg::Es256);
    let b64 = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let built = good().build();
    let parts: Vec<&str> = built.split('.').collect();
    let (head, payload, signature) = (parts[0], parts[1], parts[2]);
    let hmac = |secret: &[u8]| {
        let input = good().header("alg", "HS256").signing_input();
        assemble(&input, &hs256(secret, input.as_bytes()))
    };
    let der = key.public();
    let base64 = BASE64_STANDARD.encode(&der);
    let pem = format!("-----BEGIN RSA PUBLIC KEY-----\n{base64}\n-----END RSA PUBLIC KEY-----\n");
    let unsigned = |alg: Value| format!("{}.", good().header("alg", alg).signing_input());
    let mut cases: Vec<(&str, String)> = vec![
        ("none", unsigned(json!("none"))),
        ("None", unsigned(json!("None"))),
        ("NONE", unsigned(json!("NONE"))),
        ("empty alg", unsigned(json!(""))),
        ("alg null", unsigned(json!(null))),
        ("no alg", good().without_header("alg").build()),
        ("unknown alg", good().header("alg", "XX999").build()),
        ("alg in lower case", good().header("alg", "rs256").build()),
        (
            "other alg than the key's",
            good().header("alg", "PS256").build(),
        ),
        (
            "other family than the key's",
            good().header("alg", "ES256").build(),
        ),
        ("HS256 with the PEM", hmac(pem.as_bytes())),
        ("HS256 with the DER", hmac(&der)),
        ("HS256 with the JWK", hmac(key.jwk().to_string().as_bytes())),
        ("HS256 with nothing", hmac(b"")),
        ("foreign key, right kid", {
            let forger = foreign.named(&key.kid);
            good().header("alg", "ES256").key(&forger).build()
        }),
        (
            "foreign key, no kid",
            good()
                .header("alg", "ES256")
                .without_header("kid")
                .key(&foreign)
                .build(),
        ),
        ("foreign key in the header", {
            good()
                .header("alg", "ES256")
                .header("kid", json!(foreign.kid))
                .header("jwk", foreign.jwk())
                .key(&foreign)
                .build()
        }),
        (
            "kid of a file",
            good().header("kid", "../../../../dev/null").build(),
        ),
        (
            "kid of a query",
            good().header("kid", "' OR 1=1 --").build(),
        ),
        ("kid is a number", good().header("kid", 1).build()),
        (
            "kid is a list",
            good().header("kid", json!([key.kid])).build(),
        ),
        ("long kid", good().header("kid", "k".repeat(8_000)).build()),
        (
            "crit",
            good().header("crit", json!(["x"])).header("x", 1).build(),
        ),
        ("empty crit", good().header("crit", json!([])).build()),
        ("crit exp", good().header("crit", json!(["exp"])).build()),
        (
            "b64 false",
            good()
                .header("b64", false)
                .header("crit", json!(["b64"]))
                .build(),
        ),
        (
            "typ of an ID token",
            good().header("typ", "id_token+jwt").build(),
        ),
        (
            "typ of a logout token",
            good().header("typ", "logout+jwt").build(),
        ),
        ("typ of a proof", good().header("typ", "dpop+jwt").build()),
        ("typ is a number", good().header("typ", 7).build()),
        ("two parts", format!("{head}.{payload}")),
        ("empty signature", format!("{head}.{payload}.")),
        ("four parts", format!("{built}.{signature}")),
        (
            "five parts",
            format!("{head}.{payload}.{signature}.{head}.{payload}"),
        ),
        ("no header", format!(".{payload}.{signature}")),
        ("cut signature", built[..built.len() - 4].to_owned()),
        ("padded", format!("{head}.{payload}.{signature}==")),
        (
            "other payload",
            format!(
                "{head}.{}.{signature}",
                b64(&good().claim("client_id", "root").payload())
            ),
        ),
        (
            "other header",
            format!("{}.{payload}.{signature}", b64(r#"{"alg":"RS256"}"#)),
        ),
        (
            "header is no object",
            good().sign_texts("[]", &good().payload()),
        ),
        (
            "payload is no object",
            good().sign_texts(&good().head(), "[1]"),
        ),
        ("payload is no JSON", good().sign_texts(&good().head(), "{")),
        (
            "payload with more behind",
            good().sign_texts(&good().head(), &format!("{}{{}}", good().payload())),
        ),
        ("empty payload", good().sign_texts(&good().head(), "")),
        (
            "deep payload",
            good().sign_texts(&good().head(), &"[".repeat(6_000)),
        ),
        ("client_id twice", {
            let payload = good().payload().replacen('{', r#"{"client_id":"root","#, 1);
            good().sign_texts(&good().head(), &payload)
        }),
        ("exp twice", {
            let payload = good().payload().replacen('{', r#"{"exp":9999999999,"#, 1);
            good().sign_texts(&good().head(), &payload)
        }),
        ("alg twice", {
            let head = good().head().replacen('{', r#"{"alg":"none","#, 1);
            good().sign_texts(&head, &good().payload())
        }),
    ];
    for length in [0, 1, 63, 64, 65, 128, 255, 257] {
        cases.push((
            "signature of zeros",
            assemble(&good().signing_input(), &vec![0; length]),
        ));
    }
    for (case, token) in cases {
        world
            .refuses_case(case, world.flights().bearer(&token), 401, "invalid_token")
            .await;
    }
    assert_eq!(world.upstream.hits(), 0);
    world.passes(world.flights().bearer(&built)).await;
}

#[tokio::test]
async fn claims_that_do_not_fit_are_refused() {
    let world = World::start().await;
    let good = || world.idp.token(APP);
    let issuer = &world.idp.issuer;
    let text = |exp: &str| {
        let payload =
            good()
                .without("exp")
                .payload()
                .replacen('{', &format!("{{\"exp\":{exp},"), 1);
        good().sign_texts(&good().head(), &payload)
    };
    for (case, token) in [
        ("no exp", good().without("exp").build()),
        (
            "expired beyond the leeway",
            good().claim("exp", now() - 31).build(),
        ),
        (
            "exp as text",
            good().claim("exp", (now() + 300).to_string()).build(),
        ),
        (
            "exp as list",
            good().claim("exp", json!([now() + 300])).build(),
        ),
        ("exp true", good().claim("exp", true).build()),
        ("exp null", good().claim("exp", json!(null)).build()),
        ("exp negative", good().claim("exp", -1).build()),
        ("exp without end", text("1e400")),
        ("exp not a number", text("NaN")),
        ("nbf in the future", good().claim("nbf", now() + 60).build()),
        ("nbf as text", good().claim("nbf", "0").build()),
        ("nbf null", good().claim("nbf", json!(null)).build()),
        ("iat in the future", good().claim("iat", now() + 60).build()),
        ("iat as text", good().claim("iat", "0").build()),
        ("no iss", good().without("iss").build()),
        (
            "iss with a slash",
            good().claim("iss", format!("{issuer}/")).build(),
        ),
        (
            "iss in other case",
            good().claim("iss", issuer.to_uppercase()).build(),
        ),
        ("iss as list", good().claim("iss", json!([issuer])).build()),
        (
            "another iss",
            good().claim("iss", "https://evil.test").build(),
        ),
        ("no aud", good().without("aud").build()),
        (
            "another aud",
            good().claim("aud", "https://other.test").build(),
        ),
        (
            "longer aud",
            good().claim("aud", "https://api.test/x").build(),
        ),
        ("shorter aud", good().claim("aud", "https://api").build()),
        ("aud as number", good().claim("aud", 1).build()),
        ("aud with a number", good().claim("aud", json!([1])).build()),
        ("empty aud", good().claim("aud", json!([])).build()),
        ("no client", good().without("client_id").build()),
        ("client as number", good().claim("client_id", 1).build()),
        (
            "client as list",
            good().claim("client_id", json!([APP])).build(),
        ),
        ("empty client", good().claim("client_id", "").build()),
        ("ID token by nonce", good().claim("nonce", "n").build()),
        ("ID token by at_hash", good().claim("at_hash", "h").build()),
        ("ID token by c_hash", good().claim("c_hash", "h").build()),
        ("Curity's purpose", good().claim("purpose", "id").build()),
        ("Keycloak's ID token", good().claim("typ", "ID").build()),
        (
            "Keycloak's refresh token",
            good().claim("typ", "Refresh").build(),
        ),
        (
            "Cognito's ID token",
            good().claim("token_use", "id").build(),
        ),
        (
            "bound to a key",
            good().claim("cnf", json!({"jkt": "x"})).build(),
        ),
        (
            "bound to a certificate",
            good().claim("cnf", json!({"x5t#S256": "x"})).build(),
        ),
    ] {
        world
            .refuses_case(case, world.flights().bearer(&token), 401, "invalid_token")
            .await;
    }
    world
        .passes(
            world
                .flights()
                .bearer(&good().claim("purpose", "access_token").build()),
        )
        .await;
    let padded = good().claim("client_id", format!(" {APP}")).build();
    world
        .refuses(world.flights().bearer(&padded), 403, "unknown_application")
        .await;
}

#[tokio::test]
async fn a_users_subject_never_becomes_an_application() {
    let world = World::with(|s| {
        s.config["auth_strategies"][0]["credential_claim"] = json!(["sub"]);
    })
    .await;
    let good = || world.idp.token(APP).without("client_id");
    world.passes(world.flights().bearer(&good().build())).await;
    for name in ["client_id", "azp", "cid", "appid"] {
        world
            .passes(world.flights().bearer(&good().claim(name, APP).build()))
            .await;
        let token = good().claim(name, "another").build();
        world
            .refuses_case(name, world.flights().bearer(&token), 401, "invalid_token")
            .await;
    }
}

#[tokio::test]
async fn the_credential_claim_may_lie_deep() {
    let world = World::with(|s| {
        s.config["auth_strategies"][0]["credential_claim"] = json!(["ctx", "client.id"]);
    })
    .await;
    let token = world
        .idp
        .token("x")
        .claim("ctx", json!({"client.id": APP}))
        .build();
    world.passes(world.flights().bearer(&token)).await;
    let flat = world
        .idp
        .token(APP)
        .claim("ctx", json!({"client": {"id": APP}}))
        .build();
    world
        .refuses(world.flights().bearer(&flat), 401, "invalid_token")
        .await;
}

#[tokio::test]
async fn only_listed_algorithms_verify() {
    let world = World::with(|s| {
        s.config["auth_strategies"][0]["bearer"] = json!({"algorithms": ["ES256"]});
    })
    .await;
    world
        .refuses(world.flights().bearer(&world.token()), 401, "invalid_token")
        .await;
    world.idp.rotate(Alg::Es256, Overlap::Keep);
    world.passes(world.flights().bearer(&world.token())).await;
}

#[tokio::test]
async fn keys_that_are_not_for_signing_verify_nothing() {
    let idp = Idp::start().await;
    let keys: Vec<Key> = (0..3).map(|_| Key::new(Alg::Es256)).collect();
    let changed = |key: &Key, name: &str, value: Value| {
        let mut jwk = key.jwk();
        jwk[name] = value;
        jwk
    };
    idp.turn(|k| {
        k.extra_keys = vec![
            json!("rubbish"),
            json!({"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"}),
            json!({"kty": "oct", "kid": "shared", "k": "c2VjcmV0", "alg": "HS256"}),
            json!({"kty": "XYZ", "kid": "unknown"}),
            changed(&keys[0], "use", json!("enc")),
            changed(&keys[1], "key_ops", json!(["sign"])),
            changed(&keys[2], "alg", json!("ES384")),
        ];
    });
    let world = World::around(idp, |_| {}).await;
    world.passes(world.flights().bearer(&world.token())).await;
    for key in &keys {
        let token = Token::new(key.clone(), &world.idp.issuer, APP).build();
        world
            .refuses(world.flights().bearer(&token), 401, "invalid_token")
            .await;
    }
    let text = world
        .idp
        .token(APP)
        .header("alg", "HS256")
        .header("kid", "shared")
        .signing_input();
    let forged = assemble(&text, &hs256(b"secret", text.as_bytes()));
    world
        .refuses(world.flights().bearer(&forged), 401, "invalid_token")
        .await;
}

#[tokio::test]
async fn another_issuers_key_does_not_speak_for_this_one() {
    let other = Idp::start().await;
    let issuer = other.issuer.clone();
    let world = World::with(|s| {
        let list = s.config["identity_providers"].as_array_mut().unwrap();
        list.push(json!({"name": "other", "issuer": issuer}));
        let mut strategy = s.config["auth_strategies"][0].clone();
        strategy["name"] = json!("others");
        strategy["identity_provider"] = json!("other");
        s.config["auth_strategies"]
            .as_array_mut()
            .unwrap()
            .push(strategy);
        s.config["apis"][0]["auth_strategies"] = json!(["partners", "others"]);
        let mut theirs = crate::harness::application("their-app");
        theirs["auth_strategy"] = json!("others");
        s.applications["applications"]
            .as_array_mut()
            .unwrap()
            .push(theirs);
    })
    .await;
    world.passes(world.flights().bearer(&world.token())).await;
    world
        .passes(world.flights().bearer(&other.token("their-app").build()))
        .await;
    assert_eq!(
        world.upstream.last().header("x-auth-strategy"),
        Some("others")
    );
    let stolen = other.token(APP).claim("iss", world.idp.issuer.clone());
    let call = world
        .flights()
        .bearer(&stolen.header("kid", world.idp.key().kid).build());
    world.refuses(call, 401, "invalid_token").await;
    let call = world.flights().bearer(&other.token(APP).build());
    world.refuses(call, 403, "unknown_application").await;
}

#[tokio::test]
async fn an_unknown_issuer_is_never_called() {
    let stranger = Idp::start().await;
    let world = World::start().await;
    let token = stranger
        .token(APP)
        .header("jku", format!("{}/jwks", stranger.issuer))
        .header("x5u", format!("{}/x5u", stranger.issuer))
        .build();
    world
        .refuses(world.flights().bearer(&token), 401, "invalid_token")
        .await;
    let sent_here = stranger.token(APP).claim("iss", world.idp.issuer.clone());
    let sent_here = sent_here
        .header("jku", format!("{}/jwks", stranger.issuer))
        .build();
    world
        .refuses(world.flights().bearer(&sent_here), 401, "invalid_token")
        .await;
    assert_eq!(
        stranger.hits(Endpoint::Discovery) + stranger.hits(Endpoint::Jwks),
        0
    );
}

#[tokio::test]
async fn tokens_elsewhere_than_in_the_authorization_line_are_not_read() {
    let world = World::start().await;
    let token = world.token();
    let form = format!("access_token={token}");
    let query = world.gateway.get(&format!("/flights?{form}"));
    world.refuses(query, 401, "credentials_required").await;
    let body = world
        .gateway
        .post("/flights")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(form);
    world.refuses(body, 401, "credentials_required").await;
    let other = world
        .flights()
        .header("X-Access-Token", &token)
        .header("Access-Token", &token);
    world.refuses(other, 401, "credentials_required").await;
}

#[tokio::test]
async fn a_new_key_with_overlap_is_learnt_and_the_old_one_goes_on() {
    let world = World::with(fast_refetch).await;
    let old_key = world.idp.key();
    let old = world.token();
    world.passes(world.flights().bearer(&old)).await;
    let before = world.idp.hits(Endpoint::Jwks);
    world.idp.rotate(Alg::Es256, Overlap::Keep);
    crate::harness::pass(Duration::from_millis(120)).await;
    world.passes(world.flights().bearer(&world.token())).await;
    world.passes(world.flights().bearer(&old)).await;
    let unseen = Token::new(old_key, &world.idp.issuer, APP).build();
    world.passes(world.flights().bearer(&unseen)).await;
    assert_eq!(world.idp.hits(Endpoint::Jwks), before + 1);
}

#[tokio::test]
async fn a_key_that_is_gone_takes_its_cached_tokens_along() {
    let world = World::with(fast_refetch).await;
    let old = world.token();
    world.passes(world.flights().bearer(&old)).await;
    world.idp.rotate(Alg::Rs256, Overlap::Drop);
    crate::harness::pass(Duration::from_millis(120)).await;
    world.passes(world.flights().bearer(&world.token())).await;
    world
        .refuses(world.flights().bearer(&old), 401, "invalid_token")
        .await;
}

#[tokio::test]
async fn keys_rotate_under_load_without_a_wrong_verdict() {
    let world = World::with(fast_refetch).await;
    for overlap in [Overlap::Keep, Overlap::Keep, Overlap::Drop] {
        let before = world.token();
        let mut calls = JoinSet::new();
        for _ in 0..40 {
            let call = world.flights().bearer(&before);
            calls.spawn(async move { call.send().await });
        }
        while let Some(response) = calls.join_next().await {
            response.unwrap().assert_status(200);
        }
        world.idp.rotate(Alg::Es256, overlap);
        crate::harness::pass(Duration::from_millis(120)).await;
        let after = world.token();
        let forged = world.idp.token(APP).key(&Key::new(Alg::Es256)).build();
        for n in 0..60 {
            let (token, good) = match n % 3 {
                0 => (&after, true),
                1 if overlap == Overlap::Keep => (&before, true),
                _ => (&forged, false),
            };
            let (call, status) = (world.flights().bearer(token), if good { 200 } else { 401 });
            calls.spawn(async move {
                let response = call.send().await;
                response.assert_status(status);
                response
            });
        }
        while let Some(response) = calls.join_next().await {
            response.unwrap();
        }
    }
}

#[tokio::test]
async fn one_fetch_serves_a_thousand_requests_under_a_new_key() {
    let world = World::start().await;
    world.passes(world.flights().bearer(&world.token())).await;
    world.idp.rotate(Alg::Es256, Overlap::Keep);
    let token = world.token();
    let fetches = thousand_at_once(&world, |_| token.clone(), 200).await;
    assert_eq!(fetches, 1);
}

#[tokio::test]
async fn each_rotation_costs_one_fetch_whatever_tokens_come() {
    let world = World::with(fast_refetch).await;
    world.passes(world.flights().bearer(&world.token())).await;
    for _ in 0..3 {
        world.idp.rotate(Alg::Es256, Overlap::Keep);
        crate::harness::pass(Duration::from_millis(120)).await;
        let another = |n| world.idp.token(APP).claim("jti", n).build();
        let fetches = thousand_at_once(&world, another, 200).await;
        assert_eq!(fetches, 1);
    }
}

#[tokio::test]
async fn one_fetch_serves_a_thousand_unknown_kids() {
    let world = World::start().await;
    world.passes(world.flights().bearer(&world.token())).await;
    let made_up = |n| {
        world
            .idp
            .token(APP)
            .header("kid", format!("made-up-{n}"))
            .build()
    };
    assert_eq!(thousand_at_once(&world, made_up, 401).await, 1);
    let before = world.idp.hits(Endpoint::Jwks);
    world
        .refuses(
            world.flights().bearer(&made_up(1_000)),
            401,
            "invalid_token",
        )
        .await;
    assert_eq!(world.idp.hits(Endpoint::Jwks), before, "one in ten seconds");
}

#[tokio::test]
async fn a_failed_fetch_counts_too_and_loses_no_key() {
    let world = World::start().await;
    world.passes(world.flights().bearer(&world.token())).await;
    let before = world.idp.hits(Endpoint::Jwks);
    world.idp.fault(Endpoint::Jwks, Answer::new(500, "broken"));
    for n in 0..10 {
        let token = world
            .idp
            .token(APP)
            .header("kid", format!("made-up-{n}"))
            .build();
        let response = world.flights().bearer(&token).send().await;
        assert!([401, 503].contains(&response.status), "{response:?}");
    }
    assert_eq!(world.idp.hits(Endpoint::Jwks), before + 1);
    let fresh = world.idp.token(APP).build();
    world.passes(world.flights().bearer(&fresh)).await;
}

#[tokio::test]
async fn a_cached_token_ends_when_it_expires() {
    let world = World::with(|s| {
        s.config["auth_strategies"][0]["bearer"] = json!({"leeway": "0s"});
    })
    .await;
    let token = world.idp.token(APP).claim("exp", now() + 2).build();
    world.passes(world.flights().bearer(&token)).await;
    eventually!(
        world.flights().bearer(&token).send().await.code() == "invalid_token",
        "the token ends"
    );
}

#[tokio::test]
async fn metadata_is_found_in_each_place() {
    for (path, form) in [
        ("", Form::Appended),
        ("", Form::Rfc8414),
        ("/tenant", Form::Appended),
        ("/tenant", Form::Inserted),
        ("/tenant", Form::Rfc8414),
    ] {
        let idp = Idp::at(path).await;
        idp.turn(|k| k.forms = vec![form]);
        let world = World::around(idp, |_| {}).await;
        let response = world.flights().bearer(&world.token()).send().await;
        assert_eq!(response.status, 200, "{path:?} {form:?}: {response:?}");
    }
}

#[tokio::test]
async fn metadata_of_another_issuer_is_not_used() {
    let idp = Idp::start().await;
    idp.turn(|k| {
        drop(
            k.metadata
                .insert("issuer".into(), json!("https://evil.test")),
        )
    });
    let world = World::around(idp, |s| s.wait = crate::harness::gateway::Wait::Listening).await;
    eventually!(
        world.idp.hits(Endpoint::Discovery) > 0,
        "the metadata is asked for"
    );
    eventually!(
        world.flights().bearer(&world.token()).send().await.code()
            == "identity_provider_unavailable",
        "the applications are loaded"
    );
    assert_eq!(world.idp.hits(Endpoint::Jwks), 0);
}

#[tokio::test]
async fn the_issuer_may_be_given_as_its_discovery_url() {
    let idp = Idp::start().await;
    let url = format!("{}/.well-known/openid-configuration", idp.issuer);
    let world = World::around(idp, |s| {
        s.config["identity_providers"][0]["issuer"] = json!(url)
    })
    .await;
    world.passes(world.flights().bearer(&world.token())).await;
}

#[tokio::test]
async fn redirected_keys_are_not_followed() {
    let idp = Idp::start().await;
    let elsewhere = Idp::start().await;
    let target = format!("{}/jwks", elsewhere.issuer);
    idp.fault(
        Endpoint::Jwks,
        Answer::new(302, "").header("Location", &target),
    );
    let world = World::around(idp, |s| s.wait = crate::harness::gateway::Wait::Listening).await;
    eventually!(world.idp.hits(Endpoint::Jwks) > 0, "the keys are asked for");
    assert_ne!(
        world.flights().bearer(&world.token()).send().await.status,
        200
    );
    assert_eq!(elsewhere.hits(Endpoint::Jwks), 0);
    assert_eq!(world.upstream.hits(), 0);
}

#[tokio::test]
async fn further_issuers_of_the_same_keys_are_known() {
    let world = World::with(|s| {
        s.config["identity_providers"][0]["extra_issuers"] = json!(["https://old-name.test"]);
    })
    .await;
    let token = world
        .idp
        .token(APP)
        .claim("iss", "https://old-name.test")
        .build();
    world.passes(world.flights().bearer(&token)).await;
}

#[tokio::test]
async fn the_verified_token_goes_upstream_where_asked() {
    let world = World::with(|s| {
        s.config["auth_strategies"][0]["auth_methods"] = json!(["client_credentials", "bearer"]);
        s.config["apis"][0]["forward_access_token"] = json!(true);
    })
    .await;
    let token = world.token();
    world.passes(world.flights().bearer(&token)).await;
    assert_eq!(
        world.upstream.last().header("authorization"),
        Some(&*format!("Bearer {token}"))
    );
    world
        .passes(world.flights().basic(APP, crate::harness::SECRET))
        .await;
    let line = world
        .upstream
        .last()
        .header("authorization")
        .unwrap()
        .to_owned();
    assert!(line.starts_with("Bearer ey"), "{line}");
}

/// Refetches for unknown keys after a tenth of a second.
fn fast_refetch(setup: &mut crate::harness::gateway::Setup) {
    setup.config["identity_providers"][0]["jwks"] = json!({"unknown_kid_interval": "100ms"});
}

/// Sends a thousand requests while the IdP's answers are held back; all end with this status.
/// Returns how often the keys were fetched meanwhile.
async fn thousand_at_once(world: &World, token: impl Fn(usize) -> String, status: u16) -> usize {
    let before = world.idp.hits(Endpoint::Jwks);
    world.idp.hold();
    let mut calls = JoinSet::new();
    for n in 0..1_000 {
        let call = world.flights().bearer(&token(n));
        calls.spawn(async move { call.send().await });
    }
    eventually!(
        world.idp.hits(Endpoint::Jwks) > before,
        "the keys are asked for"
    );
    world.idp.release();
    while let Some(response) = calls.join_next().await {
        response.unwrap().assert_status(status);
    }
    world.idp.hits(Endpoint::Jwks) - before
}

/// What is remembered of it is that it has ended, not that it once held.
#[tokio::test]
async fn an_expired_token_stays_expired_and_others_are_not() {
    let world = World::start().await;
    let ended = world.idp.token(APP).claim("exp", now() - 3600).build();
    let forged = {
        let (_, signature) = ended.rsplit_once('.').unwrap();
        format!("{}.{signature}", world.idp.token(APP).signing_input())
    };
    for _ in 0..3 {
        world
            .refuses(world.flights().bearer(&ended), 401, "invalid_token")
            .await;
        world
            .refuses(world.flights().bearer(&forged), 401, "invalid_token")
            .await;
        let good = world.idp.token(APP).build();
        world.passes(world.flights().bearer(&good)).await;
    }
    for reason in ["expired", "signature"] {
        let lines = || {
            let log = world.gateway.log();
            let told = format!("\"reason\":\"{reason}\"");
            log.iter().filter(|line| line.contains(&told)).count()
        };
        eventually!(lines() == 3, "{reason}: {}", lines());
    }
}
