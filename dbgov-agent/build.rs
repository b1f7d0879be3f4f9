//! Tells the agent where its kernel programs are.
//!
//! `cargo xtask build` puts them at `target/ebpf/dbgov.bpf.o`; `DBGOV_BPF_OBJECT` names another file. With them the
//! cfg `dbgov_bpf_object` is set and `env!("DBGOV_BPF_OBJECT")` is their path. Without them the agent still builds,
//! for everything that needs no kernel.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(dbgov_bpf_object)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=DBGOV_BPF_OBJECT");
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    let object = match env::var_os("DBGOV_BPF_OBJECT") {
        Some(path) => PathBuf::from(path),
        None => default_object(),
    };
    if object.is_file() {
        println!("cargo::rerun-if-changed={}", object.display());
        println!("cargo::rustc-env=DBGOV_BPF_OBJECT={}", object.display());
        println!("cargo::rustc-cfg=dbgov_bpf_object");
    } else if let Some(dir) = object.parent() {
        // A watched file that is missing would have the agent built anew each time; its directory changes when it
        // comes.
        if fs::create_dir_all(dir).is_ok() {
            println!("cargo::rerun-if-changed={}", dir.display());
        }
    }
}

fn default_object() -> PathBuf {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let workspace = package.parent().unwrap_or(Path::new(".")).to_path_buf();
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    workspace.join(target).join("ebpf/dbgov.bpf.o")
}
