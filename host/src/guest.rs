//! What the host keeps for one instance: its WASI context, its resources, its bounds, and the grants of its component.

use crate::app::Spec;
use crate::clock::Clock;
use crate::outbound::{Hooks, Outbound};
use crate::output::Output;
use crate::postgres::Pools;
use std::sync::Arc;
use wasmtime::component::{HasData, ResourceTable};
use wasmtime::{StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// What one component was granted, shared by its instances.
pub struct Grants {
    pub spec: Spec,
    pub clock: Clock,
    pub outbound: Outbound,
    pub postgres: Pools,
    /// Rows of one SQL statement, together.
    pub result_bytes_max: usize,
    pub memory_bytes_max: usize,
}

/// The data of one instance's store.
pub struct Guest {
    pub table: ResourceTable,
    pub grants: Arc<Grants>,
    pub limits: StoreLimits,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
}

impl Guest {
    pub fn new(grants: Arc<Grants>) -> Self {
        Self {
            table: ResourceTable::new(),
            limits: StoreLimitsBuilder::new().memory_size(grants.memory_bytes_max).build(),
            wasi: wasi(&grants),
            http: WasiHttpCtx::new(),
            hooks: Hooks::new(&grants),
            grants,
        }
    }
}

/// Clocks, random numbers and output, but no files, sockets or arguments.
fn wasi(grants: &Grants) -> WasiCtx {
    let environment: Vec<_> = grants.spec.environment.iter().collect();
    WasiCtx::builder()
        .envs(&environment)
        .stdout(Output::new(&grants.spec.id, "stdout"))
        .stderr(Output::new(&grants.spec.id, "stderr"))
        .wall_clock(grants.clock.clone())
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// Stands for `Guest` where the Spin interfaces want to be told whose data they get.
pub struct Spin;

impl HasData for Spin {
    type Data<'a> = &'a mut Guest;
}
