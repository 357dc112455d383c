//! A real browser, Debian's Chromium, driven through `playwright-core`.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    sync::Mutex,
    time::timeout,
};

use super::{certificates::Pair, peer::node};

/// Longest wait for one step.
const PATIENCE: Duration = Duration::from_secs(60);

/// The running browser; it ends with this value.
pub(crate) struct Browser {
    pipes: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
    _child: Child,
}

/// A window with cookies and connections of its own.
pub(crate) struct Window<'b> {
    browser: &'b Browser,
    name: String,
}

impl Browser {
    /// Starts one that takes these certificates for good, and every host below `.test` for this
    /// machine.
    pub(crate) async fn start(certificates: &[&Pair]) -> Self {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers");
        let keys: Vec<&str> = certificates.iter().map(|pair| &*pair.public_key).collect();
        let options = json!({"executable": "/usr/bin/chromium", "keys": keys});
        let mut child = node(directory, "browser.mjs", &[&options.to_string()]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = timeout(PATIENCE, lines.next_line()).await.unwrap();
        first
            .unwrap()
            .expect("chromium and playwright-core are installed: run tests/run.sh");
        Self {
            pipes: Mutex::new((child.stdin.take().unwrap(), lines)),
            _child: child,
        }
    }

    /// Opens a window (options of Playwright's `newContext`).
    pub(crate) async fn window(&self, name: &str, options: Value) -> Window<'_> {
        let name = name.to_owned();
        self.run(json!({"command": "open", "name": name, "options": options}))
            .await;
        Window {
            browser: self,
            name,
        }
    }

    async fn run(&self, command: Value) -> Value {
        let mut pipes = self.pipes.lock().await;
        let line = format!("{command}\n");
        pipes.0.write_all(line.as_bytes()).await.unwrap();
        let answer = timeout(PATIENCE, pipes.1.next_line()).await;
        let answer = answer.expect("an answer in time").unwrap();
        let answer: Value = serde_json::from_str(&answer.expect("the browser runs")).unwrap();
        assert!(answer.get("error").is_none(), "{command}: {answer}");
        answer["value"].clone()
    }
}

impl Window<'_> {
    /// Goes to an address, as if typed; the status, and the text as it came.
    pub(crate) async fn go(&self, url: &str) -> (u64, String) {
        let command = json!({"command": "goto", "name": self.name, "url": url});
        let answer = self.browser.run(command).await;
        let body = answer["body"].as_str().unwrap_or_default().to_owned();
        (answer["status"].as_u64().unwrap(), body)
    }

    /// What a script of the page says, or promises.
    pub(crate) async fn evaluate(&self, script: &str) -> Value {
        let command = json!({"command": "evaluate", "name": self.name, "script": script});
        self.browser.run(command).await
    }

    async fn run(&self, command: &str, mut facts: Value) -> Value {
        facts["command"] = json!(command);
        facts["name"] = json!(self.name);
        self.browser.run(facts).await
    }

    /// Writes into the field with this label.
    pub(crate) async fn fill(&self, label: &str, value: &str) {
        let facts = json!({"label": label, "value": value});
        self.run("fill", facts).await;
    }

    /// Presses a button that leads to a page, with the keyboard; the page's status.
    pub(crate) async fn press(&self, text: &str) -> u64 {
        let facts = json!({"role": "button", "text": text});
        self.run("press", facts).await.as_u64().unwrap_or_default()
    }

    /// Follows a link, with the keyboard; the page's status.
    pub(crate) async fn follow(&self, text: &str) -> u64 {
        let facts = json!({"role": "link", "text": text});
        self.run("press", facts).await.as_u64().unwrap_or_default()
    }

    /// Presses the first button with this name, which leads nowhere.
    pub(crate) async fn push(&self, text: &str) {
        let facts = json!({"role": "button", "text": text});
        self.run("push", facts).await;
    }

    /// What the page says.
    pub(crate) async fn read(&self) -> String {
        let text = self.run("read", json!({})).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// The text of one element.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let text = self.run("text", json!({"selector": selector})).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// The path of the page.
    pub(crate) async fn place(&self) -> String {
        let place = self.run("place", json!({})).await;
        place.as_str().unwrap_or_default().to_owned()
    }

    /// What axe-core finds wrong with the page.
    pub(crate) async fn complaints(&self) -> Vec<Value> {
        let found = self.run("axe", json!({})).await;
        found.as_array().unwrap().clone()
    }

    /// Shows the page in `light` or `dark`, so many pixels wide.
    pub(crate) async fn media(&self, scheme: &str, width: u32) {
        let facts = json!({"scheme": scheme, "width": width});
        self.run("media", facts).await;
    }

    /// The cookies that it holds.
    pub(crate) async fn cookies(&self) -> Vec<Value> {
        let command = json!({"command": "cookies", "name": self.name});
        let cookies = self.browser.run(command).await;
        cookies.as_array().unwrap().clone()
    }
}
