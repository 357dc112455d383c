//! What holds for every vendor, whatever it answers with.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::{
    emulation::{Account, Emulation, Vendor},
    site::{SECRET, Site, application},
    table::SECRETS,
};
use crate::harness::{add, eventually, gateway::Gateway, http1::Answer, idp::Endpoint};

/// Something that is wrong at the vendor or in the configuration, and what a good pair gets then.
pub(crate) struct Mistake<V> {
    /// What is wrong.
    pub(crate) case: &'static str,
    /// Changes the strategy's configuration.
    pub(crate) strategy: fn(&mut Value),
    /// Changes the vendor; the client is the one that calls.
    pub(crate) vendor: fn(&mut Account, &mut V, &str),
    /// How the request ends, as in a table.
    pub(crate) ends: &'static str,
    /// Stands in the cure, in whatever case.
    pub(crate) cure: &'static str,
}

/// Leaves the configuration as it is.
pub(crate) fn as_it_is(_: &mut Value) {}

/// Leaves the vendor as it is.
pub(crate) fn as_ever<V>(_: &mut Account, _: &mut V, _: &str) {}

/// Makes each mistake in a world of its own. What is no client's fault is told in a line of its own
/// too, with the same cure, and so `explain` tells it.
pub(crate) async fn mistakes<V: Vendor>(mistakes: &[Mistake<V>]) {
    for mistake in mistakes {
        let case = mistake.case;
        let site: Site<V> = Site::with(|setup| {
            (mistake.strategy)(&mut setup.config["auth_strategies"][0]);
        })
        .await;
        site.idp
            .turn(|account, vendor| (mistake.vendor)(account, vendor, &site.client));
        let verdict = site.verdict(&site.basic()).await;
        assert_eq!(verdict.to_string(), mistake.ends, "{case}: {verdict:?}");
        let cure = verdict.cure().to_lowercase();
        assert!(cure.contains(mistake.cure), "{case}: {cure:?}");
        let pair = format!("{}:{SECRET}", site.client);
        site.explains("--basic", &pair, &verdict).await;
        if verdict.response.status == 401 {
            continue;
        }
        let told = errors(&site.gateway);
        assert_eq!(told.len(), 1, "{case}: {told:?}");
        assert_eq!(
            told[0]["cure"].as_str().unwrap_or_default(),
            verdict.cure(),
            "{case}"
        );
    }
}

/// The lines about pairs that cannot be exchanged.
pub(crate) fn errors(gateway: &Gateway) -> Vec<Value> {
    let fields = |line: &String| {
        let line: Value = serde_json::from_str(line).ok()?;
        let fields = line.get("fields").unwrap_or(&line).clone();
        (fields["message"] == "client credentials cannot be exchanged").then_some(fields)
    };
    gateway.log().iter().filter_map(fields).collect()
}

/// A vendor that says that it is asked too often is left alone for as long as it says, what is
/// known already goes on, and nobody's pair is remembered as wrong. The answer is made when it is
/// needed, since some tell the time of day.
pub(crate) async fn throttled<V: Vendor>(
    answer: impl FnOnce() -> Answer,
    wait: RangeInclusive<u64>,
) {
    let idp: Emulation<V> = Emulation::start().await;
    let other = idp.register(SECRET);
    let site = Site::around(idp, |setup| {
        add(&mut setup.applications, application(&other));
    })
    .await;
    site.ends(&site.basic(), "200 t1").await;
    site.idp.fault(Endpoint::Token, answer());
    let new = site.orders().basic(&other, SECRET);
    for expected in [
        "503 identity_provider_unavailable error_status t1",
        "503 identity_provider_unavailable paused",
    ] {
        let verdict = site.ends(&new, expected).await;
        let told = verdict.response.header("retry-after").unwrap();
        assert!(wait.contains(&told.parse().unwrap()), "Retry-After: {told}");
    }
    site.ends(&site.basic(), "200").await;
    site.ends(&site.bearer(|token| token), "200").await;
    site.idp.heal(Endpoint::Token);
    eventually!(new.send().await.status == 200, "the vendor is asked again");
}

/// However many secrets are wrong, the vendor is not at fault and goes on being asked.
pub(crate) async fn wrong_secrets_say_nothing_against_the_vendor<V: Vendor>() {
    let site: Site<V> = Site::with(|setup| {
        setup.config["auth_strategies"][0]["client_credentials"] =
            json!({"guesses_per_address": 100, "guesses_per_client": 100});
    })
    .await;
    for n in 0..12 {
        let call = site.orders().basic(&site.client, &format!("wrong-{n}"));
        let verdict = site.verdict(&call).await;
        verdict.response.assert_problem(401, "invalid_client");
        assert!(verdict.to_string().contains("wrong_secret t1"), "{verdict}");
    }
    site.ends(&site.basic(), "200 t1").await;
    assert_eq!(site.gateway.status("/readyz").await.status, 200);
}

/// A secret that a vendor does not know yet works once it does, a short while later.
pub(crate) async fn a_secret_may_become_good_late<V: Vendor>() {
    let site: Site<V> = Site::with(|setup| {
        setup.config["auth_strategies"][0]["client_credentials"] =
            json!({"wrong_secret_time": "3s"});
    })
    .await;
    let call = site.orders().basic(&site.client, "made-a-moment-ago");
    for asked in ["t1", ""] {
        let verdict = site.verdict(&call).await;
        verdict.response.assert_problem(401, "invalid_client");
        let verdict = verdict.to_string();
        assert_eq!(verdict.contains("t1"), !asked.is_empty(), "{verdict}");
    }
    site.idp
        .client(&site.client, |client| client.rotate("made-a-moment-ago"));
    eventually!(call.send().await.status == 200, "the new secret works");
    assert_eq!(site.idp.hits(Endpoint::Token), 2);
}

/// The form fields of a token request, sorted, without the client's own, which come in the form
/// too and nowhere else.
#[track_caller]
pub(crate) fn asked_for<V: Vendor>(site: &Site<V>) -> Vec<(String, String)> {
    let request = site.idp.requests(Endpoint::Token).pop().unwrap();
    assert_eq!(request.method, "POST");
    assert_eq!(request.header("authorization"), None);
    let kind = request.header("content-type").unwrap();
    assert!(
        kind.starts_with("application/x-www-form-urlencoded"),
        "{kind}"
    );
    assert_eq!(request.field("client_id").as_deref(), Some(&*site.client));
    assert_eq!(request.field("client_secret").as_deref(), Some(SECRET));
    let mut form = request.form();
    form.retain(|(name, _)| !name.starts_with("client_"));
    form.sort();
    form
}

/// Fields as [`asked_for`] gives them.
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    fields.iter().map(owned).collect()
}

/// A way to send pairs: `method` as configured, or else what the vendor's metadata lists.
pub(crate) struct Way<V> {
    /// `token_endpoint_auth_method`.
    pub(crate) method: Option<&'static str>,
    /// Changes what the vendor lists.
    pub(crate) lists: fn(&mut V),
    /// Whether the vendor reads a secret as it is when it is sent so.
    pub(crate) arrives: fn(&str) -> bool,
}

impl<V> Way<V> {
    /// One in which every secret arrives.
    pub(crate) fn well(method: Option<&'static str>, lists: fn(&mut V)) -> Self {
        Self {
            method,
            lists,
            arrives: |_| true,
        }
    }
}

/// Sends every awkward secret in each way; what does not arrive as it is is a wrong one.
pub(crate) async fn secrets_arrive<V: Vendor>(ways: &[Way<V>]) {
    for (turn, way) in ways.iter().enumerate() {
        let idp = Emulation::<V>::start().await;
        idp.turn(|_, vendor| (way.lists)(vendor));
        let pairs: Vec<_> = SECRETS
            .iter()
            .map(|secret| (idp.register(secret), *secret))
            .collect();
        let site = Site::around(idp, |setup| {
            setup.config["identity_providers"][0]["token_endpoint_auth_method"] = json!(way.method);
            let entries: Vec<Value> = pairs.iter().map(|(id, _)| application(id)).collect();
            setup.applications = json!({"applications": entries});
        })
        .await;
        for (id, secret) in &pairs {
            let verdict = site.verdict(&site.orders().basic(id, secret)).await;
            let expected = match (way.arrives)(secret) {
                true => "200 t1",
                false => "401 invalid_client wrong_secret t1",
            };
            let method = way.method;
            assert_eq!(
                verdict.to_string(),
                expected,
                "{turn} {method:?} {secret:?}"
            );
        }
    }
}
