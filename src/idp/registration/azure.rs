//! Microsoft Graph, for Entra: an application, the service principal that lets it act, and its
//! secrets, of which it may have several.
//!
//! A client id is an application's `appId`; what is managed goes by its object id. The directory
//! takes seconds to agree with itself, so each step of a creation is tried until the application
//! has got about, and the last one is asking for a token with the new secret. A tag holds the
//! gateway's own id of the application, by which an orphan is found.
//!
//! Deleting is for good, as at other IdPs: what Entra keeps to be restored counts against the
//! number of objects that the gateway's client may own, and an application without an entry here
//! could call nothing anyway.
//!
//! A client has no scopes here: an API's roles are assigned to it by whoever runs the API.

mod application;
mod graph;
mod refusal;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    Error, Issued, Known, Management, Registered, Request, Rotated, Told, Trace, asking::Asking,
    returned::undo,
};
use crate::{
    clock,
    idp::{grant, vendor::Wanted},
    model::credential::{ClientId, Secret},
    telemetry::checks::Checks,
};
use application::Application;
use graph::{Age, Graph, Named, SPREADING};

/// Characters that Graph takes of a name, and of a description or a note.
const LONGEST: (usize, usize) = (256, 1024);

/// How long is waited between looks for an application that may only not have got about.
const LOOKS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

/// What is kept of an application. All of it can be found by the client id again.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    /// The object id of the application.
    #[serde(default)]
    object: Option<String>,
    /// The object id of its service principal.
    #[serde(default)]
    principal: Option<String>,
    /// The ids of its secrets.
    #[serde(default)]
    keys: Vec<String>,
}

impl Kept {
    fn read(management: &Management) -> Self {
        serde_json::from_str(management.0.expose()).unwrap_or_default()
    }

    fn of(application: &Application) -> Self {
        let keys = application.passwords().into_iter().map(|known| known.id);
        Self {
            object: Some(application.object.clone()),
            principal: None,
            keys: keys.collect(),
        }
    }

    fn written(&self) -> Management {
        let members = json!({
            "object": self.object, "principal": self.principal, "keys": self.keys,
        });
        Management(Secret::new(members.to_string()))
    }

    fn named<'a>(&'a self, client_id: &'a ClientId) -> Named<'a> {
        match &self.object {
            Some(object) => Named::Object(object),
            None => Named::Client(client_id),
        }
    }
}

pub(super) async fn create(asking: &Asking<'_>, request: &Request) -> Result<Registered, Error> {
    let graph = Graph::of(asking)?;
    let asked = asked(asking, request);
    let application = graph.create(&asked).await?;
    let mut kept = Kept::of(&application);
    let made = async {
        check(&application, &asked)?;
        kept.principal = Some(graph.principal(&application.client_id).await?);
        graph
            .add_password(Named::Object(&application.object), Age::New)
            .await
    };
    let issued = match made.await {
        Ok(issued) => issued,
        Err(cause) => {
            let management = kept.written();
            let removal = remove_new(asking, &application);
            return Err(undo(
                asking,
                application.client_id.clone(),
                management,
                cause,
                removal,
            )
            .await);
        }
    };
    kept.keys.extend(issued.id.clone());
    until_it_works(&graph, &application.client_id, &issued.secret).await;
    Ok(Registered {
        client_id: application.client_id,
        issued,
        management: kept.written(),
        scopes: None,
    })
}

pub(super) async fn trace(asking: &Asking<'_>, request: &Request) -> Result<Trace, Error> {
    let graph = Graph::of(asking)?;
    let tag = tag(request.application);
    let mut found = graph.tagged(&tag).await?;
    for pause in LOOKS {
        if !found.is_empty() {
            break;
        }
        asking
            .wait("an application of which nothing may be known yet", pause)
            .await?;
        found = graph.tagged(&tag).await?;
    }
    if found.is_empty() {
        return Ok(Trace::Nothing);
    }
    let found = found.into_iter().map(|application| {
        let management = Kept::of(&application).written();
        (application.client_id, management)
    });
    Ok(Trace::Found(found.collect()))
}

pub(super) async fn read(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
) -> Result<Told, Error> {
    let kept = Kept::read(management);
    let application = Graph::of(asking)?
        .application(kept.named(client_id))
        .await?;
    Ok(Told {
        metadata: application.members,
        management: None,
        issued: None,
    })
}

pub(super) async fn update(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
    request: &Request,
) -> Result<Told, Error> {
    let kept = Kept::read(management);
    let changes = description(request);
    Graph::of(asking)?
        .change(kept.named(client_id), &changes)
        .await?;
    // Graph answers without a word, and what it told now might be what it was before.
    Ok(Told {
        metadata: changes,
        management: None,
        issued: None,
    })
}

/// The old secrets go once there is a new one, before it works everywhere: who asked for it has
/// not seen it yet, and the gateway takes the old ones no more.
pub(super) async fn rotate(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
    _request: &Request,
) -> Result<Rotated, Error> {
    let graph = Graph::of(asking)?;
    let mut kept = Kept::read(management);
    let application = graph.application(kept.named(client_id)).await?;
    let named = Named::Object(&application.object);
    let mut old = Kept::of(&application).keys;
    // The directory may not have told of the latest.
    kept.keys.retain(|key| !old.contains(key));
    old.append(&mut kept.keys);
    let issued = add(&graph, named, &old).await?;
    for key in &old {
        if let Err(cause) = graph.remove_password(named, key).await {
            take_back(asking, named, &old).await;
            return Err(cause);
        }
    }
    until_it_works(&graph, client_id, &issued.secret).await;
    kept.keys.extend(issued.id.clone());
    kept.object = Some(application.object);
    Ok(Rotated {
        client_id: client_id.clone(),
        issued,
        management: kept.written(),
    })
}

pub(super) async fn add_secret(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
) -> Result<(Issued, Management), Error> {
    let graph = Graph::of(asking)?;
    let mut kept = Kept::read(management);
    let application = graph.application(kept.named(client_id)).await?;
    let mut old = Kept::of(&application).keys;
    old.extend_from_slice(&kept.keys);
    let issued = add(&graph, Named::Object(&application.object), &old).await?;
    until_it_works(&graph, client_id, &issued.secret).await;
    kept.keys.extend(issued.id.clone());
    kept.object = Some(application.object);
    Ok((issued, kept.written()))
}

pub(super) async fn secrets(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
) -> Result<Vec<Known>, Error> {
    let kept = Kept::read(management);
    let application = Graph::of(asking)?
        .application(kept.named(client_id))
        .await?;
    Ok(application.passwords())
}

pub(super) async fn remove_secret(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
    id: &str,
) -> Result<Management, Error> {
    let graph = Graph::of(asking)?;
    let mut kept = Kept::read(management);
    let application = graph.application(kept.named(client_id)).await?;
    let passwords = application.passwords();
    let is_there = passwords.iter().any(|known| known.id == id);
    if is_there && passwords.len() == 1 {
        return Err(Error::Refused("it is the client's last secret".to_owned()));
    }
    graph
        .remove_password(Named::Object(&application.object), id)
        .await?;
    kept.object = Some(application.object);
    kept.keys.retain(|key| key != id);
    Ok(kept.written())
}

pub(super) async fn delete(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
) -> Result<(), Error> {
    let kept = Kept::read(management);
    let graph = Graph::of(asking)?;
    match graph
        .delete(kept.named(client_id), kept.object.as_deref())
        .await
    {
        Err(Error::Gone) => Ok(()),
        other => other,
    }
}

pub(super) async fn adopt(asking: &Asking<'_>, client_id: &ClientId) -> Result<Management, Error> {
    let graph = Graph::of(asking)?;
    let application = graph.application(Named::Client(client_id)).await?;
    match application.client_id == *client_id {
        true => Ok(Kept::of(&application).written()),
        false => Err(Error::Gone),
    }
}

/// What is asked for: the operator's own members, and over them what an application here has to be.
fn asked(asking: &Asking<'_>, request: &Request) -> Map<String, Value> {
    let mut asked = Map::new();
    asked.insert("signInAudience".to_owned(), json!("AzureADMyOrg"));
    if asking.provider().config().issuer.contains("/v2.0") {
        let api = json!({"requestedAccessTokenVersion": 2});
        asked.insert("api".to_owned(), api);
    }
    if !request.redirect_uris.is_empty() {
        let web = json!({"redirectUris": request.redirect_uris});
        asked.insert("web".to_owned(), web);
    }
    asked.extend(asking.config().client_metadata.clone());
    asked.extend(description(request));
    let mut tags = vec![json!(tag(request.application))];
    if let Some(Value::Array(theirs)) = asked.remove("tags") {
        tags.extend(theirs);
    }
    asked.insert("tags".to_owned(), Value::Array(tags));
    asked
}

/// What of an application may change later.
fn description(request: &Request) -> Map<String, Value> {
    let cut = |text: &str, longest: usize| text.chars().take(longest).collect::<String>();
    let description = Some(cut(&request.description, LONGEST.1)).filter(|text| !text.is_empty());
    let note = format!(
        "Registered by dcr-gateway for {} (application {})",
        request.developer, request.application
    );
    let members = [
        ("displayName", json!(cut(&request.name, LONGEST.0))),
        ("description", json!(description)),
        ("notes", json!(cut(&note, LONGEST.1))),
    ];
    let members = members.into_iter();
    members
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn tag(application: Uuid) -> String {
    format!("dcr-gateway:{application}")
}

/// Whether an application that came back is one that can be used.
fn check(application: &Application, asked: &Map<String, Value>) -> Result<(), Error> {
    let told = |name: &str| {
        application
            .members
            .get(name)
            .filter(|value| !value.is_null())
    };
    let unusable = |what: String| Err(Error::Unusable(what));
    if told("isFallbackPublicClient") == Some(&Value::Bool(true)) {
        return unusable("it is public (isFallbackPublicClient)".to_owned());
    }
    if let Some(audience) = told("signInAudience")
        && Some(audience) != asked.get("signInAudience")
    {
        return unusable(format!(
            "it is open to other tenants: its signInAudience is {audience}"
        ));
    }
    let wants = told("requiredResourceAccess").and_then(Value::as_array);
    if wants.is_some_and(|wants| !wants.is_empty()) && !asked.contains_key("requiredResourceAccess")
    {
        let what = "it asks for permissions that were not asked for (requiredResourceAccess)";
        return unusable(what.to_owned());
    }
    if !application.passwords().is_empty() {
        return unusable("it has secrets that nobody was shown".to_owned());
    }
    Ok(())
}

/// Removes an application that was made just now: one that is not found has only not got about.
async fn remove_new(asking: &Asking<'_>, application: &Application) -> Result<(), Error> {
    let asking = asking.to_undo();
    let graph = Graph::of(&asking)?;
    let object = &*application.object;
    let mut pause = SPREADING.0;
    loop {
        match graph.delete(Named::Object(object), Some(object)).await {
            Err(Error::Gone) => graph.spread("deletion", &mut pause).await?,
            other => return other,
        }
    }
}

/// Gives an application one more secret, or none: one whose answer was lost is looked for.
async fn add(graph: &Graph<'_>, named: Named<'_>, old: &[String]) -> Result<Issued, Error> {
    let added = graph.add_password(named, Age::Old).await;
    if let Err(Error::Unavailable(_) | Error::Unusable(_)) = added {
        take_back(graph.asking, named, old).await;
    }
    added
}

/// Removes what the gateway has added to the secrets that there were: nobody was shown it.
async fn take_back(asking: &Asking<'_>, named: Named<'_>, old: &[String]) {
    let asking = asking.to_undo();
    let removed = async {
        let graph = Graph::of(&asking)?;
        let application = graph.application(named).await?;
        for key in application.own_passwords() {
            if !old.contains(&key) {
                graph.remove_password(named, &key).await?;
            }
        }
        Ok::<(), Error>(())
    };
    if let Err(error) = removed.await {
        tracing::warn!(
            identity_provider = &*asking.provider().config().name,
            error = %error,
            "a secret that nobody was shown may be left: the next rotation removes it"
        );
    }
}

/// Waits until a token is to be had with a new secret, as long as the deadline lets. A refusal for
/// another reason is one of a secret that is known.
async fn until_it_works(graph: &Graph<'_>, client_id: &ClientId, secret: &Secret) {
    let scope = graph.scope();
    let wanted = Wanted {
        scope: Some(&scope),
        audience: None,
        parameters: &[],
        api: None,
    };
    let provider = graph.asking.provider();
    let mut pause = SPREADING.0;
    loop {
        let now = clock::now();
        match grant::exchange(provider, client_id, secret, &wanted, now, Checks::OFF).await {
            Ok(_) | Err(grant::Error::GrantRefused(_) | grant::Error::Misconfigured(_)) => return,
            Err(grant::Error::Unavailable(_) | grant::Error::WrongSecret(_)) => {}
        }
        if graph
            .spread("a new secret that is not known yet", &mut pause)
            .await
            .is_err()
        {
            tracing::warn!(
                identity_provider = &*provider.config().name,
                client_id = client_id.as_str(),
                "the token endpoint does not know the new secret yet; it should within a minute"
            );
            return;
        }
    }
}
