//! What a real browser makes of the gateway, over TLS and HTTP/2.

use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};

use crate::harness::{
    APP, SECRET, World,
    browser::{Browser, Window},
    certificates::{Authority, Pair},
    client::Connection,
    eventually,
    gateway::{Setup, runs},
    idp::Overlap,
    keys::Alg,
    session_key,
};

/// The gateway as browsers see it: `api.test` has the API; `page.api.test` is another origin of the
/// same site, which browsers send its cookies from; `other.test` is another site. `/open` is a page
/// of each.
async fn world(pair: &Pair, change: impl FnOnce(&mut Setup)) -> World {
    World::with(|setup| {
        setup
            .files
            .push(("server.crt".to_owned(), pair.certificate.clone()));
        setup
            .files
            .push(("server.key".to_owned(), pair.key.clone()));
        setup.config["listeners"][0]["tls"] =
            json!({"certificates": [{"certificate": "server.crt", "key": "server.key"}]});
        let flights = &mut setup.config["apis"][0];
        flights["routes"][0]["hosts"] = json!(["api.test"]);
        change(setup);
    })
    .await
}

fn pair(authority: &Authority) -> Pair {
    authority.issue(&["api.test", "page.api.test", "other.test"])
}

fn url(world: &World, host: &str, path: &str) -> String {
    format!("https://{host}:{}{path}", world.gateway.proxy.port())
}

/// A window that has earned a cookie: the browser was asked for a password, and gave it.
async fn signed_in<'b>(browser: &'b Browser, world: &World, name: &str) -> Window<'b> {
    let credentials = json!({"username": APP, "password": SECRET});
    let window = browser
        .window(name, json!({"httpCredentials": credentials}))
        .await;
    let (status, body) = window.go(&url(world, "api.test", "/flights")).await;
    assert_eq!(status, 200, "{body}");
    window
}

/// The same cookies without the password.
async fn with_cookies_of<'b>(browser: &'b Browser, window: &Window<'_>, name: &str) -> Window<'b> {
    let state = json!({"cookies": window.cookies().await, "origins": []});
    browser.window(name, json!({"storageState": state})).await
}

/// A page's fetch: its status and code, or `blocked` where the browser kept it from the page.
fn fetch(url: &str, options: &str) -> String {
    format!(
        "fetch({url:?}, {options}).then(async r => ({{ status: r.status, \
         body: await r.json().catch(() => null), id: r.headers.get('x-request-id') }}), \
         () => 'blocked')"
    )
}

/// A WebSocket that a page opens: `closed`, or what came back for one message.
fn socket(url: &str) -> String {
    let url = url.replacen("https", "wss", 1);
    format!(
        "new Promise(done => {{ const s = new WebSocket({url:?}); \
         s.onopen = () => s.send('hello'); s.onmessage = m => done(m.data); \
         s.onclose = () => done('closed'); }})"
    )
}

#[tokio::test]
async fn a_cookie_is_earned_by_a_password_and_then_does_alone() {
    let authority = Authority::new();
    let pair = pair(&authority);
    let world = world(&pair, |_| {}).await;
    let browser = Browser::start(&[&pair]).await;
    let window = signed_in(&browser, &world, "asked").await;
    let seen = world.upstream.last();
    assert_eq!(seen.header("x-auth-method"), Some("client_credentials"));
    assert_eq!(seen.header("authorization"), None);
    let hop = "performance.getEntriesByType('navigation')[0].nextHopProtocol";
    assert_eq!(window.evaluate(hop).await, "h2");

    let cookies = window.cookies().await;
    let [cookie] = cookies.as_slice() else {
        panic!("one cookie: {cookies:?}");
    };
    assert_eq!(cookie["name"], "__Host-dcr_session");
    assert_eq!(cookie["domain"], "api.test", "for this host alone");
    assert_eq!(cookie["path"], "/");
    assert_eq!(cookie["secure"], true);
    assert_eq!(cookie["httpOnly"], true);
    assert_eq!(cookie["sameSite"], "Lax");
    assert!(cookie["expires"].as_f64().unwrap() > 0.0);
    assert_eq!(window.evaluate("document.cookie").await, "");

    let alone = with_cookies_of(&browser, &window, "alone").await;
    let flights = url(&world, "api.test", "/flights");
    let (status, body) = alone.go(&flights).await;
    assert_eq!(status, 200, "{body}");
    let seen = world.upstream.last();
    assert_eq!(seen.header("x-auth-method"), Some("session"));
    assert_eq!(seen.header("x-credential-identifier"), Some(APP));
    assert_eq!(seen.header("cookie"), None);
    let answer = alone
        .evaluate(&fetch(&flights, "{ method: 'POST', body: 'x' }"))
        .await;
    assert_eq!(answer["status"], 200, "{answer}");
}

#[tokio::test]
async fn logout_ends_the_session_in_the_browser_and_everywhere() {
    let authority = Authority::new();
    let pair = pair(&authority);
    let world = world(&pair, |_| {}).await;
    let browser = Browser::start(&[&pair]).await;
    let earned = signed_in(&browser, &world, "asked").await;
    let first = with_cookies_of(&browser, &earned, "first").await;
    let second = with_cookies_of(&browser, &earned, "second").await;
    let flights = url(&world, "api.test", "/flights");
    for window in [&first, &second] {
        assert_eq!(window.go(&flights).await.0, 200);
    }
    let log_out = fetch(&url(&world, "api.test", "/-/logout"), "{ method: 'POST' }");
    assert_eq!(first.evaluate(&log_out).await["status"], 204);
    assert!(first.cookies().await.is_empty());
    let answer = first.evaluate(&fetch(&flights, "{}")).await;
    assert_eq!(answer["body"]["code"], "credentials_required", "{answer}");
    // The other window still has its cookie, which is worth nothing now.
    assert_eq!(second.cookies().await.len(), 1);
    let answer = second.evaluate(&fetch(&flights, "{}")).await;
    assert_eq!(answer["body"]["code"], "invalid_session", "{answer}");
    assert!(second.cookies().await.is_empty(), "it is cleared");
}

#[tokio::test]
async fn another_origin_can_do_nothing_with_the_cookie() {
    let authority = Authority::new();
    let pair = pair(&authority);
    let world = world(&pair, |_| {}).await;
    let browser = Browser::start(&[&pair]).await;
    let earned = signed_in(&browser, &world, "asked").await;
    let flights = url(&world, "api.test", "/flights");
    let hits = || {
        let requests = world.upstream.requests();
        requests.iter().filter(|r| r.target == "/flights").count()
    };
    let before = hits();
    // From another site the browser sends no cookie at all; from another origin of the same site it
    // does, and the gateway refuses.
    for (host, code) in [
        ("other.test", "credentials_required"),
        ("page.api.test", "cross_site_request"),
    ] {
        let refusals = || {
            let lines = world.gateway.access_log();
            lines.iter().filter(|line| line["code"] == code).count()
        };
        let known = refusals();
        // One window each: an answer to a form of the last one could still be on its way.
        let window = with_cookies_of(&browser, &earned, host).await;
        let page = url(&world, host, "/open");
        assert_eq!(window.go(&page).await.0, 200);
        // A request that needs no preflight; the page may send it, and not read the answer.
        let simple = "{ method: 'POST', mode: 'no-cors', credentials: 'include', body: 'x' }";
        let answer = window.evaluate(&fetch(&flights, simple)).await;
        assert_eq!(answer["status"], 0, "{answer}");
        eventually!(refusals() == known + 1, "the POST from {host} is refused");
        assert_eq!(window.evaluate(&socket(&flights)).await, "closed");
        eventually!(
            refusals() == known + 2,
            "the WebSocket from {host} is refused"
        );
        // A form leaves the page for the answer.
        let form = format!(
            "(() => {{ const f = document.createElement('form'); f.method = 'POST'; \
             f.action = {flights:?}; document.body.append(f); f.submit(); }})()"
        );
        window.evaluate(&form).await;
        eventually!(refusals() == known + 3, "the form from {host} is refused");
        assert_eq!(hits(), before, "the upstream saw none of it");
    }
    // While a link that is followed is no harm.
    let window = with_cookies_of(&browser, &earned, "follower").await;
    let page = url(&world, "other.test", "/open");
    assert_eq!(window.go(&page).await.0, 200);
    let link = format!("(() => {{ location.href = {flights:?}; }})()");
    window.evaluate(&link).await;
    eventually!(hits() == before + 1, "the link is followed");
    let seen = world.upstream.last();
    assert_eq!(seen.header("x-auth-method"), Some("session"));
}

#[tokio::test]
async fn pages_of_allowed_origins_read_answers_and_those_of_others_do_not() {
    let authority = Authority::new();
    let pair = pair(&authority);
    let world = world(&pair, |_| {}).await;
    let allowed = [
        url(&world, "page.api.test", ""),
        url(&world, "other.test", ""),
    ];
    let change = |config: &mut Value| {
        config["apis"][0]["cors"] = json!({"origins": allowed, "credentials": true})
    };
    world.gateway.reconfigure(change).await;
    let browser = Browser::start(&[&pair]).await;
    let flights = url(&world, "api.test", "/flights");

    // The same site: the browser sends the cookie, and the origin is trusted with it.
    let earned = signed_in(&browser, &world, "asked").await;
    let page = with_cookies_of(&browser, &earned, "page").await;
    page.go(&url(&world, "page.api.test", "/open")).await;
    let json = "{ method: 'PUT', credentials: 'include', body: '{}', \
                headers: { 'content-type': 'application/json', 'x-of-the-page': '1' } }";
    let answer = page.evaluate(&fetch(&flights, json)).await;
    assert_eq!(answer["status"], 200, "{answer}");
    assert!(
        answer["id"].is_string(),
        "X-Request-Id is exposed: {answer}"
    );
    let seen = world.upstream.last();
    assert_eq!(seen.method, "PUT");
    assert_eq!(seen.header("x-auth-method"), Some("session"));
    let log_out = url(&world, "api.test", "/-/logout");
    let options = "{ method: 'POST', credentials: 'include' }";
    let answer = page.evaluate(&fetch(&log_out, options)).await;
    assert_eq!(answer["status"], 204, "{answer}");
    assert!(page.cookies().await.is_empty());

    // Another site: with a token of its own.
    let other = browser.window("other", json!({})).await;
    other.go(&url(&world, "other.test", "/open")).await;
    let bearer = format!(
        "{{ headers: {{ authorization: 'Bearer {}' }} }}",
        world.token()
    );
    let answer = other.evaluate(&fetch(&flights, &bearer)).await;
    assert_eq!(answer["status"], 200, "{answer}");
    let seen = world.upstream.last();
    assert_eq!(seen.header("x-auth-method"), Some("bearer"));
    let answer = other.evaluate(&fetch(&flights, "{}")).await;
    assert_eq!(answer["status"], 401, "{answer}");
    assert_eq!(answer["body"]["code"], "credentials_required", "{answer}");

    // An origin that nobody named.
    let hits = world.upstream.hits();
    let foreign = browser.window("foreign", json!({})).await;
    foreign.go(&url(&world, "foreign.test", "/open")).await;
    let answer = foreign.evaluate(&fetch(&flights, &bearer)).await;
    assert_eq!(answer, "blocked");
    let answer = foreign.evaluate(&fetch(&flights, "{}")).await;
    assert_eq!(answer, "blocked");
    assert_eq!(
        world.upstream.hits(),
        hits + 1,
        "its page, and nothing else"
    );
}

/// A page that goes on asking on its cookie, thirty times a second, and keeps what it got.
const WALK: &str = "(() => { window.walk = { statuses: {}, failures: [], over: false }; \
    const w = window.walk; \
    (async () => { while (!w.over) { \
        try { const r = await fetch('/flights'); await r.text(); \
              w.statuses[r.status] = (w.statuses[r.status] || 0) + 1; } \
        catch (e) { w.failures.push(String(e)); } \
        await new Promise(done => setTimeout(done, 30)); } w.over = 'yes'; })(); })()";

#[tokio::test]
async fn a_walk_goes_on_while_everything_is_replaced_under_it() {
    let authority = Authority::new();
    let (pair, renewed) = (pair(&authority), pair(&authority));
    let world = world(&pair, |setup| {
        setup.config["upgrade_socket"] = json!("upgrade.sock");
    })
    .await;
    let gateway = &world.gateway;
    let browser = Browser::start(&[&pair, &renewed]).await;
    let earned = signed_in(&browser, &world, "asked").await;
    let window = with_cookies_of(&browser, &earned, "walker").await;
    window.go(&url(&world, "api.test", "/flights")).await;
    window.evaluate(WALK).await;
    let walked = || async { window.evaluate("window.walk").await };
    let further = || async {
        let count = |walk: &Value| walk["statuses"]["200"].as_u64().unwrap_or(0);
        let before = count(&walked().await);
        eventually!(count(&walked().await) > before + 10, "the walk goes on");
        let walk = walked().await;
        assert_eq!(walk["failures"], json!([]));
        assert_eq!(walk["statuses"].as_object().unwrap().len(), 1, "{walk}");
    };
    further().await;

    world.idp.rotate(Alg::Rs256, Overlap::Keep);
    let bearer = world.flights().host("api.test").bearer(&world.token());
    let stream = authority.connect(gateway.proxy, "api.test", &["http/1.1"]);
    let mut connection = Connection::on(stream.await.unwrap());
    let answer = bearer.send_on(&mut connection).await.unwrap();
    answer.assert_status(200);
    further().await;

    gateway.overwrite("server.crt", &renewed.certificate);
    gateway.overwrite("server.key", &renewed.key);
    let shown = async || {
        let stream = authority.connect(gateway.proxy, "api.test", &[]);
        let stream = stream.await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let new = CertificateDer::from_pem_slice(renewed.certificate.as_bytes()).unwrap();
    eventually!(
        shown().await == new.to_vec(),
        "the renewed certificate is shown"
    );
    further().await;

    gateway.overwrite("secrets/newer", &session_key(8));
    let ring = json!([{"file": "secrets/newer"}, {"file": "secrets/session"}]);
    gateway
        .reconfigure(|config| {
            config["session_keys"] = ring;
            config["limits"] = json!({"header_count": 50});
        })
        .await;
    further().await;

    let old = gateway.pid();
    let successor = gateway.successor().await;
    gateway.signal("QUIT").await;
    eventually!(!runs(old), "the old process has ended");
    further().await;
    assert!(successor.logged(&["took the old process's place"]));

    window.evaluate("window.walk.over = true").await;
    eventually!(walked().await["over"] == "yes", "the walk ends");
    let walk = walked().await;
    assert_eq!(walk["failures"], json!([]), "nothing was lost");
    let hops = "[...new Set(performance.getEntriesByType('resource').map(e => e.nextHopProtocol))]";
    assert_eq!(window.evaluate(hops).await, json!(["h2"]));
    let requests = world.upstream.requests();
    let by_session = requests
        .iter()
        .filter(|r| r.header("x-auth-method") == Some("session"));
    let answered = walk["statuses"]["200"].as_u64().unwrap();
    assert!(by_session.count() as u64 >= answered, "all on the cookie");
}
