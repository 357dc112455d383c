//! The story: an operator makes an application over REST, with its client at the identity provider;
//! it passes at once, its old credentials are refused at once after a rotation, and all of it after
//! its deletion. Played for each product, with provider and strategy in registry and file.

use serde_json::{Value, json};

use super::products::{Product, Stage, merge};
use crate::harness::{
    api,
    client::{Call, Response},
    gateway::{ADMIN_TOKEN, Gateway, Wait},
    portal::{Made, Operator, Store, text},
    postgres, public, setup,
    upstream::Upstream,
};

/// Where provider and strategy stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    File,
    Registry,
}

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

/// The gateway of the story, and everybody around it.
struct Play {
    gateway: Gateway,
    operator: Operator,
    upstream: Upstream,
    stage: Stage,
}

/// A client's credentials, of one time.
struct Credentials {
    pair: (String, String),
    token: String,
    cookie: String,
}

async fn play(product: Product, source: Source, store: Store) {
    let play = Play::start(product, source, &store).await;
    let (stage, operator) = (&play.stage, &play.operator);

    let strategy = match source {
        Source::Registry => play.bring().await,
        Source::File => play.found("/v2/application-auth-strategies").await,
    };
    let provider = play.found("/v2/dcr-providers").await;
    let verified = operator
        .done(
            "POST",
            &format!("/v2/dcr-providers/{provider}/verify"),
            Value::Null,
        )
        .await;
    assert_eq!(verified, json!({"status": "success", "errors": []}));

    let first = operator.application(&strategy).await;
    let basic = |made: &Made| play.get().basic(&made.client_id, &made.secret);
    play.refuses(basic(&first), 403, "registration_required")
        .await;
    operator.approve(&first, "flights").await;
    let before = play.passes_in_each_way(&first).await;

    let second = operator.rotate(&first).await;
    assert_ne!(second.secret, first.secret);
    play.is_refused_in_each_way(&before, &first, &second).await;
    let after = play.passes_in_each_way(&second).await;

    operator
        .delete(&format!("/v2/applications/{}", second.id))
        .await;
    let pair = play.get().basic(&after.pair.0, &after.pair.1);
    play.refuses(pair, 401, "invalid_client").await;
    play.refuses(play.get().bearer(&after.token), 403, "unknown_application")
        .await;
    play.refuses(play.get().cookie(&after.cookie), 401, "invalid_session")
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

    play.tells_no_secret(&store, &[&first, &second], &[&before, &after])
        .await;
}

impl Play {
    async fn start(product: Product, source: Source, store: &Store) -> Self {
        let (stage, upstream) = (product.start().await, Upstream::start().await);
        let mut setup = setup("https://unused.test", &upstream);
        store.configure(&mut setup);
        setup.files.extend(stage.files.clone());
        setup.config["apis"] = json!([api("flights", &upstream), public("open", &upstream)]);
        let mut entry = stage.identity_provider.clone();
        let mut strategy = json!({
            "name": "partners", "identity_provider": "idp",
            "auth_methods": ["client_credentials", "bearer", "session"],
        });
        merge(&mut strategy, &stage.strategy);
        match source {
            Source::File => {
                entry["name"] = json!("idp");
                entry["registration"] = stage.access.registration();
                let initial = stage.access.secret().to_owned();
                setup.files.push(("secrets/initial".to_owned(), initial));
                setup.config["identity_providers"] = json!([entry]);
                setup.config["auth_strategies"] = json!([strategy]);
            }
            Source::Registry => {
                entry["name"] = json!("connection");
                let entries = if stage.needs_entry {
                    vec![entry]
                } else {
                    vec![]
                };
                setup.config["identity_providers"] = json!(entries);
                setup.config["auth_strategies"] = json!([]);
                // Nobody passes before the strategy comes.
                setup.wait = Wait::Listening;
            }
        }
        let gateway = Gateway::start(setup).await;
        Self {
            operator: Operator::of(&gateway),
            gateway,
            upstream,
            stage,
        }
    }

    /// Makes provider and strategy over REST; the strategy's id.
    async fn bring(&self) -> String {
        self.refuses(self.get(), 503, "not_ready").await;
        let reached = self.stage.needs_entry.then_some("connection");
        let provider = self.stage.provider("idp", reached);
        let provider = self.operator.make("/v2/dcr-providers", provider).await;
        let strategy = self
            .stage
            .auth_strategy("partners", Some(&provider), reached);
        let path = "/v2/application-auth-strategies";
        self.operator.make(path, strategy).await
    }

    /// The id of the only entry of a list.
    async fn found(&self, list: &str) -> String {
        let told = self.operator.read(list).await;
        assert_eq!(told["data"].as_array().unwrap().len(), 1, "{told}");
        text(&told["data"][0], "id")
    }

    fn get(&self) -> Call {
        self.gateway.get("/flights")
    }

    /// An application passes with its pair, a new token and the cookies that both earn.
    async fn passes_in_each_way(&self, made: &Made) -> Credentials {
        let pair = (made.client_id.clone(), made.secret.clone());
        let passed = self.passes(self.get().basic(&pair.0, &pair.1)).await;
        let seen = self.upstream.last();
        assert_eq!(seen.header("x-application-id"), Some(&*made.id));
        assert_eq!(seen.header("x-application-name"), Some("Trip Planner"));
        assert_eq!(seen.header("x-developer-id"), Some("dana@example.com"));
        let cookie = passed.cookie().expect("a session cookie");
        let token = self.stage.token(&pair.0, &pair.1).await;
        self.passes(self.get().bearer(&token)).await;
        self.passes(self.get().cookie(&cookie)).await;
        Credentials {
            pair,
            token,
            cookie,
        }
    }

    /// What was good before a rotation is not any more. Where the rotation gave another client, the
    /// old one is unknown; else its old credentials are wrong.
    async fn is_refused_in_each_way(&self, before: &Credentials, first: &Made, second: &Made) {
        let basic = self.get().basic(&before.pair.0, &before.pair.1);
        self.refuses(basic, 401, "invalid_client").await;
        let bearer = self.get().bearer(&before.token);
        match first.client_id == second.client_id {
            true => self.refuses(bearer, 401, "invalid_token").await,
            false => self.refuses(bearer, 403, "unknown_application").await,
        }
        let cookie = self.get().cookie(&before.cookie);
        self.refuses(cookie, 401, "invalid_session").await;
    }

    #[track_caller]
    fn passes(&self, call: Call) -> impl Future<Output = Response> {
        let place = std::panic::Location::caller();
        async move {
            let before = self.upstream.hits();
            let response = call.send().await;
            assert_eq!(response.status, 200, "at {place}: {response:?}");
            assert_eq!(self.upstream.hits(), before + 1, "at {place}");
            response
        }
    }

    #[track_caller]
    fn refuses(&self, call: Call, status: u16, code: &'static str) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let before = self.upstream.hits();
            let response = call.send().await;
            let told = (response.status, response.code());
            assert_eq!(told, (status, code.to_owned()), "at {place}: {response:?}");
            assert_eq!(self.upstream.hits(), before, "at {place}: it got through");
        }
    }

    /// What is secret stands in no line, no answer but the one that gives it, and no database.
    async fn tells_no_secret(&self, store: &Store, made: &[&Made], used: &[&Credentials]) {
        let audit = self.operator.read("/v2/audit?page[size]=100").await;
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
                self.stage.access.secret().to_owned(),
            ),
        ];
        let shown = self.stage.shown();
        secrets.extend(shown.into_iter().map(|secret| ("shown at the IdP", secret)));
        for used in used {
            secrets.push(("a token", used.token.clone()));
            let value = used.cookie.split_once('=').unwrap().1;
            secrets.push(("a cookie", value.to_owned()));
        }
        let heard = self.operator.heard();
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
        let mut kept = vec![("log", self.gateway.log().join("\n").into_bytes())];
        kept.extend(store.bytes(&self.gateway).await);
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
}

/// A secret as it is, and as databases and credentials write it.
fn forms(secret: &str) -> [String; 3] {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let hex = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let encoded = BASE64_STANDARD.encode(secret);
    [secret.to_owned(), hex, encoded]
}
