//! nginx as a real upstream.

use serde_json::json;

use crate::harness::{World, client::Connection, eventually, nginx::Nginx};

#[tokio::test]
async fn requests_reach_it_over_one_kept_connection() {
    let nginx = Nginx::start(&[], |address| {
        format!("server {{ listen {address}; location / {{ return 200 'nginx'; }} }}")
    })
    .await;
    let world = World::with(|s| {
        s.config["apis"][1]["upstream"]["targets"] =
            json!([{"address": nginx.address.to_string()}]);
    })
    .await;
    let mut connection = Connection::open(world.gateway.proxy).await;
    for _ in 0..3 {
        let call = world.gateway.get("/open");
        let response = call.send_on(&mut connection).await.unwrap();
        assert_eq!(response.assert_status(200).text(), "nginx");
    }
    eventually!(nginx.access_log().len() == 3, "three requests are logged");
    let connections: Vec<_> = nginx
        .access_log()
        .iter()
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    assert!(
        connections.iter().all(|c| *c == connections[0]),
        "{connections:?}"
    );
}
