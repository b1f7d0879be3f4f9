//! Compiler and linker for the kernel programs.
//!
//! rustc has no ready-made `core` for bpfel-unknown-none, so the compiler must come with the library's source, and the
//! bitcode it makes is linked by bpf-linker, whose LLVM must not be older than the compiler's. Two routes lead there:
//!
//! * rustup's nightly with its component rust-src;
//! * Debian's packages rustc-web and rust-web-src, whose stable compiler takes the unstable flags with
//!   `RUSTC_BOOTSTRAP=1`.
//!
//! `DBGOV_KERNEL_TOOLCHAIN=rustup` or `=debian` takes one of them only.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::packages::{self, Need};
use crate::shell::{self, find_program};

/// Takes bitcode of LLVM 21 to 23, as built.
const LINKER_VERSION: &str = "0.13.0";
/// aya-ebpf 0.2 needs 1.87.
const OLDEST_RUSTC_MINOR: u32 = 87;
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Rustup,
    Debian,
}

/// All that building the kernel programs takes.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) route: Route,
    pub(crate) rustc: PathBuf,
    pub(crate) cargo: PathBuf,
    pub(crate) linker: PathBuf,
    version: RustcVersion,
}

impl fmt::Display for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.route {
            Route::Rustup => "rustup's nightly",
            Route::Debian => "Debian's",
        };
        let RustcVersion {
            release,
            llvm_major,
            ..
        } = &self.version;
        write!(
            f,
            "{whose} rustc {release} (LLVM {llvm_major}), {}",
            self.linker.display()
        )
    }
}

/// Finds the tools, or installs them by the first route that works.
pub(crate) fn provide() -> Result<Tools> {
    let routes = routes()?;
    if let Some(tools) = routes.iter().find_map(|route| find(*route)) {
        return Ok(tools);
    }
    shell::say(
        "the kernel programs need a compiler with the source of core, and bpf-linker: not here yet",
    );
    for route in &routes {
        let outcome = match route {
            Route::Rustup => install_rustup(),
            Route::Debian => install_debian(),
        };
        match outcome.and_then(|rustc| install_linker(&rustc)) {
            Ok(()) => {
                if let Some(tools) = find(*route) {
                    return Ok(tools);
                }
                shell::say(format_args!(
                    "{route:?} route: installed, but something is still missing"
                ));
            }
            Err(error) => shell::say(format_args!("{route:?} route: {error:#}")),
        }
    }
    bail!(
        "no compiler for the kernel programs. One of these brings it:\n\
         - rustup toolchain install nightly --component rust-src, and bpf-linker {LINKER_VERSION} \
         (https://github.com/aya-rs/bpf-linker/releases, or cargo binstall bpf-linker) on the PATH\n\
         - on Debian 12 as root: cargo xtask setup, with the security repository in the APT sources"
    )
}

fn routes() -> Result<Vec<Route>> {
    match std::env::var("DBGOV_KERNEL_TOOLCHAIN").as_deref() {
        Ok("rustup") => Ok(vec![Route::Rustup]),
        Ok("debian") => Ok(vec![Route::Debian]),
        Ok(other) => bail!("DBGOV_KERNEL_TOOLCHAIN={other}: neither rustup nor debian"),
        Err(_) => Ok(vec![Route::Rustup, Route::Debian]),
    }
}

/// The tools of this route, if all of them are here.
fn find(route: Route) -> Option<Tools> {
    let rustc = rustc_of(route)?;
    let version = RustcVersion::of(&rustc)?;
    let linker = usable_linker(version.llvm_major)?;
    let cargo = nightly_tool("cargo").or_else(|| Some(std::env::var_os("CARGO")?.into()))?;
    let usable = version.minor >= OLDEST_RUSTC_MINOR && library_source(route, &rustc).is_dir();
    usable.then_some(Tools {
        route,
        rustc,
        cargo,
        linker,
        version,
    })
}

fn rustc_of(route: Route) -> Option<PathBuf> {
    match route {
        Route::Rustup => nightly_tool("rustc"),
        Route::Debian => Some(PathBuf::from(DEBIAN_RUSTC)).filter(|rustc| rustc.exists()),
    }
}

/// A program of rustup's nightly, by its own path: the proxies in `~/.cargo/bin` would choose by directory and variables.
fn nightly_tool(name: &str) -> Option<PathBuf> {
    let mut which = Command::new("rustup");
    // Looking must not download a toolchain.
    which
        .args(["which", "--toolchain", "nightly", name])
        .env("RUSTUP_AUTO_INSTALL", "0");
    let path = PathBuf::from(shell::capture(&mut which)?.trim());
    path.exists().then_some(path)
}

/// Where cargo's `-Z build-std` looks for the library, below the sysroot.
fn library_source(route: Route, rustc: &Path) -> PathBuf {
    let sysroot = match route {
        // <sysroot>/bin/rustc
        Route::Rustup => rustc.ancestors().nth(2).unwrap_or(rustc),
        Route::Debian => Path::new("/usr"),
    };
    sysroot.join("lib/rustlib/src/rust/library/core")
}

#[derive(Debug, PartialEq, Eq)]
struct RustcVersion {
    release: String,
    minor: u32,
    llvm_major: u32,
}

impl RustcVersion {
    fn of(rustc: &Path) -> Option<Self> {
        Self::parse(&shell::capture(Command::new(rustc).arg("-vV"))?)
    }

    /// Reads what `rustc -vV` prints.
    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
        };
        let release = field("release:")?.to_string();
        let minor = release.split('.').nth(1)?.parse().ok()?;
        let llvm_major = field("LLVM version:")?.split('.').next()?.parse().ok()?;
        Some(RustcVersion {
            release,
            minor,
            llvm_major,
        })
    }
}

/// bpf-linker, unless its LLVM is older than the compiler's: it could not read the bitcode.
fn usable_linker(compiler_llvm_major: u32) -> Option<PathBuf> {
    let linker = find_program("bpf-linker")?;
    // A statically linked one does not tell its LLVM; then the link itself has to show.
    let libraries = shell::capture(Command::new("ldd").arg(&linker)).unwrap_or_default();
    let new_enough =
        llvm_of_libraries(&libraries).is_none_or(|llvm_major| llvm_major >= compiler_llvm_major);
    new_enough.then_some(linker)
}

/// The LLVM version in what `ldd` prints: `libLLVM.so.22.1 => …`, `libLLVM-15.so.1 => …`.
fn llvm_of_libraries(text: &str) -> Option<u32> {
    let name = &text[text.find("libLLVM")?..];
    let digits: String = name
        .chars()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().ok()
}

fn install_rustup() -> Result<PathBuf> {
    ensure!(find_program("rustup").is_some(), "rustup is not installed");
    let mut rustup = Command::new("rustup");
    if nightly_tool("rustc").is_some() {
        rustup.args(["component", "add", "rust-src", "--toolchain", "nightly"]);
    } else {
        rustup.args([
            "toolchain",
            "install",
            "nightly",
            "--profile",
            "minimal",
            "--component",
            "rust-src",
        ]);
    }
    shell::run(&mut rustup)?;
    nightly_tool("rustc").context("rustup has no nightly compiler")
}

fn install_debian() -> Result<PathBuf> {
    ensure!(
        packages::offers("rustc-web"),
        "there is no package rustc-web here"
    );
    let rustc = Path::new(DEBIAN_RUSTC);
    let recent = RustcVersion::of(rustc).is_some_and(|version| version.minor >= OLDEST_RUSTC_MINOR);
    packages::provide(&[Need::new(
        "a Rust compiler with the source of its library",
        &["rustc-web", "rust-web-src"],
        recent && library_source(Route::Debian, rustc).is_dir(),
    )])?;
    Ok(rustc.to_path_buf())
}

/// Builds bpf-linker against the LLVM of this compiler's version.
fn install_linker(rustc: &Path) -> Result<()> {
    let version =
        RustcVersion::of(rustc).with_context(|| format!("{} does not run", rustc.display()))?;
    let llvm = version.llvm_major;
    if usable_linker(llvm).is_some() {
        return Ok(());
    }
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    let package = format!("llvm-{llvm}-dev");
    let headers = prefix.join("include/llvm-c").is_dir();
    ensure!(
        headers || packages::offers(&package),
        "bpf-linker needs LLVM {llvm}, and there is no package {package} here"
    );
    let polly = format!("libpolly-{llvm}-dev");
    packages::provide(&[
        Need::new("LLVM, for bpf-linker", &[&package, &polly], headers),
        Need::new(
            "libraries LLVM is linked with",
            &["zlib1g-dev", "libzstd-dev"],
            Path::new("/usr/include/zlib.h").exists() && Path::new("/usr/include/zstd.h").exists(),
        ),
        Need::new(
            "a C++ compiler, for bpf-linker",
            &["g++"],
            find_program("c++").is_some(),
        ),
    ])?;
    let mut install = shell::cargo();
    install
        .args([
            "install",
            "bpf-linker",
            "--version",
            LINKER_VERSION,
            "--force",
            "--no-default-features",
        ])
        .args(["--features", &format!("llvm-{llvm}")])
        .env("LLVM_PREFIX", &prefix);
    shell::run(&mut install)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_tells_its_llvm() {
        let text = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\nbinary: rustc\n\
                    release: 1.96.0\nLLVM version: 22.1.8\n";
        let version = RustcVersion::parse(text).unwrap();
        assert_eq!((version.minor, version.llvm_major), (96, 22));
        assert_eq!(
            RustcVersion::parse("release: 1.97.0-nightly\nLLVM version: 23.0.0\n")
                .unwrap()
                .llvm_major,
            23
        );
        assert_eq!(RustcVersion::parse("rustc 1.96.0\n"), None);
    }

    #[test]
    fn the_linker_tells_its_llvm() {
        assert_eq!(
            llvm_of_libraries("\tlibLLVM.so.22.1 => /usr/lib/llvm-22/lib/libLLVM.so.22.1 (0x0)\n"),
            Some(22)
        );
        assert_eq!(
            llvm_of_libraries("\tlibLLVM-15.so.1 => /x (0x0)\n"),
            Some(15)
        );
        assert_eq!(llvm_of_libraries("\tstatically linked\n"), None);
    }
}
