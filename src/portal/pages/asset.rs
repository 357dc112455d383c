//! What pages load beside themselves: one stylesheet, one script, one picture, all from here.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use axum::{
    extract::Path,
    response::{IntoResponse as _, Response},
};
use http::{Uri, header};

use crate::portal::api::problem::{Kind, Problem};

const STYLE: &str = include_str!("templates/style.css");
const SCRIPT: &str = include_str!("templates/page.js");
const ICON: &str = include_str!("templates/icon.svg");

/// Where browsers load them. The path changes with what is there, so that they keep it for good.
pub(super) struct Assets {
    pub(super) style: String,
    pub(super) script: String,
    pub(super) icon: String,
}

pub(super) static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets {
    style: path(STYLE, "style.css"),
    script: path(SCRIPT, "page.js"),
    icon: path(ICON, "icon.svg"),
});

fn path(text: &str, name: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let first = digest.as_ref().iter().take(6);
    let version: String = first.map(|byte| format!("{byte:02x}")).collect();
    format!("/assets/{version}/{name}")
}

/// One of them. A page of another version of this program gets what there is, not to be kept.
pub(super) async fn get(
    Path((_, name)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let (form, text, place) = match name.as_str() {
        "style.css" => ("text/css; charset=utf-8", STYLE, &ASSETS.style),
        "page.js" => ("text/javascript; charset=utf-8", SCRIPT, &ASSETS.script),
        "icon.svg" => ("image/svg+xml", ICON, &ASSETS.icon),
        _ => return Err(Problem::new(Kind::NotFound)),
    };
    let keep = match uri.path() == place {
        true => "public, max-age=31536000, immutable",
        false => "no-store",
    };
    let fields = [(header::CONTENT_TYPE, form), (header::CACHE_CONTROL, keep)];
    Ok((fields, text).into_response())
}
