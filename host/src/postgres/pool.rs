//! Connections to PostgreSQL, a bounded number for each component and address. A connection comes back through a cleaning
//! that rolls back and resets the session; one that is broken, or does not answer the cleaning in time, is closed instead.
//! An error never repeats an address: it holds the password.

use crate::bindings::spin::postgres::postgres::Error;
use crate::hosts::{AllowedHosts, Permission};
use crate::network::Blocked;
use crate::tls;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A component that names more addresses than this is told no.
const ADDRESSES_MAX: usize = 16;
const CLEAN_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// All that a session can keep beyond its transaction. `DISCARD ALL` would forget the client's prepared statements too.
const CLEAN: &str = "ROLLBACK; CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
                     SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";

/// The pools of one component.
pub struct Pools {
    blocked: Blocked,
    connections_max: usize,
    connect_timeout: Duration,
    pools: Mutex<HashMap<Key, Arc<Pool>>>,
}

/// Address and root certificate.
type Key = (String, Option<String>);

/// The connections to one address.
struct Pool {
    target: Target,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<(Instant, Client)>>,
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
    client: Option<Client>,
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
            (SslMode::Require, None) => Some(tls::public()),
            _ => None,
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
        let client = match self.take_idle() {
            Some(client) => client,
            None => self.target.connect().await?,
        };
        Ok(Pooled { client: Some(client), pool: self.clone(), slot: Some(slot) })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, Client)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_idle(&self) -> Option<Client> {
        let mut idle = self.idle();
        std::iter::from_fn(|| idle.pop()).map(|(_, client)| client).find(|client| !client.is_closed())
    }
}

async fn close_idle(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE_TIMEOUT / 2).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.idle().retain(|(since, client)| since.elapsed() < IDLE_TIMEOUT && !client.is_closed());
    }
}

impl Target {
    async fn connect(&self) -> Result<Client, Error> {
        let attempt = tokio::time::timeout(self.connect_timeout * 2, self.connect_now());
        attempt.await.unwrap_or_else(|_| Err(Error::ConnectionFailed("the database did not answer in time".to_owned())))
    }

    async fn connect_now(&self) -> Result<Client, Error> {
        let connecting = self.blocked.connect((&self.host, self.port), self.permission, self.connect_timeout);
        let stream = connecting.await.map_err(|error| Error::ConnectionFailed(error.to_string()))?;
        match &self.tls {
            Some(tls) => self.greet_by_tls(stream, tls).await,
            None => self.greet(stream).await,
        }
    }

    async fn greet(&self, stream: TcpStream) -> Result<Client, Error> {
        let (client, connection) = self.config.connect_raw(stream, NoTls).await.map_err(super::told)?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn greet_by_tls(&self, stream: TcpStream, tls: &Arc<rustls::ClientConfig>) -> Result<Client, Error> {
        let mut make = MakeRustlsConnect::new((**tls).clone());
        let connect = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut make, &self.host)
            .map_err(|_| Error::ConnectionFailed("the host's name is not one for a certificate".to_owned()))?;
        let mut config = self.config.clone();
        config.ssl_mode(SslMode::Require);
        let (client, connection) = config.connect_raw(stream, connect).await.map_err(super::told)?;
        tokio::spawn(connection);
        Ok(client)
    }
}

impl Deref for Pooled {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client.as_ref().expect("only `drop` takes the client out")
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let (Some(client), Some(slot)) = (self.client.take(), self.slot.take()) else { return };
        let pool = self.pool.clone();
        // Without a runtime (the process ends) the connection closes, and the server rolls back.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(clean(client, pool, slot));
        }
    }
}

/// The slot is given back only after the cleaning, so that the server never sees more connections than allowed.
async fn clean(client: Client, pool: Arc<Pool>, slot: OwnedSemaphorePermit) {
    let cleaned = tokio::time::timeout(CLEAN_TIMEOUT, client.batch_execute(CLEAN)).await;
    if let Ok(Ok(())) = cleaned {
        pool.idle().push((Instant::now(), client));
    }
    drop(slot);
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
}
