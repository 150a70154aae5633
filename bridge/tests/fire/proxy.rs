//! A TCP proxy in front of a broker: passes bytes on, late, not at all, cuts every connection, or one when the broker answers.

#[path = "wire.rs"]
pub mod wire;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wire::{Awaited, Frames, Losses};

const LOOK: Duration = Duration::from_millis(5);

/// It ends when it is dropped.
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    over: AtomicBool,
    /// Nothing passes, and nobody is told.
    hole: AtomicBool,
    delay_ms: AtomicU64,
    losses: Mutex<Losses>,
    connections: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// `to` is the port that it stands for, at which somebody listens later.
    pub fn start(to: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            while !shared.over.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => shared.connect(stream, to),
                    Err(_) => std::thread::sleep(LOOK),
                }
            }
        });
        Proxy { address, state }
    }

    /// Cuts every connection; new ones are let in.
    pub fn cut(&self) {
        for stream in self.state.connections.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// What passes comes so much later.
    pub fn delay(&self, delay: Duration) {
        self.state.delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
    }

    /// Swallows everything while it is on: connections stay and stand still.
    pub fn hole(&self, on: bool) {
        self.state.hole.store(on, Ordering::Relaxed);
    }

    /// From now on these answers are lost.
    pub fn lose(&self, losses: Losses) {
        *self.state.losses.lock().unwrap() = losses;
    }

    /// The kinds of the answers that were lost since it was told to lose any.
    pub fn lost(&self) -> Vec<i16> {
        self.state.losses.lock().unwrap().lost.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        self.cut();
    }
}

impl State {
    fn connect(self: &Arc<Self>, client: TcpStream, to: u16) {
        let Ok(broker) = TcpStream::connect(("127.0.0.1", to)) else { return };
        for stream in [&client, &broker] {
            stream.set_nonblocking(false).unwrap();
            let _ = stream.set_nodelay(true);
            self.connections.lock().unwrap().extend(stream.try_clone());
        }
        let (Ok(from_broker), Ok(to_client)) = (broker.try_clone(), client.try_clone()) else { return };
        let awaited = Arc::new(Mutex::new(Awaited::default()));
        let (state, asked, mut frames) = (Arc::clone(self), Arc::clone(&awaited), Frames::default());
        std::thread::spawn(move || {
            state.pump(client, broker, |piece| {
                let mut losses = state.losses.lock().unwrap();
                asked.lock().unwrap().ask(&mut frames, piece, &mut losses);
                true
            });
        });
        let (state, mut frames) = (Arc::clone(self), Frames::default());
        std::thread::spawn(move || {
            state.pump(from_broker, to_client, |piece| {
                let mut losses = state.losses.lock().unwrap();
                let lost = awaited.lock().unwrap().is_lost(&mut frames, piece, &mut losses);
                state.hole.fetch_or(lost && losses.then_hole, Ordering::Relaxed);
                !lost
            });
        });
    }

    /// Passes on what `may_pass`, and cuts the connection before the first that may not.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream, mut may_pass: impl FnMut(&[u8]) -> bool) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            std::thread::sleep(Duration::from_millis(self.delay_ms.load(Ordering::Relaxed)));
            while self.hole.load(Ordering::Relaxed) && !self.over.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK);
            }
            if !may_pass(&buffer[..count]) || to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
