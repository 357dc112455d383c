//! A gateway in front of one vendor, configured in the lines that the vendor's preset leaves to
//! write.

use std::fmt;

use serde_json::{Value, json};

use super::emulation::{Emulation, Vendor};
use crate::harness::{
    client::{Call, Response},
    gateway::{Gateway, Setup},
    idp::Endpoint,
    setup,
    upstream::Upstream,
};

/// A secret with most of what vendors put into theirs.
pub(crate) const SECRET: &str = "V9s-q~T8.x_Kp/4+Zc=:%41&hn";

/// The secret of the gateway's own client, for vendors that introspect: `secrets/own`.
pub(crate) const OWN_SECRET: &str = "the-gateways-own";

/// A gateway, the vendor behind it, an upstream, and one registered client.
pub(crate) struct Site<V> {
    pub(crate) gateway: Gateway,
    pub(crate) idp: Emulation<V>,
    pub(crate) upstream: Upstream,
    /// The client, whose secret is [`SECRET`]. Its application may call `/orders` and `/ledger`,
    /// which needs a scope that the client does not have, and is not registered for `/invoices`.
    pub(crate) client: String,
}

/// How a request ended, and what the identity provider was asked for it.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) response: Response,
    /// The line of the access log.
    pub(crate) line: Value,
    tokens: usize,
    introspections: usize,
    key_sets: usize,
}

impl<V: Vendor> Site<V> {
    /// As the vendor is by default.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with changes to the configuration.
    pub(crate) async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        Self::around(Emulation::start().await, change).await
    }

    /// The same with changes, around a vendor that is set up already.
    pub(crate) async fn around(idp: Emulation<V>, change: impl FnOnce(&mut Setup)) -> Self {
        let upstream = Upstream::start().await;
        let client = idp.register(SECRET);
        let mut setup = setup("https://unused.test", &upstream);
        configure(&mut setup, &idp, &upstream);
        setup.applications = json!({"applications": [application(&client)]});
        let own = ("secrets/own".to_owned(), OWN_SECRET.to_owned());
        setup.files.push(own);
        change(&mut setup);
        Self {
            gateway: Gateway::start(setup).await,
            idp,
            upstream,
            client,
        }
    }

    pub(crate) fn orders(&self) -> Call {
        self.gateway.get("/orders")
    }

    /// A call with the client's pair.
    pub(crate) fn basic(&self) -> Call {
        self.orders().basic(&self.client, SECRET)
    }

    /// A call with a token of the client's, changed.
    pub(crate) fn bearer(
        &self,
        change: impl FnOnce(crate::harness::token::Token) -> crate::harness::token::Token,
    ) -> Call {
        let token = change(self.idp.token(&self.client));
        self.orders().bearer(&token.build())
    }

    /// A session cookie, earned with a token.
    pub(crate) async fn cookie(&self) -> String {
        let response = self.bearer(|token| token).send().await;
        response.assert_status(200);
        response.cookie().expect("a session cookie")
    }

    /// Sends a call; how it ended. Whatever is not let through has not reached the upstream.
    pub(crate) async fn verdict(&self, call: &Call) -> Verdict {
        let asked = || {
            [Endpoint::Token, Endpoint::Introspection, Endpoint::Jwks]
                .map(|endpoint| self.idp.hits(endpoint))
        };
        let (before, reached) = (asked(), self.upstream.hits());
        let response = call.send().await;
        let line = self.gateway.line_of(&response).await;
        let after = asked();
        let passed = usize::from(response.status == 200);
        assert_eq!(self.upstream.hits(), reached + passed, "{response:?}");
        Verdict {
            response,
            line,
            tokens: after[0] - before[0],
            introspections: after[1] - before[1],
            key_sets: after[2] - before[2],
        }
    }

    /// What `dcr-gateway check` prints about the configuration.
    pub(crate) fn check(&self) -> String {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_dcr-gateway"))
            .args(["check", "--config"])
            .arg(self.gateway.directory.path().join("gateway.yaml"))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// What `dcr-gateway explain` says of `/orders` with a credential has to be what the gateway did
    /// and logged, cure and all.
    pub(crate) async fn explains(&self, kind: &str, credential: &str, verdict: &Verdict) {
        let file = self.gateway.directory.path().join("presented");
        std::fs::write(file, credential).unwrap();
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_dcr-gateway"))
            .args(["explain", "--json", "--config", "gateway.yaml"])
            .args(["--url", "http://api.test/orders", kind, "@presented"])
            .current_dir(self.gateway.directory.path())
            .output();
        let output = output.await.unwrap();
        let told: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let found = &told["requests"][0]["verdict"];
        if found["reason"] == "no_metadata" {
            // Gone since the gateway started, which goes on with what it has read.
            assert!(found["cure"].is_string(), "{told}");
            return;
        }
        assert_eq!(found["status"], verdict.response.status, "{told}");
        assert_eq!(found["code"], verdict.response.code(), "{told}");
        assert_eq!(found["reason"], verdict.line["reason"], "{told}");
        match &verdict.line["cure"] {
            // Where the vendor's preset knows none there is a general one.
            Value::Null => assert!(found["cure"].is_string(), "{told}"),
            cure => assert_eq!(&found["cure"], cure, "{told}"),
        }
    }

    /// Sends a call that has to end so, written as in a table.
    #[track_caller]
    pub(crate) fn ends(&self, call: &Call, expected: &str) -> impl Future<Output = Verdict> {
        let place = std::panic::Location::caller();
        async move {
            let verdict = self.verdict(call).await;
            assert_eq!(verdict.to_string(), expected, "at {place}: {verdict:?}");
            verdict
        }
    }
}

impl Verdict {
    /// What the log says that an operator can do; empty where it says nothing.
    pub(crate) fn cure(&self) -> &str {
        self.line["cure"].as_str().unwrap_or_default()
    }
}

/// Status, code, and reason where it is another word; then how often the identity provider was asked for a token (`t`), an
/// introspection (`i`) or its keys (`k`); then whether the log names a cure. What is let through
/// needs neither code nor reason.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.response.status)?;
        if self.response.status != 200 {
            write!(f, " {}", self.response.code())?;
            if self.line["reason"] != self.line["code"] {
                let reason = self.line["reason"].as_str().unwrap_or("?");
                write!(f, " {reason}")?;
            }
        }
        for (letter, calls) in [
            ('t', self.tokens),
            ('i', self.introspections),
            ('k', self.key_sets),
        ] {
            if calls > 0 {
                write!(f, " {letter}{calls}")?;
            }
        }
        if !self.cure().is_empty() {
            write!(f, " cure")?;
        }
        Ok(())
    }
}

/// An application of a client, approved for everything but `invoices`.
pub(crate) fn application(client_id: &str) -> Value {
    json!({
        "name": "Trip Planner",
        "developer": "dana@example.com",
        "auth_strategy": "partners",
        "client_id": client_id,
        "registrations": {"orders": "approved", "ledger": "approved"},
    })
}

/// Puts the vendor into a configuration: three lines for the identity provider, and of the strategy
/// what no preset can know.
fn configure<V: Vendor>(setup: &mut Setup, idp: &Emulation<V>, upstream: &Upstream) {
    let (idp_more, strategy_more, issuer) = idp.turn(|account, vendor| {
        (
            vendor.identity_provider(account),
            vendor.strategy(),
            vendor.issuer(),
        )
    });
    let files = idp.turn(|account, vendor| vendor.files(account));
    setup.files.extend(files);
    let mut entry = json!({"name": "idp", "vendor": V::NAME, "issuer": issuer});
    let mut strategy = json!({
        "name": "partners",
        "identity_provider": "idp",
        "auth_methods": ["client_credentials", "bearer", "session"],
    });
    for (object, more) in [(&mut entry, idp_more), (&mut strategy, strategy_more)] {
        for (name, value) in more.as_object().into_iter().flatten() {
            object[name] = value.clone();
        }
    }
    let api = |name: &str| {
        json!({
            "name": name,
            "auth_strategies": ["partners"],
            "routes": [{"paths": [format!("/{name}")]}],
            "upstream": {"targets": [{"address": upstream.address.to_string()}]},
        })
    };
    let mut ledger = api("ledger");
    ledger["scopes_required"] = json!([V::WRITE]);
    setup.config["identity_providers"] = json!([entry]);
    setup.config["auth_strategies"] = json!([strategy]);
    setup.config["apis"] = json!([api("orders"), ledger, api("invoices")]);
}
