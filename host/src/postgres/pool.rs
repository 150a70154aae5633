//! Connections to PostgreSQL, a bounded number for each component and address. A connection comes back through a cleaning
//! that rolls back and resets the session; one that is broken, or does not answer the cleaning in time, is closed instead.
//! An error never repeats an address: it holds the password.
//!
//! A host that is not this machine is spoken to by TLS alone, unless the address says `sslmode=disable`; `prefer`, the usual
//! mode, would give way to whoever is in between. On this machine it is TLS where the address says `sslmode=require`.

use crate::bindings::spin::postgres::postgres::Error;
use crate::hosts::{AllowedHosts, Permission};
use crate::network::Blocked;
use crate::tls;
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A component that names more addresses than this is told no.
const ADDRESSES_MAX: usize = 16;
const CLEAN_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// All that a session can keep beyond its transaction, but for what was prepared by SQL: the last statement says how to undo
/// that. (`DISCARD ALL` and `DEALLOCATE ALL` would forget the statements that the client itself prepared and still knows.)
const CLEAN: &str = "ROLLBACK; CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
                     SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES; \
                     SELECT 'DEALLOCATE ' || pg_catalog.quote_ident(name) AS undo \
                     FROM pg_catalog.pg_prepared_statements WHERE from_sql";

/// The pools of one component.
pub struct Pools {
    blocked: Blocked,
    connections_max: usize,
    connect_timeout: Duration,
    pools: Mutex<HashMap<Key, Arc<Pool>>>,
}

/// Address and root certificate.
type Key = (String, Option<String>);

type TlsConnect = <MakeRustlsConnect as MakeTlsConnect<TcpStream>>::TlsConnect;

/// The connections to one address.
struct Pool {
    target: Target,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<(Instant, Session)>>,
}

/// A session at the server, and the task that carries its bytes.
struct Session {
    client: Client,
    carrier: AbortHandle,
}

/// Where a pool connects to, after its address was checked.
struct Target {
    config: Config,
    host: String,
    port: u16,
    permission: Permission,
    tls: Option<Arc<rustls::ClientConfig>>,
    blocked: Blocked,
    connect_timeout: Duration,
}

/// A connection in use. Dropping it sends it to the cleaning.
pub struct Pooled {
    session: Option<Session>,
    pool: Arc<Pool>,
    slot: Option<OwnedSemaphorePermit>,
}

impl Pools {
    pub fn new(blocked: Blocked, connections_max: usize, connect_timeout: Duration) -> Self {
        Self { blocked, connections_max, connect_timeout, pools: Mutex::default() }
    }

    pub async fn open(&self, hosts: &AllowedHosts, address: &str, root: Option<&str>) -> Result<Pooled, Error> {
        self.pool(hosts, address, root)?.take().await
    }

    fn pool(&self, hosts: &AllowedHosts, address: &str, root: Option<&str>) -> Result<Arc<Pool>, Error> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (address.to_owned(), root.map(str::to_owned));
        if let Some(pool) = pools.get(&key) {
            return Ok(pool.clone());
        }
        if pools.len() >= ADDRESSES_MAX {
            return Err(Error::ConnectionFailed(format!("more than {ADDRESSES_MAX} addresses in one component")));
        }
        let pool = Pool::new(self.target(hosts, address, root)?, self.connections_max);
        pools.insert(key, pool.clone());
        Ok(pool)
    }

    fn target(&self, hosts: &AllowedHosts, address: &str, root: Option<&str>) -> Result<Target, Error> {
        let refused = |why: &str| Error::ConnectionFailed(why.to_owned());
        let config: Config = address.parse().map_err(|_| refused("the address is not a PostgreSQL address"))?;
        let (host, port) = one_host(&config).ok_or_else(|| refused("the address must name exactly one host"))?;
        let permission = hosts.permission("postgres", &host, port);
        if permission == Permission::Denied {
            return Err(refused("allowed_outbound_hosts does not allow this host and port for postgres"));
        }
        let tls = match (config.get_ssl_mode(), root) {
            (_, Some(pem)) => Some(tls::private(pem).map_err(Error::BadParameter)?),
            (SslMode::Disable, None) => None,
            (SslMode::Prefer, None) if is_this_machine(&host) => None,
            _ => Some(tls::public()),
        };
        let (blocked, connect_timeout) = (self.blocked.clone(), self.connect_timeout);
        Ok(Target { config, host, port, permission, tls, blocked, connect_timeout })
    }
}

/// The host and port of an address. `hostaddr` and sockets in the file system are refused: they would get past the rules.
fn one_host(config: &Config) -> Option<(String, u16)> {
    let ([Host::Tcp(host)], []) = (config.get_hosts(), config.get_hostaddrs()) else { return None };
    Some((host.clone(), config.get_ports().first().copied().unwrap_or(5432)))
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

impl Pool {
    fn new(target: Target, connections_max: usize) -> Arc<Self> {
        let pool = Arc::new(Self { target, slots: Arc::new(Semaphore::new(connections_max)), idle: Mutex::default() });
        tokio::spawn(close_idle(Arc::downgrade(&pool)));
        pool
    }

    async fn take(self: &Arc<Self>) -> Result<Pooled, Error> {
        let free = tokio::time::timeout(self.target.connect_timeout, self.slots.clone().acquire_owned());
        let slot = match free.await {
            Ok(slot) => slot.expect("the semaphore is never closed"),
            Err(_) => return Err(Error::ConnectionFailed("all connections of this component are in use".to_owned())),
        };
        let session = match self.take_idle() {
            Some(session) => session,
            None => self.target.connect().await?,
        };
        Ok(Pooled { session: Some(session), pool: self.clone(), slot: Some(slot) })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, Session)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_idle(&self) -> Option<Session> {
        let mut idle = self.idle();
        std::iter::from_fn(|| idle.pop()).map(|(_, session)| session).find(|session| !session.client.is_closed())
    }
}

async fn close_idle(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE_TIMEOUT / 2).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.idle().retain(|(since, session)| since.elapsed() < IDLE_TIMEOUT && !session.client.is_closed());
    }
}

impl Target {
    async fn connect(&self) -> Result<Session, Error> {
        let attempt = tokio::time::timeout(self.connect_timeout * 2, self.connect_now());
        attempt.await.unwrap_or_else(|_| Err(Error::ConnectionFailed("the database did not answer in time".to_owned())))
    }

    async fn connect_now(&self) -> Result<Session, Error> {
        let stream = self.stream().await?;
        match &self.tls {
            Some(tls) => self.greet_by_tls(stream, tls).await,
            None => self.greet(stream).await,
        }
    }

    async fn stream(&self) -> Result<TcpStream, Error> {
        let connecting = self.blocked.connect((&self.host, self.port), self.permission, self.connect_timeout);
        connecting.await.map_err(|error| Error::ConnectionFailed(error.to_string()))
    }

    async fn greet(&self, stream: TcpStream) -> Result<Session, Error> {
        let (client, connection) = self.config.connect_raw(stream, NoTls).await.map_err(super::told)?;
        Ok(Session { client, carrier: tokio::spawn(connection).abort_handle() })
    }

    async fn greet_by_tls(&self, stream: TcpStream, tls: &rustls::ClientConfig) -> Result<Session, Error> {
        let connect = self.connect_tls(tls)?;
        let mut config = self.config.clone();
        config.ssl_mode(SslMode::Require);
        let (client, connection) = config.connect_raw(stream, connect).await.map_err(super::told)?;
        Ok(Session { client, carrier: tokio::spawn(connection).abort_handle() })
    }

    fn connect_tls(&self, tls: &rustls::ClientConfig) -> Result<TlsConnect, Error> {
        MakeTlsConnect::<TcpStream>::make_tls_connect(&mut MakeRustlsConnect::new(tls.clone()), &self.host)
            .map_err(|_| Error::ConnectionFailed("the host's name is not one for a certificate".to_owned()))
    }

    /// Asks the server to give up what a session is at: a server that computes, or waits for a lock, does not notice that
    /// its client is gone.
    async fn cancel(&self, client: &Client) -> Result<(), Error> {
        let (stream, token) = (self.stream().await?, client.cancel_token());
        let cancelled = match &self.tls {
            Some(tls) => token.cancel_query_raw(stream, self.connect_tls(tls)?).await,
            None => token.cancel_query_raw(stream, NoTls).await,
        };
        cancelled.map_err(super::told)
    }
}

impl Deref for Pooled {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.session.as_ref().expect("only `drop` takes the session out").client
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let (Some(session), Some(slot)) = (self.session.take(), self.slot.take()) else { return };
        let pool = self.pool.clone();
        // Without a runtime (the process ends) the connection closes, and the server rolls back.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(clean(session, pool, slot));
        }
    }
}

/// The slot is given back only after the cleaning, so that the server never sees more connections than allowed.
async fn clean(session: Session, pool: Arc<Pool>, slot: OwnedSemaphorePermit) {
    let cleaned = {
        let mut resetting = pin!(reset(&session.client));
        let cleaned = tokio::time::timeout(CLEAN_TIMEOUT, &mut resetting).await;
        if cleaned.is_err() {
            let ending = async { (pool.target.cancel(&session.client).await.is_ok(), resetting.await.is_ok()) };
            let ended = tokio::time::timeout(CLEAN_TIMEOUT, ending).await;
            tracing::warn!(
                host = pool.target.host,
                ended = ended.is_ok(),
                "a PostgreSQL session was still busy and is closed"
            );
        }
        cleaned
    };
    // A session that was cancelled is not used again: the cancellation might hit the next one's statement.
    match cleaned {
        Ok(Ok(())) => pool.idle().push((Instant::now(), session)),
        _ => session.carrier.abort(),
    }
    drop(slot);
}

async fn reset(client: &Client) -> Result<(), tokio_postgres::Error> {
    let told = client.simple_query(CLEAN).await?;
    let undo = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => row.try_get("undo").ok().flatten().map(str::to_owned),
        _ => None,
    };
    let undo: Vec<String> = told.iter().filter_map(undo).collect();
    if undo.is_empty() { Ok(()) } else { client.batch_execute(&undo.join(";")).await }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, expected: Option<Permission>) {
        let rules = ["postgres://db:5432", "postgres://*.example:*"].map(|rule| (rule, rule.to_owned()));
        let hosts = AllowedHosts::parse(rules.into_iter()).expect("rules");
        let pools = Pools::new(Blocked::default(), 1, Duration::ZERO);
        let target = pools.target(&hosts, address, None);
        assert_eq!(target.ok().map(|target| target.permission), expected, "{address}");
    }

    #[test]
    fn only_one_allowed_host_by_its_name_is_connected_to() {
        check("postgres://u:p@db/x", Some(Permission::Named));
        check("host=db user=u", Some(Permission::Named));
        check("postgres://u@a.example:6000/x?sslmode=require", Some(Permission::Wildcard));
        check("postgres://u@elsewhere/x", None);
        check("postgres://u@db:5433/x", None);
        check("postgres://u@db,a.example/x", None);
        check("host=db hostaddr=10.0.0.1 user=u", None);
        check("host=/var/run/postgresql user=u", None);
        check("nonsense", None);
    }

    fn check_tls(address: &str, expected: bool) {
        let hosts = AllowedHosts::parse([("", "postgres://*:*".to_owned())].into_iter()).expect("rules");
        let pools = Pools::new(Blocked::default(), 1, Duration::ZERO);
        let Ok(target) = pools.target(&hosts, address, None) else { panic!("{address} is refused") };
        assert_eq!(target.tls.is_some(), expected, "{address}");
    }

    #[test]
    fn another_machine_is_only_spoken_to_in_the_clear_where_the_address_says_so() {
        check_tls("postgres://u:p@db/x", true);
        check_tls("postgres://u:p@10.0.0.1/x?sslmode=prefer", true);
        check_tls("postgres://u:p@db/x?sslmode=disable", false);
        check_tls("postgres://u:p@localhost/x", false);
        check_tls("postgres://u:p@127.0.0.1/x", false);
        check_tls("host=::1 user=u", false);
        check_tls("postgres://u:p@127.0.0.1/x?sslmode=require", true);
    }
}
