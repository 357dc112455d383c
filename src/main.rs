//! The command line: `serve` runs the gateway, `check` reads its configuration and says what is
//! wrong with it, `explain` says what becomes of a request and why, `registry` moves applications in
//! and out, `schema` tells editors what may stand in the files.

use std::{
    env,
    ffi::{CString, OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{
    Parser, Subcommand, ValueEnum,
    error::{ContextKind, ContextValue, ErrorKind},
};
use dcr_gateway::{
    config::{self, Role},
    directory,
    reload::portal::{self, Loaded},
    server::{self, Start, explain, register, registry},
};
use tokio::runtime;

// Requests make and drop many small things, so mimalloc takes the place of the C library's `malloc`, which
// is what Rust calls too. As Rust's own allocator it would be asked for an alignment each time, and then
// rounds sizes up and takes a longer way: see `benches/README.md`.
use mimalloc as _;

/// A reverse proxy that lets through only credentials issued by Dynamic Client Registration.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Read the configuration and the applications, and print every fault and warning.
    ///
    /// Ends with 0 where the gateway would start, warnings or not, and with 1 where it would not.
    Check {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Read it as that of a guard in another program, which has neither listeners nor upstreams.
        #[arg(long)]
        guard: bool,
    },
    /// Walk a request to its verdict and print every check, asking the real identity provider.
    ///
    /// Ends with 0 where the request would pass, with 1 where it would be refused, and with 2 where
    /// the arguments or the configuration cannot be used.
    Explain(explain::Arguments),
    /// Read, change or delete a client that `register` made (RFC 7592).
    ///
    /// Ends with 0 where that was done, with 1 where the server refused, and with 2 where the
    /// arguments or a file cannot be used.
    #[command(subcommand)]
    Client(register::manage::Client),
    /// Register a client at an identity provider (RFC 7591), and print its id and secret once.
    ///
    /// Needs neither a configuration nor a running gateway. Ends with 0 where the client was made,
    /// with 1 where the server refused, and with 2 where the arguments or a file cannot be used.
    Register(Box<register::Arguments>),
    /// Move applications between a registry and a file, or seal its secrets with another key.
    #[command(subcommand)]
    Registry(registry::Command),
    /// Print the JSON Schema of a file, for editors and for checks before a gateway sees the file.
    Schema {
        /// Which file.
        #[arg(value_enum, default_value_t = File::Gateway)]
        file: File,
    },
    /// Run the gateway until it is told to stop.
    Serve {
        /// The configuration. It is read again when it changes, and on SIGHUP.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Wait for a running gateway to hand over its listeners, and take its place.
        ///
        /// Then send SIGQUIT to the running one. Sending it SIGUSR2 does both steps at once.
        #[arg(long)]
        upgrade: bool,
    },
}

/// A file that has a schema.
#[derive(Clone, Copy, ValueEnum)]
enum File {
    /// The applications.
    Applications,
    /// The configuration.
    Gateway,
}

fn main() -> ExitCode {
    match Arguments::try_parse()
        .unwrap_or_else(|error| usage(error))
        .command
    {
        Command::Check { config, guard } => {
            let role = match guard {
                true => Role::Guard,
                false => Role::Gateway,
            };
            check(role, &config)
        }
        Command::Client(client) => register::manage::run(&client),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Register(arguments) => register::run(&arguments),
        Command::Registry(command) => registry::run(&command),
        Command::Schema { file } => schema(file),
        Command::Serve { config, upgrade } => {
            keep_freed_memory();
            // As `ps` and `pgrep` know it, whichever way it was started. It does without where it may not.
            let _ = rustix::thread::set_name(c"dcr-gateway");
            // mimalloc's blocks lie apart, and with huge pages the system would give what is between them
            // too: twice the memory, and nothing gained. A system without them has nothing to forbid.
            let _ = rustix::thread::disable_transparent_huge_pages(true);
            let start = match upgrade {
                true => Start::Upgrade,
                false => Start::Fresh,
            };
            match server::run(config, start) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("error: {error}");
                    ExitCode::FAILURE
                }
            }
        }
    }
}

/// Lets memory that is free be used again for a minute before the system gets it back. By itself mimalloc
/// gives it back each second, and under load it is taken again at once, page fault by page fault: for some
/// milliseconds nobody is answered. mimalloc reads its settings from the environment when a program
/// starts, so the program takes its own place. Where it cannot, or somebody else has chosen, it goes on.
fn keep_freed_memory() {
    const SETTING: &str = "MIMALLOC_PURGE_DELAY";
    const MILLISECONDS: &str = "60000";
    if env::var_os(SETTING).is_some() {
        return;
    }
    let text = |text: &OsStr| CString::new(text.as_bytes());
    let arguments: Result<Vec<_>, _> = env::args_os().map(|argument| text(&argument)).collect();
    let variables = env::vars_os().map(|(name, value)| [name, value].join(OsStr::new("=")));
    let setting = OsString::from([SETTING, MILLISECONDS].join("="));
    let variables = variables.chain([setting]).map(|variable| text(&variable));
    if let (Ok(arguments), Ok(variables)) = (arguments, variables.collect::<Result<Vec<_>, _>>()) {
        // Std's own way gives SIGPIPE back its deadly meaning first, also where it then goes on.
        let _cannot = nix::unistd::execve(c"/proc/self/exe", &arguments, &variables);
    }
}

/// Says what is wrong with the command line and ends. What stands there may be a secret in a wrong
/// place, and other people read logs of builds and deployments, so it is not repeated.
fn usage(mut error: clap::Error) -> ! {
    let shown = || ContextValue::String("(not shown)".to_owned());
    for kind in [
        ContextKind::InvalidSubcommand,
        ContextKind::InvalidValue,
        ContextKind::TrailingArg,
    ] {
        if error.get(kind).is_some() {
            error.insert(kind, shown());
        }
    }
    // Else it is one that the program knows, with its own words for a value.
    if error.kind() == ErrorKind::UnknownArgument {
        error.insert(ContextKind::InvalidArg, shown());
        // May say how to pass the argument as a value, by repeating it.
        error.remove(ContextKind::Suggested);
    }
    error.exit()
}

fn schema(file: File) -> ExitCode {
    let text = match file {
        File::Applications => directory::schema::json().map_err(|error| error.to_string()),
        File::Gateway => config::schema::json().map_err(|error| error.to_string()),
    };
    match text {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(role: Role, path: &Path) -> ExitCode {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            println!("failed: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let loaded = portal::load(role, path, &runtime);
    let Loaded {
        config,
        warnings,
        applications,
    } = match loaded {
        Ok(loaded) => loaded,
        Err(faults) => {
            for fault in &faults {
                println!("{fault}");
            }
            println!(
                "failed: {}; applications not read",
                counted(faults.len(), "fault")
            );
            return ExitCode::FAILURE;
        }
    };
    for warning in &warnings {
        println!("{warning}");
    }
    let result = match &applications {
        Ok(_) => "ok".to_owned(),
        Err(faults) => {
            for fault in faults {
                println!("{fault}");
            }
            format!("failed: {}", counted(faults.len(), "fault"))
        }
    };
    let counts = [
        counted(config.apis.len(), "API"),
        match config.auth_strategies.len() {
            1 => "1 strategy".to_owned(),
            count => format!("{count} strategies"),
        },
        match &applications {
            Ok(entries) => counted(entries.len(), "application"),
            Err(_) => "no applications".to_owned(),
        },
        counted(warnings.len(), "warning"),
    ];
    println!("{result}: {}", counts.join(", "));
    match applications {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
