//! A door of TLS before a plain server: it shakes hands, remembers who came, and passes bytes both ways.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

use crate::certificates::{Authority, Pair};

pub struct Front {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _stop: oneshot::Sender<()>,
}

#[derive(Clone, Default)]
struct Seen {
    /// Connections, good and bad.
    dialled: usize,
    /// The certificates of those who came in.
    guests: Vec<Vec<u8>>,
}

impl Front {
    /// `guests` signs those who may come in; `None` asks nobody.
    pub fn start(own: &Pair, guests: Option<&Authority>, to: SocketAddr) -> Front {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::<Mutex<Seen>>::default());
        let (acceptor, told) = (TlsAcceptor::from(Arc::new(config(own, guests))), Arc::clone(&seen));
        let (stop, stopped) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! { () = serve(listener, acceptor, to, told) => {}, _ = stopped => {} }
            });
        });
        Front { address, seen, _stop: stop }
    }

    pub fn dialled(&self) -> usize {
        self.seen.lock().unwrap().dialled
    }

    /// Whether this one was shown.
    pub fn has_seen(&self, pair: &Pair) -> bool {
        let shown = CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap();
        self.seen.lock().unwrap().guests.iter().any(|guest| *guest == *shown)
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, to: SocketAddr, seen: Arc<Mutex<Seen>>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        seen.lock().unwrap().dialled += 1;
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            let Ok(mut inside) = acceptor.accept(stream).await else { return };
            let guest = inside.get_ref().1.peer_certificates().and_then(|chain| chain.first().cloned());
            seen.lock().unwrap().guests.extend(guest.map(|guest| guest.to_vec()));
            let Ok(mut outside) = TcpStream::connect(to).await else { return };
            let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
        });
    }
}

fn config(own: &Pair, guests: Option<&Authority>) -> ServerConfig {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = match guests {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = CertificateDer::pem_slice_iter(own.cert.as_bytes()).collect::<Result<_, _>>().unwrap();
    builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap()).unwrap()
}
