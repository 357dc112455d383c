//! Accounts of developers: invited by the operator or asked for, opened, closed.
//!
//! An account is an e-mail address in lower case, and owns every application whose developer is that
//! address, in whatever case it is written. So nobody gets one by saying whose address it is: a
//! password is set with a token that the operator sends there, or the operator's own identity
//! provider has verified the address.

mod attempts;
pub mod oidc;
mod operators;
mod password;
mod session;

use std::{net::IpAddr, time::Duration};

use aws_lc_rs::{digest, rand};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Caller, Created, Error, Portal,
    record::{
        Account, AccountStatus, Actor, Application, ApplicationFilter, Developer, DeveloperFilter,
        Page,
    },
    registry::Change,
};
use crate::{
    clock,
    model::{credential::Secret, origin::Origin, time::Timestamp},
};
pub use attempts::Attempts;
pub use password::Passwords;
pub use session::SignedIn;

const KIND: &str = "developer";

/// How long an invitation can be used.
const INVITED_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Accounts that may wait for the operator at once: strangers ask for them.
const WAITING: u64 = 1_000;

/// `portal.accounts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who gets an account with a password.
    pub registration: Registration,
    /// How long a session may be unused. Default 1 h.
    pub idle_timeout: Duration,
    /// How long a session lasts at most. Default 12 h.
    pub absolute_timeout: Duration,
    /// Whether operators sign in at the developers' address too, with the admin token. Default true.
    pub operators: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            registration: Registration::Invited,
            idle_timeout: Duration::from_secs(3600),
            absolute_timeout: Duration::from_secs(12 * 3600),
            operators: true,
        }
    }
}

/// Who gets an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Whoever asks, once the operator agrees.
    Approval,
    /// Whom the operator invites.
    Invited,
}

/// An e-mail address in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Email(String);

impl Email {
    /// Takes an address as HTML's `<input type=email>` does, of at most 254 characters (RFC 5321
    /// section 4.5.3.1.3); `None` where it is none.
    pub fn new(text: &str) -> Option<Self> {
        let (local, host) = text.split_once('@')?;
        let local_fits =
            |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let fits = text.len() <= 254
            && !local.is_empty()
            && local.bytes().all(local_fits)
            && host.split('.').all(is_label);
        fits.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What lets a developer set a password, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// To be sent to the developer's address: whoever has it has the account.
    pub token: Secret,
    /// It is good until then.
    pub until: Timestamp,
}

/// A developer, and the invitation that was made just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invited {
    /// Whose account it is.
    pub developer: Developer,
    /// To be sent there; `None`: none was made.
    pub invitation: Option<Invitation>,
}

/// What of an account is to change; `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountPatch {
    /// See [`Account`].
    pub full_name: Option<String>,
    /// See [`Account`].
    pub status: Option<AccountStatus>,
}

/// What operators do.
impl Portal {
    /// One developer.
    ///
    /// # Errors
    /// There is none, or the registry cannot be read.
    pub async fn developer(&self, id: Uuid) -> Result<Developer, Error> {
        let found = match self.live() {
            Some(live) => live.registry().developer(id).await?,
            None => {
                let page = Page {
                    number: 1,
                    size: u64::MAX,
                };
                let all = self.developers(&DeveloperFilter::default(), page).await?;
                all.items.into_iter().find(|known| known.id == id)
            }
        };
        found.ok_or(Error::NotFound(KIND))
    }

    /// Opens an account, and makes the invitation with which its developer sets a password.
    ///
    /// # Errors
    /// `developer_exists`; see [`Error`].
    pub async fn invite(
        &self,
        caller: &Caller,
        email: &Email,
        full_name: &str,
    ) -> Result<Created<Invited>, Error> {
        let registry = self.registry()?;
        if let Some(id) = self.repeated(caller, KIND).await? {
            let developer = self.developer(id).await?;
            let invitation = None;
            return Ok(Created::before(Invited {
                developer,
                invitation,
            }));
        }
        let mut change = caller.change(registry).await?;
        let named = change.developer_named(email.as_str()).await?;
        if named.as_ref().is_some_and(|known| known.account.is_some()) {
            return Err(Error::Conflict {
                code: "developer_exists",
                detail: "there is an account with this e-mail address".to_owned(),
            });
        }
        let account = Account::new(full_name, AccountStatus::Approved);
        let id = put_new(&mut change, named, email, &account).await?;
        let invitation = make_invitation(&mut change, id).await?;
        caller.answered(&mut change, KIND, id).await?;
        audit(&mut change, "developer.invite", id, None, Some(&account)).await?;
        self.commit(change).await?;
        let invited = Invited {
            developer: self.developer(id).await?,
            invitation: Some(invitation),
        };
        Ok(Created::now(invited, None))
    }

    /// Makes a new invitation in place of an earlier one, for a developer who has lost it or the
    /// password. The password, if there is one, holds until it is used.
    ///
    /// # Errors
    /// `not_approved`; see [`Error`].
    pub async fn invite_again(&self, caller: &Caller, id: Uuid) -> Result<Invited, Error> {
        let mut change = caller.change(self.registry()?).await?;
        let (developer, account) = with_account(&mut change, id).await?;
        caller.expects(account.revision)?;
        if account.status != AccountStatus::Approved {
            return Err(Error::Conflict {
                code: "not_approved",
                detail: "the account is not open: approve it first".to_owned(),
            });
        }
        let invitation = make_invitation(&mut change, id).await?;
        audit(
            &mut change,
            "developer.invite",
            id,
            Some(&account),
            Some(&account),
        )
        .await?;
        self.commit(change).await?;
        Ok(Invited {
            developer,
            invitation: Some(invitation),
        })
    }

    /// Changes an account. One that is no longer open loses its sessions and invitation at once; its
    /// applications stay. One that is opened and has no password yet gets an invitation.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn patch_account(
        &self,
        caller: &Caller,
        id: Uuid,
        patch: AccountPatch,
    ) -> Result<Invited, Error> {
        let mut change = caller.change(self.registry()?).await?;
        let (developer, before) = with_account(&mut change, id).await?;
        caller.expects(before.revision)?;
        let after = Account {
            full_name: patch.full_name.unwrap_or_else(|| before.full_name.clone()),
            status: patch.status.unwrap_or(before.status),
            updated_at: clock::now(),
            ..before.clone()
        };
        change.put_account(&developer, &after).await?;
        let is_open = after.status == AccountStatus::Approved;
        if !is_open {
            change.delete_developer_sessions(id).await?;
            change.delete_invitation(id).await?;
        }
        let opens = is_open && before.status != AccountStatus::Approved;
        let needs = opens && !after.has_password && after.identity.is_none();
        let invitation = match needs {
            true => Some(make_invitation(&mut change, id).await?),
            false => None,
        };
        let action = match (before.status == after.status, after.status) {
            (true, _) => "developer.update",
            (false, AccountStatus::Approved) => "developer.approve",
            (false, AccountStatus::Pending) => "developer.defer",
            (false, AccountStatus::Rejected) => "developer.reject",
            (false, AccountStatus::Revoked) => "developer.revoke",
        };
        audit(&mut change, action, id, Some(&before), Some(&after)).await?;
        self.commit(change).await?;
        Ok(Invited {
            developer: self.developer(id).await?,
            invitation,
        })
    }

    /// Removes a developer who has no application.
    ///
    /// # Errors
    /// `developer_has_applications`: whoever got the address next would own them; see [`Error`].
    pub async fn delete_developer(&self, caller: &Caller, id: Uuid) -> Result<(), Error> {
        let mut change = caller.change(self.registry()?).await?;
        let developer = change.developer(id).await?;
        let developer = developer.ok_or(Error::NotFound(KIND))?;
        let account = developer.account.as_ref();
        caller.expects(account.map_or(0, |account| account.revision))?;
        let one = Page { number: 1, size: 1 };
        if change.applications(&of(&developer), one).await?.total > 0 {
            return Err(Error::Conflict {
                code: "developer_has_applications",
                detail: "delete the developer's applications first, or give them to another; to \
                         keep the developer out, revoke the account"
                    .to_owned(),
            });
        }
        change.delete_developer(id).await?;
        audit(&mut change, "developer.delete", id, account, None).await?;
        self.commit(change).await
    }
}

/// What anybody may do.
impl Portal {
    /// Whether anybody may ask for an account with a password.
    pub fn takes_requests(&self) -> bool {
        self.surroundings().accounts().registration == Registration::Approval
    }

    /// Asks for an account, which then waits for the operator. Whether there is one with this
    /// address already is not told.
    ///
    /// # Errors
    /// `registration_closed`, too many attempts or accounts that wait; see [`Error`].
    pub async fn ask_for_account(
        &self,
        from: IpAddr,
        request_id: &str,
        email: &Email,
        full_name: &str,
    ) -> Result<(), Error> {
        let registry = self.registry()?;
        if !self.takes_requests() {
            return Err(Error::Forbidden {
                code: "registration_closed",
                detail: "accounts are by invitation: ask the operator for one".to_owned(),
            });
        }
        self.0.attempts.ask(Origin::from(from))?;
        let actor = Actor::Developer(email.as_str().to_owned());
        let mut change = registry.change(&actor, Some(request_id)).await?;
        let named = change.developer_named(email.as_str()).await?;
        if named.as_ref().is_some_and(|known| known.account.is_some()) {
            return Ok(());
        }
        is_room(&mut change).await?;
        let account = Account::new(full_name, AccountStatus::Pending);
        let id = put_new(&mut change, named, email, &account).await?;
        audit(&mut change, "developer.register", id, None, Some(&account)).await?;
        self.commit(change).await
    }

    /// Sets a password with an invitation, which is used up; every session ends.
    ///
    /// # Errors
    /// There is no such invitation; [`Error::InvitationOver`]; see [`Error`].
    pub async fn set_password(
        &self,
        from: IpAddr,
        request_id: &str,
        token: &Secret,
        password: Secret,
    ) -> Result<(), Error> {
        let registry = self.registry()?;
        self.0.attempts.count_address(Origin::from(from))?;
        let token = digest_of(token);
        // First, since making a digest of a password for nothing is what strangers would have us do.
        let mut change = registry.change(&Actor::Gateway, Some(request_id)).await?;
        let id = invited(&mut change, &token).await?;
        let (developer, _) = with_account(&mut change, id).await?;
        drop(change);
        let digest = self.0.passwords.digest(password).await?;
        let actor = Actor::Developer(developer.name);
        let mut change = registry.change(&actor, Some(request_id)).await?;
        let id = invited(&mut change, &token).await?;
        let (developer, before) = with_account(&mut change, id).await?;
        self.put_password(&mut change, &developer, &before, digest)
            .await?;
        change.delete_invitation(id).await?;
        self.commit(change).await
    }
}

/// What a developer may do.
impl Portal {
    /// Which applications are a developer's.
    pub fn applications_of(developer: &Developer) -> ApplicationFilter {
        of(developer)
    }

    /// One of a developer's own applications.
    ///
    /// # Errors
    /// There is none, or it is somebody else's, which looks the same.
    pub async fn application_of(
        &self,
        developer: &Developer,
        id: Uuid,
    ) -> Result<Application, Error> {
        let found = self.application(id).await?;
        match of(developer).fits(&found) {
            true => Ok(found),
            false => Err(Error::NotFound("application")),
        }
    }

    /// Changes the developer's own password. Every session ends, and a new one begins.
    ///
    /// # Errors
    /// [`Error::WrongPassword`] where `old` is not the one there is; see [`Error`].
    pub async fn change_password(
        &self,
        caller: &Caller,
        from: IpAddr,
        developer: &Developer,
        old: Secret,
        new: Secret,
    ) -> Result<SignedIn, Error> {
        let registry = self.registry()?;
        self.0.attempts.count(Origin::from(from), &developer.name)?;
        let found = registry.developer_with_password(&developer.name).await?;
        let (found, digest) = found.ok_or(Error::WrongPassword)?;
        if !self.0.passwords.verify(old, digest).await? {
            return Err(Error::WrongPassword);
        }
        self.0
            .attempts
            .succeeded(Origin::from(from), &developer.name);
        let digest = self.0.passwords.digest(new).await?;
        let mut change = caller.change(registry).await?;
        let (developer, before) = with_account(&mut change, found.id).await?;
        if found
            .account
            .is_none_or(|read| read.revision != before.revision)
        {
            return Err(Error::Changed);
        }
        self.put_password(&mut change, &developer, &before, digest)
            .await?;
        self.commit(change).await?;
        let developer = self.developer(developer.id).await?;
        self.begin_session(&caller.request_id, &developer).await
    }

    async fn put_password(
        &self,
        change: &mut Change,
        developer: &Developer,
        before: &Account,
        digest: String,
    ) -> Result<(), Error> {
        let account = Account {
            has_password: true,
            updated_at: clock::now(),
            ..before.clone()
        };
        // A sign-in that has seen the old one finds another revision.
        change.put_account(developer, &account).await?;
        change.put_password(developer.id, digest).await?;
        change.delete_developer_sessions(developer.id).await?;
        let (id, action) = (developer.id, "developer.set_password");
        audit(change, action, id, Some(before), Some(&account)).await
    }
}

impl Account {
    fn new(full_name: &str, status: AccountStatus) -> Self {
        Self {
            full_name: full_name.to_owned(),
            status,
            has_password: false,
            identity: None,
            updated_at: clock::now(),
            revision: 0,
        }
    }
}

/// The applications of a developer.
fn of(developer: &Developer) -> ApplicationFilter {
    ApplicationFilter {
        owner: Some(developer.name.to_ascii_lowercase()),
        ..ApplicationFilter::default()
    }
}

/// Keeps a new account; its developer's id.
async fn put_new(
    change: &mut Change,
    named: Option<Developer>,
    email: &Email,
    account: &Account,
) -> Result<Uuid, Error> {
    let developer = named.unwrap_or_else(|| Developer {
        id: Uuid::new_v4(),
        name: email.as_str().to_owned(),
        created_at: account.updated_at,
        account: None,
    });
    change.put_account(&developer, account).await?;
    Ok(developer.id)
}

/// Whether one more account may wait for the operator.
async fn is_room(change: &mut Change) -> Result<(), Error> {
    let waiting = DeveloperFilter {
        status: Some(AccountStatus::Pending),
        ..DeveloperFilter::default()
    };
    match change.count_developers(&waiting).await? < WAITING {
        true => Ok(()),
        false => Err(Error::TooManyAttempts(Duration::from_secs(3600))),
    }
}

async fn with_account(change: &mut Change, id: Uuid) -> Result<(Developer, Account), Error> {
    let developer = change.developer(id).await?;
    let developer = developer.ok_or(Error::NotFound(KIND))?;
    match developer.account.clone() {
        Some(account) => Ok((developer, account)),
        None => Err(Error::Conflict {
            code: "no_account",
            detail: "the developer has no account: invite them".to_owned(),
        }),
    }
}

async fn make_invitation(change: &mut Change, developer: Uuid) -> Result<Invitation, Error> {
    // Konnect's client wants this one to look like an id.
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| Error::Overloaded)?;
    let token = uuid::Builder::from_random_bytes(bytes).into_uuid();
    let token = Secret::new(token.to_string());
    let until = clock::now().plus(INVITED_FOR);
    let digest = digest_of(&token);
    change.put_invitation(developer, &digest, until).await?;
    Ok(Invitation { token, until })
}

/// Whose invitation this is.
async fn invited(change: &mut Change, token: &str) -> Result<Uuid, Error> {
    let found = change.invitation(token).await?;
    let (id, until) = found.ok_or(Error::NotFound("invitation"))?;
    match clock::now() < until {
        true => Ok(id),
        false => Err(Error::InvitationOver),
    }
}

/// The status as Konnect names it.
pub(super) const fn word(status: AccountStatus) -> &'static str {
    match status {
        AccountStatus::Approved => "approved",
        AccountStatus::Pending => "pending",
        AccountStatus::Rejected => "rejected",
        AccountStatus::Revoked => "revoked",
    }
}

/// What the registry keeps of a token. The token is random and long, so a plain digest will do.
fn digest_of(token: &Secret) -> String {
    let digest = digest::digest(&digest::SHA256, token.expose().as_bytes());
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

async fn audit(
    change: &mut Change,
    action: &str,
    id: Uuid,
    before: Option<&Account>,
    after: Option<&Account>,
) -> Result<(), Error> {
    let shown = |account: &Account| -> Value {
        json!({
            "full_name": account.full_name,
            "status": word(account.status),
            "has_password": account.has_password,
            "identity": account.identity.as_ref().map(|known| &known.subject),
        })
    };
    let id = id.to_string();
    change
        .audit(action, KIND, &id, before.map(shown), after.map(shown))
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_kept_in_lower_case() {
        for (text, kept) in [
            ("dana@example.com", Some("dana@example.com")),
            ("Dana+Tag@Example.COM", Some("dana+tag@example.com")),
            ("dana@localhost", Some("dana@localhost")),
            ("dana", None),
            ("@example.com", None),
            ("dana@", None),
            ("dana@example..com", None),
            ("dana@-example.com", None),
            ("da na@example.com", None),
            ("dana@example.com\n", None),
            ("dana@a@b", None),
            ("d\u{e1}na@example.com", None),
            // The Kelvin sign, whose lower case is an ASCII letter.
            ("\u{212a}@example.com", None),
        ] {
            assert_eq!(
                Email::new(text).as_ref().map(Email::as_str),
                kept,
                "{text:?}"
            );
        }
        let long = format!("{}@example.com", "a".repeat(243));
        assert_eq!(long.len(), 255);
        assert_eq!(Email::new(&long), None);
        assert!(Email::new(&long[1..]).is_some());
    }
}
