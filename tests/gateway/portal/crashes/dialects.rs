//! The table: for each way to register, the calls of every operation and the moments at which the
//! gateway ends.

use serde_json::{Value, json};

use crate::vendors::{
    auth0::{self, Auth0},
    azure::{self, Azure, graph::OWNED_BY},
    bridge::{self, Bridge},
    curity::Curity,
    emulation::{Account, Client, Vendor},
    generic::{self, Generic},
    okta::Okta,
    wso2::{Wso2, management as wso2},
};

/// The secret of the operator's own client.
const SECRET: &str = "initial-Client_s3cret/of+the=operator";

/// What is asked of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    AddSecret,
    Create,
    Delete,
    RemoveSecret,
    Rename,
    Rotate,
}

/// When the gateway ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// The call was done and not answered.
    Done,
    /// The call was refused for now, to be sent again later.
    Throttled,
    /// The call was sent and nothing done.
    Undone,
    /// The call was answered, and the registry not written.
    Unkept,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) operation: Operation,
    /// Method and a part of the path of the call at the identity provider.
    pub(super) call: (&'static str, &'static str),
    pub(super) moment: Moment,
    /// A call before it that is refused, so that the rest is undone.
    pub(super) refused: Option<(&'static str, &'static str)>,
}

/// An identity provider at which applications are registered.
pub(super) trait Dialect: Vendor {
    /// Whether it can be asked for the client of an application.
    const LOOKS: bool;
    /// Whether a rotation makes another client.
    const REPLACES: bool = false;

    /// Lets the gateway in; `registration` of its entry, and what `secrets/initial` holds.
    fn admit(&mut self, account: &mut Account, base: &str) -> (Value, &'static str);

    /// What its strategy says beside [`Vendor::strategy`].
    fn more() -> Value {
        Value::Null
    }

    /// Whether it holds what belongs to so many registered clients, and nothing else.
    fn holds(&self, _clients: usize) -> bool {
        true
    }

    /// The rows of this dialect.
    fn rows() -> Vec<Row>;
}

fn row(operation: Operation, call: (&'static str, &'static str), moment: Moment) -> Row {
    Row {
        operation,
        call,
        moment,
        refused: None,
    }
}

/// Before and after the call.
fn around(operation: Operation, call: (&'static str, &'static str)) -> [Row; 2] {
    [Moment::Undone, Moment::Done].map(|moment| row(operation, call, moment))
}

/// Before and after the last call, and after its answer.
fn last(operation: Operation, call: (&'static str, &'static str)) -> [Row; 3] {
    [Moment::Undone, Moment::Done, Moment::Unkept].map(|moment| row(operation, call, moment))
}

/// Before and after the call that undoes what a refused one leaves.
fn undoing(refused: (&'static str, &'static str), call: (&'static str, &'static str)) -> [Row; 2] {
    around(Operation::Create, call).map(|row| Row {
        refused: Some(refused),
        ..row
    })
}

impl Dialect for Auth0 {
    const LOOKS: bool = true;

    fn admit(&mut self, account: &mut Account, _: &str) -> (Value, &'static str) {
        let id = self.administrator(account, SECRET, &auth0::SCOPES);
        (client(&id), SECRET)
    }

    fn more() -> Value {
        json!({"token_request": {"scope": Self::READ}})
    }

    fn holds(&self, clients: usize) -> bool {
        // One grant is the operator's own.
        let grants = self.management.grants.len() - 1;
        self.management.clients.len() == clients && grants == clients
    }

    fn rows() -> Vec<Row> {
        let grant = ("POST", "/client-grants");
        [
            around(Operation::Create, ("POST", "/clients")).as_slice(),
            &last(Operation::Create, grant),
            &undoing(grant, ("DELETE", "/clients/")),
            &last(Operation::Rotate, ("POST", "/rotate-secret")),
            &around(Operation::Delete, ("DELETE", "/client-grants/")),
            &last(Operation::Delete, ("DELETE", "/clients/")),
            &last(Operation::Rename, ("PATCH", "/clients/")),
            &[row(
                Operation::Create,
                ("POST", "/clients"),
                Moment::Throttled,
            )],
        ]
        .concat()
    }
}

impl Dialect for Azure<2> {
    const LOOKS: bool = true;

    fn admit(&mut self, account: &mut Account, base: &str) -> (Value, &'static str) {
        self.appoint(account, OWNED_BY);
        // Everything takes its time to get about.
        self.graph.lag.principal = 1;
        self.graph.lag.application = 1;
        let (id, secret) = azure::ADMINISTRATOR;
        let mut registration = client(id);
        registration["endpoint"] = json!(format!("{base}/v1.0"));
        (registration, secret)
    }

    fn holds(&self, clients: usize) -> bool {
        let graph = &self.graph;
        let here = [graph.applications.len(), graph.principals.len()];
        here == [clients, clients] && graph.deleted.is_empty()
    }

    fn rows() -> Vec<Row> {
        let principal = ("POST", "/servicePrincipals");
        let (add, remove) = (("POST", "/addPassword"), ("POST", "/removePassword"));
        [
            around(Operation::Create, ("POST", "/applications")).as_slice(),
            &around(Operation::Create, principal),
            &last(Operation::Create, add),
            &undoing(principal, ("DELETE", "/applications")),
            &around(Operation::Rotate, add),
            &last(Operation::Rotate, remove),
            &around(Operation::Delete, ("DELETE", "/applications")),
            &last(Operation::Delete, ("DELETE", "/deletedItems")),
            &last(Operation::Rename, ("PATCH", "/applications")),
            &last(Operation::AddSecret, add),
            &last(Operation::RemoveSecret, remove),
            &[row(Operation::Create, principal, Moment::Throttled)],
        ]
        .concat()
    }
}

impl Dialect for Bridge {
    const LOOKS: bool = false;

    fn admit(&mut self, _: &mut Account, _: &str) -> (Value, &'static str) {
        let registration = json!({
            "dialect": "http", "api_key": {"file": "secrets/initial"}, "endpoint": self.address(),
        });
        (registration, bridge::KEY)
    }

    fn rows() -> Vec<Row> {
        [
            last(Operation::Create, ("POST", "/dcr")).as_slice(),
            &last(Operation::Rotate, ("POST", "/new-secret")),
            &last(Operation::Delete, ("DELETE", "/dcr/")),
            &last(Operation::Rename, ("POST", "/event-hook")),
        ]
        .concat()
    }
}

impl Dialect for Curity {
    const LOOKS: bool = false;

    fn admit(&mut self, account: &mut Account, _: &str) -> (Value, &'static str) {
        let mut operator = Client::new(SECRET, "dcr");
        // A client's own token may get lost; whoever has this scope can manage it all the same.
        operator.scopes.push("dcrm".to_owned());
        account.clients.insert("operator".to_owned(), operator);
        (client("operator"), SECRET)
    }

    fn more() -> Value {
        json!({"token_request": {"scope": Self::READ}})
    }

    fn holds(&self, clients: usize) -> bool {
        self.registry.len() == clients
    }

    fn rows() -> Vec<Row> {
        let managed = "/oauth-registration/";
        [
            last(Operation::Create, ("POST", "/oauth-registration")).as_slice(),
            &last(Operation::Rotate, ("GET", managed)),
            &last(Operation::Delete, ("DELETE", managed)),
        ]
        .concat()
    }
}

impl Dialect for Generic {
    const LOOKS: bool = false;
    const REPLACES: bool = true;

    fn admit(&mut self, _: &mut Account, _: &str) -> (Value, &'static str) {
        let registration = json!({"initial_access_token": {"file": "secrets/initial"}});
        (registration, generic::INITIAL)
    }

    fn holds(&self, clients: usize) -> bool {
        self.registered.len() == clients
    }

    fn rows() -> Vec<Row> {
        let (register, managed) = (("POST", "/reg"), ("DELETE", "/reg/"));
        [
            last(Operation::Create, register).as_slice(),
            &last(Operation::Rotate, register),
            // The new client is there and kept; the old one is to go.
            &last(Operation::Rotate, managed),
            &last(Operation::Delete, managed),
            &last(Operation::Rename, ("PUT", "/reg/")),
            &[row(Operation::Create, register, Moment::Throttled)],
        ]
        .concat()
    }
}

impl Dialect for Okta {
    const LOOKS: bool = true;

    fn admit(&mut self, _: &mut Account, _: &str) -> (Value, &'static str) {
        let key = "00Okta-Api_t0ken.of-the.operator";
        self.management.api_tokens.push(key.to_owned());
        (json!({"api_key": {"file": "secrets/initial"}}), key)
    }

    fn holds(&self, clients: usize) -> bool {
        self.management.clients.len() == clients
    }

    fn rows() -> Vec<Row> {
        let clients = "/oauth2/v1/clients";
        let managed = "/oauth2/v1/clients/";
        [
            around(Operation::Create, ("POST", clients)).as_slice(),
            &last(Operation::Create, ("GET", "/credentials/secrets")),
            &last(Operation::Rotate, ("POST", "/newSecret")),
            &last(Operation::Delete, ("DELETE", managed)),
            &last(Operation::Rename, ("PUT", managed)),
            &last(Operation::AddSecret, ("POST", "/credentials/secrets")),
            &around(Operation::RemoveSecret, ("POST", "/deactivate")),
            &last(Operation::RemoveSecret, ("DELETE", "/credentials/secrets/")),
        ]
        .concat()
    }
}

impl Dialect for Wso2 {
    const LOOKS: bool = true;

    fn admit(&mut self, _: &mut Account, _: &str) -> (Value, &'static str) {
        let (name, password) = wso2::ADMINISTRATOR;
        (client(name), password)
    }

    fn holds(&self, clients: usize) -> bool {
        self.management.applications.len() == clients
    }

    fn rows() -> Vec<Row> {
        [
            last(Operation::Create, ("POST", "/register")).as_slice(),
            &last(Operation::Rotate, ("POST", "/regenerate-secret")),
            &last(Operation::Delete, ("DELETE", "/register/")),
            &last(Operation::Rename, ("PUT", "/register/")),
        ]
        .concat()
    }
}

/// Registration by a client of the operator's.
fn client(id: &str) -> Value {
    json!({"initial_client": {"id": id, "secret": {"file": "secrets/initial"}}})
}
