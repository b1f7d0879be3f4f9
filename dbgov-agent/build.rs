fn main() {
    println!("cargo::rustc-check-cfg=cfg(dbgov_bpf_object)");
    println!("cargo::rerun-if-env-changed=DBGOV_BPF_OBJECT");
    let default =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ebpf/dbgov.bpf.o");
    let path = std::env::var_os("DBGOV_BPF_OBJECT")
        .map(Into::into)
        .unwrap_or(default);
    println!("cargo::rerun-if-changed={}", path.display());
    if path.is_file() {
        println!("cargo::rustc-env=DBGOV_BPF_OBJECT={}", path.display());
        println!("cargo::rustc-cfg=dbgov_bpf_object");
    }
}
