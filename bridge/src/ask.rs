//! Whether HTTP addresses answer: what `helm test` asks, from an image that has no shell. Below 500 is an answer, for a function
//! that is awake refuses a stranger's GET.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use url::Url;

/// A sleeping function may take so long to be started, on a busy cluster.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Enough for a status line.
const HEAD_BYTES_MAX: u64 = 64;

/// The status that an address answers with, or why there is none.
pub fn ask(address: &str) -> Result<u16, String> {
    let url = Url::parse(address).map_err(|error| error.to_string())?;
    let host = url.host_str().filter(|_| url.scheme() == "http").ok_or("it is no address of plain HTTP")?;
    let head = exchange(&url, host).map_err(|error| error.to_string())?;
    let words = head.strip_prefix("HTTP/1.").and_then(|rest| rest.split_once(' '));
    let status = words.and_then(|(_, rest)| rest.get(..3)?.parse().ok());
    status.ok_or_else(|| "it does not speak HTTP".to_owned())
}

fn exchange(url: &Url, host: &str) -> std::io::Result<String> {
    let port = url.port_or_known_default().unwrap_or(80);
    let mut last = std::io::Error::other("its name has no address");
    for address in (host.trim_matches(['[', ']']), port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, ANSWER_TIMEOUT) {
            Ok(stream) => return get(stream, url, host),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn get(mut stream: TcpStream, url: &Url, host: &str) -> std::io::Result<String> {
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    write!(stream, "GET {} HTTP/1.1\r\nHost: {host}{port}\r\nConnection: close\r\n\r\n", url.path())?;
    let mut head = Vec::new();
    stream.take(HEAD_BYTES_MAX).read_to_end(&mut head)?;
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// What is asked of somebody who answers with `answer`.
    fn check(answer: &'static str, expected: Result<u16, &str>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut request, mut part) = (String::new(), [0; 512]);
            // Whoever closes before everything was read resets the connection.
            while !request.ends_with("\r\n\r\n") {
                let length = stream.read(&mut part).unwrap();
                request.push_str(&String::from_utf8_lossy(&part[..length]));
            }
            stream.write_all(answer.as_bytes()).unwrap();
            request
        });
        let answered = ask(&format!("http://127.0.0.1:{port}/health/ready"));
        assert_eq!(answered.as_ref().map_err(String::as_str), expected.as_ref().map_err(|error| *error));
        let request = served.join().unwrap();
        assert!(request.starts_with(&format!("GET /health/ready HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n")), "{request}");
    }

    #[test]
    fn an_address_is_asked_for_its_status() {
        check("HTTP/1.1 200 OK\r\n\r\nready\n", Ok(200));
        check("HTTP/1.1 503 Service Unavailable\r\n\r\ncore: paused\n", Ok(503));
        check("HTTP/1.0 404 Not Found\r\n\r\n", Ok(404));
        check("220 mail\r\n", Err("it does not speak HTTP"));
    }

    #[test]
    fn who_cannot_be_asked_is_told() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert!(ask(&format!("http://127.0.0.1:{port}/")).unwrap_err().contains("refused"));
        assert!(ask("https://h/").unwrap_err().contains("plain HTTP"));
        assert!(ask("h").is_err());
    }
}
