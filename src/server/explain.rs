//! `dcr-gateway explain`: walks a request to its verdict and prints every check.
//!
//! It loads what `serve` loads and judges with the same code, and asks the real identity provider.
//! It binds nothing, asks no upstream, and disturbs no running gateway. Always true: a credential
//! comes from standard input or a file, and is printed nowhere, not in an error either.

mod credential;
mod diary;
mod question;
mod report;

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use tokio::runtime::{self, Runtime};

use crate::{
    config::Role,
    model::fault::{self, Fault},
    proxy::{
        state::{self, Lasting, State},
        walk::walk,
    },
    reload::portal::{self, Loaded},
    telemetry::metrics::Metrics,
    token::session::SessionKey,
};
use credential::Source;
use diary::Diary;
use question::Asked;
use report::Report;
pub(super) use report::wrap;

/// What it is asked.
#[derive(clap::Args)]
pub struct Arguments {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Read it as that of a guard in another program, which has neither listeners nor upstreams.
    #[arg(long)]
    guard: bool,
    /// What the client asks for: http://HOST/PATH, https://HOST/PATH, or /PATH for any host.
    ///
    /// Without it each API that is not public is asked, by its first route.
    #[arg(long)]
    url: Option<String>,
    /// The client's method; by default the first that the route lists, or GET.
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// A further field of the request, such as Origin or Sec-Fetch-Site; may stand several times.
    ///
    /// Never a credential: those are read from standard input or from a file.
    #[arg(long = "header", value_name = "NAME:VALUE")]
    headers: Vec<String>,
    #[command(flatten)]
    credential: Sources,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Whatever else stands on the line. It may be a secret, so it is refused without being shown.
    #[arg(hide = true)]
    rest: Vec<OsString>,
}

/// Where the credential comes from.
#[derive(clap::Args)]
#[group(multiple = false)]
struct Sources {
    /// A bearer token, from standard input or a file.
    #[arg(long, value_name = "- or @FILE", allow_hyphen_values = true)]
    token: Option<OsString>,
    /// Client id and secret, as id:secret or in base64, from standard input or a file.
    #[arg(long, value_name = "- or @FILE", allow_hyphen_values = true)]
    basic: Option<OsString>,
    /// A session cookie, as its value, as NAME=VALUE or as a whole Cookie line, from standard input
    /// or a file.
    #[arg(long, value_name = "- or @FILE", allow_hyphen_values = true)]
    cookie: Option<OsString>,
}

/// Why nothing is explained.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// Only the running gateway has the key.
    #[error(
        "the configuration has no session_keys, so each gateway makes a key of its own when it \
         starts, and nobody else can open its cookies; configure session_keys, or ask the running \
         gateway on its admin address: GET /explain/{{request-id}}, as in X-Request-Id of the answer"
    )]
    CookieWithoutKey,
    /// The credential cannot be had.
    #[error(transparent)]
    Credential(#[from] credential::Error),
    /// The configuration has faults; each was told.
    #[error("{}", fault::list(.0))]
    Configuration(Vec<Fault>),
    /// Metrics cannot be registered.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The request cannot be made.
    #[error(transparent)]
    Question(#[from] question::Error),
    /// No randomness for a session key.
    #[error("the system gives no randomness")]
    Randomness,
    /// There is more on the line than is read.
    #[error(
        "an argument too many, which is not shown because it may be a secret; a credential is read \
         from standard input (-) or a file (@FILE), never from the command line"
    )]
    Rest,
    /// A checked configuration cannot be put to work.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The system gives no runtime.
    #[error("no runtime: {0}")]
    Runtime(#[from] io::Error),
}

/// Explains what would become of a request. Blocks. The code is 0 where it would pass, 1 where it
/// would be refused, one of several too, and 2 where there is nothing to explain.
pub fn run(arguments: &Arguments) -> ExitCode {
    match explain(arguments) {
        Ok(reports) => {
            let text = match arguments.json {
                true => report::json(&reports),
                false => report::text(&reports),
            };
            // A reader that has closed its end has read enough.
            let _ = io::stdout().lock().write_all(text.as_bytes());
            match reports.iter().all(Report::is_passed) {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn explain(arguments: &Arguments) -> Result<Vec<Report>, Error> {
    if !arguments.rest.is_empty() {
        return Err(Error::Rest);
    }
    let Sources {
        token,
        basic,
        cookie,
    } = &arguments.credential;
    let source = Source::find(token.as_deref(), basic.as_deref(), cookie.as_deref())?;
    let asked = Asked::read(
        arguments.url.as_deref(),
        arguments.method.as_deref(),
        &arguments.headers,
    )?;
    // As in `serve`: before anything of TLS is made.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let diary = Diary::open();
    let role = match arguments.guard {
        true => Role::Guard,
        false => Role::Gateway,
    };
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let loaded = portal::load(role, &arguments.config, &runtime);
    let loaded = loaded.map_err(Error::Configuration)?;
    for warning in &loaded.warnings {
        eprintln!("{warning}");
    }
    let is_cookie = source.as_ref().is_some_and(Source::is_cookie);
    if is_cookie && loaded.config.session_keys.is_empty() {
        return Err(Error::CookieWithoutKey);
    }
    let presented = source.map(Source::read).transpose()?;
    let state = put_to_work(loaded, &runtime)?;
    let questions = asked.questions(&state, presented.as_ref())?;
    let reports = runtime.block_on(async {
        for provider in state.providers.values() {
            provider.asked().await;
        }
        let mut reports = Vec::new();
        for question in questions {
            let walk = walk(&state, &question.request, &question.target, question.scheme);
            let walk = walk.await;
            reports.push(Report::new(question, walk, diary.take()));
        }
        reports
    });
    runtime.shutdown_background();
    Ok(reports)
}

/// Makes of a configuration what `serve` makes of it, but for what would reach upstreams.
fn put_to_work(loaded: Loaded, runtime: &Runtime) -> Result<Arc<State>, Error> {
    let Loaded {
        mut config,
        applications,
        ..
    } = loaded;
    for upstream in config
        .apis
        .iter_mut()
        .filter_map(|api| api.upstream.as_mut())
    {
        // No name is looked up and no target checked. Nothing here is ever placed at one.
        upstream.health_check = None;
        upstream.targets.clear();
    }
    let metrics = Arc::new(Metrics::new()?);
    let made_key = SessionKey::random().map_err(|_| Error::Randomness)?;
    let lasting = Lasting::new(metrics, made_key, runtime.handle().clone());
    let state = Arc::new(State::new(config, None, &lasting)?);
    match applications {
        Ok(entries) => lasting.directory.replace(entries),
        // The gateway too goes on, and answers that it is not ready.
        Err(faults) => {
            for fault in &faults {
                eprintln!("{fault}");
            }
        }
    }
    Ok(state)
}
