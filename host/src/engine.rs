//! The one Wasmtime engine of the process, and the clock hand that interrupts functions which do not give way.

use crate::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;
use wasmtime::{Config, Engine, EngineWeak};

/// How long a function may compute before others get a turn on its thread.
const TICK: Duration = Duration::from_millis(10);

/// An engine for this machine's CPU. It loads what was compiled for the baseline as well.
pub fn native() -> Result<Engine, Error> {
    Engine::new(&config()).map_err(|error| Error::Engine(error.to_string()))
}

/// An engine that compiles for any machine of this architecture: naming a target keeps this CPU's extras out.
#[cfg(feature = "compile")]
pub fn baseline() -> Result<Engine, Error> {
    let mut config = config();
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    config.target(&target).and_then(|config| Engine::new(config)).map_err(|error| Error::Engine(error.to_string()))
}

fn config() -> Config {
    let mut config = Config::new();
    config.wasm_component_model_async(true).epoch_interruption(true);
    config
}

/// Moves the engine's epoch while any instance is awake. It is a thread of its own, because functions that compute may
/// hold every thread of the runtime.
pub struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    awake: AtomicUsize,
    stopped: AtomicBool,
}

impl Ticker {
    pub fn start(engine: &Engine) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let (engine, seen) = (engine.weak(), shared.clone());
        let thread = thread::Builder::new().name("epoch".to_owned()).spawn(move || tick(&engine, &seen))?;
        Ok(Self { shared, thread: thread.thread().clone() })
    }

    /// Counts an instance as awake until the guard is dropped.
    pub fn wake(&self) -> Awake {
        self.shared.awake.fetch_add(1, Ordering::SeqCst);
        self.thread.unpark();
        Awake(self.shared.clone())
    }
}

fn tick(engine: &EngineWeak, shared: &Shared) {
    while !shared.stopped.load(Ordering::SeqCst) {
        if shared.awake.load(Ordering::SeqCst) == 0 {
            thread::park();
            continue;
        }
        thread::sleep(TICK);
        let Some(engine) = engine.upgrade() else { return };
        engine.increment_epoch();
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// One awake instance.
pub struct Awake(Arc<Shared>);

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.awake.fetch_sub(1, Ordering::SeqCst);
    }
}
