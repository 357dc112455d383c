//! What does a verdict cost, from a request's head to a permit, without Pingora and without the
//! network?
//!
//! `path` checks a path for ambiguity, `route` finds its API among 1, 100 and 1,000 routes,
//! `credential` reads an Authorization line, `authenticate` is the whole rest of the verdict for
//! a credential that the gateway knows: caches, times, application, registration, scopes.
//!
//! Fixed: `now`; one strategy with all three methods; a token of 640 bytes, signed RS256; an
//! application with an approved registration; a request with the fields that curl sends and one
//! credential. The identity provider is a stand-in in this process, asked before anything is
//! measured and never again: each verdict is ready at once, or the bench fails.
//!
//! How to read it: `path` + `route` + `authenticate` (which contains `credential`) is what the
//! gateway adds to a proxied request before the upstream is chosen; the bound of a whole request
//! is in `README.md` here. `route` must not grow with the number of routes.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]

mod mint;
mod world;

use std::hint::black_box;

use base64::{Engine, prelude::BASE64_STANDARD};
use criterion::Criterion;
use dcr_gateway::{
    clock,
    model::credential::Credential,
    proxy::{
        path::Path,
        route::{Found, Table},
    },
};
use futures_util::FutureExt;
use http::{Method, header};
use jsonwebtoken::Algorithm;
use mint::{CLIENT, Key};
use tokio::runtime::Runtime;
use world::{World, config, fields};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    path(&mut criterion);
    route(&mut criterion);
    let runtime = Runtime::new().unwrap();
    let now = clock::now();
    let token = Key::new(Algorithm::RS256);
    let world = World::new(&runtime, &token, now);
    let token = token.token(now.secs(), 0);
    let basic = format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{CLIENT}:secret"))
    );
    let bearer = format!("Bearer {token}");
    credential(&mut criterion, &[("basic", &basic), ("bearer", &bearer)]);
    let cookie = world.cookie(&runtime, &bearer);
    for (name, field, value) in [
        ("basic", header::AUTHORIZATION, &basic),
        ("bearer", header::AUTHORIZATION, &bearer),
        ("session", header::COOKIE, &cookie),
    ] {
        let fields = fields(Some((field, value)));
        runtime.block_on(world.verdict(&fields)).unwrap();
        criterion.bench_function(&format!("authenticate/{name}"), |bencher| {
            bencher.iter(|| {
                world
                    .verdict(black_box(&fields))
                    .now_or_never()
                    .unwrap()
                    .unwrap()
            });
        });
    }
    let none = fields(None);
    criterion.bench_function("authenticate/none", |bencher| {
        bencher.iter(|| {
            world
                .verdict(black_box(&none))
                .now_or_never()
                .unwrap()
                .unwrap_err()
        });
    });
    criterion.final_summary();
}

fn path(criterion: &mut Criterion) {
    for (name, path) in [
        ("plain", "/api-7/flights/2026-11-21/OSL/seats"),
        (
            "escaped",
            "/api-7/flights/2026-11-21/Troms%C3%B8/seats;class=1",
        ),
    ] {
        criterion.bench_function(&format!("path/{name}"), |bencher| {
            bencher.iter(|| Path::check(black_box(path)).unwrap());
        });
    }
}

fn route(criterion: &mut Criterion) {
    for count in [1, 100, 1000] {
        let directory = tempfile::tempdir().unwrap();
        let table = Table::new(&config(directory.path(), "http://127.0.0.1:1", count).apis);
        let path = format!("/api-{}/flights/2026-11-21/OSL/seats", count / 2);
        let path = Path::check(&path).unwrap();
        criterion.bench_function(&format!("route/{count}"), |bencher| {
            bencher.iter(|| {
                let found = table.find(black_box("api.example.com:8000"), &path, &Method::GET);
                assert!(matches!(found, Found::Api { .. }));
            });
        });
    }
}

fn credential(criterion: &mut Criterion, lines: &[(&str, &String)]) {
    for (name, line) in lines {
        criterion.bench_function(&format!("credential/{name}"), |bencher| {
            bencher.iter(|| Credential::parse(black_box(line.as_bytes())).unwrap());
        });
    }
}
