//! Rows as values: which word stands for what, and how a row is read.

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Row as _, any::AnyRow};
use uuid::Uuid;

use super::{
    Error,
    database::unavailable,
    seal::{Place, Ring},
};
use crate::{
    idp::registration::Management,
    model::{
        application::{Registration as State, Status},
        credential::{ClientId, Secret},
        time::Timestamp,
    },
    portal::record::{
        Account, AccountStatus, Answered, Api, Application, Audit, Credential, Developer,
        DeveloperSession, EndedSession, Identity, Intent, Life, OperatorSession, Origin, Provider,
        Registration, Source, Step, Strategy,
    },
};

/// A value that stands in the database as a word.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// Every value with its word.
    const WORDS: &'static [(&'static str, Self)];

    /// The word for it.
    fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, value)| *value == self);
        found.map_or("", |(word, _)| word)
    }

    /// What a word stands for.
    fn of(word: &str) -> Option<Self> {
        let found = Self::WORDS.iter().find(|(known, _)| *known == word);
        found.map(|(_, value)| *value)
    }
}

impl Word for Status {
    const WORDS: &'static [(&'static str, Self)] =
        &[("active", Self::Active), ("suspended", Self::Suspended)];
}

impl Word for State {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("approved", Self::Approved),
        ("pending", Self::Pending),
        ("rejected", Self::Rejected),
        ("revoked", Self::Revoked),
    ];
}

impl Word for AccountStatus {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("approved", Self::Approved),
        ("pending", Self::Pending),
        ("rejected", Self::Rejected),
        ("revoked", Self::Revoked),
    ];
}

impl Word for Origin {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("adopted", Self::Adopted),
        ("given", Self::Given),
        ("registered", Self::Registered),
    ];
}

impl Word for Life {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("creating", Self::Creating),
        ("deleting", Self::Deleting),
        ("ready", Self::Ready),
    ];
}

impl Word for Step {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("add_secret", Self::AddSecret),
        ("create", Self::Create),
        ("delete", Self::Delete),
        ("remove_secret", Self::RemoveSecret),
        ("rotate", Self::Rotate),
        ("update", Self::Update),
    ];
}

/// One row, read column by column from the left.
pub(super) struct Columns<'r> {
    row: &'r AnyRow,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(super) fn new(row: &'r AnyRow) -> Self {
        Self { row, next: 0 }
    }

    fn step(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    pub(super) fn text(&mut self) -> Result<&'r str, Error> {
        let at = self.step();
        self.row.try_get(at).map_err(unavailable)
    }

    fn string(&mut self) -> Result<String, Error> {
        self.text().map(str::to_owned)
    }

    pub(super) fn optional(&mut self) -> Result<Option<&'r str>, Error> {
        let at = self.step();
        self.row.try_get(at).map_err(unavailable)
    }

    pub(super) fn number(&mut self) -> Result<i64, Error> {
        let at = self.step();
        self.row.try_get(at).map_err(unavailable)
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, Error> {
        self.number().map(Timestamp::from_millis)
    }

    fn optional_time(&mut self) -> Result<Option<Timestamp>, Error> {
        let at = self.step();
        let number: Option<i64> = self.row.try_get(at).map_err(unavailable)?;
        Ok(number.map(Timestamp::from_millis))
    }

    pub(super) fn id(&mut self) -> Result<Uuid, Error> {
        let text = self.text()?;
        Uuid::parse_str(text).map_err(|_| unreadable("id", text))
    }

    fn optional_id(&mut self) -> Result<Option<Uuid>, Error> {
        let text = self.optional()?;
        text.map(|text| Uuid::parse_str(text).map_err(|_| unreadable("id", text)))
            .transpose()
    }

    pub(super) fn word<T: Word>(&mut self) -> Result<T, Error> {
        word(self.text()?)
    }

    pub(super) fn client_id(&mut self) -> Result<ClientId, Error> {
        client_id(self.text()?)
    }

    fn json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let text = self.text()?;
        serde_json::from_str(text).map_err(|error| Error::Unreadable(error.to_string()))
    }

    fn optional_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        let text = self.optional()?;
        text.map(serde_json::from_str)
            .transpose()
            .map_err(|error| Error::Unreadable(error.to_string()))
    }

    fn sealed(&mut self, ring: &Ring, place: Place<'_>) -> Result<Option<Secret>, Error> {
        let text = self.optional()?;
        text.map(|text| ring.open(text, place)).transpose()
    }
}

/// What a word of a column stands for.
///
/// # Errors
/// It stands for nothing.
pub(super) fn word<T: Word>(text: &str) -> Result<T, Error> {
    T::of(text).ok_or_else(|| unreadable("word", text))
}

/// The client id of a column.
///
/// # Errors
/// It can be none.
pub(super) fn client_id(text: &str) -> Result<ClientId, Error> {
    ClientId::new(text).ok_or_else(|| unreadable("client id", text))
}

fn unreadable(what: &str, text: &str) -> Error {
    Error::Unreadable(format!("{text:?} as {what}"))
}

/// A value as JSON.
///
/// # Errors
/// It has no such form, which does not happen.
pub(super) fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Unreadable(error.to_string()))
}

/// An application's name, as it is looked for.
pub(super) fn folded(name: &str) -> String {
    name.to_lowercase()
}

pub(super) const PROVIDER: &str = "id, name, display_name, provider_type, issuer, settings, \
     secrets, labels, created_at, updated_at, revision";

pub(super) fn provider(row: &AnyRow, ring: &Ring) -> Result<Provider, Error> {
    let mut columns = Columns::new(row);
    let id = columns.id()?;
    Ok(Provider {
        id,
        name: columns.string()?,
        display_name: columns.string()?,
        provider_type: columns.string()?,
        issuer: columns.string()?,
        settings: columns.json()?,
        secrets: {
            let sealed = columns.sealed(ring, provider_secrets(&id.to_string()))?;
            sealed.map_or_else(|| Ok(BTreeMap::new()), |text| unpacked(&text))?
        },
        labels: columns.json()?,
        source: Source::Registry,
        created_at: columns.time()?,
        updated_at: columns.time()?,
        revision: columns.number()?,
    })
}

/// Where a provider's secrets stand.
pub(super) fn provider_secrets(row: &str) -> Place<'_> {
    Place {
        table: "providers",
        row,
        column: "secrets",
    }
}

/// Several secrets in one text; `None` for none.
///
/// # Errors
/// As [`json`].
pub(super) fn packed(secrets: &BTreeMap<String, Secret>) -> Result<Option<Secret>, Error> {
    if secrets.is_empty() {
        return Ok(None);
    }
    let exposed: BTreeMap<&str, &str> = secrets
        .iter()
        .map(|(name, secret)| (name.as_str(), secret.expose()))
        .collect();
    json(&exposed).map(|text| Some(Secret::new(text)))
}

fn unpacked(text: &Secret) -> Result<BTreeMap<String, Secret>, Error> {
    let exposed: Result<BTreeMap<String, String>, _> = serde_json::from_str(text.expose());
    // What is wrong is not told: it would show a part of the secret.
    let exposed = exposed.map_err(|_| Error::Unreadable("a provider's secrets".to_owned()))?;
    let secrets = exposed.into_iter();
    Ok(secrets
        .map(|(name, secret)| (name, Secret::new(secret)))
        .collect())
}

pub(super) const STRATEGY: &str = "id, name, display_name, settings, provider, labels, \
     created_at, updated_at, revision";

pub(super) fn strategy(row: &AnyRow) -> Result<Strategy, Error> {
    let mut columns = Columns::new(row);
    Ok(Strategy {
        id: columns.id()?,
        name: columns.string()?,
        display_name: columns.string()?,
        settings: columns.json()?,
        provider: columns.optional_id()?,
        labels: columns.json()?,
        source: Source::Registry,
        created_at: columns.time()?,
        updated_at: columns.time()?,
        revision: columns.number()?,
    })
}

pub(super) const API: &str = "name, auto_approve, strategies, revision";

pub(super) fn api(row: &AnyRow) -> Result<Api, Error> {
    let mut columns = Columns::new(row);
    Ok(Api {
        name: columns.string()?,
        auto_approve: columns.number()? != 0,
        strategies: columns.json()?,
        revision: columns.number()?,
    })
}

/// The password itself is not read: whether there is one.
pub(super) const DEVELOPER: &str = "id, name, created_at, status, full_name, \
     CAST(password IS NOT NULL AS INTEGER), issuer, subject, updated_at, revision";

pub(super) fn developer(row: &AnyRow) -> Result<Developer, Error> {
    let mut columns = Columns::new(row);
    let (id, name, created_at) = (columns.id()?, columns.string()?, columns.time()?);
    let status = columns.optional()?.map(word).transpose()?;
    let account = status.map(|status| {
        Ok(Account {
            status,
            full_name: columns.optional()?.unwrap_or_default().to_owned(),
            has_password: columns.number()? != 0,
            identity: {
                let (issuer, subject) = (columns.optional()?, columns.optional()?);
                let both = issuer.zip(subject);
                both.map(|(issuer, subject)| Identity {
                    issuer: issuer.to_owned(),
                    subject: subject.to_owned(),
                })
            },
            updated_at: columns.optional_time()?.unwrap_or(created_at),
            revision: columns.number()?,
        })
    });
    Ok(Developer {
        id,
        name,
        created_at,
        account: account.transpose()?,
    })
}

pub(super) const DEVELOPER_SESSION: &str = "developer, idle_until, until";

pub(super) fn developer_session(row: &AnyRow) -> Result<DeveloperSession, Error> {
    let mut columns = Columns::new(row);
    Ok(DeveloperSession {
        developer: columns.id()?,
        idle_until: columns.time()?,
        until: columns.time()?,
    })
}

pub(super) const OPERATOR_SESSION: &str = "mark, idle_until, until";

pub(super) fn operator_session(row: &AnyRow) -> Result<OperatorSession, Error> {
    let mut columns = Columns::new(row);
    Ok(OperatorSession {
        mark: columns.string()?,
        idle_until: columns.time()?,
        until: columns.time()?,
    })
}

pub(super) const APPLICATION: &str = "id, name, description, developer, strategy, client_id, \
     origin, provider, management, life, status, scopes, labels, credentials_valid_from, \
     created_at, updated_at, revision";

pub(super) fn application(row: &AnyRow, ring: &Ring) -> Result<Application, Error> {
    let mut columns = Columns::new(row);
    let id = columns.id()?;
    Ok(Application {
        id,
        name: columns.string()?,
        description: columns.string()?,
        developer: columns.string()?,
        strategy: columns.string()?,
        client_id: {
            let text = columns.optional()?;
            text.map(|text| ClientId::new(text).ok_or_else(|| unreadable("client id", text)))
                .transpose()?
        },
        origin: columns.word()?,
        provider: columns.optional()?.map(str::to_owned),
        management: columns
            .sealed(ring, application_management(&id.to_string()))?
            .map(Management),
        life: columns.word()?,
        status: columns.word()?,
        scopes: columns.json()?,
        labels: columns.json()?,
        credentials_valid_from: columns.time()?,
        created_at: columns.time()?,
        updated_at: columns.time()?,
        revision: columns.number()?,
    })
}

/// Where what manages an application's client stands.
pub(super) fn application_management(row: &str) -> Place<'_> {
    Place {
        table: "applications",
        row,
        column: "management",
    }
}

pub(super) const CREDENTIAL: &str = "id, application, at_idp, name, created_at, expires_at";

pub(super) fn credential(row: &AnyRow) -> Result<Credential, Error> {
    let mut columns = Columns::new(row);
    Ok(Credential {
        id: columns.id()?,
        application: columns.id()?,
        at_idp: columns.optional()?.map(str::to_owned),
        name: columns.string()?,
        created_at: columns.time()?,
        expires_at: columns.optional_time()?,
    })
}

pub(super) const REGISTRATION: &str = "id, application, api, state, created_at, updated_at, \
     revision";

pub(super) fn registration(row: &AnyRow) -> Result<Registration, Error> {
    let mut columns = Columns::new(row);
    Ok(Registration {
        id: columns.id()?,
        application: columns.id()?,
        api: columns.string()?,
        state: columns.word()?,
        created_at: columns.time()?,
        updated_at: columns.time()?,
        revision: columns.number()?,
    })
}

pub(super) const INTENT: &str = "id, application, step, process, data, created_at";

pub(super) fn intent(row: &AnyRow, ring: &Ring) -> Result<Intent, Error> {
    let mut columns = Columns::new(row);
    let id = columns.id()?;
    Ok(Intent {
        id,
        application: columns.id()?,
        step: columns.word()?,
        process: columns.id()?,
        data: columns.sealed(ring, intent_data(&id.to_string()))?,
        created_at: columns.time()?,
    })
}

/// Where an intent's data stands.
pub(super) fn intent_data(row: &str) -> Place<'_> {
    Place {
        table: "intents",
        row,
        column: "data",
    }
}

pub(super) const ANSWERED: &str = "request, subject_kind, subject";

pub(super) fn answered(row: &AnyRow) -> Result<Answered, Error> {
    let mut columns = Columns::new(row);
    Ok(Answered {
        request: columns.string()?,
        subject_kind: columns.string()?,
        subject: columns.id()?,
    })
}

pub(super) const AUDIT: &str = "id, at, actor, request_id, action, subject_kind, subject, \
     before, after";

pub(super) fn audit(row: &AnyRow) -> Result<Audit, Error> {
    let mut columns = Columns::new(row);
    Ok(Audit {
        id: columns.number()?,
        at: columns.time()?,
        actor: columns.string()?,
        request_id: columns.optional()?.map(str::to_owned),
        action: columns.string()?,
        subject_kind: columns.string()?,
        subject: columns.string()?,
        before: columns.optional_json()?,
        after: columns.optional_json()?,
    })
}

/// The session id of a row that means every session of a client.
pub(super) const EVERY: &str = "";

/// A session's id as it stands in a row.
pub(super) fn session_id(id: [u8; 16]) -> String {
    Uuid::from_bytes(id).simple().to_string()
}

pub(super) const ENDED_SESSION: &str = "strategy, client_id, session_id, until";

pub(super) fn ended_session(row: &AnyRow) -> Result<EndedSession, Error> {
    let mut columns = Columns::new(row);
    let strategy = columns.string()?;
    let client_id = columns.client_id()?;
    let id = columns.text()?;
    let time = columns.time()?;
    if id == EVERY {
        return Ok(EndedSession::AllBefore {
            strategy,
            client_id,
            time,
        });
    }
    let id = Uuid::try_parse(id).map_err(|_| unreadable("session id", id))?;
    Ok(EndedSession::Single {
        id: id.into_bytes(),
        strategy,
        client_id,
        until: time,
    })
}
