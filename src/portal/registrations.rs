//! The right of applications to call APIs, and what was done: registrations, APIs, audit trail.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    ApiView, Caller, Created, Error, Fault, Kept, Portal, Verdict,
    applications::ready,
    live,
    record::{
        Api, Application, Audit, AuditFilter, Listed, Page, Registration, RegistrationFilter,
    },
    registry,
};
use crate::{
    clock, idp::registration::Change as BridgeChange, model::application::Registration as State,
};

const KIND: &str = "registration";

impl Verdict {
    const fn state(self) -> State {
        match self {
            Self::Approve => State::Approved,
            Self::Defer => State::Pending,
            Self::Reject => State::Rejected,
            Self::Revoke => State::Revoked,
        }
    }

    const fn action(self) -> &'static str {
        match self {
            Self::Approve => "registration.approve",
            Self::Defer => "registration.defer",
            Self::Reject => "registration.reject",
            Self::Revoke => "registration.revoke",
        }
    }
}

/// Operations on registrations, APIs and the audit trail.
impl Portal {
    /// Some of them, the latest first.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub async fn registrations(
        &self,
        filter: &RegistrationFilter,
        page: Page,
    ) -> Result<Listed<Registration>, Error> {
        match &self.0.kept {
            Kept::Registry(live) => Ok(live.registry().registrations(filter, page).await?),
            Kept::File { .. } => Ok(page.of(self.registrations_of_file(filter))),
        }
    }

    /// One.
    ///
    /// # Errors
    /// There is none, or the registry cannot be read.
    pub async fn registration(&self, id: Uuid) -> Result<Registration, Error> {
        let found = match &self.0.kept {
            Kept::Registry(live) => live.registry().registration(id).await?,
            Kept::File { .. } => {
                let all = self.registrations_of_file(&RegistrationFilter::default());
                all.into_iter().find(|known| known.id == id)
            }
        };
        found.ok_or(Error::NotFound("registration"))
    }

    fn registrations_of_file(&self, filter: &RegistrationFilter) -> Vec<Registration> {
        let Kept::File { directory, .. } = &self.0.kept else {
            return Vec::new();
        };
        let mut all = Vec::new();
        for entry in directory.entries() {
            let application = entry.application;
            let owner = filter.owner.as_ref();
            let is_owners =
                owner.is_none_or(|owner| owner.eq_ignore_ascii_case(&application.developer));
            if !is_owners || filter.application.is_some_and(|id| id != application.id) {
                continue;
            }
            for (api, state) in &*application.registrations {
                let is_wanted = filter.api.as_ref().is_none_or(|wanted| **wanted == **api)
                    && filter.state.is_none_or(|wanted| wanted == *state);
                if is_wanted {
                    all.push(Registration {
                        id: Uuid::new_v5(&application.id, api.as_bytes()),
                        application: application.id,
                        api: api.to_string(),
                        state: *state,
                        created_at: Default::default(),
                        updated_at: Default::default(),
                        revision: 0,
                    });
                }
            }
        }
        all
    }

    /// Asks for the right to call an API: decided as `verdict` says, else approved at once where the
    /// API says so, else left to the operator.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn register(
        &self,
        caller: &Caller,
        application: Uuid,
        api: &str,
        verdict: Option<Verdict>,
    ) -> Result<Created<Registration>, Error> {
        let registry = self.registry()?;
        if let Some(id) = self.repeated(caller, KIND).await? {
            return Ok(Created::before(self.registration(id).await?));
        }
        let known = self.api(api).await.map_err(|error| match error {
            Error::NotFound(_) => Error::Invalid(vec![Fault::new(
                "api_id",
                "reference",
                "expected the name of an API of the configuration",
            )]),
            other => other,
        })?;
        let mut change = caller.change(registry).await?;
        let application = ready(&mut change, application).await?;
        let accepts = |name: &String| *name == application.strategy;
        if !known.file_strategies.iter().any(accepts) && !known.kept.strategies.iter().any(accepts)
        {
            return Err(Error::Conflict {
                code: "strategy_not_accepted",
                detail: format!(
                    "API {api:?} does not accept strategy {:?}, so the application could never \
                     call it",
                    application.strategy
                ),
            });
        }
        let verdict = verdict.unwrap_or(match known.kept.auto_approve {
            true => Verdict::Approve,
            false => Verdict::Defer,
        });
        let now = clock::now();
        let registration = Registration {
            id: Uuid::new_v4(),
            application: application.id,
            api: api.to_owned(),
            state: verdict.state(),
            created_at: now,
            updated_at: now,
            revision: change.revision(),
        };
        change
            .put_registration(&registration)
            .await
            .map_err(|error| match error {
                registry::Error::Taken(_) => Error::Conflict {
                    code: "already_registered",
                    detail: "the application has a registration for this API".to_owned(),
                },
                other => other.into(),
            })?;
        caller.answered(&mut change, KIND, registration.id).await?;
        let (id, after) = (registration.id.to_string(), Some(shown(&registration)));
        let created = "registration.create";
        change.audit(created, KIND, &id, None, after).await?;
        self.commit(change).await?;
        if registration.state == State::Approved {
            self.tell_bridge(&application, api, BridgeChange::Added)
                .await;
        }
        Ok(Created::now(registration, None))
    }

    /// Decides on one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn decide(
        &self,
        caller: &Caller,
        id: Uuid,
        verdict: Verdict,
    ) -> Result<Registration, Error> {
        let registry = self.registry()?;
        let mut change = caller.change(registry).await?;
        let before = change.registration(id).await?;
        let before = before.ok_or(Error::NotFound("registration"))?;
        caller.expects(before.revision)?;
        let application = ready(&mut change, before.application).await?;
        let registration = Registration {
            state: verdict.state(),
            updated_at: clock::now(),
            revision: change.revision(),
            ..before.clone()
        };
        change.put_registration(&registration).await?;
        let (name, was, is) = (id.to_string(), shown(&before), shown(&registration));
        let action = verdict.action();
        change
            .audit(action, KIND, &name, Some(was), Some(is))
            .await?;
        self.commit(change).await?;
        self.tell_difference(&application, &before, Some(&registration))
            .await;
        Ok(registration)
    }

    /// Removes one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn unregister(&self, caller: &Caller, id: Uuid) -> Result<(), Error> {
        let registry = self.registry()?;
        let mut change = caller.change(registry).await?;
        let before = change.registration(id).await?;
        let before = before.ok_or(Error::NotFound("registration"))?;
        caller.expects(before.revision)?;
        let application = ready(&mut change, before.application).await?;
        change.delete_registration(id).await?;
        let (name, was) = (id.to_string(), Some(shown(&before)));
        let deleted = "registration.delete";
        change.audit(deleted, KIND, &name, was, None).await?;
        self.commit(change).await?;
        self.tell_difference(&application, &before, None).await;
        Ok(())
    }

    async fn tell_difference(
        &self,
        application: &Application,
        before: &Registration,
        after: Option<&Registration>,
    ) {
        let was = before.state == State::Approved;
        let is = after.is_some_and(|after| after.state == State::Approved);
        match (was, is) {
            (false, true) => {
                self.tell_bridge(application, &before.api, BridgeChange::Added)
                    .await;
            }
            (true, false) => {
                self.tell_bridge(application, &before.api, BridgeChange::Removed)
                    .await;
            }
            _ => {}
        }
    }

    /// Tells a bridge, which may keep its own account of rights. The gateway's is what counts, so a
    /// bridge that does not listen is only told of in the log.
    async fn tell_bridge(&self, application: &Application, api: &str, change: BridgeChange) {
        let (Ok(registrar), Some(client_id), Some(management)) = (
            self.manager(application).await,
            &application.client_id,
            &application.management,
        ) else {
            return;
        };
        let request = self.request(application);
        let told = registrar.registration_changed(client_id, management, &request, api, change);
        if let Err(error) = told.await {
            tracing::warn!(application = %application.id, api, %error, "the bridge is not told");
        }
    }

    /// Every API of the configuration.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub async fn apis(&self) -> Result<Vec<ApiView>, Error> {
        let kept = match self.live() {
            Some(live) => live.registry().apis().await?,
            None => Vec::new(),
        };
        let view = self.surroundings().view();
        let seen = |api: live::ApiView| {
            let kept = kept.iter().find(|known| *known.name == *api.name);
            let kept = kept.cloned().unwrap_or_else(|| Api {
                name: api.name.to_string(),
                auto_approve: false,
                strategies: Vec::new(),
                revision: 0,
            });
            let of_file = api.strategies.iter().map(ToString::to_string);
            ApiView {
                name: api.name.to_string(),
                access: api.access,
                url: api.url,
                file_strategies: of_file
                    .filter(|name| !kept.strategies.contains(name))
                    .collect(),
                kept,
            }
        };
        Ok(view.apis.into_iter().map(seen).collect())
    }

    /// One, by name.
    ///
    /// # Errors
    /// There is none, or the registry cannot be read.
    pub async fn api(&self, name: &str) -> Result<ApiView, Error> {
        let all = self.apis().await?;
        let found = all.into_iter().find(|api| api.name == name);
        found.ok_or(Error::NotFound("API"))
    }

    /// Says whether its registrations are approved at once, and which further strategies it accepts.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn patch_api(
        &self,
        caller: &Caller,
        name: &str,
        auto_approve: Option<bool>,
        strategies: Option<Vec<String>>,
    ) -> Result<ApiView, Error> {
        let registry = self.registry()?;
        let before = self.api(name).await?;
        caller.expects(before.kept.revision)?;
        let mut api = before.kept.clone();
        if let Some(auto_approve) = auto_approve {
            api.auto_approve = auto_approve;
        }
        if let Some(strategies) = strategies {
            let known = self.strategies().await?;
            let unknown = strategies
                .iter()
                .find(|name| !known.iter().any(|known| known.name == **name));
            if let Some(unknown) = unknown {
                return Err(Error::Invalid(vec![Fault::new(
                    "auth_strategies",
                    "reference",
                    format!("{unknown:?}: expected names of auth strategies"),
                )]));
            }
            if before.access == "public" && !strategies.is_empty() {
                return Err(Error::Invalid(vec![Fault::new(
                    "auth_strategies",
                    "forbidden",
                    "a public API reads no credential",
                )]));
            }
            api.strategies = strategies;
            let mut apis = registry.apis().await?;
            apis.retain(|known| known.name != api.name);
            apis.push(api.clone());
            let providers = registry.providers().await?;
            let kept = registry.strategies().await?;
            let additions = super::konnect::additions(&providers, &kept, &apis);
            self.check_additions(additions, &[], |key| key.to_owned())
                .await?;
        }
        let mut change = caller.change(registry).await?;
        // Between reading and this transaction somebody else may have changed it.
        let now = change
            .apis()
            .await?
            .into_iter()
            .find(|now| now.name == name);
        if now.map_or(0, |now| now.revision) != before.kept.revision {
            return Err(Error::Changed);
        }
        api.revision = change.revision();
        change.put_api(&api).await?;
        let (was, is) = (shown_api(&before.kept), shown_api(&api));
        change
            .audit("api.update", "api", name, Some(was), Some(is))
            .await?;
        self.commit(change).await?;
        self.api(name).await
    }

    /// What was done, the latest first.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub async fn audit(&self, filter: &AuditFilter, page: Page) -> Result<Listed<Audit>, Error> {
        match self.live() {
            Some(live) => Ok(live.registry().audit(filter, page).await?),
            None => Ok(page.of(Vec::new())),
        }
    }
}

/// A registration as the audit trail shows it.
fn shown(registration: &Registration) -> Value {
    json!({
        "application_id": registration.application,
        "api": registration.api,
        "status": match registration.state {
            State::Approved => "approved",
            State::Pending => "pending",
            State::Rejected => "rejected",
            State::Revoked => "revoked",
        },
    })
}

/// An API as the audit trail shows it.
fn shown_api(api: &Api) -> Value {
    json!({
        "auto_approve_registrations": api.auto_approve,
        "auth_strategies": api.strategies,
    })
}
