//! One Apache Kafka for this file's tests, with a door for passwords over TLS and one for certificates; started by the first that
//! needs it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::certificates::{Authority, Pair, mount};
use crate::ports;
use crate::world::{has, skip};

pub const PASSWORD: &str = "the-broker-s-secret-7261";

pub struct Secure {
    pub authority: Authority,
    /// Of the user `till`, by its subject.
    pub till: Pair,
    /// The plain door; that for passwords is two further, that for certificates three.
    pub port: u16,
    /// Where the broker's authority lies: `ca.pem`.
    #[allow(dead_code, reason = "only the examples look there")]
    pub tls: PathBuf,
}

/// `None` where Java and Maven are not installed, which is said loudly.
pub fn secure() -> Option<&'static Secure> {
    static BROKER: OnceLock<Option<Secure>> = OnceLock::new();
    BROKER.get_or_init(start).as_ref()
}

impl Secure {
    pub fn plain(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn password_door(&self) -> String {
        format!("127.0.0.1:{}", self.port + 2)
    }

    pub fn certificate_door(&self) -> String {
        format!("127.0.0.1:{}", self.port + 3)
    }

    /// Mounts the Secret `kafka`: both shapes of keys, for KafkaSource and for KafkaSink.
    pub fn mount(&self, secrets: &Path, user: &str, password: &str, mechanism: &str) {
        let keys = [
            ("user", user),
            ("password", password),
            ("sasl.mechanism", mechanism),
            ("protocol", "SASL_SSL"),
            ("ca.crt", &self.authority.pem),
        ];
        mount(&secrets.join("kafka"), &keys);
    }

    /// Mounts the Secret `kafka` of somebody who shows a certificate.
    pub fn mount_certificate(&self, secrets: &Path, pair: &Pair) {
        let keys =
            [("user.crt", &*pair.cert), ("user.key", &pair.key), ("protocol", "SSL"), ("ca.crt", &self.authority.pem)];
        mount(&secrets.join("kafka"), &keys);
    }
}

fn start() -> Option<Secure> {
    let left_out = std::env::var("TILL_TEST_KAFKA").is_ok_and(|address| address == "none");
    if left_out || !(has("java", "-version") && has("mvn", "-version")) {
        skip("TLS and passwords of Apache Kafka", "java and mvn (Debian: default-jre-headless, maven)");
        return None;
    }
    let data = std::env::temp_dir().join(format!("till-secure-kafka-{}", std::process::id()));
    let authority = Authority::new("broker's authority");
    let own = authority.sign("localhost");
    let till = authority.sign("till");
    let port = ports::free(3);
    // Where the script looks first, and what it forgets when this process has ended.
    let tls = data.join(port.to_string()).join("tls");
    mount(&tls, &[("server.pem", &format!("{}{}", own.key, own.cert)), ("ca.pem", &authority.pem)]);
    run(port, &data);
    Some(Secure { authority, till, port, tls })
}

fn run(port: u16, data: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/kafka.sh");
    let done = Command::new(script)
        .args(["start", &port.to_string()])
        .env("KAFKA_DATA_DIR", data)
        .env("KAFKA_SECURE", "1")
        .env("KAFKA_PASSWORD", PASSWORD)
        .env("KAFKA_OWNER", std::process::id().to_string())
        .status();
    assert!(done.is_ok_and(|status| status.success()), "kafka.sh start failed; see above");
}
