//! `dcr-gateway register` and `dcr-gateway client`: a client registered by hand, at any server that
//! keeps to RFC 7591, and managed over RFC 7592. No gateway runs, and no configuration is read.
//!
//! Always true: id and secret are shown once; what the client is managed with stands in a file that
//! its owner alone may read; no secret is taken from the command line, and none stands in an error.

mod record;
mod secret;

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use prometheus::IntCounterVec;
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

use crate::{
    idp::{
        self, JwksConfig, Provider,
        call::{Caller, Trouble},
        registration::{self, Access, Dialect, Issued, Registered, Registrar, Request},
        vendor::Vendor,
        webfinger,
    },
    model::credential::{ClientId, Secret},
    telemetry::metrics::Metrics,
};
use record::Record;
use secret::Source;

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

/// What `client` is told.
#[derive(clap::Subcommand)]
pub enum Client {
    /// Print what the server says of the client.
    Read(Managed),
    /// Change the client's metadata, its secret untouched.
    Update {
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

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// A file of certificates or metadata cannot be used.
    #[error("{}: {}", .0.display(), .1)]
    File(PathBuf, String),
    /// The server did not do it.
    #[error("{what}: {source}{}", Hint(.hint))]
    Idp {
        /// What was asked, and where.
        what: String,
        /// What came back.
        source: Box<registration::Error>,
        /// What to do.
        hint: Option<String>,
    },
    /// An issuer that is none.
    #[error("--issuer: expected an https URL (http is for this machine alone)")]
    Issuer,
    /// What was made cannot be kept.
    #[error("{source}; the client {client_id} was {fate}")]
    Kept {
        /// Why.
        source: record::Error,
        /// Which client.
        client_id: ClientId,
        /// What became of it.
        fate: String,
    },
    /// No HTTP client, metrics or runtime.
    #[error("{0}")]
    Local(String),
    /// The client's file.
    #[error(transparent)]
    Record(#[from] record::Error),
    /// There is more on the line than is read.
    #[error(
        "an argument too many, which is not shown because it may be a secret; one is read from \
         standard input (-), a file (@FILE) or the environment (env:NAME), never from the command \
         line"
    )]
    Rest,
    /// A secret of the operator's.
    #[error(transparent)]
    Secret(#[from] secret::Error),
    /// WebFinger led nowhere.
    #[error("{asked}: {why}\n  Name the issuer itself: --issuer https://HOST/…")]
    WebFinger {
        /// What was asked.
        asked: String,
        /// What came back.
        why: String,
    },
}

/// What helps, on a line of its own.
struct Hint<'a>(&'a Option<String>);

impl std::fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}

impl Error {
    /// 1 where somebody refused, 2 where the arguments or this machine are to blame.
    fn code(&self) -> u8 {
        match self {
            Self::Idp { .. } | Self::WebFinger { .. } => 1,
            _ => 2,
        }
    }
}

/// Registers a client. Blocks. The code is 0 where it was made, 1 where the server refused, 2 where
/// the arguments or this machine are to blame.
pub fn run(arguments: &Arguments) -> ExitCode {
    ended(block_on(register(arguments)))
}

/// Manages a client that was registered so. Blocks; codes as those of [`run`].
pub fn manage(client: &Client) -> ExitCode {
    ended(block_on(managed(client)))
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
        (Some(resource), _) => find(resource, vendor, way).await?,
        (None, issuer) => issuer.clone().unwrap_or_default(),
    };
    let hint = match access {
        Access::Open => "without a credential",
        Access::InitialClient { .. } => "with the initial client",
        _ => "with the initial access token",
    };
    let registrar = registrar(
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
    state: &std::path::Path,
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
    state: &std::path::Path,
) -> zeroize::Zeroizing<String> {
    let (issued, state) = (&registered.issued, state.display().to_string());
    let ends = issued.expires_at.map(|end| {
        let end = std::time::UNIX_EPOCH + Duration::from_millis(end.millis().unsigned_abs());
        humantime::format_rfc3339_seconds(end).to_string()
    });
    let scope = registered.scopes.as_ref().map(|scopes| scopes.join(" "));
    zeroize::Zeroizing::new(if as_json {
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
    let registrar = registrar(vendor, &issuer, way, Access::Open, None, metadata)?;
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
            Value::String(text) => crate::model::fault::one_line(text).into_owned(),
            value => value.to_string(),
        };
        print(&format!(
            "{}: {value}\n",
            crate::model::fault::one_line(name)
        ));
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

/// Asks by WebFinger whose the resource is.
async fn find(resource: &str, vendor: Vendor, way: &Way) -> Result<String, Error> {
    let config = provider(vendor, "https://webfinger.invalid", way)?;
    let caller =
        Caller::new(&config, counters()?).map_err(|error| Error::Local(error.to_string()))?;
    let asked = |place: &str| format!("asking {place} for the issuer of {resource}");
    let failed = |place: &str, why: String| Error::WebFinger {
        asked: asked(place),
        why,
    };
    let question = |plain| {
        let question = webfinger::question(resource, plain);
        question.map_err(|error| failed("nobody", error.to_string()))
    };
    let place = |question: &Url| question[..url::Position::BeforePath].to_owned();
    let first = question(webfinger::Plain::Loopback)?;
    let at = place(&first);
    let is_plain = first.scheme() == "http";
    let failure = match webfinger::find(&caller, first).await {
        Ok(issuer) => return Ok(issuer),
        Err(failure) => failure,
    };
    // A server of this machine that wants TLS says so, or hangs up.
    let wants_tls = match &failure {
        webfinger::Failure::Status(status) => *status == 400,
        webfinger::Failure::Unavailable(unavailable) => {
            matches!(unavailable.kind, Trouble::Transport(_))
        }
        webfinger::Failure::Answer(_) => false,
    };
    if is_plain
        && wants_tls
        && let Ok(second) = webfinger::question(resource, webfinger::Plain::Never)
    {
        let at = place(&second);
        let found = webfinger::find(&caller, second).await;
        return found.map_err(|failure| failed(&at, failure.to_string()));
    }
    Err(failed(&at, failure.to_string()))
}

fn registrar(
    vendor: Vendor,
    issuer: &str,
    way: &Way,
    access: Access,
    endpoint: Option<Url>,
    client_metadata: Option<Map<String, Value>>,
) -> Result<Registrar, Error> {
    let dialect = match vendor {
        Vendor::Curity => Dialect::Curity,
        Vendor::Wso2 => Dialect::Wso2,
        _ => Dialect::Generic,
    };
    let registration = registration::Config {
        dialect,
        access,
        endpoint,
        client_metadata: client_metadata.unwrap_or_default(),
        deadline: Duration::from_secs(way.deadline),
        event_hooks: true,
        refresh_secret: true,
        several_secrets: false,
    };
    let mut config = provider(vendor, issuer, way)?;
    config.registration = Some(registration.clone());
    let runtime = runtime::Handle::current();
    let provider = Provider::at_rest(config, counters()?, &runtime)
        .map_err(|error| Error::Local(error.to_string()))?;
    Ok(Registrar::new(provider, registration))
}

/// A provider as a configuration would have it that says nothing but this.
fn provider(vendor: Vendor, issuer: &str, way: &Way) -> Result<idp::Config, Error> {
    let place = issuer
        .split_once("/.well-known/")
        .map_or(issuer, |(place, _)| place);
    if !webfinger::is_issuer(place, webfinger::Plain::Loopback) {
        return Err(Error::Issuer);
    }
    let ca = way.ca_file.as_ref().map(|path| {
        let pem = std::fs::read(path).map_err(|error| crate::yaml::reason(&error));
        pem.map_err(|why| Error::File(path.clone(), why))
    });
    Ok(idp::Config {
        name: place.into(),
        vendor,
        issuer: issuer.to_owned(),
        issuer_is_discovery_url: idp::discovery::is_discovery_url(issuer),
        discovery_url: None,
        token_endpoint: None,
        jwks_uri: None,
        introspection_endpoint: None,
        extra_issuers: Vec::new(),
        tenants: Vec::new(),
        token_endpoint_auth_method: None,
        introspection_endpoint_auth_method: None,
        client: None,
        registration: None,
        jwks: JwksConfig {
            refresh: Duration::from_secs(600),
            unknown_kid_interval: Duration::from_secs(10),
            max_stale: Duration::from_secs(86_400),
        },
        ca: ca.transpose()?,
        timeout: Duration::from_secs(way.deadline.min(10)),
        calls: 64,
        insecure_http: false,
        proxy: way.proxy.clone(),
    })
}

/// What an operator can do about it.
fn cure(error: &registration::Error) -> Option<String> {
    use registration::Error as E;
    let text = match error {
        E::Access(_) => {
            "Give it --initial-access-token, or --initial-client, whichever the server asks for; a \
             token may be spent or over."
        }
        E::Refused(_) => {
            "What was sent is client_name, grant_types, response_types, redirect_uris, \
             token_endpoint_auth_method, scope and --client-metadata: look at which of them the \
             server does not want."
        }
        E::Unusable(_) => {
            "The server's own policy decides what clients get: let it give confidential clients the \
             grant client_credentials, and no more than was asked for."
        }
        E::Impossible(_) => "Do it at the server itself.",
        E::Gone => "Its file is of no more use.",
        E::LeftBehind { .. } => "Remove it at the server itself.",
        E::Unavailable(unavailable) => match unavailable.kind {
            Trouble::UnknownAddress(_) => {
                "The server's metadata names no registration_endpoint: switch registration on \
                 there, or name it with --endpoint."
            }
            Trouble::NoMetadata(_) => {
                "Check the issuer: it is the `iss` of its tokens, byte for byte."
            }
            Trouble::Transport(_) => {
                "Check name and port; where its certificate is of a private authority, set \
                 --ca-file."
            }
            _ => "Try again; --deadline gives it more time.",
        },
    };
    Some(text.to_owned())
}

fn object(path: &PathBuf) -> Result<Map<String, Value>, Error> {
    let text = std::fs::read(path)
        .map_err(|error| Error::File(path.clone(), crate::yaml::reason(&error)))?;
    serde_json::from_slice(&text)
        .map_err(|_| Error::File(path.clone(), "expected a JSON object".to_owned()))
}

/// Nobody reads them here.
fn counters() -> Result<IntCounterVec, Error> {
    let metrics = Metrics::new().map_err(|error| Error::Local(error.to_string()))?;
    Ok(metrics.idp_calls)
}
