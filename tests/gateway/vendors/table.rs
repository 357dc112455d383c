//! What each kind of credential gets in each way of sending it: a table for each vendor, played
//! cell by cell, each cell in a world of its own.
//!
//! A cell is written as [`super::site::Verdict`] prints itself. `-` is a combination that cannot
//! be: a token of a client that gets none.

use serde_json::json;
use tokio::task::JoinSet;

use super::{
    emulation::Vendor,
    site::{SECRET, Site, Verdict},
};
use crate::harness::{
    client::Call,
    eventually,
    keys::{Alg, Key},
    now, rfc3339,
};

/// How a credential is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Basic,
    Jwt,
    Opaque,
    Session,
}

const METHODS: [(&str, Method); 4] = [
    ("basic", Method::Basic),
    ("jwt", Method::Jwt),
    ("opaque", Method::Opaque),
    ("session", Method::Session),
];

/// What is the matter with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Credential {
    /// A secret, a token or a session that has ended.
    Expired,
    /// The application is not registered for this API.
    NotRegistered,
    Right,
    /// The secret was changed, the signing key or the token withdrawn, the application's
    /// credentials changed; what came instead is let through.
    Rotated,
    /// The directory does not know the client, the vendor does.
    UnknownHere,
    /// The client was deleted at the vendor; the directory still knows it.
    UnknownThere,
    /// The vendor gives this client no token for this API.
    WithoutGrant,
    /// The API needs a scope that the client does not have.
    WithoutScope,
    /// A secret, a signature, a token or a seal that is not the right one.
    Wrong,
}

const CREDENTIALS: [(&str, Credential); 9] = [
    ("expired", Credential::Expired),
    ("not registered", Credential::NotRegistered),
    ("right", Credential::Right),
    ("rotated", Credential::Rotated),
    ("unknown here", Credential::UnknownHere),
    ("unknown there", Credential::UnknownThere),
    ("without grant", Credential::WithoutGrant),
    ("without scope", Credential::WithoutScope),
    ("wrong", Credential::Wrong),
];

/// Secrets that arrive only where each side knows what the other does: with each character that
/// some encoding treats as its own.
pub(crate) const SECRETS: [&str; 14] = [
    "plain-enough_0.9",
    "a:b",
    "a+b",
    "a/b",
    "a%b",
    "a%41b",
    "a~b",
    "a=b",
    "a@b",
    "a[b]",
    "a&client_id=b",
    "a#b",
    "a b",
    ":+/%~=@[]&# ",
];

/// Plays a vendor's table: a head line, then a row for each credential, columns apart by `|`.
pub(crate) async fn holds<V: Vendor>(table: &str) {
    let mut lines = table.trim().lines().map(cells);
    let head = lines.next().expect("a head line");
    assert_eq!(head[1..], METHODS.map(|(name, _)| name), "the columns");
    let expected: Vec<Vec<&str>> = lines.collect();
    let mut played = Vec::new();
    for row in &expected {
        let credential = CREDENTIALS.iter().find(|(name, _)| *name == row[0]);
        let credential = credential.unwrap_or_else(|| panic!("{:?}?", row[0])).1;
        let mut cells = JoinSet::new();
        for (n, (_, method)) in METHODS.into_iter().enumerate() {
            cells.spawn(async move { (n, play::<V>(credential, method).await) });
        }
        let mut cells = cells.join_all().await;
        cells.sort();
        let mut found = vec![row[0].to_owned()];
        found.extend(cells.into_iter().map(|(_, cell)| cell));
        played.push(found);
    }
    assert_eq!(
        expected.len(),
        CREDENTIALS.len(),
        "a row for each credential"
    );
    assert!(
        played.iter().flatten().eq(expected.iter().flatten()),
        "{} differs. Expected:\n{}\nPlayed:\n{}",
        V::NAME,
        show(&expected),
        show(&played)
    );
}

fn cells(line: &str) -> Vec<&str> {
    line.split('|').map(str::trim).collect()
}

fn show<T: AsRef<str>>(rows: &[Vec<T>]) -> String {
    let line = |row: &Vec<T>| {
        let cells: Vec<String> = row
            .iter()
            .map(|cell| format!("{:42}", cell.as_ref()))
            .collect();
        cells.join("| ")
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Plays one cell; what it came to.
async fn play<V: Vendor>(credential: Credential, method: Method) -> String {
    if credential == Credential::WithoutGrant && method != Method::Basic {
        // Whoever gets no token has none to send and no session that one could earn.
        return "-".to_owned();
    }
    let site: Site<V> = Site::with(|setup| {
        if (credential, method) == (Credential::Expired, Method::Session) {
            setup.config["auth_strategies"][0]["session"] = json!({"idle_timeout": "1s"});
        }
    })
    .await;
    let verdict = match method {
        Method::Basic => basic(&site, credential).await,
        Method::Jwt => jwt(&site, credential).await,
        Method::Opaque => opaque(&site, credential).await,
        Method::Session => session(&site, credential).await,
    };
    match verdict {
        Some(verdict) => verdict.to_string(),
        None => "-".to_owned(),
    }
}

/// The call that a credential is tried with.
fn call<V: Vendor>(site: &Site<V>, credential: Credential) -> Call {
    let path = match credential {
        Credential::NotRegistered => "/invoices",
        Credential::WithoutScope => "/ledger",
        _ => "/orders",
    };
    site.gateway.get(path)
}

async fn basic<V: Vendor>(site: &Site<V>, credential: Credential) -> Option<Verdict> {
    let (client, mut secret) = (&site.client, SECRET);
    match credential {
        Credential::Expired => {
            let expires = site.idp.client(client, |client| {
                client.expired = std::mem::take(&mut client.secrets);
                V::SECRETS_EXPIRE
            });
            if !expires {
                return None;
            }
        }
        Credential::NotRegistered | Credential::Right | Credential::WithoutScope => {}
        Credential::Rotated => {
            site.ends(&site.basic(), "200 t1").await;
            site.idp
                .client(client, |client| client.rotate("the-new-one"));
            change_credentials(site).await;
        }
        Credential::UnknownHere => forget(site).await,
        Credential::UnknownThere => site.idp.delete(client),
        Credential::WithoutGrant => site.idp.client(client, |client| client.granted = false),
        Credential::Wrong => secret = "not-the-secret",
    }
    let call = call(site, credential).basic(client, secret);
    let verdict = site.verdict(&call).await;
    if credential == Credential::Rotated {
        let new = site.orders().basic(client, "the-new-one");
        site.ends(&new, "200 t1").await;
    }
    Some(verdict)
}

async fn jwt<V: Vendor>(site: &Site<V>, credential: Credential) -> Option<Verdict> {
    let mut token = site.idp.token(&site.client);
    match credential {
        Credential::Expired => {
            let ended = now() - 3_600;
            token = token.claim("exp", ended).claim("iat", ended - 60);
            if token.claims().contains_key("nbf") {
                token = token.claim("nbf", ended - 60);
            }
        }
        Credential::Rotated => {
            site.ends(&site.orders().bearer(&token.build()), "200")
                .await;
            // The next key is known already: the one that signed is not missed yet.
            site.idp.rotate_keys();
            site.ends(&site.bearer(|token| token), "200").await;
            site.idp.rotate_keys();
            site.ends(&site.bearer(|token| token), "200 k1").await;
        }
        Credential::UnknownHere => forget(site).await,
        Credential::UnknownThere => site.idp.delete(&site.client),
        Credential::Wrong => token = token.key(&strange_key(site)),
        Credential::NotRegistered
        | Credential::Right
        | Credential::WithoutGrant
        | Credential::WithoutScope => {}
    }
    let call = call(site, credential).bearer(&token.build());
    Some(site.verdict(&call).await)
}

async fn opaque<V: Vendor>(site: &Site<V>, credential: Credential) -> Option<Verdict> {
    let mut token = site.idp.opaque(&site.client);
    match credential {
        Credential::Expired => site
            .idp
            .turn(|account, _| drop(account.opaque.remove(&token))),
        Credential::Rotated => {
            site.orders().bearer(&token).send().await;
            site.idp
                .turn(|account, _| drop(account.opaque.remove(&token)));
            change_credentials(site).await;
        }
        Credential::UnknownHere => forget(site).await,
        Credential::UnknownThere => site.idp.delete(&site.client),
        Credential::Wrong => token = "made-up".to_owned(),
        Credential::NotRegistered
        | Credential::Right
        | Credential::WithoutGrant
        | Credential::WithoutScope => {}
    }
    let call = call(site, credential).bearer(&token);
    Some(site.verdict(&call).await)
}

async fn session<V: Vendor>(site: &Site<V>, credential: Credential) -> Option<Verdict> {
    let mut cookie = site.cookie().await;
    match credential {
        Credential::Expired => {
            let ended = site.orders().cookie(&cookie);
            eventually!(ended.send().await.status == 401, "the session ends");
        }
        Credential::Rotated => {
            change_credentials(site).await;
            let new = site.cookie().await;
            site.ends(&site.orders().cookie(&new), "200").await;
        }
        Credential::UnknownHere => forget(site).await,
        Credential::UnknownThere => site.idp.delete(&site.client),
        Credential::Wrong => {
            let last = if cookie.ends_with('A') { "B" } else { "A" };
            cookie.truncate(cookie.len() - 10);
            cookie += &last.repeat(10);
        }
        Credential::NotRegistered
        | Credential::Right
        | Credential::WithoutGrant
        | Credential::WithoutScope => {}
    }
    let call = call(site, credential).cookie(&cookie);
    Some(site.verdict(&call).await)
}

/// Takes the client out of the directory.
async fn forget<V: Vendor>(site: &Site<V>) {
    let empty = |applications: &mut serde_json::Value| {
        applications["applications"] = json!([]);
    };
    site.gateway.register(empty).await;
}

/// Says in the directory that the application's credentials were changed, and lets the second in
/// which that was pass: whatever was made until now is from before.
async fn change_credentials<V: Vendor>(site: &Site<V>) {
    let changed = now() + 1;
    site.gateway
        .register(|applications| {
            applications["applications"][0]["credentials_valid_from"] = json!(rfc3339(changed));
        })
        .await;
    eventually!(now() >= changed, "the credentials are changed");
}

/// A key of the same kind as the one that signs, which is another.
fn strange_key<V: Vendor>(site: &Site<V>) -> Key {
    let own = site.idp.turn(|account, _| account.key());
    let mut keys = std::iter::repeat_with(|| Key::new(Alg::Rs256));
    keys.find(|key| key.public() != own.public()).unwrap()
}
