//! An authority of one's own, and what it signs.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate and its key, as PEM.
pub struct Pair {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// For `localhost` and 127.0.0.1.
    pub fn sign(&self, name: &str) -> Pair {
        self.sign_until(name, 2100)
    }

    /// Its last day is the first of that year.
    pub fn sign_until(&self, name: &str, year: i32) -> Pair {
        let (key, mut params) = (KeyPair::generate().unwrap(), params(name));
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        Pair { cert: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}

impl Pair {
    /// As a mounted Secret with the keys `tls.crt` and `tls.key`.
    pub fn mount(&self, secret: &Path) {
        mount(secret, &[("tls.crt", &self.cert), ("tls.key", &self.key)]);
    }
}

/// Writes the keys of a Secret.
pub fn mount(secret: &Path, keys: &[(&str, &str)]) {
    std::fs::create_dir_all(secret).unwrap();
    for (key, text) in keys {
        std::fs::write(secret.join(key), text).unwrap();
    }
}

/// A PEM as a YAML block, deep enough for any field of a sink.
pub fn block(pem: &str) -> String {
    pem.lines().fold("|\n".to_owned(), |text, line| format!("{text}        {line}\n"))
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
    params.distinguished_name = Default::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
