//! The story: an operator makes an application over REST, with its client at the identity provider;
//! it passes at once, its old credentials are refused at once after a rotation, and all of it after
//! its deletion. Played for each product, with provider and strategy in registry and file.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    products::Product,
    site::{Credentials, Site, Source},
};
use crate::harness::{
    gateway::ADMIN_TOKEN,
    portal::{Made, Store},
    postgres,
};

/// Makes the tests of each product.
macro_rules! with_each_product {
    ($($module:ident: $product:ident,)+) => {
        $(mod $module {
            use super::{Product, Source, Store, play};

            #[tokio::test]
            async fn with_provider_and_strategy_over_rest() {
                play(Product::$product, Source::Registry, Store::Sqlite).await;
            }

            #[tokio::test]
            async fn with_provider_and_strategy_in_the_file() {
                play(Product::$product, Source::File, Store::Sqlite).await;
            }
        })+
    };
}

with_each_product![
    auth0: Auth0,
    azure: Azure,
    bridge: Bridge,
    curity: Curity,
    django_oauth_toolkit_jwt: DjangoJwt,
    django_oauth_toolkit_opaque: DjangoOpaque,
    oidc_provider_jwt: OidcProviderJwt,
    oidc_provider_opaque: OidcProviderOpaque,
    okta: Okta,
    wso2: Wso2,
];

#[tokio::test]
async fn on_postgresql_with_provider_and_strategy_over_rest() {
    let store = Store::Postgres(postgres::database().await);
    play(Product::OidcProviderJwt, Source::Registry, store).await;
}

#[tokio::test]
async fn on_postgresql_with_provider_and_strategy_in_the_file() {
    let store = Store::Postgres(postgres::database().await);
    play(Product::DjangoJwt, Source::File, store).await;
}

async fn play(product: Product, source: Source, store: Store) {
    let stage = Arc::new(product.start().await);
    let site = Site::start(&stage, source, &store).await;
    let operator = &site.operator;

    let strategy = match source {
        Source::Registry => site.bring().await,
        Source::File => site.found("/v2/application-auth-strategies").await,
    };
    let provider = site.found("/v2/dcr-providers").await;
    let verified = operator
        .done(
            "POST",
            &format!("/v2/dcr-providers/{provider}/verify"),
            Value::Null,
        )
        .await;
    assert_eq!(verified, json!({"status": "success", "errors": []}));

    let first = operator.application(&strategy).await;
    let basic = |made: &Made| site.get().basic(&made.client_id, &made.secret);
    site.refuses(basic(&first), 403, "registration_required")
        .await;
    operator.approve(&first, "flights").await;
    let before = site.passes_in_each_way(&first).await;

    let second = operator.rotate(&first).await;
    assert_ne!(second.secret, first.secret);
    let basic = site.get().basic(&before.pair.0, &before.pair.1);
    site.refuses(basic, 401, "invalid_client").await;
    // Where the rotation gave another client, nobody knows the old one any more.
    let replaced = first.client_id != second.client_id;
    assert_eq!(replaced, product.replaces_clients(), "{first:?} {second:?}");
    let old = [
        (site.get().bearer(&before.token), "invalid_token"),
        (site.get().cookie(&before.cookie), "invalid_session"),
    ];
    for (call, code) in old {
        match replaced {
            true => site.refuses(call, 403, "unknown_application").await,
            false => site.refuses(call, 401, code).await,
        }
    }
    let after = site.passes_in_each_way(&second).await;

    operator
        .delete(&format!("/v2/applications/{}", second.id))
        .await;
    let pair = site.get().basic(&after.pair.0, &after.pair.1);
    site.refuses(pair, 401, "invalid_client").await;
    site.refuses(site.get().bearer(&after.token), 403, "unknown_application")
        .await;
    site.refuses(site.get().cookie(&after.cookie), 403, "unknown_application")
        .await;
    for made in [&first, &second] {
        let (status, token) = stage.grant(&made.client_id, &made.secret).await;
        assert!(
            (400..=401).contains(&status) && token.is_none(),
            "{status}: the client is gone"
        );
    }
    let gone = format!("/v2/applications/{}", second.id);
    let gone = operator.ask("GET", &gone, Value::Null).await;
    assert_eq!(gone.status, 404, "{}", gone.text());

    tells_no_secret(&site, &store, &[&first, &second], &[&before, &after]).await;
}

/// What is secret stands in no line, no answer but the one that gives it, and no database.
async fn tells_no_secret(site: &Site, store: &Store, made: &[&Made], used: &[&Credentials]) {
    let audit = site.operator.read("/v2/audit?page[size]=100").await;
    let actions = audit["data"].as_array().unwrap();
    let wanted = "application.delete";
    assert!(
        actions.iter().any(|entry| entry["action"] == wanted),
        "{audit}"
    );

    let mut secrets = vec![
        ("the admin token", ADMIN_TOKEN.to_owned()),
        (
            "access to registration",
            site.stage.access.secret().to_owned(),
        ),
    ];
    let shown = site.stage.shown();
    secrets.extend(shown.into_iter().map(|secret| ("shown at the IdP", secret)));
    for used in used {
        secrets.push(("a token", used.token.clone()));
        let value = used.cookie.split_once('=').unwrap().1;
        secrets.push(("a cookie", value.to_owned()));
    }
    let heard = site.operator.heard();
    for made in made {
        let times = heard.iter().filter(|text| text.contains(&made.secret));
        assert_eq!(times.count(), 1, "a client secret is told once");
        secrets.push(("a client secret", made.secret.clone()));
    }
    for (what, secret) in &secrets {
        let told = heard.iter().find(|text| text.contains(secret));
        let told = told.filter(|_| *what != "a client secret");
        assert_eq!(told, None, "{what} was answered");
    }
    let mut kept = vec![("log", site.gateway.log().join("\n").into_bytes())];
    kept.extend(store.bytes(&site.gateway).await);
    for (place, bytes) in kept {
        assert!(bytes.len() > 1_000, "{place} is there");
        for (what, secret) in &secrets {
            for form in forms(secret) {
                let found = memchr::memmem::find(&bytes, form.as_bytes());
                assert_eq!(found, None, "{what} stands in the {place}");
            }
        }
    }
}

/// A secret as it is, and as databases and credentials write it.
fn forms(secret: &str) -> [String; 3] {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let hex = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let encoded = BASE64_STANDARD.encode(secret);
    [secret.to_owned(), hex, encoded]
}
