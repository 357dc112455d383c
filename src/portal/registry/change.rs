//! A transaction that writes.

use std::{fmt, sync::Arc, time::Duration};

use serde_json::Value as Json;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Transaction, any::AnyRow};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use super::{
    Error, Registry,
    database::{Dialect, unavailable, within},
    read,
    row::{self, Columns, Word},
    seal::Ring,
};
use crate::{
    clock,
    model::{credential::ClientId, time::Timestamp},
    portal::record::{
        Actor, Answered, Api, Application, ApplicationFilter, Credential, EndedSession, Intent,
        Life, Listed, Page, Provider, Registration, RegistrationFilter, Source, Step, Strategy,
    },
};

/// Names the lock of PostgreSQL for which writers of all processes queue, first come, first served:
/// any number of our own. Those that only want the same row are not served in turn: who has just
/// committed takes it again before whoever waits has seen the new version, and again, until that one
/// gives up.
const QUEUE: &str = "SELECT pg_advisory_xact_lock(4910226711935129)";

/// How long an answer is kept for a request that comes again with its idempotency key.
pub(super) const ANSWERED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// The channel on which gateways that share a PostgreSQL tell each other of changes.
pub(super) const CHANNEL: &str = "dcr_gateway_registry";

/// A transaction. What it wrote is there for everybody when [`Change::commit`] returns, and not at
/// all if it is dropped. Writers take turns, so that revisions are seen in order, and so that what
/// was read in a transaction still holds when it writes.
///
/// After [`Error::Unavailable`] it cannot be committed any more; after any other error it goes on
/// as if the call had not been made.
pub struct Change {
    transaction: Transaction<'static, Any>,
    registry: Registry,
    ring: Arc<Ring>,
    revision: i64,
    actor: String,
    request_id: Option<String>,
    /// A statement failed: PostgreSQL would take a commit for a rollback, and say nothing.
    failed: bool,
    _turn: OwnedSemaphorePermit,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Change({})", self.revision)
    }
}

/// One value of a statement.
pub(super) enum Bound {
    Number(i64),
    OptionalNumber(Option<i64>),
    OptionalText(Option<String>),
    Text(String),
}

impl From<i64> for Bound {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<Timestamp> for Bound {
    fn from(time: Timestamp) -> Self {
        Self::Number(time.millis())
    }
}

impl From<Option<Timestamp>> for Bound {
    fn from(time: Option<Timestamp>) -> Self {
        Self::OptionalNumber(time.map(Timestamp::millis))
    }
}

impl From<Option<String>> for Bound {
    fn from(text: Option<String>) -> Self {
        Self::OptionalText(text)
    }
}

impl From<String> for Bound {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Bound {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Uuid> for Bound {
    fn from(id: Uuid) -> Self {
        Self::Text(id.to_string())
    }
}

/// Inserts a row with a value for each column, or replaces the one with the same first column.
fn upsert(table: &str, columns: &str) -> String {
    let names: Vec<&str> = columns.split(", ").collect();
    let places: Vec<String> = (1..=names.len()).map(|n| format!("${n}")).collect();
    let key = names.first().copied().unwrap_or_default();
    let others = names.iter().skip(1);
    let set: Vec<String> = others
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    format!(
        "INSERT INTO {table} ({columns}) VALUES ({}) ON CONFLICT ({key}) DO UPDATE SET {}",
        places.join(", "),
        set.join(", "),
    )
}

impl Registry {
    /// Begins a transaction for an actor.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the database does not answer, or other writers do not end.
    pub async fn change(&self, actor: &Actor, request_id: Option<&str>) -> Result<Change, Error> {
        let database = self.database().await?;
        let turn = within(async {
            let turn = self.0.turns.clone().acquire_owned().await;
            turn.map_err(|_| Error::Unavailable("the registry is closed".to_owned()))
        })
        .await?;
        let (transaction, revision) = within(async {
            let begun = database.pool.begin_with(database.dialect.begin()).await;
            let mut transaction = begun.map_err(unavailable)?;
            if database.dialect == Dialect::Postgres {
                let queued = sqlx::raw_sql(QUEUE).execute(&mut *transaction).await;
                queued.map_err(unavailable)?;
            }
            let row = sqlx::query(
                "UPDATE registry SET revision = revision + 1 WHERE id = 1 RETURNING revision",
            )
            .fetch_one(&mut *transaction)
            .await
            .map_err(unavailable)?;
            let revision = Columns::new(&row).number()?;
            Ok((transaction, revision))
        })
        .await?;
        Ok(Change {
            transaction,
            registry: self.clone(),
            ring: self.0.ring.load_full(),
            revision,
            actor: match actor {
                Actor::Command(name) => format!("command {name}"),
                Actor::Developer(name) => format!("developer {name}"),
                Actor::Gateway => "gateway".to_owned(),
                Actor::Operator => "operator".to_owned(),
            },
            request_id: request_id.map(str::to_owned),
            failed: false,
            _turn: turn,
        })
    }
}

/// What every call goes through.
impl Change {
    /// Notes whether the database still takes part. What it answered, and cannot be read, ended
    /// nothing.
    pub(super) fn noted<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        // A key that is there already was looked for before; met in a statement it ended the
        // transaction like any other failure.
        self.failed |= matches!(result, Err(Error::Unavailable(_) | Error::Taken(_)));
        result
    }

    /// Runs a statement, and says how many rows it changed.
    pub(super) async fn run<const N: usize>(
        &mut self,
        sql: impl Into<String>,
        values: [Bound; N],
    ) -> Result<u64, Error> {
        let query = sqlx::query(AssertSqlSafe(sql.into()));
        let query = values.into_iter().fold(query, |query, value| match value {
            Bound::Number(number) => query.bind(number),
            Bound::OptionalNumber(number) => query.bind(number),
            Bound::OptionalText(text) => query.bind(text),
            Bound::Text(text) => query.bind(text),
        });
        let done = within(async {
            let done = query.execute(&mut *self.transaction).await;
            done.map_err(unavailable)
        })
        .await;
        self.noted(done.map(|done| done.rows_affected()))
    }

    /// The first column of the first row, as text.
    pub(super) async fn find(
        &mut self,
        sql: &str,
        values: Vec<read::Value>,
    ) -> Result<Option<String>, Error> {
        let found = within(read::one(
            &mut self.transaction,
            sql.to_owned(),
            values,
            |row| Columns::new(row).text().map(str::to_owned),
        ))
        .await;
        self.noted(found)
    }

    /// Every row of a statement.
    pub(super) async fn rows<T>(
        &mut self,
        sql: String,
        values: Vec<read::Value>,
        read: impl Fn(&AnyRow) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let rows = within(read::all(&mut self.transaction, sql, values, read)).await;
        self.noted(rows)
    }

    /// Sets one column of one row. Table and column are names of this program's own.
    pub(super) async fn set(
        &mut self,
        table: &str,
        column: &str,
        id: &str,
        value: String,
    ) -> Result<(), Error> {
        let sql = format!("UPDATE {table} SET {column} = $1 WHERE id = $2");
        self.run(sql, [value.into(), id.into()]).await.map(|_| ())
    }

    /// The keys as they were when the transaction began.
    pub(super) fn ring(&self) -> Arc<Ring> {
        self.ring.clone()
    }

    /// Refuses where a statement finds a row of another id.
    async fn free(
        &mut self,
        sql: &str,
        values: Vec<read::Value>,
        id: Uuid,
        what: &'static str,
    ) -> Result<(), Error> {
        match self.find(sql, values).await? {
            Some(other) if other != id.to_string() => Err(Error::Taken(what)),
            _ => Ok(()),
        }
    }

    /// Other gateways read providers, strategies and APIs anew.
    async fn configuration_changed(&mut self) -> Result<(), Error> {
        let revision = self.revision;
        self.run(
            "UPDATE registry SET configuration = $1 WHERE id = 1",
            [revision.into()],
        )
        .await?;
        Ok(())
    }

    /// The connection, for what is read within the transaction.
    pub(super) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }

    /// The revision that this transaction makes.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Writes one line of the audit trail. The values hold no secret: the caller sees to that.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn audit(
        &mut self,
        action: &str,
        subject_kind: &str,
        subject: &str,
        before: Option<Json>,
        after: Option<Json>,
    ) -> Result<(), Error> {
        let before = before.map(|value| row::json(&value)).transpose()?;
        let after = after.map(|value| row::json(&value)).transpose()?;
        let (actor, request_id) = (self.actor.clone(), self.request_id.clone());
        self.run(
            "INSERT INTO audit (id, at, actor, request_id, action, subject_kind, subject, before, \
             after) SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4, $5, $6, $7, $8 FROM audit",
            [
                clock::now().into(),
                actor.into(),
                request_id.into(),
                action.into(),
                subject_kind.into(),
                subject.into(),
                before.into(),
                after.into(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Makes it all visible, and tells other gateways.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: nothing was changed, unless the connection was lost just now; then
    /// it may have been.
    pub async fn commit(mut self) -> Result<i64, Error> {
        if self.failed {
            return Err(Error::Unavailable(
                "a step of this change failed: nothing was changed".to_owned(),
            ));
        }
        if self.registry.0.dialect() == Some(Dialect::Postgres) {
            let revision = self.revision.to_string();
            self.run(
                "SELECT pg_notify($1, $2)",
                [CHANNEL.into(), revision.into()],
            )
            .await?;
        }
        let revision = self.revision;
        let transaction = self.transaction;
        within(async { transaction.commit().await.map_err(unavailable) }).await?;
        Ok(revision)
    }
}

/// What is read stays so until the transaction ends.
impl Change {
    /// As [`Registry::providers`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn providers(&mut self) -> Result<Vec<Provider>, Error> {
        let ring = self.ring.clone();
        let found = within(read::providers(&mut self.transaction, &ring)).await;
        self.noted(found)
    }

    /// As [`Registry::strategies`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn strategies(&mut self) -> Result<Vec<Strategy>, Error> {
        let found = within(read::strategies(&mut self.transaction)).await;
        self.noted(found)
    }

    /// As [`Registry::apis`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn apis(&mut self) -> Result<Vec<Api>, Error> {
        let found = within(read::apis(&mut self.transaction)).await;
        self.noted(found)
    }

    /// As [`Registry::application`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn application(&mut self, id: Uuid) -> Result<Option<Application>, Error> {
        let ring = self.ring.clone();
        let found = within(read::application(&mut self.transaction, &ring, id)).await;
        self.noted(found)
    }

    /// The application that has a client.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn application_of(
        &mut self,
        strategy: &str,
        client_id: &ClientId,
    ) -> Result<Option<Application>, Error> {
        let ring = self.ring.clone();
        let found = read::application_of(&mut self.transaction, &ring, strategy, client_id);
        let found = within(found).await;
        self.noted(found)
    }

    /// As [`Registry::applications`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn applications(
        &mut self,
        filter: &ApplicationFilter,
        page: Page,
    ) -> Result<Listed<Application>, Error> {
        let ring = self.ring.clone();
        let found = within(read::applications(
            &mut self.transaction,
            &ring,
            filter,
            page,
        ))
        .await;
        self.noted(found)
    }

    /// As [`Registry::credentials`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn credentials(&mut self, application: Uuid) -> Result<Vec<Credential>, Error> {
        let found = within(read::credentials(&mut self.transaction, application)).await;
        self.noted(found)
    }

    /// As [`Registry::registration`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn registration(&mut self, id: Uuid) -> Result<Option<Registration>, Error> {
        let found = within(read::registration(&mut self.transaction, id)).await;
        self.noted(found)
    }

    /// As [`Registry::registrations`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn registrations(
        &mut self,
        filter: &RegistrationFilter,
        page: Page,
    ) -> Result<Listed<Registration>, Error> {
        let found = within(read::registrations(&mut self.transaction, filter, page)).await;
        self.noted(found)
    }

    /// As [`Registry::answered`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn answered(&mut self, key: &str) -> Result<Option<Answered>, Error> {
        let after = clock::now().minus(ANSWERED_FOR);
        let found = within(read::answered(&mut self.transaction, key, after)).await;
        self.noted(found)
    }
}

/// What makes the configuration beside the file. `revision` of what is put is of no account: it is
/// kept with the revision of the transaction.
impl Change {
    /// Inserts or replaces.
    ///
    /// # Errors
    /// [`Error::Taken`] where another one has the name; [`Error::Keyless`]; [`Error::Unavailable`].
    pub async fn put_provider(&mut self, provider: &Provider) -> Result<(), Error> {
        debug_assert_eq!(provider.source, Source::Registry);
        let id = provider.id.to_string();
        let packed = row::packed(&provider.secrets)?;
        let sealed = packed.map(|text| self.ring.seal(text.expose(), row::provider_secrets(&id)));
        let sealed = sealed.transpose()?;
        self.free(
            "SELECT id FROM providers WHERE name = $1",
            vec![read::Value::Text(provider.name.clone())],
            provider.id,
            "a DCR provider of this name",
        )
        .await?;
        self.run(
            upsert("providers", row::PROVIDER),
            [
                id.into(),
                provider.name.as_str().into(),
                provider.display_name.as_str().into(),
                provider.provider_type.as_str().into(),
                provider.issuer.as_str().into(),
                row::json(&provider.settings)?.into(),
                sealed.into(),
                row::json(&provider.labels)?.into(),
                provider.created_at.into(),
                provider.updated_at.into(),
                self.revision.into(),
            ],
        )
        .await?;
        self.configuration_changed().await
    }

    /// Removes a provider; the caller has seen that nothing needs it.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn delete_provider(&mut self, id: Uuid) -> Result<(), Error> {
        self.run("DELETE FROM providers WHERE id = $1", [id.into()])
            .await?;
        self.configuration_changed().await
    }

    /// Inserts or replaces.
    ///
    /// # Errors
    /// [`Error::Taken`] where another one has the name; [`Error::Unavailable`].
    pub async fn put_strategy(&mut self, strategy: &Strategy) -> Result<(), Error> {
        debug_assert_eq!(strategy.source, Source::Registry);
        self.free(
            "SELECT id FROM strategies WHERE name = $1",
            vec![read::Value::Text(strategy.name.clone())],
            strategy.id,
            "an auth strategy of this name",
        )
        .await?;
        self.run(
            upsert("strategies", row::STRATEGY),
            [
                strategy.id.into(),
                strategy.name.as_str().into(),
                strategy.display_name.as_str().into(),
                row::json(&strategy.settings)?.into(),
                strategy.provider.map(|id| id.to_string()).into(),
                row::json(&strategy.labels)?.into(),
                strategy.created_at.into(),
                strategy.updated_at.into(),
                self.revision.into(),
            ],
        )
        .await?;
        self.configuration_changed().await
    }

    /// Removes a strategy; the caller has seen that nothing needs it.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn delete_strategy(&mut self, id: Uuid) -> Result<(), Error> {
        self.run("DELETE FROM strategies WHERE id = $1", [id.into()])
            .await?;
        self.configuration_changed().await
    }

    /// Inserts or replaces.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn put_api(&mut self, api: &Api) -> Result<(), Error> {
        self.run(
            upsert("apis", row::API),
            [
                api.name.as_str().into(),
                i64::from(api.auto_approve).into(),
                row::json(&api.strategies)?.into(),
                self.revision.into(),
            ],
        )
        .await?;
        self.configuration_changed().await
    }
}

/// Applications with what belongs to them.
impl Change {
    /// Inserts or replaces; makes the developer where there is none.
    ///
    /// # Errors
    /// [`Error::Taken`] where another application has the client; [`Error::Keyless`];
    /// [`Error::Unavailable`].
    pub async fn put_application(&mut self, application: &Application) -> Result<(), Error> {
        let id = application.id.to_string();
        let managed = application.management.as_ref();
        let sealed = managed.map(|management| {
            let place = row::application_management(&id);
            self.ring.seal(management.0.expose(), place)
        });
        let sealed = sealed.transpose()?;
        let client = application.client_id.as_ref();
        if let Some(client) = client {
            self.free(
                "SELECT id FROM applications WHERE strategy = $1 AND client_id = $2",
                vec![
                    read::Value::Text(application.strategy.clone()),
                    read::Value::Text(client.to_string()),
                ],
                application.id,
                "an application with this client",
            )
            .await?;
        }
        // Other gateways forget a client that another one takes the place of.
        self.forget_client(application.id, client.map(|client| client.as_str()))
            .await?;
        let mut valid_from = application.credentials_valid_from;
        if let Some(client) = client
            && application.life == Life::Ready
        {
            let forgotten = self.run(
                "DELETE FROM gone WHERE strategy = $1 AND client_id = $2",
                [application.strategy.as_str().into(), client.as_str().into()],
            );
            if forgotten.await? > 0 {
                // It was somebody else's: cookies, tokens and pairs of that time are over.
                valid_from = valid_from.max(Timestamp::from_secs(clock::now().secs() + 1));
            }
        }
        self.run(
            "INSERT INTO developers (id, name, created_at) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO NOTHING",
            [
                Uuid::new_v4().into(),
                application.developer.as_str().into(),
                application.updated_at.into(),
            ],
        )
        .await?;
        // The name in lower case is the one column that is not read again.
        let columns = format!("{}, folded_name", row::APPLICATION);
        self.run(
            upsert("applications", &columns),
            [
                id.into(),
                application.name.as_str().into(),
                application.description.as_str().into(),
                application.developer.as_str().into(),
                application.strategy.as_str().into(),
                client.map(ToString::to_string).into(),
                application.origin.word().into(),
                application.provider.clone().into(),
                sealed.into(),
                application.life.word().into(),
                application.status.word().into(),
                row::json(&application.scopes)?.into(),
                row::json(&application.labels)?.into(),
                valid_from.into(),
                application.created_at.into(),
                application.updated_at.into(),
                self.revision.into(),
                row::folded(&application.name).into(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Notes that the client which an application has had is gone, unless it is still this one.
    async fn forget_client(&mut self, application: Uuid, now: Option<&str>) -> Result<(), Error> {
        self.run(
            "INSERT INTO gone (strategy, client_id, revision, at) \
             SELECT strategy, client_id, $1, $2 FROM applications \
             WHERE id = $3 AND client_id IS NOT NULL AND client_id <> $4 \
             ON CONFLICT (strategy, client_id) \
             DO UPDATE SET revision = excluded.revision, at = excluded.at",
            [
                self.revision.into(),
                clock::now().into(),
                application.into(),
                // No client id is empty.
                now.unwrap_or_default().into(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Removes an application with its registrations, credentials and intent.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn delete_application(&mut self, id: Uuid) -> Result<(), Error> {
        self.forget_client(id, None).await?;
        self.run("DELETE FROM intents WHERE application = $1", [id.into()])
            .await?;
        // Registrations and credentials go with it.
        self.run("DELETE FROM applications WHERE id = $1", [id.into()])
            .await?;
        Ok(())
    }

    /// Inserts or replaces.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn put_credential(&mut self, credential: &Credential) -> Result<(), Error> {
        self.run(
            upsert("credentials", row::CREDENTIAL),
            [
                credential.id.into(),
                credential.application.into(),
                credential.at_idp.clone().into(),
                credential.name.as_str().into(),
                credential.created_at.into(),
                credential.expires_at.into(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Removes one.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn delete_credential(&mut self, id: Uuid) -> Result<(), Error> {
        self.run("DELETE FROM credentials WHERE id = $1", [id.into()])
            .await?;
        Ok(())
    }

    /// Removes all credentials of an application.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn delete_credentials(&mut self, application: Uuid) -> Result<(), Error> {
        self.run(
            "DELETE FROM credentials WHERE application = $1",
            [application.into()],
        )
        .await?;
        Ok(())
    }

    /// Inserts or replaces. The application's own revision rises with it.
    ///
    /// # Errors
    /// [`Error::Taken`] where the application has another one for this API;
    /// [`Error::Unavailable`].
    pub async fn put_registration(&mut self, registration: &Registration) -> Result<(), Error> {
        self.free(
            "SELECT id FROM registrations WHERE application = $1 AND api = $2",
            vec![
                read::Value::Text(registration.application.to_string()),
                read::Value::Text(registration.api.clone()),
            ],
            registration.id,
            "a registration for this API",
        )
        .await?;
        self.run(
            upsert("registrations", row::REGISTRATION),
            [
                registration.id.into(),
                registration.application.into(),
                registration.api.as_str().into(),
                registration.state.word().into(),
                registration.created_at.into(),
                registration.updated_at.into(),
                self.revision.into(),
            ],
        )
        .await?;
        self.run(
            "UPDATE applications SET revision = $1 WHERE id = $2",
            [self.revision.into(), registration.application.into()],
        )
        .await?;
        Ok(())
    }

    /// Removes one. The application's own revision rises with it.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn delete_registration(&mut self, id: Uuid) -> Result<(), Error> {
        self.run(
            "UPDATE applications SET revision = $1 \
             WHERE id = (SELECT application FROM registrations WHERE id = $2)",
            [self.revision.into(), id.into()],
        )
        .await?;
        self.run("DELETE FROM registrations WHERE id = $1", [id.into()])
            .await?;
        Ok(())
    }
}

/// Intents, answers, sessions.
impl Change {
    /// Takes an application's intent away if it is this step's, whoever works at it.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn drop_intent(&mut self, application: Uuid, step: Step) -> Result<(), Error> {
        self.run(
            "DELETE FROM intents WHERE application = $1 AND step = $2",
            [application.into(), step.word().into()],
        )
        .await?;
        Ok(())
    }

    /// Writes an intent of this process.
    ///
    /// # Errors
    /// [`Error::Busy`] where the application has one already; [`Error::Keyless`];
    /// [`Error::Unavailable`].
    pub async fn put_intent(&mut self, intent: &Intent) -> Result<(), Error> {
        let id = intent.id.to_string();
        let data = intent.data.as_ref();
        let sealed = data.map(|data| self.ring.seal(data.expose(), row::intent_data(&id)));
        let sealed = sealed.transpose()?;
        let found = self
            .find(
                "SELECT id FROM intents WHERE application = $1",
                vec![read::Value::Text(intent.application.to_string())],
            )
            .await?;
        if found.is_some_and(|other| other != id) {
            return Err(Error::Busy);
        }
        self.run(
            upsert("intents", row::INTENT),
            [
                id.into(),
                intent.application.into(),
                intent.step.word().into(),
                intent.process.into(),
                sealed.into(),
                intent.created_at.into(),
            ],
        )
        .await?;
        // A process without a row is dead, so this one shows that it lives before anybody can
        // see its intent.
        self.run(
            "INSERT INTO processes (id, counter) VALUES ($1, 0) ON CONFLICT (id) DO NOTHING",
            [self.registry.process().into()],
        )
        .await?;
        Ok(())
    }

    /// Whether the intent was still there, of this process: if not, another one has taken it over.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn take_intent(&mut self, id: Uuid) -> Result<bool, Error> {
        let process = self.registry.process();
        let taken = self.run(
            "DELETE FROM intents WHERE id = $1 AND process = $2",
            [id.into(), process.into()],
        );
        Ok(taken.await? == 1)
    }

    /// Whether an intent is there, of this process.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn holds_intent(&mut self, id: Uuid) -> Result<bool, Error> {
        let process = self.registry.process().to_string();
        let values = vec![
            read::Value::Text(id.to_string()),
            read::Value::Text(process),
        ];
        let sql = "SELECT id FROM intents WHERE id = $1 AND process = $2";
        Ok(self.find(sql, values).await?.is_some())
    }

    /// Makes an orphaned intent this process's own; false where another one was faster, or where
    /// its process, another one, lives after all.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn claim_intent(&mut self, id: Uuid) -> Result<bool, Error> {
        let values = vec![read::Value::Text(id.to_string())];
        let owner = self.find("SELECT process FROM intents WHERE id = $1", values);
        let Some(owner) = owner.await?.and_then(|owner| Uuid::parse_str(&owner).ok()) else {
            return Ok(false);
        };
        let registry = self.registry.clone();
        let living = within(registry.0.neighbours.living(&mut self.transaction)).await;
        let living = self.noted(living)?;
        let process = registry.process();
        if owner != process && living.contains(&owner) {
            return Ok(false);
        }
        let claimed = self.run(
            "UPDATE intents SET process = $1 WHERE id = $2",
            [process.into(), id.into()],
        );
        let claimed = claimed.await? == 1;
        self.run(
            "INSERT INTO processes (id, counter) VALUES ($1, 0) ON CONFLICT (id) DO NOTHING",
            [process.into()],
        )
        .await?;
        Ok(claimed)
    }

    /// Forgets under which key something was made, so that the same request can make it anew.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn forget_answered(&mut self, subject: Uuid) -> Result<(), Error> {
        self.run("DELETE FROM answered WHERE subject = $1", [subject.into()])
            .await?;
        Ok(())
    }

    /// Keeps an answer for 24 hours; older ones are removed.
    ///
    /// # Errors
    /// [`Error::Taken`] where the key was used; [`Error::Unavailable`].
    pub async fn put_answered(
        &mut self,
        key: &str,
        answered: &Answered,
        now: Timestamp,
    ) -> Result<(), Error> {
        let old = now.minus(ANSWERED_FOR);
        self.run("DELETE FROM answered WHERE at <= $1", [old.into()])
            .await?;
        let kept = self.run(
            "INSERT INTO answered (key, request, subject_kind, subject, at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (key) DO NOTHING",
            [
                key.into(),
                answered.request.as_str().into(),
                answered.subject_kind.as_str().into(),
                answered.subject.into(),
                now.into(),
            ],
        );
        match kept.await? {
            0 => Err(Error::Taken("an answer under this idempotency key")),
            _ => Ok(()),
        }
    }

    /// Notes that one session, or every session of a client so far, has ended.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn end_session(&mut self, ended: &EndedSession) -> Result<(), Error> {
        let (strategy, client_id, id, until) = match ended {
            EndedSession::AllBefore {
                strategy,
                client_id,
                time,
            } => {
                // They are among those that end now.
                self.run(
                    "DELETE FROM ended_sessions WHERE strategy = $1 AND client_id = $2 \
                     AND session_id <> $3",
                    [
                        strategy.as_str().into(),
                        client_id.as_str().into(),
                        row::EVERY.into(),
                    ],
                )
                .await?;
                (strategy, client_id, row::EVERY.to_owned(), *time)
            }
            EndedSession::Single {
                id,
                strategy,
                client_id,
                until,
            } => (strategy, client_id, row::session_id(*id), *until),
        };
        // What has ended once stays so, whichever gateway's clock was ahead.
        self.run(
            "INSERT INTO ended_sessions (strategy, client_id, session_id, until, revision) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (strategy, client_id, session_id) \
             DO UPDATE SET revision = excluded.revision, until = CASE \
             WHEN excluded.until > ended_sessions.until THEN excluded.until \
             ELSE ended_sessions.until END",
            [
                strategy.as_str().into(),
                client_id.as_str().into(),
                id.into(),
                until.into(),
                self.revision.into(),
            ],
        )
        .await?;
        Ok(())
    }
}
