//! `dcr-gateway registry`: moves applications between a registry and a file, and seals its secrets
//! anew.
//!
//! It asks the database itself, so it works whether or not a gateway runs; one that runs hears of
//! what has changed as it hears of other gateways.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use tokio::runtime::{self, Runtime};

use crate::{
    config::{self, Config, Role},
    directory::file::{self, Known},
    model::fault::{self, Fault},
    portal::registry::{self, Import, ImportError, Imported, Registry},
    reload::portal,
    yaml,
};

/// What is done.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Write every application as an applications.yaml, which `registry.file` and `import` read.
    Export {
        /// Where the registry is.
        #[command(flatten)]
        place: Place,
        /// Where to; by default standard output. A file takes the place of what is there at once.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Take over the applications of an applications.yaml, all of them or none.
    ///
    /// A client that is there gets the name, developer, status and registrations of the file; one
    /// that is not there is made, and its client is not touched at the identity provider.
    /// Applications that the file does not name stay. What was refused from some time on stays
    /// refused.
    Import {
        /// Where the registry is.
        #[command(flatten)]
        place: Place,
        /// The applications.
        #[arg(value_name = "APPLICATIONS")]
        applications: PathBuf,
        /// Only say what it would do.
        #[arg(long)]
        dry_run: bool,
    },
    /// Seal every secret of the registry anew with the first of `registry.keys`.
    ///
    /// To change keys: put the new one behind the old one in the configuration of every gateway,
    /// then in front of it, then do this, then remove the old one.
    RotateKeys {
        /// Where the registry is.
        #[command(flatten)]
        place: Place,
    },
}

/// Where the registry is.
#[derive(clap::Args)]
pub struct Place {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Read it as that of a guard in another program, which has neither listeners nor upstreams.
    #[arg(long)]
    guard: bool,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The configuration, or the file of applications, has faults.
    #[error("{}", fault::list(.0))]
    Configuration(Vec<Fault>),
    /// The file of applications has faults.
    #[error("{}", lines(.0))]
    File(Vec<Fault>),
    /// There is no database.
    #[error(
        "{}: registry: applications are kept in the file {} as it is: expected sqlite or postgres",
        .config.display(), .file.display()
    )]
    NoDatabase {
        /// The configuration.
        config: PathBuf,
        /// What it names instead.
        file: PathBuf,
    },
    /// Nothing can be written there.
    #[error("{}: {reason}", .file.display())]
    Output {
        /// Where.
        file: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The registry refuses.
    #[error("nothing was imported:\n{0}")]
    Refused(ImportError),
    /// The registry does not answer, or refuses.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// No runtime.
    #[error("no runtime: {0}")]
    Runtime(io::Error),
}

fn lines(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    lines.join("\n")
}

/// Does it, and says what was done on standard error: standard output may be the applications.
pub fn run(command: &Command) -> ExitCode {
    let done = match command {
        Command::Export { place, output } => export(place, output.as_deref()),
        Command::Import {
            place,
            applications,
            dry_run,
        } => {
            let import = match dry_run {
                true => Import::Tried,
                false => Import::Done,
            };
            self::import(place, applications, import)
        }
        Command::RotateKeys { place } => rotate_keys(place),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Place {
    fn role(&self) -> Role {
        match self.guard {
            true => Role::Guard,
            false => Role::Gateway,
        }
    }

    fn open(&self, runtime: &Runtime) -> Result<Registry, Error> {
        let loaded = Config::load_for(self.role(), &self.config);
        let (config, _) = loaded.map_err(Error::Configuration)?;
        match config.registry {
            config::Registry::File(file) => Err(Error::NoDatabase {
                config: self.config.clone(),
                file,
            }),
            config::Registry::Store(kept) => Ok(Registry::new(kept, runtime.handle().clone())),
        }
    }
}

fn runtime() -> Result<Runtime, Error> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::Runtime)
}

fn export(place: &Place, output: Option<&Path>) -> Result<(), Error> {
    let runtime = runtime()?;
    let registry = place.open(&runtime)?;
    let exported = runtime.block_on(registry.export())?;
    let mut text = String::new();
    let written = file::write(&exported.entries, &mut text).map_err(io::Error::other);
    let put = written.and_then(|()| match output {
        Some(file) => replace(file, &text),
        None => io::stdout().lock().write_all(text.as_bytes()),
    });
    put.map_err(|reason| Error::Output {
        file: output.unwrap_or(Path::new("standard output")).to_owned(),
        reason,
    })?;
    eprintln!("exported {}", counted(exported.entries.len() as u64));
    if exported.managed > 0 {
        eprintln!(
            "note: the clients of {} are managed at their identity provider; the file does not hold \
             what that needs, so keep the registry",
            counted(exported.managed)
        );
    }
    if exported.unfinished > 0 {
        eprintln!(
            "note: {} left out: being made or deleted",
            counted(exported.unfinished)
        );
    }
    Ok(())
}

/// Puts a text in the place of a file, so that whoever follows it sees the old or the new one.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    fs::write(&beside, text)?;
    fs::rename(&beside, file)
}

fn import(place: &Place, applications: &Path, import: Import) -> Result<(), Error> {
    let runtime = runtime()?;
    let registry = place.open(&runtime)?;
    let name: Arc<Path> = applications.into();
    let content = yaml::read(&name).map_err(|fault| Error::File(vec![fault]))?;
    // Names may be known later, as they may be in a file that is followed.
    let parsed = file::parse(&name, &content, &Known::all());
    let (entries, _) = parsed.map_err(Error::File)?;
    let loaded = portal::load(place.role(), &place.config, &runtime);
    let known = loaded.map_err(Error::Configuration)?.config.known();
    if let Ok((_, warnings)) = file::parse(&name, &content, &known) {
        for warning in warnings {
            eprintln!("{warning}");
        }
    }
    let done = runtime.block_on(registry.import(entries, import));
    let Imported {
        new,
        changed,
        unchanged,
    } = done.map_err(|error| match error {
        ImportError::Registry(error) => Error::Registry(error),
        refused @ ImportError::Refused(_) => Error::Refused(refused),
    })?;
    let verb = match import {
        Import::Done => "imported",
        Import::Tried => "would import",
    };
    eprintln!(
        "{verb} {}: {new} new, {changed} changed, {unchanged} unchanged",
        counted(new + changed + unchanged)
    );
    Ok(())
}

fn rotate_keys(place: &Place) -> Result<(), Error> {
    let runtime = runtime()?;
    let registry = place.open(&runtime)?;
    let done = runtime.block_on(registry.rotate_keys())?;
    match done.sealed {
        1 => eprintln!("1 secret sealed anew with the first key"),
        sealed => eprintln!("{sealed} secrets sealed anew with the first key"),
    }
    if done.older > 0 {
        eprintln!(
            "warning: {} sealed with another key meanwhile: a gateway still has it as its first; \
             change its configuration, then do this again",
            done.older
        );
    }
    Ok(())
}

fn counted(count: u64) -> String {
    match count {
        1 => "1 application".to_owned(),
        _ => format!("{count} applications"),
    }
}
