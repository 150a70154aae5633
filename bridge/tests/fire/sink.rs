//! A sink that plays tricks for a while, and remembers every call and what it truly answered. It speaks HTTP by hand, since no
//! server lets one lie.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Partition and offset of a record.
pub type Place = (i32, i64);

/// What a sink may do instead of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trick {
    Fails,
    IsSlow,
    /// Reads the request and closes its side.
    HalfCloses,
    /// Announces more than it says.
    Promises,
    /// Says more than it announces.
    Babbles,
    /// What it says is no HTTP.
    Garbles,
}

pub const TRICKS: [Trick; 6] =
    [Trick::Fails, Trick::IsSlow, Trick::HalfCloses, Trick::Promises, Trick::Babbles, Trick::Garbles];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    Reply,
    Refusal,
    Trick(Trick),
}

impl Answered {
    /// Whether the record was settled by it, as far as the sink knows.
    pub fn is_final(self) -> bool {
        !matches!(self, Answered::Trick(_))
    }
}

#[derive(Debug, Clone)]
pub struct Call {
    pub begun: Instant,
    /// When it had decided on its answer.
    pub ended: Instant,
    pub place: Place,
    pub key: String,
    pub answered: Answered,
}

pub struct Sink {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    over: AtomicBool,
    state: Mutex<State>,
    /// The topic of its replies.
    out: String,
    work: Duration,
}

struct State {
    chance: fastrand::Rng,
    /// One call in so many is a trick; 0 is none.
    tricks: u32,
    calls: Vec<Call>,
}

/// Records that say this are refused.
pub const REFUSE: &str = "refuse";

impl Sink {
    /// Each call costs `work`; each reply goes to topic `out`.
    pub fn start(out: &str, work: Duration, seed: u64) -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { chance: fastrand::Rng::with_seed(seed), tricks: 0, calls: Vec::new() };
        let (over, state) = (AtomicBool::new(false), Mutex::new(state));
        let shared = Arc::new(Shared { over, state, out: out.to_owned(), work });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.over.load(Ordering::Relaxed) {
                    return;
                }
                let serving = Arc::clone(&serving);
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        Sink { address, shared }
    }

    /// From now on one call in `one_in` is a trick; 0 ends it.
    pub fn play_tricks(&self, one_in: u32) {
        self.shared.state.lock().unwrap().tricks = one_in;
    }

    /// How many calls were truly answered.
    pub fn finals(&self) -> usize {
        self.shared.state.lock().unwrap().calls.iter().filter(|call| call.answered.is_final()).count()
    }

    pub fn calls(&self) -> Vec<Call> {
        self.shared.state.lock().unwrap().calls.clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

struct Request {
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut reader = BufReader::new(stream);
        while let Some(request) = read(&mut reader) {
            let (answer, stays) = self.answer(&request);
            if reader.get_mut().write_all(&answer).is_err() || !stays {
                let _ = reader.get_mut().shutdown(Shutdown::Write);
                return;
            }
        }
    }

    /// The bytes of an answer, and whether the connection stays.
    fn answer(&self, request: &Request) -> (Vec<u8>, bool) {
        if request.header("ce-type") == "dev.till.wake" {
            return (response("204 No Content", "", 0, ""), true);
        }
        let begun = Instant::now();
        let trick = self.trick();
        std::thread::sleep(if trick == Some(Trick::IsSlow) { Duration::from_millis(700) } else { self.work });
        let number = |name: &str| request.header(name).parse::<i64>().unwrap_or(-1);
        let place = (number("ce-knativekafkapartition") as i32, number("ce-knativekafkaoffset"));
        let answered = match trick {
            Some(trick) if trick != Trick::IsSlow => Answered::Trick(trick),
            _ if request.body.starts_with(REFUSE.as_bytes()) => Answered::Refusal,
            _ => Answered::Reply,
        };
        let key = request.header("ce-partitionkey").to_owned();
        let bytes = match answered {
            Answered::Reply => self.reply(place, &key),
            Answered::Refusal => response("422 Unprocessable Content", "text/plain", 2, "no"),
            Answered::Trick(trick) => play(trick),
        };
        let ended = Instant::now();
        self.state.lock().unwrap().calls.push(Call { begun, ended, place, key, answered });
        (bytes, answered.is_final())
    }

    fn trick(&self) -> Option<Trick> {
        let mut state = self.state.lock().unwrap();
        let one_in = state.tricks;
        (one_in > 0 && state.chance.u32(..one_in) == 0).then(|| TRICKS[state.chance.usize(..TRICKS.len())])
    }

    fn reply(&self, (partition, offset): Place, key: &str) -> Vec<u8> {
        let body = format!(
            r#"[{{"specversion":"1.0","id":"{partition}/{offset}","source":"/fire","type":"{}.thing.done","subject":"{key}"}}]"#,
            self.out
        );
        response("200 OK", "application/cloudevents-batch+json", body.len(), &body)
    }
}

fn play(trick: Trick) -> Vec<u8> {
    match trick {
        Trick::Fails => response("500 Internal Server Error", "text/plain", 3, "ill"),
        Trick::IsSlow | Trick::HalfCloses => Vec::new(),
        Trick::Promises => response("200 OK", "application/cloudevents-batch+json", 1_000, "[{"),
        Trick::Babbles => response("500 Internal Server Error", "text/plain", 3, "ill and more than ill"),
        Trick::Garbles => b"\x00\xffSMTP/0.1 ready\r\n\r\n".to_vec(),
    }
}

fn response(status: &str, kind: &str, length: usize, body: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\n");
    if !kind.is_empty() {
        text += &format!("content-type: {kind}\r\ncontent-length: {length}\r\n");
    }
    (text + "\r\n" + body).into_bytes()
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut headers = BTreeMap::new();
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut request = Request { headers, body: Vec::new() };
    request.body = vec![0; request.header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}
