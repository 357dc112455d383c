//! `/api/v2/applications/{id}/registrations`: an application's right to call a product.

use axum::{extract, response::Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    super::{
        answer,
        body::{Body, Form},
        path::{Id, Ids},
        problem::{Kind, Problem},
        query::{Asked, By, Filter, Meta, page_of},
        registrations::{STATES, StateWord, state_of},
        shape::{Scope, Time},
    },
    applications::fault,
    products::{self, VERSION, product_id, version_id},
    visit::Me,
};
use crate::{
    model::application::Registration as State,
    portal::{
        Error, Portal,
        record::{self, Application, Developer, Registration, RegistrationFilter},
    },
};

pub(super) const TAG: &str = "Registrations";

/// An application's right to call one version of a product.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MyRegistration)]
pub struct Told {
    id: Uuid,
    status: StateWord,
    application_id: Uuid,
    product_id: Uuid,
    product_name: String,
    product_version_id: Uuid,
    product_version_name: &'static str,
    created_at: Time,
    updated_at: Time,
}

/// Scopes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GrantedScopes)]
pub struct Scopes {
    scopes: Vec<String>,
}

/// A registration to be.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CreateRegistrationPayload, example = json!({
    "product_version_id": "3b7f0b1c-5a2a-4a0e-a0a9-5b0a4a8d2f11",
}))]
#[serde(deny_unknown_fields)]
pub struct New {
    /// The version's id.
    product_version_id: Uuid,
    /// Of those that the application has. A registration narrows none of them.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Scope>>, nullable = false, max_items = 50)]
    scopes: Vec<String>,
}

/// Registrations, one page of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MyRegistrations)]
pub struct Page {
    data: Vec<Told>,
    meta: Meta,
}

impl Form for New {
    const SCHEMA: &'static str = "CreateRegistrationPayload";
}

/// By what a list is narrowed.
pub(super) const FILTERS: &[Filter] = &[
    Filter::new("id", By::Id),
    Filter::words("status", STATES),
    Filter::text("product_name"),
    Filter::text("product_version_name"),
];

/// Asks for an application's right to call a product. Where nobody has to approve, it is approved at
/// once; else it waits for the operator.
#[utoipa::path(
    post,
    path = "/api/v2/applications/{applicationId}/registrations",
    operation_id = "create-application-registration",
    tag = TAG,
    params(("applicationId" = Uuid, Path, description = "The application's id")),
    request_body = New,
    responses((status = 201, description = "It was made", body = Told)),
)]
pub(super) async fn create(
    extract::State(portal): extract::State<Portal>,
    me: Me,
    Id(id): Id,
    body: Body<New>,
) -> Result<Response, Problem> {
    let application = portal.application_of(&me.developer, id).await?;
    let caller = me.asking.creator(&body.given);
    let New {
        product_version_id,
        scopes,
    } = body.value;
    let api = products::api_of(&portal, product_version_id).await?;
    let expected = "expected the id of a product's version";
    let api = api.ok_or_else(|| fault("product_version_id", "reference", expected))?;
    if !scopes
        .iter()
        .all(|scope| application.scopes.contains(scope))
    {
        let expected = "expected scopes that the application has";
        return Err(fault("scopes", "enum", expected));
    }
    let made = portal.register(&caller, id, &api.name, None).await?;
    let told = Told::from(made.value.clone());
    let place = format!("/api/v2/applications/{id}/registrations/{}", told.id);
    Ok(answer::created(&made, None, &place, &told, &told))
}

/// Lists an application's registrations, the latest first.
#[utoipa::path(
    get,
    path = "/api/v2/applications/{applicationId}/registrations",
    operation_id = "list-application-registrations",
    tag = TAG,
    params(("applicationId" = Uuid, Path, description = "The application's id")),
    responses((status = 200, description = "One page", body = Page)),
)]
pub(super) async fn list(
    extract::State(portal): extract::State<Portal>,
    me: Me,
    Id(id): Id,
    mut asked: Asked,
) -> Result<Response, Problem> {
    let (own_id, state) = (asked.id("id"), state_of(&mut asked));
    let product = asked.matches("product_name");
    let version = asked.matches("product_version_name");
    let page = asked.page();
    asked.end()?;
    portal.application_of(&me.developer, id).await?;
    let mut all = all(&portal, id).await?;
    all.retain(|one| own_id.is_none_or(|own| own == one.id));
    all.retain(|one| state.is_none_or(|state| state == one.state));
    all.retain(|one| product.pass(&one.api) && version.pass(VERSION));
    let found = page_of(all, page);
    let data = found.items.into_iter().map(Told::from).collect();
    let meta = Meta::of(page, found.total);
    Ok(answer::plain(StatusCode::OK, &Page { data, meta }))
}

/// Reads one registration.
#[utoipa::path(
    get,
    path = "/api/v2/applications/{applicationId}/registrations/{registrationId}",
    operation_id = "get-application-registration",
    tag = TAG,
    params(
        ("applicationId" = Uuid, Path, description = "The application's id"),
        ("registrationId" = Uuid, Path, description = "Its id"),
    ),
    responses((status = 200, description = "It", body = Told)),
)]
pub(super) async fn get(
    extract::State(portal): extract::State<Portal>,
    me: Me,
    Ids(id, registration): Ids,
) -> Result<Response, Problem> {
    let (_, found) = own(&portal, &me, id, registration).await?;
    Ok(answer::plain(StatusCode::OK, &Told::from(found)))
}

/// Removes a registration: the application may no longer call the product.
#[utoipa::path(
    delete,
    path = "/api/v2/applications/{applicationId}/registrations/{registrationId}",
    operation_id = "delete-application-registration",
    tag = TAG,
    params(
        ("applicationId" = Uuid, Path, description = "The application's id"),
        ("registrationId" = Uuid, Path, description = "Its id"),
    ),
    responses((status = 204, description = "It is gone")),
)]
pub(super) async fn delete(
    extract::State(portal): extract::State<Portal>,
    me: Me,
    Ids(id, registration): Ids,
) -> Result<StatusCode, Problem> {
    leave(&portal, me, id, registration).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tells the scopes of a registration: those of its application.
#[utoipa::path(
    get,
    path = "/api/v2/applications/{applicationId}/registrations/{registrationId}/granted-scopes",
    operation_id = "get-application-registration-granted-scopes",
    tag = TAG,
    params(
        ("applicationId" = Uuid, Path, description = "The application's id"),
        ("registrationId" = Uuid, Path, description = "The registration's id"),
    ),
    responses(
        (status = 200, description = "They", body = Scopes),
        (status = 422, description = "The client is managed elsewhere: nobody here knows"),
    ),
)]
pub(super) async fn granted_scopes(
    extract::State(portal): extract::State<Portal>,
    me: Me,
    Ids(id, registration): Ids,
) -> Result<Response, Problem> {
    let (application, _) = own(&portal, &me, id, registration).await?;
    scopes(application)
}

/// Tells the scopes of an application's registration for a version of a product.
#[utoipa::path(
    get,
    path = "/api/v2/applications/{applicationId}/product-versions/{productVersionId}/granted-scopes",
    operation_id = "get-application-product-version-granted-scopes",
    tag = TAG,
    params(
        ("applicationId" = Uuid, Path, description = "The application's id"),
        ("productVersionId" = Uuid, Path, description = "The version's id"),
    ),
    responses(
        (status = 200, description = "They", body = Scopes),
        (status = 422, description = "The client is managed elsewhere: nobody here knows"),
    ),
)]
pub(super) async fn granted_scopes_of_version(
    extract::State(portal): extract::State<Portal>,
    me: Me,
    Ids(id, version): Ids,
) -> Result<Response, Problem> {
    let application = portal.application_of(&me.developer, id).await?;
    let all = all(&portal, id).await?;
    if !all.iter().any(|one| version_id(&one.api) == version) {
        return Err(nothing());
    }
    scopes(application)
}

fn scopes(application: Application) -> Result<Response, Problem> {
    match application.provider {
        Some(_) => {
            let scopes = application.scopes;
            Ok(answer::plain(StatusCode::OK, &Scopes { scopes }))
        }
        None => Err(Problem::new(Kind::ScopesUnknown)),
    }
}

/// Removes one of the developer's own registrations. Not one that the operator has rejected or
/// revoked: to ask anew would undo that where registrations are approved at once.
pub(in crate::portal) async fn leave(
    portal: &Portal,
    me: Me,
    application: Uuid,
    id: Uuid,
) -> Result<(), Problem> {
    let (_, found) = own(portal, &me, application, id).await?;
    if matches!(found.state, State::Rejected | State::Revoked) {
        return Err(Error::Conflict {
            code: "registration_decided",
            detail: "the operator has said no: ask them to decide anew".to_owned(),
        }
        .into());
    }
    // Decided meanwhile, it is another revision.
    let asking = me.asking.with(None, Some(found.revision));
    Ok(portal.unregister(&asking.caller(), id).await?)
}

/// One of the developer's own registrations, with its application.
pub(in crate::portal) async fn own(
    portal: &Portal,
    me: &Me,
    application: Uuid,
    id: Uuid,
) -> Result<(Application, Registration), Problem> {
    let application = portal.application_of(&me.developer, application).await?;
    let found = portal.registration(id).await?;
    match found.application == application.id {
        true => Ok((application, found)),
        false => Err(nothing()),
    }
}

fn nothing() -> Problem {
    Problem::new(Kind::NotFound).detailed("no such registration")
}

/// All of a developer's applications'.
pub(in crate::portal) async fn of_developer(
    portal: &Portal,
    developer: &Developer,
) -> Result<Vec<Registration>, Problem> {
    let filter = RegistrationFilter {
        owner: Portal::applications_of(developer).owner,
        ..RegistrationFilter::default()
    };
    Ok(portal.registrations(&filter, WHOLE).await?.items)
}

/// A list on one page.
const WHOLE: record::Page = record::Page {
    number: 1,
    size: u32::MAX as u64,
};

/// All of an application's: no more than there are APIs.
pub(in crate::portal) async fn all(
    portal: &Portal,
    application: Uuid,
) -> Result<Vec<Registration>, Problem> {
    let filter = RegistrationFilter {
        application: Some(application),
        ..RegistrationFilter::default()
    };
    Ok(portal.registrations(&filter, WHOLE).await?.items)
}

impl From<Registration> for Told {
    fn from(registration: Registration) -> Self {
        Self {
            id: registration.id,
            status: registration.state.into(),
            application_id: registration.application,
            product_id: product_id(&registration.api),
            product_version_id: version_id(&registration.api),
            product_version_name: VERSION,
            product_name: registration.api,
            created_at: registration.created_at.into(),
            updated_at: registration.updated_at.into(),
        }
    }
}
