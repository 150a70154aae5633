//! Rust traits and types generated from the Spin interfaces in `host/wit`. The rooms `variables`, `sqlite` and `postgres`
//! implement the traits; `linker` hands them to the components.

wasmtime::component::bindgen!({
    path: "wit",
    world: "till:host/spin",
    imports: { default: async | trappable },
    with: {
        "spin:sqlite/sqlite.connection": crate::sqlite::Connection,
        "spin:postgres/postgres.connection": crate::postgres::Connection,
        "spin:postgres/postgres.connection-builder": crate::postgres::Builder,
    },
});
