//! What is asked of the database, on any connection: within a transaction or by itself.

use sqlx::{AnyConnection, AssertSqlSafe, any::AnyRow, query::Query};
use uuid::Uuid;

use super::{
    Error,
    database::unavailable,
    row::{self, Columns, Word},
    seal::Ring,
};
use crate::{
    model::{credential::ClientId, time::Timestamp},
    portal::record::{
        Answered, Api, Application, ApplicationFilter, Audit, AuditFilter, Credential, Developer,
        DeveloperFilter, DeveloperSession, Identity, Listed, OperatorSession, Page, Provider,
        Registration, RegistrationFilter, Strategy,
    },
};

/// A value that stands for `$1`, `$2`, ….
#[derive(Clone, Debug)]
pub(super) enum Value {
    Number(i64),
    Text(String),
}

/// Narrows a list: conditions, all of which must hold, and the values that they name.
#[derive(Debug, Default)]
struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    /// Adds one, where there is a value; `{}` is the place of the value.
    fn and(&mut self, condition: &str, value: Option<String>) {
        let Some(value) = value else { return };
        self.values.push(Value::Text(value));
        let place = format!("${}", self.values.len());
        self.sql.push_str(match self.values.len() {
            1 => " WHERE ",
            _ => " AND ",
        });
        self.sql.push_str(&condition.replace("{}", &place));
    }
}

/// A statement with its values. The text is put together from this module's own parts alone.
fn query(sql: String, values: Vec<Value>) -> Query<'static, sqlx::Any, sqlx::any::AnyArguments> {
    let query = sqlx::query(AssertSqlSafe(sql));
    values.into_iter().fold(query, |query, value| match value {
        Value::Number(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
    })
}

/// Every row of a statement.
pub(super) async fn all<T>(
    connection: &mut AnyConnection,
    sql: String,
    values: Vec<Value>,
    read: impl Fn(&AnyRow) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let rows = query(sql, values).fetch_all(connection).await;
    rows.map_err(unavailable)?.iter().map(read).collect()
}

/// The one row of a statement, if there is one.
pub(super) async fn one<T>(
    connection: &mut AnyConnection,
    sql: String,
    values: Vec<Value>,
    read: impl Fn(&AnyRow) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let row = query(sql, values).fetch_optional(connection).await;
    row.map_err(unavailable)?.as_ref().map(read).transpose()
}

/// A page of a list, and how long the list is.
async fn page<T>(
    connection: &mut AnyConnection,
    (columns, table, order): (&str, &str, &str),
    conditions: Conditions,
    page: Page,
    read: impl Fn(&AnyRow) -> Result<T, Error>,
) -> Result<Listed<T>, Error> {
    let Conditions { sql, mut values } = conditions;
    let count = format!("SELECT COUNT(*) FROM {table}{sql}");
    let total = one(connection, count, values.clone(), |row| {
        Columns::new(row).number()
    });
    let total = total.await?.unwrap_or_default();
    let before = page.number.saturating_sub(1).saturating_mul(page.size);
    let places = (values.len() + 1, values.len() + 2);
    for number in [page.size, before] {
        values.push(Value::Number(i64::try_from(number).unwrap_or(i64::MAX)));
    }
    let listed = format!(
        "SELECT {columns} FROM {table}{sql} ORDER BY {order} LIMIT ${} OFFSET ${}",
        places.0, places.1,
    );
    Ok(Listed {
        items: all(connection, listed, values, read).await?,
        total: u64::try_from(total).unwrap_or_default(),
    })
}

/// The number that a statement finds.
pub(super) async fn number(connection: &mut AnyConnection, sql: String) -> Result<i64, Error> {
    let found = one(connection, sql, Vec::new(), |row| {
        Columns::new(row).number()
    });
    let found = found.await?;
    found.ok_or_else(|| Error::Unreadable("a row is missing".to_owned()))
}

pub(super) async fn revision(connection: &mut AnyConnection) -> Result<i64, Error> {
    number(connection, "SELECT revision FROM registry".to_owned()).await
}

/// By name; a few, so they are sorted here, where databases would differ.
pub(super) async fn providers(
    connection: &mut AnyConnection,
    ring: &Ring,
) -> Result<Vec<Provider>, Error> {
    let sql = format!("SELECT {} FROM providers", row::PROVIDER);
    let read = |row: &_| row::provider(row, ring);
    let mut list = all(connection, sql, Vec::new(), read).await?;
    list.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(list)
}

/// As [`providers`].
pub(super) async fn strategies(connection: &mut AnyConnection) -> Result<Vec<Strategy>, Error> {
    let sql = format!("SELECT {} FROM strategies", row::STRATEGY);
    let mut list = all(connection, sql, Vec::new(), row::strategy).await?;
    list.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(list)
}

/// As [`providers`].
pub(super) async fn apis(connection: &mut AnyConnection) -> Result<Vec<Api>, Error> {
    let sql = format!("SELECT {} FROM apis", row::API);
    let mut list = all(connection, sql, Vec::new(), row::api).await?;
    list.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(list)
}

pub(super) async fn application(
    connection: &mut AnyConnection,
    ring: &Ring,
    id: Uuid,
) -> Result<Option<Application>, Error> {
    let sql = format!(
        "SELECT {} FROM applications WHERE id = $1",
        row::APPLICATION
    );
    let read = |row: &_| row::application(row, ring);
    one(connection, sql, vec![Value::Text(id.to_string())], read).await
}

/// The application that has a client.
pub(super) async fn application_of(
    connection: &mut AnyConnection,
    ring: &Ring,
    strategy: &str,
    client_id: &ClientId,
) -> Result<Option<Application>, Error> {
    let sql = format!(
        "SELECT {} FROM applications WHERE strategy = $1 AND client_id = $2",
        row::APPLICATION
    );
    let values = vec![
        Value::Text(strategy.to_owned()),
        Value::Text(client_id.to_string()),
    ];
    one(connection, sql, values, |row| row::application(row, ring)).await
}

/// The latest first.
pub(super) async fn applications(
    connection: &mut AnyConnection,
    ring: &Ring,
    filter: &ApplicationFilter,
    asked: Page,
) -> Result<Listed<Application>, Error> {
    let mut conditions = Conditions::default();
    let part = filter.name_contains.as_deref().map(containing);
    conditions.and("folded_name LIKE {} ESCAPE '\\'", part);
    conditions.and("name = {}", filter.name.clone());
    conditions.and(
        "developer IN (SELECT name FROM developers WHERE lower(name) = {})",
        filter.owner.clone(),
    );
    conditions.and("developer = {}", filter.developer.clone());
    conditions.and("strategy = {}", filter.strategy.clone());
    conditions.and("client_id = {}", filter.client_id.clone());
    let status = filter.status.map(|status| status.word().to_owned());
    conditions.and("status = {}", status);
    let life = filter.life.map(|life| life.word().to_owned());
    conditions.and("life = {}", life);
    let listed = (row::APPLICATION, "applications", "created_at DESC, id DESC");
    let read = |row: &_| row::application(row, ring);
    page(connection, listed, conditions, asked, read).await
}

/// A pattern for names that hold a text.
fn containing(text: &str) -> String {
    let mut pattern = "%".to_owned();
    for c in row::folded(text).chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// In the order in which they were made.
pub(super) async fn credentials(
    connection: &mut AnyConnection,
    application: Uuid,
) -> Result<Vec<Credential>, Error> {
    let sql = format!(
        "SELECT {} FROM credentials WHERE application = $1 ORDER BY created_at, id",
        row::CREDENTIAL
    );
    let values = vec![Value::Text(application.to_string())];
    all(connection, sql, values, row::credential).await
}

pub(super) async fn registration(
    connection: &mut AnyConnection,
    id: Uuid,
) -> Result<Option<Registration>, Error> {
    let sql = format!(
        "SELECT {} FROM registrations WHERE id = $1",
        row::REGISTRATION
    );
    let values = vec![Value::Text(id.to_string())];
    one(connection, sql, values, row::registration).await
}

/// The latest first.
pub(super) async fn registrations(
    connection: &mut AnyConnection,
    filter: &RegistrationFilter,
    asked: Page,
) -> Result<Listed<Registration>, Error> {
    let mut conditions = Conditions::default();
    let application = filter.application.map(|id| id.to_string());
    conditions.and("application = {}", application);
    conditions.and(
        "application IN (SELECT id FROM applications WHERE developer IN \
         (SELECT name FROM developers WHERE lower(name) = {}))",
        filter.owner.clone(),
    );
    conditions.and("api = {}", filter.api.clone());
    let state = filter.state.map(|state| state.word().to_owned());
    conditions.and("state = {}", state);
    let listed = (
        row::REGISTRATION,
        "registrations",
        "created_at DESC, id DESC",
    );
    page(connection, listed, conditions, asked, row::registration).await
}

/// By name.
pub(super) async fn developers(
    connection: &mut AnyConnection,
    filter: &DeveloperFilter,
    asked: Page,
) -> Result<Listed<Developer>, Error> {
    let listed = (row::DEVELOPER, "developers", "name");
    let mut conditions = Conditions::default();
    conditions.and("name = {}", filter.name.clone());
    let status = filter.status.map(|status| status.word().to_owned());
    conditions.and("status = {}", status);
    page(connection, listed, conditions, asked, row::developer).await
}

/// The one that a condition finds.
async fn developer_where(
    connection: &mut AnyConnection,
    condition: &'static str,
    values: Vec<Value>,
) -> Result<Option<Developer>, Error> {
    let sql = format!(
        "SELECT {} FROM developers WHERE {condition}",
        row::DEVELOPER
    );
    one(connection, sql, values, row::developer).await
}

pub(super) async fn developer(
    connection: &mut AnyConnection,
    id: Uuid,
) -> Result<Option<Developer>, Error> {
    let values = vec![Value::Text(id.to_string())];
    developer_where(connection, "id = $1", values).await
}

/// By name, exactly.
pub(super) async fn developer_named(
    connection: &mut AnyConnection,
    name: &str,
) -> Result<Option<Developer>, Error> {
    let values = vec![Value::Text(name.to_owned())];
    developer_where(connection, "name = $1", values).await
}

pub(super) async fn developer_at_idp(
    connection: &mut AnyConnection,
    identity: &Identity,
) -> Result<Option<Developer>, Error> {
    let Identity { issuer, subject } = identity;
    let values = vec![Value::Text(issuer.clone()), Value::Text(subject.clone())];
    developer_where(connection, "issuer = $1 AND subject = $2", values).await
}

/// The digest of an account's password.
pub(super) async fn password(
    connection: &mut AnyConnection,
    id: Uuid,
) -> Result<Option<String>, Error> {
    let sql = "SELECT password FROM developers WHERE id = $1".to_owned();
    let read = |row: &_| Ok(Columns::new(row).optional()?.map(str::to_owned));
    let found = one(connection, sql, vec![Value::Text(id.to_string())], read).await?;
    Ok(found.flatten())
}

/// By the digest of its token.
pub(super) async fn developer_session(
    connection: &mut AnyConnection,
    token: &str,
) -> Result<Option<DeveloperSession>, Error> {
    let sql = format!(
        "SELECT {} FROM developer_sessions WHERE token = $1",
        row::DEVELOPER_SESSION
    );
    let values = vec![Value::Text(token.to_owned())];
    one(connection, sql, values, row::developer_session).await
}

/// The session of an operator whose token has this digest.
pub(super) async fn operator_session(
    connection: &mut AnyConnection,
    token: &str,
) -> Result<Option<OperatorSession>, Error> {
    let sql = format!(
        "SELECT {} FROM operator_sessions WHERE token = $1",
        row::OPERATOR_SESSION
    );
    let values = vec![Value::Text(token.to_owned())];
    one(connection, sql, values, row::operator_session).await
}

/// Whose invitation has this digest, and until when.
pub(super) async fn invitation(
    connection: &mut AnyConnection,
    token: &str,
) -> Result<Option<(Uuid, Timestamp)>, Error> {
    let sql = "SELECT developer, until FROM invitations WHERE token = $1".to_owned();
    let read = |row: &_| {
        let mut columns = Columns::new(row);
        Ok((columns.id()?, columns.time()?))
    };
    one(connection, sql, vec![Value::Text(token.to_owned())], read).await
}

/// The latest first.
pub(super) async fn audit(
    connection: &mut AnyConnection,
    filter: &AuditFilter,
    asked: Page,
) -> Result<Listed<Audit>, Error> {
    let mut conditions = Conditions::default();
    conditions.and("action = {}", filter.action.clone());
    conditions.and("actor = {}", filter.actor.clone());
    conditions.and("subject = {}", filter.subject.clone());
    let listed = (row::AUDIT, "audit", "id DESC");
    page(connection, listed, conditions, asked, row::audit).await
}

/// What was answered after a time.
pub(super) async fn answered(
    connection: &mut AnyConnection,
    key: &str,
    after: Timestamp,
) -> Result<Option<Answered>, Error> {
    let sql = format!(
        "SELECT {} FROM answered WHERE key = $1 AND at > $2",
        row::ANSWERED
    );
    let values = vec![Value::Text(key.to_owned()), Value::Number(after.millis())];
    one(connection, sql, values, row::answered).await
}
