//! A gateway whose registry is a database, the product behind it, and its operator.

use std::sync::Arc;

use serde_json::{Value, json};

use super::products::Stage;
use crate::harness::{
    api,
    client::{Call, Response},
    gateway::{Gateway, Setup, Wait},
    portal::{Made, Operator, Store, text},
    public, setup,
    upstream::Upstream,
};

/// Where provider and strategy stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    File,
    Registry,
}

/// The gateway, and everybody around it.
pub(super) struct Site {
    pub(super) gateway: Gateway,
    pub(super) operator: Operator,
    pub(super) upstream: Upstream,
    pub(super) stage: Arc<Stage>,
}

/// A client's credentials, of one time.
pub(super) struct Credentials {
    pub(super) pair: (String, String),
    pub(super) token: String,
    pub(super) cookie: String,
}

impl Site {
    /// Starts a gateway. Provider `idp` and strategy `partners` stand in its file, or are still to
    /// be made; the API `flights` accepts the strategy.
    pub(super) async fn start(stage: &Arc<Stage>, source: Source, store: &Store) -> Self {
        Self::with(stage, source, store, |_| {}).await
    }

    /// The same with changes.
    pub(super) async fn with(
        stage: &Arc<Stage>,
        source: Source,
        store: &Store,
        change: impl FnOnce(&mut Setup),
    ) -> Self {
        let upstream = Upstream::start().await;
        let mut setup = setup("https://unused.test", &upstream);
        store.configure(&mut setup);
        setup.files.extend(stage.files.clone());
        setup.config["apis"] = json!([api("flights", &upstream), public("open", &upstream)]);
        match source {
            Source::File => {
                let mut entry = stage.entry("idp");
                entry["registration"] = stage.access.registration();
                let initial = stage.access.secret().to_owned();
                setup.files.push(("secrets/initial".to_owned(), initial));
                setup.config["identity_providers"] = json!([entry]);
                setup.config["auth_strategies"] = json!([stage.file_strategy("partners", "idp")]);
            }
            Source::Registry => {
                let reached = stage.needs_entry.then(|| stage.entry("connection"));
                let entries: Vec<Value> = reached.into_iter().collect();
                setup.config["identity_providers"] = json!(entries);
                setup.config["auth_strategies"] = json!([]);
                // Nobody passes before the strategy comes.
                setup.wait = Wait::Listening;
            }
        }
        change(&mut setup);
        let gateway = Gateway::start(setup).await;
        Self {
            operator: Operator::of(&gateway),
            gateway,
            upstream,
            stage: Arc::clone(stage),
        }
    }

    /// The same gateway once more, after it was stopped.
    pub(super) async fn restart(&mut self) {
        self.gateway.restart().await;
        self.operator = Operator::of(&self.gateway);
    }

    /// Makes provider and strategy over REST; the strategy's id.
    pub(super) async fn bring(&self) -> String {
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
    pub(super) async fn found(&self, list: &str) -> String {
        let told = self.operator.read(list).await;
        assert_eq!(told["data"].as_array().unwrap().len(), 1, "{told}");
        text(&told["data"][0], "id")
    }

    pub(super) fn get(&self) -> Call {
        self.gateway.get("/flights")
    }

    /// An application passes with its pair, a new token and the cookies that both earn.
    pub(super) async fn passes_in_each_way(&self, made: &Made) -> Credentials {
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

    /// The call passes, and reaches the upstream once.
    #[track_caller]
    pub(super) fn passes(&self, call: Call) -> impl Future<Output = Response> {
        let place = std::panic::Location::caller();
        async move {
            let before = self.upstream.hits();
            let response = call.send().await;
            assert_eq!(response.status, 200, "at {place}: {response:?}");
            assert_eq!(self.upstream.hits(), before + 1, "at {place}");
            response
        }
    }

    /// The call is refused with this answer, and the upstream sees nothing of it.
    #[track_caller]
    pub(super) fn refuses(
        &self,
        call: Call,
        status: u16,
        code: &'static str,
    ) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let before = self.upstream.hits();
            let response = call.send().await;
            let told = (response.status, response.code());
            assert_eq!(told, (status, code.to_owned()), "at {place}: {response:?}");
            assert_eq!(self.upstream.hits(), before, "at {place}: it got through");
        }
    }
}
