//! What components are linked to: WASI 0.2 and 0.3, HTTP of both, and the Spin interfaces. A component whose imports go
//! beyond its grants is refused with their names.

use crate::Error;
use crate::app::Spec;
use crate::bindings;
use crate::guest::{Guest, Spin};
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};
use wasmtime_wasi_http::handler::ProxyPre;

/// Packages that every component may import.
const ALWAYS: [&str; 8] = [
    "wasi:cli",
    "wasi:clocks",
    "wasi:filesystem",
    "wasi:http",
    "wasi:io",
    "wasi:random",
    "wasi:sockets",
    "spin:variables",
];

pub fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    bindings::Spin::add_to_linker::<_, Spin>(&mut linker, |guest| guest)?;
    Ok(linker)
}

/// Links one component, or says what it asks for in vain.
pub fn link(linker: &Linker<Guest>, component: &Component, spec: &Spec) -> Result<ProxyPre<Guest>, Error> {
    let component_type = component.component_type();
    let imports = component_type.imports(linker.engine()).map(|(name, _)| name);
    let missing: Vec<String> = imports.filter_map(|name| missing(name, spec)).collect();
    if !missing.is_empty() {
        return Err(Error::NotGranted { component: spec.id.clone(), missing });
    }
    proxy(linker, component).map_err(|error| Error::Component { component: spec.id.clone(), why: format!("{error:#}") })
}

fn missing(import: &str, spec: &Spec) -> Option<String> {
    let package = import.split('/').next().unwrap_or(import);
    match package {
        "spin:sqlite" if spec.databases.is_empty() => Some(format!("{import} (its `sqlite_databases` is empty)")),
        "spin:postgres" if !spec.hosts.mentions("postgres") => {
            Some(format!("{import} (its `allowed_outbound_hosts` has no `postgres://`)"))
        }
        "spin:sqlite" | "spin:postgres" => None,
        _ if ALWAYS.contains(&package) => None,
        _ => Some(format!("{import} (this host does not have it)")),
    }
}

/// Components answer HTTP by WASI 0.3 (spin-sdk 7) or by WASI 0.2.
fn proxy(linker: &Linker<Guest>, component: &Component) -> wasmtime::Result<ProxyPre<Guest>> {
    use wasmtime_wasi_http::{p2, p3};
    let pre = linker.instantiate_pre(component)?;
    match p3::bindings::ServicePre::new(pre.clone()) {
        Ok(service) => Ok(ProxyPre::P3(service)),
        Err(no_service) => match p2::bindings::ProxyPre::new(pre) {
            Ok(proxy) => Ok(ProxyPre::P2(proxy)),
            Err(_) => Err(no_service),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn check(import: &str, hosts: &[&str], expected: bool) {
        let hosts = crate::hosts::AllowedHosts::parse(hosts.iter().map(|host| (*host, (*host).to_owned())));
        let spec = Spec {
            id: "a".to_owned(),
            source: "a.wasm".into(),
            variables: BTreeMap::new(),
            environment: BTreeMap::new(),
            hosts: Arc::new(hosts.expect("hosts")),
            databases: BTreeMap::new(),
        };
        assert_eq!(missing(import, &spec).is_none(), expected, "{import}");
    }

    #[test]
    fn only_what_was_granted_or_is_for_all_may_be_imported() {
        check("wasi:http/types@0.3.0", &[], true);
        check("spin:variables/variables@3.0.0", &[], true);
        check("spin:postgres/postgres@4.2.0", &["postgres://db:5432"], true);
        check("spin:postgres/postgres@4.2.0", &["http://db"], false);
        check("spin:sqlite/sqlite@3.1.0", &[], false);
        check("spin:key-value/key-value@3.0.0", &["*://*:*"], false);
    }
}
