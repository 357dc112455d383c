//! The file's own keys, and the sections that belong to the program as a whole.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use tracing::Level;

use super::{
    Additions, Config, Limits, LogConfig, LogFormat, Registry, Role, api, idp, listener, portal,
    references,
    route::Routes,
    schema::Asked,
    secret,
    section::{At, Section},
    strategy, value,
};
use crate::{model::credential::Secret, portal::registry, token::session::SessionKey};

const HOUR: Duration = Duration::from_secs(3600);

const ADDRESS: &str = "an IP address with port, as in 127.0.0.1:8000";

/// Reads the whole file. What comes back is only fit for use if nothing was reported.
/// `additions` are in the document already; `None`: nobody has asked the registry yet.
pub(crate) fn read(at: At<'_>, additions: Option<&Additions>) -> Config {
    let role = at.report().role();
    let mut section = at.section();
    let mut addresses = Addresses::default();
    let listeners = listener::all(&mut section, &mut addresses);
    let status_at = section.gateways("status");
    let (admin_address, admin_token) = admin(&mut section, &mut addresses);
    let status = status_at.and_then(|at| status(at, admin_address, &mut addresses));
    let portal_at = section.gateways("portal");
    let portal = portal_at
        .clone()
        .and_then(|at| portal::read(at, &mut addresses));
    let trusted_proxies = trusted_proxies(section.get("trusted_proxies"));
    if let (Some(at), Some(portal)) = (&portal_at, &portal)
        && portal.listener.certificates.is_none()
        && !portal.listener.address.ip().is_loopback()
        && trusted_proxies.is_empty()
    {
        at.warn("no tls: passwords and sessions cross the network as they are");
    }
    let threads = value::number(section.gateways("threads"), 0, 0..=1024);
    let grace_period = value::duration(
        section.gateways("grace_period"),
        Duration::from_secs(10),
        Duration::ZERO..=HOUR,
    );
    let upgrade_socket = upgrade_socket(section.gateways("upgrade_socket"));
    let limits = limits(section.get("limits"));
    let log = log(section.get("log"));

    let mut names = references::Names::default();
    let providers_at = entries(&mut section, "identity_providers");
    names.providers.read(&providers_at);
    if let Some(at) = &portal_at {
        portal::check(at, &names.providers);
    }
    let identity_providers = providers_at.iter().cloned().filter_map(idp::read).collect();
    let strategies_at = entries(&mut section, "auth_strategies");
    names.strategies.read(&strategies_at);
    let auth_strategies = strategies_at
        .iter()
        .cloned()
        .filter_map(strategy::read)
        .collect();
    let session_keys = keys(
        section.get("session_keys").as_ref(),
        SessionKey::from_base64,
    );
    let registry = registry(&mut section);
    if let (Some(at), Some(Registry::File(_))) = (&portal_at, &registry) {
        portal::without_store(at);
    }
    let others = match (&registry, additions) {
        (Some(Registry::Store(_)), None) => Others::Unknown,
        (Some(Registry::Store(_)), Some(_)) => Others::Known,
        _ => Others::None,
    };
    let apis_at = entries(&mut section, "apis");
    names.apis.read(&apis_at);
    let mut routes = Routes::default();
    let apis = apis_at
        .iter()
        .cloned()
        .filter_map(|at| api::read(at, &mut routes, others))
        .collect();

    let mut config = Config {
        role,
        listeners: match role {
            Role::Gateway => listeners,
            Role::Guard => Vec::new(),
        },
        status,
        admin_address,
        admin_token,
        portal: portal.filter(|_| role == Role::Gateway),
        trusted_proxies,
        threads: usize::try_from(threads).unwrap_or_default(),
        grace_period,
        upgrade_socket,
        limits,
        log,
        identity_providers,
        auth_strategies,
        session_keys,
        apis,
        registry: registry.unwrap_or_else(|| Registry::File(PathBuf::new())),
        files: Vec::new(),
    };
    references::check(
        &mut config,
        &names,
        &strategies_at,
        &apis_at,
        others,
        &section.at,
    );
    section.end();
    config
}

fn entries<'a>(section: &mut Section<'a>, key: &'static str) -> Vec<At<'a>> {
    section
        .get(key)
        .map_or_else(Vec::new, |at| at.list("a list"))
}

/// The addresses taken so far.
#[derive(Default)]
pub(crate) struct Addresses(Vec<(SocketAddr, &'static str)>);

impl Addresses {
    /// Notes an address; a fault where another one is in its way. Any number may leave the port
    /// to the system.
    pub(crate) fn take(&mut self, at: &At<'_>, address: SocketAddr, what: &'static str) {
        let blocks = |other: &SocketAddr| {
            let everywhere = address.ip().is_unspecified() || other.ip().is_unspecified();
            other.port() == address.port()
                && address.port() != 0
                && other.is_ipv4() == address.is_ipv4()
                && (everywhere || other.ip() == address.ip())
        };
        if let Some((other, by)) = self.0.iter().find(|(other, _)| blocks(other)) {
            at.fault(format_args!(
                "\"{address}\": {by} has {other} already: expected a free address"
            ));
        }
        self.0.push((address, what));
    }
}

/// A section's `address`, which must be there.
pub(crate) fn address(section: &mut Section<'_>) -> Option<SocketAddr> {
    socket_address(&section.required("address", ADDRESS)?)
}

fn socket_address(at: &At<'_>) -> Option<SocketAddr> {
    at.ask(|| Asked::Pattern(r"^(\[[^\]]+\]|[0-9.]+):[0-9]+$"));
    at.parse(|text| text.parse().ok(), ADDRESS)
}

fn admin(section: &mut Section<'_>, addresses: &mut Addresses) -> (SocketAddr, Option<Secret>) {
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 8001));
    let whole = section.at.clone();
    let (at, found, token) = match section.gateways("admin") {
        Some(at) => {
            let mut section = at.clone().section();
            let found = section.get("address").and_then(|at| {
                at.ask(|| Asked::Default(default.to_string()));
                socket_address(&at)
            });
            let token_at = section.get("token");
            let token = token_at.as_ref().and_then(secret::read);
            section.end();
            if token_at.is_none() && at.report().role() == Role::Gateway {
                at.warn("no token: everything on the admin address but its status is refused");
            }
            (at, found, token)
        }
        None if whole.report().role() == Role::Guard => (whole, None, None),
        None => {
            whole.warn("no admin.token: everything on the admin address but its status is refused");
            (whole, None, None)
        }
    };
    let address = found.unwrap_or(default);
    addresses.take(&at, address, "admin");
    (address, token)
}

/// The status address; one that is the admin's anyway is none of its own.
fn status(at: At<'_>, admin: SocketAddr, addresses: &mut Addresses) -> Option<SocketAddr> {
    let mut section = at.clone().section();
    let found = address(&mut section);
    section.end();
    let found = found.filter(|found| *found != admin || found.port() == 0)?;
    addresses.take(&at, found, "status");
    Some(found)
}

fn trusted_proxies(at: Option<At<'_>>) -> Vec<IpNet> {
    const EXPECTED: &str = "a network, as in 10.0.0.0/8, or one address";
    let Some(at) = at else { return Vec::new() };
    let read = |item: At<'_>| {
        let network = item.parse(network, EXPECTED)?;
        if network.prefix_len() == 0 {
            item.warn("every client may say whose request it forwards");
        }
        Some(network)
    };
    at.list("a list of networks")
        .into_iter()
        .filter_map(read)
        .collect()
}

fn upgrade_socket(at: Option<At<'_>>) -> Option<PathBuf> {
    const EXPECTED: &str = "the path of a socket, as in /run/dcr-gateway/upgrade.sock";
    // `sun_path` of unix(7) has 108 bytes with the final zero.
    const LONGEST: usize = 107;
    let at = at?;
    let path = at.report().resolve(&at.parse(value::plain_text, EXPECTED)?);
    if path.as_os_str().len() > LONGEST {
        at.expected(format!("a path of at most {LONGEST} bytes"));
    }
    Some(path)
}

fn limits(at: Option<At<'_>>) -> Limits {
    let mut limits = Limits {
        header_size: 32 * 1024,
        header_count: 100,
        header_timeout: Duration::from_secs(10),
        body_size: None,
        connections: 20_000,
    };
    let Some(at) = at else { return limits };
    let mut section = at.section();
    let fit = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    // Pingora itself refuses heads above 1 MiB and above 256 fields.
    let size = value::size(
        section.gateways("header_size"),
        32 * 1024,
        1024..=1024 * 1024,
    );
    limits.header_size = fit(size);
    limits.header_count = fit(value::number(section.get("header_count"), 100, 1..=256));
    limits.header_timeout = value::duration(
        section.gateways("header_timeout"),
        limits.header_timeout,
        Duration::from_millis(10)..=Duration::from_secs(300),
    );
    if let Some(at) = section.get("body_size") {
        let most = 1 << 50;
        at.ask(|| Asked::Size { least: 1, most });
        at.ask(|| Asked::Default("none".to_owned()));
        let read = |text: &str| {
            let size = text.parse::<bytesize::ByteSize>().ok()?.as_u64();
            (1..=most).contains(&size).then_some(size)
        };
        if !at.is_word("none") {
            limits.body_size = at.parse(read, "none, or a size up to 1 PiB, as in 10MiB");
        }
    }
    limits.connections = fit(value::number(
        section.gateways("connections"),
        20_000,
        1..=1_000_000,
    ));
    section.end();
    limits
}

fn log(at: Option<At<'_>>) -> LogConfig {
    let mut log = LogConfig {
        level: Level::INFO,
        format: LogFormat::Json,
        access: true,
    };
    let Some(at) = at else { return log };
    let mut section = at.section();
    let levels = [
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ];
    log.level = value::choice(section.gateways("level"), log.level, &levels);
    let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
    log.format = value::choice(section.gateways("format"), log.format, &formats);
    log.access = value::switch(section.get("access"), log.access);
    section.end();
    log
}

/// A key ring: base64 of 32 random bytes each.
fn keys<K>(at: Option<&At<'_>>, read: impl Fn(&str) -> Option<K>) -> Vec<K> {
    let Some(at) = at else { return Vec::new() };
    let read = |item: At<'_>| {
        let secret = secret::read(&item)?;
        let key = read(secret.expose());
        if key.is_none() {
            item.fault("the secret is no key: expected base64 of 32 random bytes, as `openssl rand -base64 32` prints");
        }
        key
    };
    at.list("a list of {env: NAME} or {file: PATH}")
        .into_iter()
        .filter_map(read)
        .collect()
}

/// Whether strategies may come from elsewhere than the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    /// From a registry, and they are in the document.
    Known,
    /// There are none.
    None,
    /// From a registry that nobody has asked yet.
    Unknown,
}

fn registry(section: &mut Section<'_>) -> Option<Registry> {
    const EXPECTED: &str = "where applications are kept, as in {file: applications.yaml}";
    const FILE: &str = "the path of the applications";
    const DATABASE: &str = "the path of a database, as in data/registry.db";
    let at = section.required("registry", EXPECTED)?;
    let mut section = at.clone().section();
    let file = section.get("file");
    let sqlite = section.get("sqlite");
    let postgres = section.get("postgres");
    let keys_at = section.get("keys");
    let keys = keys(keys_at.as_ref(), registry::Key::from_base64);
    section.end();
    let path = |at: &At<'_>, expected| {
        let path = at.parse(value::plain_text, expected)?;
        Some(at.report().resolve(&path))
    };
    let kind = match (file, sqlite, postgres) {
        (Some(file), None, None) => {
            if let Some(keys) = keys_at {
                keys.fault("a file holds nothing sealed: remove the keys");
            }
            return path(&file, FILE).map(Registry::File);
        }
        (None, Some(sqlite), None) => path(&sqlite, DATABASE).map(registry::Kind::Sqlite),
        (None, None, Some(postgres)) => secret::read(&postgres).map(registry::Kind::Postgres),
        _ => {
            // What is no section at all was reported as that.
            if at.is_map() {
                at.fault("expected one of file, sqlite, postgres");
            }
            return None;
        }
    };
    if keys.is_empty() && keys_at.is_none_or(|at| at.is_empty_list()) {
        at.fault(
            "`keys` is missing: the registry seals what providers and clients are managed with: \
             expected a list of {env: NAME} or {file: PATH}, each base64 of 32 random bytes, as \
             `openssl rand -base64 32` prints",
        );
    }
    Some(Registry::Store(registry::Config { kind: kind?, keys }))
}

fn network(text: &str) -> Option<IpNet> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
