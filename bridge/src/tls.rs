//! TLS to sinks: whom we trust and who we are come in as settings, a proved connection comes out, or why there is none and what
//! helps. Files are looked at again at each new connection, so that a certificate is replaced without a restart.

use std::fmt;
use std::io;
use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Error, RootCertStore, crypto,
};

const LOOK_TIMEOUT: Duration = Duration::from_secs(3);
const SILENCE: Duration = Duration::from_millis(300);

/// What TLS to a sink rests on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM of authorities that are trusted beside the well-known ones.
    pub authorities: Option<String>,
    /// What we show of ourselves when we are asked.
    pub identity: Option<Identity>,
}

/// A certificate with its chain and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Makes connections to one host.
pub struct Connector {
    tls: Tls,
    host: ServerName<'static>,
    made: Mutex<Option<Made>>,
}

/// A configuration, and the files' bytes that it was made of.
struct Made {
    identity: Option<Pem>,
    config: Arc<ClientConfig>,
}

/// A certificate with its chain and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    pub cert: Vec<u8>,
    pub key: Vec<u8>,
}

impl Tls {
    /// Says what is wrong with the settings as they are now.
    pub fn check(&self) -> Result<(), String> {
        config(self, self.identity.as_ref().map(Identity::read).transpose()?.as_ref()).map(drop)
    }
}

impl Identity {
    pub fn read(&self) -> Result<Pem, String> {
        let read = |file: &Path| std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()));
        Ok(Pem { cert: read(&self.cert)?, key: read(&self.key)? })
    }
}

impl Connector {
    /// `host` is a name or an address, without brackets.
    pub fn to(host: &str, tls: &Tls) -> Result<Self, String> {
        let host = ServerName::try_from(host.to_owned()).map_err(|_| format!("`{host}` is no name for TLS"))?;
        Ok(Connector { tls: tls.clone(), host, made: Mutex::default() })
    }

    /// Shakes hands over a fresh connection. The error says what is wrong, and what helps.
    pub async fn connect(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let connector = TlsConnector::from(self.config()?);
        connector.connect(self.host.clone(), stream).await.map_err(|error| match reason(&error) {
            Some(reason) => reason,
            None => format!("TLS ended in the handshake: {error}"),
        })
    }

    /// The one that was made before, while the files hold what they held: it remembers sessions.
    fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let identity = self.tls.identity.as_ref().map(Identity::read).transpose()?;
        let mut made = self.made.lock().expect("no holder panics");
        if let Some(made) = made.as_ref().filter(|made| made.identity == identity) {
            return Ok(Arc::clone(&made.config));
        }
        let config = Arc::new(config(&self.tls, identity.as_ref())?);
        *made = Some(Made { identity, config: Arc::clone(&config) });
        Ok(config)
    }
}

fn config(tls: &Tls, identity: Option<&Pem>) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring knows the default versions")
        .with_root_certificates(roots(tls.authorities.as_deref())?);
    let Some(identity) = identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(&identity.cert).map_err(|reason| format!("the client certificate: {reason}"))?;
    let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(|_| "the client key: it holds no PEM key")?;
    builder.with_client_auth_cert(chain, key).map_err(|error| format!("the client certificate and its key: {error}"))
}

fn roots(authorities: Option<&str>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for certificate in authorities.map_or(Ok(Vec::new()), |pem| certificates(pem.as_bytes()))? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(roots)
}

/// PEM of the authorities that browsers trust.
pub fn well_known_authorities() -> String {
    use base64::Engine as _;
    let pem = |certificate: &CertificateDer| {
        let text = base64::engine::general_purpose::STANDARD.encode(certificate);
        let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(pem).collect()
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| format!("it is no PEM: {error:?}"))?;
    if found.is_empty() { Err("it holds no PEM certificate".into()) } else { Ok(found) }
}

/// Shakes hands with a server and says what is wrong. For a thread that may block.
pub fn look(host: &str, port: u16, authorities: Option<&str>, identity: Option<&Pem>) -> Result<(), String> {
    let tls = Tls { authorities: authorities.map(str::to_owned), identity: None };
    let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("`{host}` is no name for TLS"))?;
    let config = Arc::new(config(&tls, identity)?);
    let said = |error: io::Error| reason(&error).unwrap_or_else(|| error.to_string());
    let mut stream = dial(host, port).map_err(said)?;
    let mut client = ClientConnection::new(config, name).map_err(|error| Told(&error).to_string())?;
    client.complete_io(&mut stream).map_err(said)?;
    // A server may refuse our certificate after the handshake; who has nothing against it says nothing.
    stream.set_read_timeout(Some(SILENCE)).map_err(said)?;
    match client.complete_io(&mut stream) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Err(said(error)),
        _ => Ok(()),
    }
}

/// Connects, on a thread that may block.
pub fn dial(host: &str, port: u16) -> io::Result<std::net::TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match std::net::TcpStream::connect_timeout(&address, LOOK_TIMEOUT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(LOOK_TIMEOUT))?;
                stream.set_write_timeout(Some(LOOK_TIMEOUT))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What TLS says of an error, wherever in its chain it stands.
pub fn reason(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = error.downcast_ref().or_else(|| inner.and_then(|inner| inner.downcast_ref::<Error>()));
        if let Some(found) = found {
            return Some(Told(found).to_string());
        }
        next = error.source();
    }
    None
}

/// An error of TLS for a person: what is wrong and what helps.
struct Told<'a>(&'a Error);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Error::InvalidCertificate(error) => match error {
                // rustls tells the time of its look, which would make every attempt a new problem.
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    f.write_str("the server's certificate has expired; it must be renewed")
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    f.write_str("the server's certificate is not valid yet; look at the clocks of both machines")
                }
                error => write!(f, "{}; {}", self.0, remedy_of(error)),
            },
            Error::AlertReceived(alert) => write!(f, "{}; {}", self.0, remedy_after(*alert)),
            Error::InvalidMessage(_) => write!(f, "{}; that port does not speak TLS: is it plain?", self.0),
            said => write!(f, "{said}"),
        }
    }
}

fn remedy_of(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => "give the authority that signed it (CACerts, caCert or ca.crt)",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "call the server by a name that stands in its certificate"
        }
        _ => "look at the server's certificate",
    }
}

fn remedy_after(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired => "the server wants a client certificate (cert and key) and got none",
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => "the server does not accept our client certificate, or got none",
        AlertDescription::CertificateExpired => "renew our client certificate",
        AlertDescription::HandshakeFailure => "the server may want a client certificate (cert and key)",
        _ => "the server has refused TLS as we speak it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn settings_are_checked_before_they_are_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            file
        };
        let ((cert, key), (_, other)) = (pair("a"), pair("b"));
        let check = |cert: &str, key: &str, expected: Result<(), &str>| {
            let identity = Some(Identity { cert: file("cert", cert), key: file("key", key) });
            let found = Tls { authorities: None, identity }.check();
            match expected {
                Ok(()) => assert_eq!(found, Ok(())),
                Err(word) => assert!(found.clone().unwrap_err().contains(word), "{found:?}"),
            }
        };
        check(&cert, &key, Ok(()));
        check(&cert, &other, Err("certificate and its key"));
        check(&cert, "nothing", Err("no PEM key"));
        check("nothing", &key, Err("no PEM certificate"));
        let trust = |pem: &str| Tls { authorities: Some(pem.into()), identity: None }.check();
        assert_eq!(trust(&cert), Ok(()));
        assert!(trust("nothing").unwrap_err().contains("no PEM certificate"));
    }

    #[test]
    fn a_configuration_is_made_again_when_a_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity { cert: folder.path().join("cert"), key: folder.path().join("key") };
        let write = |(cert, key): (String, String)| {
            std::fs::write(&identity.cert, cert).unwrap();
            std::fs::write(&identity.key, key).unwrap();
        };
        write(pair("a"));
        let tls = Tls { authorities: None, identity: Some(identity.clone()) };
        let connector = Connector::to("localhost", &tls).unwrap();
        let first = connector.config().unwrap();
        assert!(Arc::ptr_eq(&first, &connector.config().unwrap()));
        write(pair("b"));
        assert!(!Arc::ptr_eq(&first, &connector.config().unwrap()));
    }
}
