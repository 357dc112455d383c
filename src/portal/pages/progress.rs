//! Work that may take a while, since an identity provider has to do its part: after a moment the page
//! begins to be sent, and shows that it goes on until the rest of it is there. No script is needed.

use std::{
    convert::Infallible,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use askama::Template;
use axum::{body::Body, response::Response};
use futures_util::stream;
use http::Method;
use tokio::{task::JoinHandle, time::timeout};

use super::page::{Done, Frame, html};
use crate::portal::api::{
    Asked,
    problem::{Kind, Problem},
    request::RequestId,
};

/// How long somebody may wait without being told.
const PROMPT: Duration = Duration::from_secs(1);

/// How often they are told, more often than a silent connection is given up.
const TICK: Duration = Duration::from_secs(1);

/// Stands where the layout has what a page is about.
const PLACE: &str = "<!--main-->";

#[derive(Template)]
#[template(path = "progress.html", config = ".askama.toml")]
struct Progress {
    title: &'static str,
    words: &'static str,
}

/// How far a page has been sent.
enum Step {
    Begun(JoinHandle<Done>, String, String),
    Working(JoinHandle<Done>, String),
    Over,
}

/// Does some work, and shows what came of it: whole where it is soon there, else bit by bit.
pub(super) async fn shown(
    frame: Frame,
    id: RequestId,
    (title, words): (&'static str, &'static str),
    work: impl Future<Output = Result<Done, Problem>> + Send + 'static,
) -> Response {
    let (told, path) = (id.clone(), frame.path().to_owned());
    let operation = frame.operation.clone();
    let is_late = Arc::new(AtomicBool::new(false));
    let late = Arc::clone(&is_late);
    let work = async move {
        let done = work.await;
        let done = done.unwrap_or_else(|problem| failed(&problem, &told, &path));
        // Else whoever answers logs it.
        if let (true, Some(problem)) = (late.load(Ordering::Relaxed), done.problem()) {
            let (code, reason) = (problem.code(), problem.logged());
            tracing::warn!(request_id = %told, code, reason, "a request failed after a while");
        }
        drop(operation);
        done
    };
    // A task of its own, so that it runs to its end, whoever goes away meanwhile.
    let mut task = tokio::spawn(work);
    if let Ok(done) = timeout(PROMPT, &mut task).await {
        let done =
            done.unwrap_or_else(|_| failed(&Problem::new(Kind::Internal), &id, frame.path()));
        return frame.answer(done);
    }
    is_late.store(true, Ordering::Relaxed);
    let whole = frame.whole(title, PLACE);
    let (before, after) = whole.split_once(PLACE).unwrap_or((&whole, ""));
    let progress = Progress { title, words };
    let begun = format!("{before}{}", progress.render().unwrap_or_default());
    let first = Step::Begun(task, begun, after.to_owned());
    let steps = stream::unfold(first, move |step| next(step, id.clone()));
    html(Body::from_stream(steps))
}

async fn next(step: Step, id: RequestId) -> Option<(Result<String, Infallible>, Step)> {
    match step {
        Step::Begun(task, begun, after) => Some((Ok(begun), Step::Working(task, after))),
        Step::Working(mut task, after) => {
            let Ok(done) = timeout(TICK, &mut task).await else {
                return Some((Ok("·\n".to_owned()), Step::Working(task, after)));
            };
            let done = done.unwrap_or_else(|_| failed(&Problem::new(Kind::Internal), &id, "/"));
            let rest = rest(&done);
            Some((Ok(format!("</p></section>{rest}{after}")), Step::Over))
        }
        Step::Over => None,
    }
}

/// What stands in place of the progress.
fn rest(done: &Done) -> String {
    match done {
        Done::Elsewhere(path) => {
            let there = There { path };
            there.render().unwrap_or_default()
        }
        Done::Shown(shown) => {
            format!("<div class=\"result\">{}</div>", shown.main())
        }
    }
}

/// Leads on where a redirect comes too late.
#[derive(Template)]
#[template(
    source = "<meta http-equiv=\"refresh\" content=\"0;url={{ path }}\"><div class=\"result\">\
              <p>It is done. <a href=\"{{ path }}\">Go on</a></p></div>",
    ext = "html"
)]
struct There<'a> {
    path: &'a str,
}

fn failed(problem: &Problem, id: &RequestId, path: &str) -> Done {
    let asked = Asked {
        id,
        method: &Method::POST,
        path,
    };
    Done::nothing(problem, &asked)
}
