//! A sink that says whatever bytes a test wants, or nothing, and remembers the heads of what it was sent.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::{DEADLINE, wait};

pub struct RawSink {
    pub address: SocketAddr,
    told: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

impl RawSink {
    /// `script` answers the n-th call with bytes, after which the connection is closed.
    pub fn start(script: impl Fn(usize) -> Vec<u8> + Send + 'static) -> RawSink {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, told) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let stop = Arc::new(AtomicBool::new(false));
        let (calls, stopped) = (Arc::clone(&told), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                let Some(head) = read(&mut stream) else { continue };
                let before = {
                    let mut calls: std::sync::MutexGuard<'_, Vec<String>> = calls.lock().unwrap();
                    calls.push(head);
                    calls.len() - 1
                };
                // The bridge may have gone.
                let _ = stream.write_all(&script(before));
            }
        });
        RawSink { address, told, stop }
    }

    pub fn wait_for(&self, count: usize) -> Vec<String> {
        wait(&format!("{count} calls"), || {
            let told = self.told.lock().unwrap();
            (told.len() >= count).then(|| told.clone())
        })
    }

    pub fn calls(&self) -> usize {
        self.told.lock().unwrap().len()
    }
}

impl Drop for RawSink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// Reads one request, and answers its head.
fn read(stream: &mut TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0) {
                return Some(head.to_owned());
            }
        }
    }
}

/// An answer without a body.
pub fn status(status: u16, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\n{headers}content-length: 0\r\n\r\n").into_bytes()
}
