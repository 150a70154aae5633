//! Takes a port for a part of the house, or says who has it: from /proc, as far as this user may look.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use tokio::net::TcpListener;

use crate::Error;

/// A part of the house that listens.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// As people call it.
    pub part: &'static str,
    /// Its port.
    pub port: u16,
    /// The option that chooses the port.
    pub option: &'static str,
}

impl Place {
    /// Listens on 127.0.0.1.
    pub async fn bind(self) -> Result<TcpListener, Error> {
        TcpListener::bind(("127.0.0.1", self.port)).await.map_err(|error| self.refused(error))
    }

    /// Whether all of these can be had: what is taken is told at once.
    pub async fn check_all(places: impl IntoIterator<Item = Place>) -> Result<(), Error> {
        let mut taken = Vec::new();
        for place in places {
            taken.extend(place.check().await.err());
        }
        if taken.len() > 1 { Err(Error::Several(taken)) } else { taken.pop().map_or(Ok(()), Err) }
    }

    /// Whether the place can be had, without keeping it: for parts that bind it themselves.
    pub async fn check(self) -> Result<(), Error> {
        self.bind().await.map(drop)
    }

    fn refused(self, error: std::io::Error) -> Error {
        let Place { part, port, option } = self;
        match error.kind() {
            ErrorKind::AddrInUse => Error::PortTaken { port, part, holder: holder(port), option },
            _ => Error::Part { part, reason: format!("cannot listen on port {port}: {error}") },
        }
    }
}

/// The name and id of the process that listens on a port, or words for not knowing it.
fn holder(port: u16) -> String {
    sockets_on(port)
        .and_then(|inodes| process_with(&inodes))
        .unwrap_or_else(|| "another process (which one, only its owner can see)".to_owned())
}

/// Inodes of the listening sockets on a port.
fn sockets_on(port: u16) -> Option<Vec<String>> {
    let mut inodes = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        inodes.extend(text.lines().skip(1).filter_map(|line| listening_inode(line, port)));
    }
    (!inodes.is_empty()).then_some(inodes)
}

/// One line of the kernel's socket table: `sl local_address rem_address st … inode`, the port in hexadecimal.
fn listening_inode(line: &str, port: u16) -> Option<String> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let local_port = columns.get(1)?.rsplit(':').next()?;
    let listens = *columns.get(3)? == "0A";
    (listens && u16::from_str_radix(local_port, 16) == Ok(port))
        .then(|| columns.get(9).map(|inode| inode.to_string()))?
}

fn process_with(inodes: &[String]) -> Option<String> {
    let sockets: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let numbered =
        |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
    let mut processes = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path()).filter(|path| numbered(path));
    processes.find(|process| holds(process, &sockets)).map(|process| describe(&process))
}

fn holds(process: &Path, sockets: &[String]) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else { return false };
    files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|link| sockets.iter().any(|s| link == Path::new(s)))
}

fn describe(process: &Path) -> String {
    let id = process.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    format!("{} (process {id})", name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_told_with_its_holder_and_the_remedy() {
        let held = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = held.local_addr().unwrap().port();
        let place = Place { part: "the mailbox", port, option: "--mailbox-port" };
        let told = place.check().await.unwrap_err().to_string();
        assert!(told.contains(&format!("port {port} for the mailbox is taken by")), "{told}");
        assert!(told.contains(&format!("(process {})", std::process::id())), "{told}");
        assert!(told.contains("--mailbox-port"), "{told}");
    }

    #[tokio::test]
    async fn all_taken_ports_are_told_at_once() {
        let held =
            [TcpListener::bind(("127.0.0.1", 0)).await.unwrap(), TcpListener::bind(("127.0.0.1", 0)).await.unwrap()];
        let ports = held.each_ref().map(|held| held.local_addr().unwrap().port());
        let place = |port| Place { part: "the mailbox", port, option: "--mailbox-port" };
        let told = Place::check_all(ports.map(place)).await.unwrap_err().to_string();
        assert!(ports.iter().all(|port| told.contains(&format!("port {port} for"))), "{told}");
        let [one, _] = ports.map(place);
        assert!(matches!(Place::check_all([one]).await, Err(Error::PortTaken { .. })));
        assert!(Place::check_all([]).await.is_ok());
    }

    #[tokio::test]
    async fn a_free_port_is_not_kept_by_looking() {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let place = Place { part: "the mailbox", port, option: "--mailbox-port" };
        place.check().await.unwrap();
        place.check().await.unwrap();
    }
}
