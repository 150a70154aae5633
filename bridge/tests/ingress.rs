//! The ingress over a real socket, writing to the embedded log.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bridge::ingress::{EVENT_BYTES_MAX, Ingress, Notice};
use bridge::log::{Log, NewTopic, Partition, Record};
use bytes::Bytes;
use event::Event;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// An ingress that listens, and what it told the bridge.
struct House {
    address: SocketAddr,
    log: Log,
    notices: Rc<RefCell<Vec<Notice>>>,
    _folder: tempfile::TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl House {
    async fn open() -> House {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::embedded(&folder.path().join("log.db")).unwrap();
        let topic = |name: &str| NewTopic { name: name.into(), partitions: 1, replication: 1, retention: None };
        log.create_topics(vec![topic("payment"), topic("core")]).await.unwrap();
        House::on(log, folder).await
    }

    async fn on(log: Log, folder: tempfile::TempDir) -> House {
        let tokens = folder.path().join("tokens");
        std::fs::create_dir(&tokens).unwrap();
        std::fs::write(tokens.join("payment"), "old-payment\nnew-payment\n").unwrap();
        std::fs::write(tokens.join("core"), "core-token").unwrap();
        let notices = Rc::new(RefCell::new(Vec::new()));
        let told = Rc::clone(&notices);
        let tell = move |notice| told.borrow_mut().push(notice);
        let ingress = Rc::new(Ingress::new(log.clone(), Some(&tokens), EVENT_BYTES_MAX, tell));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let ingress = Rc::clone(&ingress);
                tokio::task::spawn_local(serve(stream, ingress));
            }
        });
        House { address, log, notices, _folder: folder }
    }

    async fn post(&self, path: &str, token: &str, headers: HeaderMap, body: impl Into<Bytes>) -> Answer {
        self.send(Method::POST, path, token, headers, body.into()).await
    }

    async fn send(&self, method: Method, path: &str, token: &str, headers: HeaderMap, body: Bytes) -> Answer {
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::task::spawn_local(connection);
        let mut request = Request::builder().method(method).uri(path).body(Full::new(body)).unwrap();
        *request.headers_mut() = headers;
        request.headers_mut().insert("host", "ingress".parse().unwrap());
        if !token.is_empty() {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn push(&self, path: &str, token: &str, events: &[Event]) -> Answer {
        let (headers, body) = event::http::encode_batch(events);
        self.post(path, token, headers, body).await
    }

    async fn written(&self, topic: &str) -> Vec<Record> {
        self.log.read(Partition::new(topic, 0), 0, 100).await.unwrap()
    }

    async fn ids(&self, topic: &str) -> Vec<String> {
        let decode = |record: Record| event::kafka::decode(&record.headers, record.value).unwrap().id;
        self.written(topic).await.into_iter().map(decode).collect()
    }
}

async fn serve(stream: tokio::net::TcpStream, ingress: Rc<Ingress>) {
    let answer = move |request: Request<Incoming>| {
        let ingress = Rc::clone(&ingress);
        async move { Ok::<Response<Full<Bytes>>, std::convert::Infallible>(ingress.answer(request).await) }
    };
    // A client that goes away is no fault of ours.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

fn paid(id: &str) -> Event {
    let mut event = Event::new(id, "/till/payment", "payment.invoice.paid");
    event.subject = Some("inv_1".into());
    event.datacontenttype = Some("application/json".into());
    event.data = Some(Bytes::from_static(b"{\"amount\":\"1.0\"}"));
    event
}

/// Checks a refusal, and that it is a problem document which names what is wrong.
fn refused(answer: &Answer, status: u16, names: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert!(answer.body.contains(names), "`{names}` is not in {}", answer.body);
}

async fn local<T>(story: impl Future<Output = T>) -> T {
    tokio::task::LocalSet::new().run_until(story).await
}

// promise: BRIDGE: ingress takes binary, structured and batched events
#[tokio::test]
async fn events_in_every_mode_are_written_before_the_answer() {
    local(async {
        let house = House::open().await;
        let (headers, body) = event::http::encode_binary(&paid("binary"));
        assert_eq!(house.post("/topics/payment", "old-payment", headers, body).await.status, 202);
        let (headers, body) = event::http::encode_structured(&paid("structured"));
        assert_eq!(house.post("/", "new-payment", headers, body).await.status, 202);
        assert_eq!(house.push("/", "new-payment", &[paid("a"), paid("b")]).await.status, 202);
        assert_eq!(house.ids("payment").await, ["binary", "structured", "a", "b"]);
        for record in house.written("payment").await {
            let event = event::kafka::decode(&record.headers, record.value).unwrap();
            assert_eq!(event, paid(&event.id));
            assert_eq!(record.key.as_deref(), Some(&b"inv_1"[..]));
        }
        let written = |events| Notice::Written { topic: "payment".into(), events };
        assert_eq!(*house.notices.borrow(), [written(1), written(1), written(2)]);
    })
    .await;
}

// promise: BRIDGE: a token names the topic that it may write
#[tokio::test]
async fn a_token_writes_to_its_own_topic_only() {
    local(async {
        let house = House::open().await;
        refused(&house.push("/topics/payment", "", &[paid("1")]).await, 401, "token");
        refused(&house.push("/topics/payment", "wrong", &[paid("1")]).await, 401, "token");
        refused(&house.push("/topics/payment", "core-token", &[paid("1")]).await, 403, "payment");
        refused(&house.push("/topics/absent", "core-token", &[paid("1")]).await, 403, "absent");
        assert_eq!(house.push("/", "", &[paid("1")]).await.headers["www-authenticate"], "Bearer");
        assert_eq!(house.ids("payment").await, Vec::<String>::new());
    })
    .await;
}

// promise: BRIDGE: a token names the topic that it may write
#[tokio::test]
async fn a_forged_fact_of_another_function_is_refused_at_every_path_and_in_every_mode() {
    local(async {
        let house = House::open().await;
        let forged = Event { kind: "payment.deposit.confirmed".into(), ..paid("forged") };
        let own = Event { kind: "core.user.registered".into(), ..paid("own") };
        for path in ["/", "/topics/core"] {
            for (headers, body) in [
                event::http::encode_binary(&forged),
                event::http::encode_structured(&forged),
                event::http::encode_batch(&[own.clone(), forged.clone()]),
            ] {
                refused(&house.post(path, "core-token", headers, body).await, 403, "payment.deposit.confirmed");
            }
        }
        assert_eq!(house.ids("core").await, Vec::<String>::new());
        assert_eq!(house.ids("payment").await, Vec::<String>::new());
    })
    .await;
}

// promise: BRIDGE: a bad push is refused with a problem that says what to do
#[tokio::test]
async fn bad_events_are_refused_by_name_and_nothing_of_a_batch_is_written() {
    local(async {
        let house = House::open().await;
        let json = |kind: &str| HeaderMap::from_iter([("content-type".parse().unwrap(), kind.parse().unwrap())]);
        let good = r#"{"specversion":"1.0","id":"1","source":"s","type":"payment.x.y"}"#;
        let cases = [
            ("application/cloudevents+json", "{".to_owned(), "JSON"),
            ("application/cloudevents+json", r#"{"specversion":"1.0","source":"s","type":"payment.x"}"#.into(), "`id`"),
            ("application/cloudevents+json", good.replace("1.0", "0.3"), "0.3"),
            ("application/cloudevents-batch+json", format!("[{good},{{}}]"), "specversion"),
            ("application/cloudevents+avro", good.into(), "avro"),
            ("application/json", good.into(), "specversion"),
        ];
        for (kind, body, names) in cases {
            refused(&house.post("/", "old-payment", json(kind), body).await, 400, names);
        }
        assert_eq!(house.ids("payment").await, Vec::<String>::new());
    })
    .await;
}

// promise: BRIDGE: an event above maxEventBytes is refused with 413
#[tokio::test]
async fn an_event_that_is_too_large_is_refused_and_its_batch_with_it() {
    local(async {
        let house = House::open().await;
        let large = Event { data: Some(vec![b'1'; EVENT_BYTES_MAX].into()), ..paid("large") };
        refused(&house.push("/", "old-payment", &[paid("small"), large]).await, 413, "large");
        let huge = vec![b'1'; EVENT_BYTES_MAX * 16 + 1];
        let (headers, _) = event::http::encode_binary(&paid("huge"));
        refused(&house.post("/", "old-payment", headers, huge).await, 413, "bytes");
        assert_eq!(house.ids("payment").await, Vec::<String>::new());
        let fits = Event { data: Some(vec![b'1'; EVENT_BYTES_MAX - 1_000].into()), ..paid("fits") };
        assert_eq!(house.push("/", "old-payment", &[fits]).await.status, 202);
    })
    .await;
}

// promise: BRIDGE: what is pushed at a time is bounded by bytes
#[tokio::test]
async fn large_pushes_that_are_under_way_leave_no_room_for_another() {
    use tokio::io::AsyncWriteExt as _;
    local(async {
        let house = House::open().await;
        let mut streams = Vec::new();
        for _ in 0..2 {
            let mut stream = tokio::net::TcpStream::connect(house.address).await.unwrap();
            let head = "POST / HTTP/1.1\r\nhost: b\r\nauthorization: Bearer old-payment\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            streams.push(stream);
        }
        let until = async |status: u16| {
            let deadline = Instant::now() + Duration::from_secs(5);
            loop {
                let answer = house.push("/", "old-payment", &[paid("1")]).await;
                if answer.status == status {
                    return answer;
                }
                assert!(Instant::now() < deadline, "{}", answer.status);
            }
        };
        refused(&until(503).await, 503, "too large");
        streams.pop();
        until(202).await;
    })
    .await;
}

#[tokio::test]
async fn a_push_may_ask_for_a_wake() {
    local(async {
        let house = House::open().await;
        let (mut headers, body) = event::http::encode_batch(&[paid("1")]);
        headers.insert("wake-at", "2030-01-02T03:04:05Z".parse().unwrap());
        assert_eq!(house.post("/topics/payment", "old-payment", headers.clone(), body.clone()).await.status, 202);
        let wake = Notice::WakeAt { topic: "payment".into(), at: "2030-01-02T03:04:05Z".parse().unwrap() };
        assert_eq!(house.notices.borrow().last(), Some(&wake));
        assert_eq!(house.post("/topics/payment", "old-payment", headers.clone(), "[]").await.status, 202);
        assert_eq!(house.notices.borrow().last(), Some(&wake));
        headers.insert("wake-at", "soon".parse().unwrap());
        refused(&house.post("/topics/payment", "old-payment", headers, body).await, 400, "Wake-At");
        assert_eq!(house.ids("payment").await, ["1"]);
    })
    .await;
}

// promise: BRIDGE: while the log is away, a push is asked to come again
#[tokio::test]
async fn a_push_is_turned_away_while_the_log_is_away() {
    local(async {
        let nobody = BTreeMap::from([("bootstrap.servers".to_owned(), "127.0.0.1:1".to_owned())]);
        let house = House::on(Log::kafka(nobody, "replica-0").unwrap(), tempfile::tempdir().unwrap()).await;
        let answer = house.push("/topics/payment", "old-payment", &[paid("1")]).await;
        refused(&answer, 503, "pushed again");
        assert_eq!(answer.headers["retry-after"], "1");
        assert_eq!(*house.notices.borrow(), [Notice::TurnedAway { topic: "payment".into() }]);
    })
    .await;
}

#[tokio::test]
async fn a_push_that_broke_off_wakes_its_sender_and_a_bad_one_does_not() {
    use tokio::io::AsyncWriteExt as _;
    local(async {
        let house = House::open().await;
        refused(&house.post("/topics/payment", "old-payment", HeaderMap::new(), "{}").await, 400, "specversion");
        assert_eq!(*house.notices.borrow(), []);
        let mut stream = tokio::net::TcpStream::connect(house.address).await.unwrap();
        let head = "POST / HTTP/1.1\r\nhost: b\r\nauthorization: Bearer old-payment\r\ncontent-length: 100\r\n\r\nhalf";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while *house.notices.borrow() != [Notice::TurnedAway { topic: "payment".into() }] {
            assert!(Instant::now() < deadline, "{:?}", house.notices.borrow());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

// promise: BRIDGE: a sink is woken after a push had to be refused
#[tokio::test]
async fn a_sender_that_does_not_wait_for_the_answer_is_woken_later() {
    local(async {
        let nobody = BTreeMap::from([("bootstrap.servers".to_owned(), "127.0.0.1:1".to_owned())]);
        let house = House::on(Log::kafka(nobody, "replica-0").unwrap(), tempfile::tempdir().unwrap()).await;
        let batch = [paid("1")];
        let push = house.push("/topics/payment", "old-payment", &batch);
        assert!(tokio::time::timeout(Duration::from_millis(200), push).await.is_err());
        let deadline = Instant::now() + Duration::from_secs(30);
        while *house.notices.borrow() != [Notice::TurnedAway { topic: "payment".into() }] {
            assert!(Instant::now() < deadline, "{:?}", house.notices.borrow());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    local(async {
        let house = House::open().await;
        let get = house.send(Method::GET, "/topics/payment", "old-payment", HeaderMap::new(), Bytes::new()).await;
        refused(&get, 405, "posted");
        assert_eq!(get.headers["allow"], "POST");
        refused(&house.push("/elsewhere", "old-payment", &[paid("1")]).await, 404, "/topics/");
        refused(&house.push("/topics/", "old-payment", &[paid("1")]).await, 404, "/topics/");
    })
    .await;
}
