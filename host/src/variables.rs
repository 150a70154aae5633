//! `spin:variables`: a component reads the variables of its own section of the manifest.

use crate::bindings::spin::variables::variables::{Error, Host, HostWithStore};
use crate::guest::{Guest, Spin};
use crate::template::is_variable_name;
use wasmtime::component::Accessor;

impl Host for Guest {}

impl HostWithStore<Guest> for Spin {
    async fn get(accessor: &Accessor<Guest, Self>, name: String) -> wasmtime::Result<Result<String, Error>> {
        if !is_variable_name(&name) {
            return Ok(Err(Error::InvalidName(name)));
        }
        let value = accessor.with(|mut access| access.get().grants.spec.variables.get(&name).cloned());
        Ok(value.ok_or_else(|| Error::Undefined(format!("no variable `{name}` in this component's section"))))
    }
}
