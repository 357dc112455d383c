//! What waits for the operator, what is not set up yet, how identity providers are, what was done.

use askama::Template;
use axum::{extract::State, response::Response};

use super::{
    super::{
        who::{Operator, Who as _},
        words::Badge,
    },
    audit::{self, Lines},
    developers, registrations,
};
use crate::{
    clock,
    model::application::Status,
    portal::{
        Portal,
        api::problem::Problem,
        record::{Application, ApplicationFilter, Life, Page},
    },
};

/// Applications under way that are told one by one.
const SHOWN: u64 = 20;

#[derive(Template)]
#[template(path = "operator_overview.html", config = ".askama.toml")]
struct Overview {
    next: Option<Next>,
    registrations: u64,
    accounts: u64,
    suspended: u64,
    under_way: Vec<(Application, Badge)>,
    idps: Vec<Idp>,
    audit: Lines,
}

/// What has to be set up before anything else can be.
struct Next {
    title: &'static str,
    text: &'static str,
    path: &'static str,
    link: &'static str,
}

/// How an identity provider is.
struct Idp {
    name: String,
    is_good: bool,
    told: String,
}

pub(super) async fn show(
    State(portal): State<Portal>,
    operator: Operator,
) -> Result<Response, Problem> {
    let page = Overview {
        next: next(&portal).await?,
        registrations: registrations::waiting(&portal).await?,
        accounts: developers::waiting(&portal).await?,
        suspended: suspended(&portal).await?,
        under_way: under_way(&portal).await?,
        idps: idps(&portal),
        audit: audit::last(&portal, None).await?,
    };
    operator.frame().page("Overview", &page)
}

/// What is missing, in the order in which it is set up.
async fn next(portal: &Portal) -> Result<Option<Next>, Problem> {
    if portal.providers().await?.is_empty() {
        return Ok(Some(Next {
            title: "Add an identity provider",
            text: "Clients of applications are registered at one: Auth0, Okta, Entra, Curity, WSO2, \
                   or any that speaks RFC 7591.",
            path: "/operator/providers/new",
            link: "Add a provider",
        }));
    }
    let strategies = portal.strategies().await?;
    if strategies.is_empty() {
        return Ok(Some(Next {
            title: "Add an auth strategy",
            text: "It says how applications sign in with what your provider issues, and what their \
                   tokens must hold.",
            path: "/operator/strategies/new",
            link: "Add a strategy",
        }));
    }
    let is_accepted = portal.apis().await?.iter().any(|api| {
        matches!(api.access, "application" | "registered")
            && !(api.file_strategies.is_empty() && api.kept.strategies.is_empty())
    });
    Ok(match is_accepted {
        true => None,
        false => Some(Next {
            title: "Let an API accept a strategy",
            text: "No API takes the credentials of any application yet.",
            path: "/operator/apis",
            link: "Go to the APIs",
        }),
    })
}

/// Applications that are suspended; with a client that a developer says is theirs, from the beginning.
async fn suspended(portal: &Portal) -> Result<u64, Problem> {
    let filter = ApplicationFilter {
        status: Some(Status::Suspended),
        ..ApplicationFilter::default()
    };
    let one = Page { number: 1, size: 1 };
    Ok(portal.applications(&filter, one).await?.total)
}

/// Applications whose client is being made or deleted. Where an identity provider does not answer,
/// that takes long.
async fn under_way(portal: &Portal) -> Result<Vec<(Application, Badge)>, Problem> {
    let mut all = Vec::new();
    for life in [Life::Deleting, Life::Creating] {
        let filter = ApplicationFilter {
            life: Some(life),
            ..ApplicationFilter::default()
        };
        let page = Page {
            number: 1,
            size: SHOWN,
        };
        let found = portal.applications(&filter, page).await?;
        all.extend(found.items.into_iter().map(|app| (app, life.into())));
    }
    Ok(all)
}

fn idps(portal: &Portal) -> Vec<Idp> {
    let now = clock::now();
    let providers = portal.surroundings().view().identity_providers.into_iter();
    let mut all: Vec<_> = providers
        .map(|provider| {
            let state = provider.state(now);
            Idp {
                name: provider.config().name.to_string(),
                is_good: state.is_ok(),
                told: state.unwrap_or_else(|missing| missing),
            }
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}
