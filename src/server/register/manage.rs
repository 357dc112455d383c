//! `dcr-gateway client`: a client that `register` made, over RFC 7592, by the file that it wrote.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use serde_json::{Map, Value, json};

use super::{
    NAME, Way, block_on, ended, object, print, reach,
    record::{self, Record},
    request,
    trouble::{Error, cure},
    vendor,
};
use crate::{
    idp::registration::{self, Access, Issued, Request},
    model::{credential::ClientId, fault::one_line},
};

/// What `client` is told.
#[derive(clap::Subcommand)]
pub enum Client {
    /// Print what the server says of the client.
    Read(Managed),
    /// Change the client's metadata, its secret untouched.
    Update {
        /// Which client.
        #[command(flatten)]
        managed: Managed,
        /// Its new name.
        #[arg(long)]
        name: Option<String>,
        /// The scopes that it may ask for from now on, separated by spaces.
        #[arg(long, value_name = "SCOPES")]
        scope: Option<String>,
        /// Further client metadata to set: a file that holds a JSON object.
        #[arg(long, value_name = "FILE")]
        client_metadata: Option<PathBuf>,
    },
    /// Delete the client, and its file with it.
    Delete(Managed),
}

/// Which client, and how its server is reached.
#[derive(clap::Args)]
pub struct Managed {
    /// The file that `register` wrote. It is replaced where the server gives another token.
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
    #[command(flatten)]
    way: Way,
    /// Whatever else stands on the line. It may be a secret, so it is refused without being shown.
    #[arg(hide = true)]
    rest: Vec<OsString>,
}

/// Manages a client that was registered so. Blocks; codes as those of `register`.
pub fn run(client: &Client) -> ExitCode {
    ended(block_on(managed(client)))
}

async fn managed(client: &Client) -> Result<(), Error> {
    let (managed, metadata) = match client {
        Client::Read(managed) | Client::Delete(managed) => (managed, None),
        Client::Update {
            managed,
            client_metadata,
            ..
        } => (managed, client_metadata.as_ref().map(object).transpose()?),
    };
    if !managed.rest.is_empty() {
        return Err(Error::Rest);
    }
    let record = Record::read(&managed.state)?;
    let unreadable = || record::Error::Unreadable(managed.state.clone());
    let client_id = ClientId::new(record.client_id.as_str()).ok_or_else(unreadable)?;
    let vendor = vendor(&record.vendor).map_err(|_| unreadable())?;
    let (way, issuer) = (&managed.way, record.issuer.clone());
    let vendor = way.vendor.unwrap_or(vendor);
    let registrar = reach::registrar(vendor, &issuer, way, Access::Open, None, metadata)?;
    let management = record.management();
    let failed = |what: &str, source: registration::Error| Error::Idp {
        what: format!("{what} {client_id} at {issuer}"),
        hint: cure(&source),
        source: Box::new(source),
    };
    let told = match client {
        Client::Delete(_) => {
            let deleted = registrar.delete(&client_id, &management).await;
            deleted.map_err(|error| failed("deleting", error))?;
            let removed = std::fs::remove_file(&managed.state);
            removed.map_err(|error| record::Error::File(managed.state.clone(), error))?;
            let told = match way.json {
                true => format!("{}\n", json!({"deleted": client_id.as_str()})),
                false => format!("deleted: {client_id}\n"),
            };
            print(&told);
            return Ok(());
        }
        Client::Read(_) => {
            let read = registrar.read(&client_id, &management).await;
            read.map_err(|error| failed("reading", error))?
        }
        Client::Update { name, scope, .. } => {
            let request = changed(&management, name.as_deref(), scope.as_deref());
            let updated = registrar.update(&client_id, &management, &request).await;
            updated.map_err(|error| failed("changing", error))?
        }
    };
    if let Some(newer) = &told.management {
        record.with(newer).write(&managed.state)?;
    }
    tell(way.json, told.metadata, told.issued.as_ref());
    Ok(())
}

/// The client as the server tells of it, and a secret that came unasked.
fn tell(as_json: bool, mut metadata: Map<String, Value>, issued: Option<&Issued>) {
    if let Some(issued) = issued {
        eprintln!("the server gave the client another secret: the old one is good no more");
        let secret = json!(issued.secret.expose());
        metadata.insert("client_secret".to_owned(), secret);
    }
    if as_json {
        return print(&format!("{}\n", Value::Object(metadata)));
    }
    for (name, value) in &metadata {
        let value = match value {
            Value::Null => continue,
            Value::String(text) => one_line(text).into_owned(),
            value => value.to_string(),
        };
        print(&format!("{}: {value}\n", one_line(name)));
    }
}

/// What a client is to become: as it was told last, but for what is given.
fn changed(
    management: &registration::Management,
    name: Option<&str>,
    scope: Option<&str>,
) -> Request {
    let kept: Value = serde_json::from_str(management.0.expose()).unwrap_or_default();
    let known = kept["metadata"]["client_name"].as_str();
    request(name.or(known).unwrap_or(NAME), scope)
}
