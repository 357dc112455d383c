//! Mistakes that operators make with an identity provider and that the configuration shows: each a
//! warning that names the cure. None is a fault, since the IdP may be set up in another way.

use crate::{
    idp::{
        Config as Provider,
        vendor::{DEFAULT, GRAPH, NamesApi, OPENID_SCOPES, ORG, Opaque, Vendor},
    },
    proxy::strategy::Config as Strategy,
};

/// Microsoft Graph, by its App ID URI and by its client id.
const GRAPH_NAMES: [&str; 2] = [
    "https://graph.microsoft.com",
    "00000003-0000-0000-c000-000000000000",
];

/// What looks wrong about a strategy and its identity provider.
pub(crate) fn find(
    provider: &Provider,
    strategy: &Strategy,
    introspects: bool,
) -> Vec<&'static str> {
    let preset = provider.vendor.preset();
    let mut found = Vec::new();
    if strategy.audience.is_empty() {
        found.push("no audience: any token of this identity provider for this client passes");
    }
    if !introspects {
        found.extend(opaque(preset.opaque, strategy));
    }
    let mut issuers = std::iter::once(&provider.issuer).chain(&provider.extra_issuers);
    if provider.vendor == Vendor::Okta && issuers.any(|issuer| is_org(issuer)) {
        found.push(ORG);
    }
    if provider.vendor == Vendor::Azure && asks_for_graph(strategy) {
        found.push(GRAPH);
    }
    if strategy.client_credentials {
        if !provider.tenants.is_empty() && provider.token_endpoint.is_none() {
            found.push(
                "the issuer is one for many tenants, and for client credentials Entra has to be \
                 asked as one of them: set the identity provider's token_endpoint to that tenant's",
            );
        }
        found.extend(request(provider.vendor, strategy));
    }
    found
}

/// What becomes of opaque tokens that nobody introspects.
fn opaque(opaque: Opaque, strategy: &Strategy) -> Option<&'static str> {
    let by_word = strategy.client_credentials && !strategy.audience.is_empty();
    match opaque {
        Opaque::Never => None,
        Opaque::Perhaps => by_word.then_some(
            "if the token endpoint hands out opaque tokens, audience is not checked for \
             client_credentials: the identity provider has no client to introspect as",
        ),
        Opaque::Usually if strategy.bearer => Some(
            "tokens of this vendor are opaque unless they are set to JWT there, and opaque ones \
             are refused as bearer: give the identity provider a client for introspection; for \
             client_credentials the identity provider's word counts then, and audience is not \
             checked",
        ),
        Opaque::Usually => by_word.then_some(
            "tokens of this vendor are opaque unless they are set to JWT there, and then audience \
             is not checked: give the identity provider a client for introspection",
        ),
    }
}

/// What is asked of the token endpoint.
fn request(vendor: Vendor, strategy: &Strategy) -> Option<&'static str> {
    let request = &strategy.token_request;
    let scopes = || request.scope.iter().flat_map(|scope| scope.split(' '));
    let given = |name: &str| request.parameters.iter().any(|(given, _)| given == name);
    match vendor {
        Vendor::Okta if request.scope.is_none() => Some(
            "no token_request.scope: Okta refuses client credentials without one, unless the \
             authorization server has a default scope: ask for a custom scope of its own",
        ),
        Vendor::Okta if scopes().any(|scope| OPENID_SCOPES.contains(&scope)) => Some(
            "token_request.scope: Okta refuses OpenID scopes such as openid with client \
             credentials: ask for a custom scope of the authorization server",
        ),
        Vendor::Azure if scopes().any(|scope| !scope.ends_with(DEFAULT)) && !given("resource") => {
            Some(
                "token_request.scope: Entra takes one scope with client credentials, that of the API \
             and /.default, as in api://APP_ID/.default",
            )
        }
        _ => match vendor.preset().names_api {
            NamesApi::Audience if strategy.audience.is_empty() && request.audience.is_none() => {
                Some(
                    "no audience and no token_request.audience: Auth0 refuses client credentials \
                     without the identifier of an API",
                )
            }
            NamesApi::DefaultScope
                if strategy.audience.is_empty()
                    && request.scope.is_none()
                    && !given("resource") =>
            {
                Some(
                    "no audience and no token_request.scope: Entra is asked for no API: ask for \
                     api://APP_ID/.default",
                )
            }
            _ => None,
        },
    }
}

fn asks_for_graph(strategy: &Strategy) -> bool {
    let names = |text: &str| GRAPH_NAMES.iter().any(|name| text.starts_with(name));
    let request = &strategy.token_request;
    let resources = request
        .parameters
        .iter()
        .filter(|(name, _)| name == "resource");
    let mut asked = (request.scope.iter().flat_map(|scope| scope.split(' ')))
        .chain(resources.map(|(_, value)| value.as_str()))
        .chain(strategy.audience.first().map(String::as_str));
    asked.any(names)
}

/// Whether an issuer of Okta's is the org itself: it names no authorization server.
fn is_org(issuer: &str) -> bool {
    !issuer.contains("/oauth2/")
}
