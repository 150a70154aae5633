//! Bounds of an invocation: what a component does wrong ends in a clean answer and touches nobody else.

use crate::house::{Files, House, post};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_is_a_500_and_the_next_request_is_served() {
    let house = House::usual().await;
    let got = house.get("/guest/trap").await;
    assert_eq!(got.status, 500, "{}", got.text);
    assert_eq!(got.headers["content-type"], "application/problem+json");
    assert_eq!(house.text("/guest/variable?greeting").await, "hello, world");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_loops_are_504s_while_others_are_served() {
    let mut files = Files::with_hosts(&[]);
    files.config.limits.request_timeout = Duration::from_secs(3);
    let house = files.start().await;
    let started = Instant::now();
    let address = house.address;
    let loops: Vec<_> = (0..4).map(|_| tokio::spawn(post(address, "/guest/loop", "".into()))).collect();
    while house.host.report().components[0].awake < 4 {
        assert!(started.elapsed() < Duration::from_secs(2), "four loops run");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(house.text("/guest/variable?greeting").await, "hello, world");
    for one in loops {
        assert_eq!(one.await.expect("an answer").status, 504);
    }
    assert_eq!(house.text("/guest/variable?greeting").await, "hello, world");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_bomb_is_a_500_within_its_bound() {
    let house = House::usual().await;
    let before = resident_mib();
    assert_eq!(house.get("/guest/bomb").await.status, 500);
    assert!(resident_mib() < before + 300, "{before} MiB grew to {} MiB", resident_mib());
    assert_eq!(house.text("/guest/variable?greeting").await, "hello, world");
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_above_one_mebibyte_is_a_413() {
    let house = House::usual().await;
    assert_eq!(house.post("/guest/echo", vec![b'x'; 1 << 20]).await.status, 200);
    assert_eq!(house.post("/guest/echo", vec![b'x'; (1 << 20) + 1]).await.status, 413);
    assert_eq!(house.text("/guest/large?3000000").await.len(), 3_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_place_even_to_wait_gets_503_and_when_to_come_again() {
    let mut files = Files::with_hosts(&[]);
    files.config.limits.request_timeout = Duration::from_millis(1000);
    files.config.limits.in_flight_max = 1;
    files.config.limits.waiting_max = 1;
    let house = files.start().await;
    let address = house.address;
    let loops: Vec<_> = (0..8).map(|_| tokio::spawn(post(address, "/guest/loop", "".into()))).collect();
    let mut overloaded = 0;
    for one in loops {
        let got = one.await.expect("an answer");
        overloaded += usize::from(got.headers.get("retry-after").is_some_and(|after| after == "1"));
        assert!([503, 504].contains(&got.status.as_u16()), "{got:?}");
    }
    assert!(overloaded >= 6, "{overloaded}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_its_answer_loses_its_place() {
    let mut files = Files::with_hosts(&[]);
    files.config.limits.request_timeout = Duration::from_millis(500);
    files.config.limits.in_flight_max = 1;
    let house = files.start().await;
    let mut deaf = TcpStream::connect(house.address).await.expect("a connection");
    deaf.write_all(b"GET /guest/large?30000000 HTTP/1.1\r\nhost: house\r\n\r\n").await.expect("it is sent");
    deaf.readable().await.expect("the answer begins");
    let deadline = Instant::now() + Duration::from_secs(20);
    while house.get("/guest/variable?greeting").await.status != 200 {
        assert!(Instant::now() < deadline, "its place is still taken");
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_at_a_time_each_get_their_own_answer() {
    let house = House::usual().await;
    let address = house.address;
    let one = |number: usize| async move {
        let path = format!("/guest/echo?{number}");
        let got = post(address, &path, format!("body {number}").into()).await;
        assert_eq!(got.text, format!("POST http://{address}{path} body {number}"));
    };
    let all: Vec<_> = (0..160).map(|number| tokio::spawn(one(number))).collect();
    for one in all {
        one.await.expect("its own answer");
    }
    let report = &house.host.report().components[0];
    assert_eq!(report.invocations[&200], 160);
    assert!(report.last_invocation.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_nobody_calls_goes_to_sleep() {
    let mut files = Files::with_hosts(&[]);
    files.config.limits.instance_idle_timeout = Duration::from_millis(20);
    let house = files.start().await;
    house.text("/guest/variable?greeting").await;
    let deadline = Instant::now() + Duration::from_secs(5);
    while house.host.report().components[0].awake > 0 {
        assert!(Instant::now() < deadline, "it is still awake");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(house.text("/guest/variable?greeting").await, "hello, world");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_what_is_in_flight_finish() {
    let mut files = Files::with_hosts(&[]);
    files.config.limits.request_timeout = Duration::from_millis(500);
    let house = files.start().await;
    let looping = tokio::spawn(post(house.address, "/guest/loop", "".into()));
    while house.host.report().components[0].awake == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    house.stop().await;
    assert_eq!(looping.await.expect("an answer").status, 504);
}
