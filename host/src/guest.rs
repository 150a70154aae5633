//! What the host keeps for one instance: its WASI context, its resources, its bounds, and the grants of its component.

use crate::app::Spec;
use crate::clock::Clock;
use crate::outbound::{Hooks, Outbound};
use crate::output::Output;
use crate::postgres::Pools;
use std::sync::Arc;
use wasmtime::ResourceLimiter;
use wasmtime::component::{HasData, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// An instance of a component is a handful of modules, each with a memory and a table at most: these are beyond any honest one.
const MEMORIES_MAX: usize = 16;
const TABLES_MAX: usize = 64;
const TABLE_ELEMENTS_MAX: usize = 1 << 18;
const MODULES_MAX: usize = 256;

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
    pub bounds: Bounds,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
}

impl Guest {
    pub fn new(grants: Arc<Grants>) -> Self {
        Self {
            table: ResourceTable::new(),
            bounds: Bounds::new(grants.memory_bytes_max),
            wasi: wasi(&grants),
            http: WasiHttpCtx::new(),
            hooks: Hooks::new(&grants),
            grants,
        }
    }
}

/// What an instance may still take, for all its memories and all its tables together. Nothing comes back before its end.
pub struct Bounds {
    memory_bytes_left: usize,
    table_elements_left: usize,
}

impl Bounds {
    fn new(memory_bytes_max: usize) -> Self {
        Self { memory_bytes_left: memory_bytes_max, table_elements_left: TABLE_ELEMENTS_MAX }
    }
}

/// Takes the growth out of what is left, unless it is too much or would fail by the module's own `maximum`.
fn take(left: &mut usize, current: usize, desired: usize, maximum: Option<usize>) -> bool {
    let within_maximum = maximum.is_none_or(|maximum| desired <= maximum);
    match left.checked_sub(desired.saturating_sub(current)) {
        Some(remaining) if within_maximum => {
            *left = remaining;
            true
        }
        _ => false,
    }
}

impl ResourceLimiter for Bounds {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(take(&mut self.memory_bytes_left, current, desired, maximum))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(take(&mut self.table_elements_left, current, desired, maximum))
    }

    fn instances(&self) -> usize {
        MODULES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_counts_all_memories_together() {
        let mut bounds = Bounds::new(100);
        let mut grows =
            |current, desired, maximum| bounds.memory_growing(current, desired, maximum).expect("an answer");
        assert!(grows(0, 40, None));
        assert!(grows(0, 40, Some(40)));
        assert!(!grows(40, 61, None));
        assert!(!grows(40, 50, Some(40)));
        assert!(grows(40, 60, None));
        assert!(!grows(0, 1, None));
    }

    #[test]
    fn tables_have_a_bound_together_as_well() {
        let mut bounds = Bounds::new(0);
        assert!(bounds.table_growing(0, TABLE_ELEMENTS_MAX, None).expect("an answer"));
        assert!(!bounds.table_growing(0, 1, None).expect("an answer"));
    }
}
