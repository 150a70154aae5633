//! A producer, and the thread that hears what became of its records. Our own, because rust-rdkafka's spins through the last
//! millisecond of every wait: nearly one per cent of a core for each source, all night.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::producer::BaseProducer;

use super::client::Deliveries;
use super::raw;
use crate::log::Error;

/// How long the thread waits for news; it is woken for its end.
const WAIT: Duration = Duration::from_secs(1);

pub(super) struct Producer {
    client: Arc<BaseProducer<Deliveries>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Producer {
    pub(super) fn of(client: BaseProducer<Deliveries>) -> Result<Self, Error> {
        let (client, over) = (Arc::new(client), Arc::new(AtomicBool::new(false)));
        let (served, ended) = (Arc::clone(&client), Arc::clone(&over));
        let serve = move || {
            while !ended.load(Ordering::Acquire) {
                raw::hear(&served, WAIT);
            }
        };
        let thread = std::thread::Builder::new().name("kafka-producer".into()).spawn(serve);
        let thread = Some(thread.map_err(|error| Error::Config(format!("no thread for Kafka: {error}")))?);
        Ok(Producer { client, over, thread })
    }

    /// For a call that may outlast us: the client is closed with its last holder.
    pub(super) fn shared(&self) -> Arc<BaseProducer<Deliveries>> {
        Arc::clone(&self.client)
    }
}

impl Deref for Producer {
    type Target = BaseProducer<Deliveries>;

    fn deref(&self) -> &Self::Target {
        &self.client
    }
}

impl Drop for Producer {
    /// The thread has let go of the client when this ends, so that it is closed with the last of us.
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        raw::wake(&self.client);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
