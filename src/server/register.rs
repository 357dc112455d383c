//! `dcr-gateway register` and `dcr-gateway client`: a client registered by hand, at any server that
//! keeps to RFC 7591, and managed over RFC 7592. No gateway runs, and no configuration is read.
//!
//! Always true: id and secret are shown once; what the client is managed with stands in a file that
//! its owner alone may read; no secret is taken from the command line, and none stands in an error.

pub mod manage;
mod reach;
mod record;
mod secret;
mod trouble;

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::{Map, Value, json};
use tokio::runtime;
use tracing_subscriber::{
    Layer as _,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    idp::{
        registration::{Access, Registered, Request},
        vendor::Vendor,
    },
    model::credential::{ClientId, Secret},
};
use record::Record;
use secret::Source;
use trouble::{Error, cure};

/// A name where none is given.
const NAME: &str = "dcr-gateway client";

/// What `register` is told.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// A token that lets register (RFC 7591 section 3): read from standard input, a file, or an
    /// environment variable.
    #[arg(
        long,
        value_name = "- or @FILE or env:NAME",
        allow_hyphen_values = true
    )]
    initial_access_token: Option<OsString>,
    /// The id of a client that gets a token to register others by client credentials; for wso2 an
    /// administrator's name.
    #[arg(long, value_name = "ID", conflicts_with = "initial_access_token")]
    initial_client: Option<String>,
    /// Its secret. Without this it is asked for.
    #[arg(
        long,
        value_name = "- or @FILE or env:NAME",
        allow_hyphen_values = true,
        requires = "initial_client"
    )]
    initial_client_secret: Option<OsString>,
    /// The scopes that it asks for; for curity dcr.
    #[arg(long, value_name = "SCOPES", requires = "initial_client")]
    initial_client_scope: Option<String>,
    /// The new client's name.
    #[arg(long, default_value = NAME)]
    name: String,
    /// Scopes that the new client may ask for, separated by spaces; else the server's default.
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// Further client metadata (RFC 7591 section 2): a file that holds a JSON object.
    #[arg(long, value_name = "FILE")]
    client_metadata: Option<PathBuf>,
    /// Where registrations go, if the server's metadata does not say it.
    #[arg(long, value_name = "URL")]
    endpoint: Option<Url>,
    /// Write id and secret to this file, which nobody else may read, in place of printing them.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The file that manages the client later; by default CLIENT_ID.registration.json, here.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    #[command(flatten)]
    way: Way,
    /// Whatever else stands on the line. It may be a secret, so it is refused without being shown.
    #[arg(hide = true)]
    rest: Vec<OsString>,
}

/// At whose server.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// An account or URL whose server is asked for by WebFinger: acct:USER@HOST, https://HOST/….
    #[arg(long)]
    resource: Option<String>,
    /// The issuer itself, or the address of its metadata.
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
}

/// How a server is reached and answers are told.
#[derive(clap::Args)]
struct Way {
    /// Whose server it is: auth0, azure, curity, generic, okta or wso2.
    #[arg(long, value_parser = vendor)]
    vendor: Option<Vendor>,
    /// PEM certificates of authorities to trust beside the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// An HTTP proxy to reach it through; those of the environment are not used.
    #[arg(long, value_name = "URL")]
    proxy: Option<Url>,
    /// How many seconds all of it may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    deadline: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn vendor(word: &str) -> Result<Vendor, String> {
    let known = Vendor::ALL.into_iter();
    let mut fitting = known.filter(|vendor| vendor.preset().name == word);
    fitting
        .next()
        .ok_or_else(|| "expected auth0, azure, curity, generic, okta or wso2".to_owned())
}

/// Registers a client. Blocks. The code is 0 where it was made, 1 where the server refused, 2 where
/// the arguments or this machine are to blame.
pub fn run(arguments: &Arguments) -> ExitCode {
    ended(block_on(register(arguments)))
}

fn ended(result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.code())
        }
    }
}

fn block_on(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    // As in `serve`: before anything of TLS is made.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Waits and warnings, beside the answer.
    let ours = Targets::new()
        .with_target("dcr_gateway::idp::discovery", LevelFilter::ERROR)
        .with_target("dcr_gateway::idp::registration", LevelFilter::INFO);
    let layer = fmt::layer()
        .without_time()
        .with_ansi(false)
        .with_target(false)
        .with_writer(io::stderr)
        .with_filter(ours);
    // Where a program around this one has a subscriber already, its lines go there.
    let _ = tracing_subscriber::registry().with(layer).try_init();
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::Local(format!("no runtime: {error}")))?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

async fn register(arguments: &Arguments) -> Result<(), Error> {
    if !arguments.rest.is_empty() {
        return Err(Error::Rest);
    }
    for file in arguments.state.iter().chain(&arguments.output) {
        record::probe(file)?;
    }
    let way = &arguments.way;
    let vendor = way.vendor.unwrap_or(Vendor::Generic);
    let metadata = arguments.client_metadata.as_ref().map(object).transpose()?;
    let access = access(arguments)?;
    let issuer = match (&arguments.place.resource, &arguments.place.issuer) {
        (Some(resource), _) => reach::find(resource, vendor, way).await?,
        (None, issuer) => issuer.clone().unwrap_or_default(),
    };
    let hint = match access {
        Access::Open => "without a credential",
        Access::InitialClient { .. } => "with the initial client",
        _ => "with the initial access token",
    };
    let registrar = reach::registrar(
        vendor,
        &issuer,
        way,
        access,
        arguments.endpoint.clone(),
        metadata,
    )?;
    let request = request(&arguments.name, arguments.scope.as_deref());
    let registered = registrar
        .create(&request)
        .await
        .map_err(|source| Error::Idp {
            what: format!("registering {hint} at {issuer}"),
            hint: cure(&source),
            source: Box::new(source),
        })?;
    let state = arguments.state.clone();
    let state = state.unwrap_or_else(|| record::usual(&registered.client_id));
    if let Err(source) = keep(arguments, &registered, vendor, &issuer, &state) {
        // Nobody could manage it, or would know its secret.
        let removed = registrar
            .delete(&registered.client_id, &registered.management)
            .await;
        return Err(Error::Kept {
            source,
            fate: match removed {
                Ok(()) => "removed again".to_owned(),
                Err(error) => format!("left there: {error}"),
            },
            client_id: registered.client_id,
        });
    }
    Ok(())
}

/// Writes the client's file, then shows its secret.
fn keep(
    arguments: &Arguments,
    registered: &Registered,
    vendor: Vendor,
    issuer: &str,
    state: &Path,
) -> Result<(), record::Error> {
    if state.symlink_metadata().is_ok() {
        return Err(record::Error::Exists(state.to_owned()));
    }
    let name = vendor.preset().name;
    Record::new(&registered.client_id, name, issuer, &registered.management).write(state)?;
    let shown = shown(arguments.way.json, &registered.client_id, registered, state);
    match &arguments.output {
        None => print(&shown),
        Some(path) => {
            let written = record::private(path)
                .and_then(|mut file| file.write_all(shown.as_bytes()).and(file.sync_all()));
            if let Err(error) = written {
                let _ = std::fs::remove_file(state);
                return Err(record::Error::File(path.clone(), error));
            }
            let told = format!(
                "client id and secret are in {}, what manages the client is in {}\n",
                path.display(),
                state.display()
            );
            print(&told);
        }
    }
    Ok(())
}

fn shown(
    as_json: bool,
    client_id: &ClientId,
    registered: &Registered,
    state: &Path,
) -> Zeroizing<String> {
    let (issued, state) = (&registered.issued, state.display().to_string());
    let ends = issued
        .expires_at
        .map(|end| end.rfc3339_seconds().to_string());
    let scope = registered.scopes.as_ref().map(|scopes| scopes.join(" "));
    Zeroizing::new(if as_json {
        let told = json!({
            "client_id": client_id.as_str(), "client_secret": issued.secret.expose(),
            "client_secret_expires_at": ends, "scope": scope, "state": state,
        });
        format!("{told}\n")
    } else {
        let mut text = format!(
            "client_id: {client_id}\nclient_secret: {}\n",
            issued.secret.expose()
        );
        let rest = [("client_secret_expires_at", ends), ("scope", scope)];
        for (name, value) in rest.into_iter().filter_map(|(name, v)| Some((name, v?))) {
            text += &format!("{name}: {value}\n");
        }
        text + &format!("state: {state}\n")
    })
}

/// A reader that has closed its end has read enough.
fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

fn request(name: &str, scope: Option<&str>) -> Request {
    let scopes = scope.into_iter().flat_map(str::split_ascii_whitespace);
    Request {
        application: Uuid::new_v4(),
        name: name.to_owned(),
        description: String::new(),
        developer: String::new(),
        strategy: String::new(),
        scopes: scopes.map(str::to_owned).collect(),
        audience: None,
        redirect_uris: Vec::new(),
    }
}

/// Who the operator is at the server.
fn access(arguments: &Arguments) -> Result<Access, Error> {
    if let Some(value) = &arguments.initial_access_token {
        const ARGUMENT: &str = "--initial-access-token";
        let token = Source::of(ARGUMENT, value)?.read(ARGUMENT)?;
        return Ok(Access::InitialAccessToken(token));
    }
    let Some(id) = &arguments.initial_client else {
        return Ok(Access::Open);
    };
    const ARGUMENT: &str = "--initial-client-secret";
    let source = match &arguments.initial_client_secret {
        Some(value) => Source::of(ARGUMENT, value)?,
        None => Source::Input,
    };
    let secret: Secret = source.read(ARGUMENT)?;
    let id = ClientId::new(id.as_str());
    let no_id = || Error::Local("--initial-client: expected a client id".to_owned());
    Ok(Access::InitialClient {
        id: id.ok_or_else(no_id)?,
        secret,
        scope: arguments.initial_client_scope.clone(),
        audience: None,
    })
}

fn object(path: &PathBuf) -> Result<Map<String, Value>, Error> {
    let text = std::fs::read(path)
        .map_err(|error| Error::File(path.clone(), crate::yaml::reason(&error)))?;
    serde_json::from_slice(&text)
        .map_err(|_| Error::File(path.clone(), "expected a JSON object".to_owned()))
}
