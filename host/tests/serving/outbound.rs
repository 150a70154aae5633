//! Outbound HTTP from a component: allowed and refused hosts, and the block of private networks.

use crate::house::{Files, House};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers every connection once with "there".
async fn somebody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nthere").await;
        }
    });
    address
}

async fn house(hosts: &[&str], blocked: bool) -> House {
    let files = Files::with_hosts(hosts);
    if blocked {
        let networks = "[outbound_networking]\nblock_networks = [\"private\"]\n[sqlite_database.test]";
        files.edit("runtime-config.toml", "[sqlite_database.test]", networks);
    }
    files.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_host_answers_and_another_port_is_refused() {
    let (there, elsewhere) = (somebody().await, somebody().await);
    let house = house(&[&format!("http://{there}")], false).await;
    assert_eq!(house.text(&format!("/guest/fetch?http://{there}/path")).await, "200 there");
    let told = house.error(&format!("/guest/fetch?http://{elsewhere}/path")).await;
    assert!(told.contains("HttpRequestDenied"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_does_not_reach_into_a_private_network_but_a_name_does() {
    let there = somebody().await;
    let path = format!("/guest/fetch?http://{there}/");
    let by_name = format!("http://{there}");
    for (hosts, allowed) in [(vec!["http://*:*"], false), (vec!["http://*:*", by_name.as_str()], true)] {
        let house = house(&hosts, true).await;
        let got = house.get(&path).await;
        assert_eq!(got.text.contains("DestinationIpProhibited"), !allowed, "{}", got.text);
        assert_eq!(got.status == 200, allowed);
    }
    let by_other_name = format!("/guest/fetch?http://localhost:{}/", there.port());
    let told = house(&["http://*:*", &by_name], true).await.error(&by_other_name).await;
    assert!(told.contains("DestinationIpProhibited"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_where_nobody_listens_is_told_as_such() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let house = house(&["http://*:*"], false).await;
    let told = house.error(&format!("/guest/fetch?http://{nobody}/")).await;
    assert!(told.contains("ConnectionRefused"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_accepts_and_says_nothing_is_given_up_on() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = silent.local_addr().expect("an address");
    let mut files = Files::with_hosts(&["http://*:*", "https://*:*"]);
    files.config.limits.outbound_timeout = Duration::from_millis(200);
    files.config.limits.connect_timeout = Duration::from_millis(200);
    let house = files.start().await;
    let told = house.error(&format!("/guest/fetch?http://{address}/")).await;
    assert!(told.contains("ConnectionReadTimeout"), "{told}");
    let told = house.error(&format!("/guest/fetch?https://{address}/")).await;
    assert!(told.contains("Timeout"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_speak_tls_is_told_as_such() {
    let there = somebody().await;
    let told = house(&["https://*:*"], false).await.error(&format!("/guest/fetch?https://{there}/")).await;
    assert!(told.contains("Tls"), "{told}");
}
