//! From a component's file to code: precompiled where there is such a file, else compiled here and kept in the state
//! folder, so that the next start compiles nothing.

use crate::app::Spec;
use crate::{Config, Error};
use std::path::{Path, PathBuf};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Loads the code of all components, abreast.
pub fn load_all(engine: &Engine, specs: &[Spec], config: &Config) -> Vec<Result<Component, Error>> {
    std::thread::scope(|scope| {
        let loading: Vec<_> = specs.iter().map(|spec| scope.spawn(move || load(engine, spec, config))).collect();
        loading.into_iter().map(|one| one.join().expect("loading a component does not panic")).collect()
    })
}

fn load(engine: &Engine, spec: &Spec, config: &Config) -> Result<Component, Error> {
    match precompiled(spec, config) {
        Some(path) => deserialize(engine, &path).map_err(|why| told(&spec.id, format!("{}: {why}", path.display()))),
        None => compiled_here(engine, spec, config),
    }
}

fn told(id: &str, why: String) -> Error {
    Error::Component { component: id.to_owned(), why }
}

/// `{component}.cwasm` in the folder of precompiled ones, or a `.cwasm` beside the source that is not older than it.
fn precompiled(spec: &Spec, config: &Config) -> Option<PathBuf> {
    if let Some(folder) = &config.precompiled_dir {
        return Some(folder.join(format!("{}.cwasm", spec.id)));
    }
    let beside = spec.source.with_extension("cwasm");
    let changed = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    let made = changed(&beside)?;
    changed(&spec.source).is_none_or(|source| source <= made).then_some(beside)
}

#[expect(unsafe_code, reason = "loading precompiled code trusts the file, as running any program does")]
fn deserialize(engine: &Engine, path: &Path) -> Result<Component, String> {
    // SAFETY: the file comes from `compile`, from a build of ours, or from the state folder, which belongs to the user who
    // runs the host: whoever can change it can change the host itself. Wasmtime refuses files of other versions and CPUs.
    unsafe { Component::deserialize_file(engine, path) }.map_err(|error| format!("{error:#}"))
}

#[cfg(not(feature = "compile"))]
fn compiled_here(_: &Engine, spec: &Spec, _: &Config) -> Result<Component, Error> {
    Err(told(&spec.id, "there is no precompiled file, and this host was built without the compiler".to_owned()))
}

#[cfg(feature = "compile")]
fn compiled_here(engine: &Engine, spec: &Spec, config: &Config) -> Result<Component, Error> {
    let wasm = read(&spec.id, &spec.source)?;
    let kept = config.state_dir.join("compiled").join(format!("{}.cwasm", fingerprint(engine, &wasm)));
    if kept.exists() {
        match deserialize(engine, &kept) {
            Ok(component) => return Ok(component),
            Err(why) => {
                tracing::warn!(file = %kept.display(), why, "a kept compilation is not usable and is made again")
            }
        }
    }
    let started = std::time::Instant::now();
    let code = compile_with(engine, &spec.id, &wasm)?;
    tracing::info!(component = spec.id, ms = started.elapsed().as_millis(), "compiled");
    write_whole(&kept, &code)?;
    deserialize(engine, &kept).map_err(|why| told(&spec.id, why))
}

/// Compiles the components of a manifest for the baseline of this CPU architecture into `{component}.cwasm` files in
/// `out_dir`, and says which files it wrote. Variables need no values for it.
#[cfg(feature = "compile")]
pub fn compile(manifest: &Path, out_dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let engine = crate::engine::baseline()?;
    let sources = crate::app::sources(manifest)?;
    std::thread::scope(|scope| {
        let one = |id: String, source: PathBuf| {
            let path = out_dir.join(format!("{id}.cwasm"));
            write_whole(&path, &compile_with(&engine, &id, &read(&id, &source)?)?)?;
            Ok(path)
        };
        let compiling: Vec<_> = sources.into_iter().map(|(id, source)| scope.spawn(move || one(id, source))).collect();
        compiling.into_iter().map(|one| one.join().expect("compiling a component does not panic")).collect()
    })
}

#[cfg(feature = "compile")]
fn read(id: &str, source: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(source).map_err(|error| told(id, format!("{}: {error}", source.display())))
}

#[cfg(feature = "compile")]
fn compile_with(engine: &Engine, id: &str, wasm: &[u8]) -> Result<Vec<u8>, Error> {
    engine.precompile_component(wasm).map_err(|error| told(id, format!("{error:#}")))
}

/// The same for the same bytes, engine version, settings and CPU.
#[cfg(feature = "compile")]
fn fingerprint(engine: &Engine, wasm: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut engine_hash = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut engine_hash);
    let digest = Sha256::new().chain_update(engine_hash.finish().to_le_bytes()).chain_update(wasm).finalize();
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// By way of another name, so that nobody ever loads half a file. The name is this call's own: two components may be the same.
#[cfg(feature = "compile")]
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let folder = path.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder)?;
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let unfinished = path.with_extension(format!("{}-{call}.part", std::process::id()));
    std::fs::write(&unfinished, bytes)?;
    Ok(std::fs::rename(&unfinished, path)?)
}

#[cfg(all(test, feature = "compile"))]
mod tests {
    use super::*;

    #[test]
    fn many_may_write_the_same_file_at_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("same.cwasm");
        let write = || (0..100).try_for_each(|_| write_whole(&path, &[7; 4096]));
        std::thread::scope(|scope| {
            let writing: Vec<_> = (0..4).map(|_| scope.spawn(write)).collect();
            writing.into_iter().for_each(|one| one.join().expect("no panic").expect("it is written"));
        });
        assert_eq!(std::fs::read(&path).expect("the file"), [7; 4096]);
        assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 1);
    }
}
