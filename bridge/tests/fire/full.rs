//! A disk that fills under the embedded log. Pushes are refused as a whole, what was answered waits until it can be written, and when
//! there is room again nothing was lost, doubled or delivered again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use bridge::log::{Log, Partition, Record};

use crate::checker::{self, Evidence};
use crate::disk::Disk;
use crate::process::Process;
use crate::sink::{REFUSE, Sink};
use crate::support::{DEAD_LETTERS, DEADLINE, header, source, topics, wait, wait_within};

const SIZE: &str = "size=24m";
/// Events of a push.
const BATCH: usize = 3;

struct House {
    process: Process,
    sink: Sink,
    disk: Disk,
    folder: tempfile::TempDir,
    pushed: usize,
    taken: BTreeSet<usize>,
}

/// Plays it once; not, and loudly so, for whom may not mount a disk.
pub fn play(seed: u64) {
    let Some(mut house) = House::start(seed) else { return };
    house.push_some(20);
    // From now on next to nothing is settled.
    house.sink.play_tricks(1);
    house.push_some(20);
    house.disk.fill();
    let refused = house.push_until_refused();
    house.sink.play_tricks(0);
    house.wait_until_it_says(503, "disk is full");
    let answered = house.sink.finals();
    wait("answers that cannot be written, and refusals", || {
        house.push(refused).err().is_some_and(|_| house.sink.finals() >= answered).then_some(())
    });
    // It tries again and again meanwhile.
    std::thread::sleep(Duration::from_secs(2));
    house.wait_until_it_says(503, "disk is full");
    house.disk.free();
    house.wait_until_it_says(200, "");
    assert_eq!(house.push(refused), Ok(()));
    house.push_some(10);
    house.end();
}

impl House {
    fn start(seed: u64) -> Option<House> {
        let folder = tempfile::tempdir().unwrap();
        let (small, tokens) = (folder.path().join("small"), folder.path().join("tokens"));
        let disk = Disk::mount(&small, SIZE)?;
        let sink = Sink::start("out", Duration::from_millis(1), seed);
        std::fs::create_dir(&tokens).unwrap();
        std::fs::write(tokens.join("in"), "push").unwrap();
        let retries = "retry: forever, backoffDelay: PT0.05S, maxBackoff: PT0.5S, timeout: PT5S";
        let more = format!("  reply: {{ byType: true }}\n  delivery: {{ {retries}, {DEAD_LETTERS} }}\n");
        let documents = topics(&[("in", 3), ("out", 3), ("dead", 1)]) + &source(sink.address, &more);
        std::fs::write(folder.path().join("sources.yaml"), documents).unwrap();
        let log = format!("embedded:{}", small.join("log.db").display());
        let options = ["--create-topics", "--log", &log, "--ingress-tokens", tokens.to_str().unwrap()];
        let process = Process::start(folder.path(), "full", &options);
        let house = House { process, sink, disk, folder, pushed: 0, taken: BTreeSet::new() };
        house.wait_until_it_says(200, "");
        Some(house)
    }

    fn wait_until_it_says(&self, status: u16, words: &str) {
        let says = || self.process.get("/health/ready").filter(|said| said.0 == status && said.1.contains(words));
        wait_within(2 * DEADLINE, &format!("readiness with {status} {words}"), says);
    }

    fn push_some(&mut self, count: usize) {
        for _ in 0..count {
            assert_eq!(self.push(self.pushed), Ok(()));
        }
    }

    /// Fills what the log's file has left. Answers who was refused.
    fn push_until_refused(&mut self) -> usize {
        let (mut refusals, mut last) = (0, 0);
        wait("refusals", || {
            last = self.pushed;
            refusals = if self.push(last).is_err() { refusals + 1 } else { 0 };
            (refusals == 5).then_some(())
        });
        last
    }

    /// A batch of events in one push; a refusal asks to come again and tells why.
    fn push(&mut self, number: usize) -> Result<(), u16> {
        self.pushed = self.pushed.max(number + 1);
        let answer = self.post(&body(number));
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        if status == 202 {
            self.taken.insert(number);
            return Ok(());
        }
        let words = ["503 ", "retry-after: ", "application/problem+json", "nothing was lost if it is pushed again"];
        assert!(words.iter().all(|word| answer.contains(word)), "{answer}");
        Err(status)
    }

    fn post(&self, body: &str) -> String {
        let mut stream = TcpStream::connect(self.process.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let head = "POST /topics/in HTTP/1.1\r\nhost: b\r\nauthorization: Bearer push\r\nconnection: close\r\n\
                    content-type: application/cloudevents-batch+json";
        write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Everything is settled, the bridge ends well, and what its log holds is what it should.
    fn end(self) {
        let House { process, sink, disk, folder, taken, .. } = self;
        wait_within(2 * DEADLINE, "no lag", || {
            let page = process.get("/metrics")?.1;
            let mut lags = page.lines().filter(|line| line.starts_with("till_lag{"));
            (lags.clone().count() == 3 && lags.all(|line| line.ends_with(" 0"))).then_some(())
        });
        assert_eq!(process.stop(), Some(0), "it did not end well");
        let file = folder.path().join("small/log.db");
        let (input, replies, letters) = (read(&file, "in"), read(&file, "out"), read(&file, "dead"));
        let mut ids: BTreeMap<String, usize> = BTreeMap::new();
        input.iter().for_each(|record| *ids.entry(header(&record.headers, "ce_id")).or_default() += 1);
        let expected = taken.iter().flat_map(|number| (0..BATCH).map(move |n| (id(*number, n), 1)));
        assert_eq!(ids, expected.collect(), "what was taken stands there once, and nothing of what was refused");
        let evidence = Evidence { input, replies, letters, calls: sink.calls(), interruptions: Vec::new() };
        let verdict = checker::check(&evidence);
        assert_eq!((verdict.violations, verdict.repeats), (vec![], 0));
        assert!(!evidence.letters.is_empty(), "no dead letters");
        drop(disk);
    }
}

fn id(number: usize, n: usize) -> String {
    format!("{number}-{n}")
}

/// Keys come again and again; one event in ten is refused by the sink.
fn body(number: usize) -> String {
    let event = |n: usize| {
        let (id, key) = (id(number, n), (BATCH * number + n) % 16);
        let data = if (BATCH * number + n).is_multiple_of(10) { REFUSE.to_owned() } else { "work ".repeat(200) };
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/full","type":"in.thing.done","partitionkey":"k{key}","datacontenttype":"text/plain","data":"{data}"}}"#
        )
    };
    format!("[{}]", (0..BATCH).map(event).collect::<Vec<_>>().join(","))
}

fn read(file: &Path, topic: &str) -> Vec<Record> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let log = Log::embedded(file).unwrap();
    let partitions = runtime.block_on(log.topics()).unwrap()[topic];
    let read = |number| runtime.block_on(log.read(Partition::new(topic, number), 0, 1_000_000)).unwrap();
    (0..partitions).flat_map(read).collect()
}
