//! What the guests boot into: an archive that the kernel unpacks into memory, so that no driver of a disk is needed.
//! One part is the same for all (agent, PostgreSQL, the test), one is the kernel's (modules, `/init`).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use dbgov_tests::installation::Installation;

use super::fetch::Kernel;
use super::{Expected, Release, dir, guest};
use crate::shell;

/// What `/init`, the harness and the test run.
const PROGRAMS: [&str; 12] = [
    "sh", "mount", "mkdir", "insmod", "ip", "cat", "sleep", "uname", "ls", "cp", "setpriv", "sed",
];
/// For the agent to ask the kernel which sockets there are; each needs those before it. A kernel may have one built in.
const MODULES: [&str; 3] = ["inet_diag", "tcp_diag", "unix_diag"];
/// Directories the guest mounts or the programs expect.
const EMPTY_DIRS: [&str; 9] = [
    "proc", "sys", "dev", "tmp", "run", "root", "etc", "lib64", "modules",
];
const TEST: &str = "sample";

/// Builds the part that all guests share.
pub(super) fn base(agent: &Path) -> Result<PathBuf> {
    let root = dir().join("base");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    let tree = Tree { root };
    tree.skeleton()?;
    for name in PROGRAMS {
        let file = shell::find_program(name).with_context(|| format!("no {name} on this host"))?;
        tree.program(&file.canonicalize()?, Path::new("/usr/bin").join(name))?;
    }
    tree.postgres(&Installation::find()?)?;
    tree.program(agent, guest::AGENT)?;
    tree.program(&test_program()?, guest::TEST)?;
    let archive = dir().join("base.cpio");
    tree.pack(&archive)?;
    fs::remove_dir_all(&tree.root)?;
    Ok(archive)
}

/// The archive a kernel boots into: archives one behind the other are unpacked one over the other.
pub(super) fn of(release: &Release, kernel: &Kernel, base: &Path) -> Result<PathBuf> {
    let root = release.dir().join("own");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(root.join("modules"))?;
    for name in MODULES {
        unpack_module(kernel, name, &root.join("modules"))?;
    }
    let init = root.join("init");
    fs::write(
        &init,
        guest::init(&MODULES, release.expected == Expected::Works),
    )?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    let own = release.dir().join("own.cpio");
    Tree { root }.pack(&own)?;
    let image = release.dir().join("image.cpio");
    let mut whole = fs::read(base)?;
    whole.extend(fs::read(own)?);
    fs::write(&image, whole)?;
    Ok(image)
}

/// Debian compresses its modules from 6.12 on, by xz; Ubuntu by zstd later.
fn unpack_module(kernel: &Kernel, name: &str, to: &Path) -> Result<()> {
    let find = Command::new("find")
        .arg(&kernel.modules)
        .args(["-name", &format!("{name}.ko*")])
        .output()?;
    let found = String::from_utf8_lossy(&find.stdout).into_owned();
    let Some(file) = found.lines().next() else {
        return Ok(());
    };
    let program = match Path::new(file).extension().and_then(|e| e.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => "",
    };
    let module = to.join(format!("{name}.ko"));
    if program.is_empty() {
        fs::copy(file, module)?;
        return Ok(());
    }
    let output = Command::new(program).args(["-dc", file]).output()?;
    ensure!(output.status.success(), "{program} -dc {file}");
    fs::write(module, output.stdout)?;
    Ok(())
}

/// The test to run, as cargo built it.
fn test_program() -> Result<PathBuf> {
    let mut build = shell::cargo();
    build.args(["test", "--package", "dbgov-tests", "--test", TEST]);
    build.args(["--no-run", "--message-format=json"]);
    let text = shell::capture(&mut build).context("the test does not build")?;
    let executable = text.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_test = message["target"]["name"] == TEST;
        is_test.then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    executable.context("cargo names no test program")
}

/// A root directory being filled.
struct Tree {
    root: PathBuf,
}

impl Tree {
    fn inside(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn skeleton(&self) -> Result<()> {
        for name in ["bin", "sbin", "lib"] {
            fs::create_dir_all(self.inside("usr").join(name))?;
            std::os::unix::fs::symlink(format!("usr/{name}"), self.inside(name))?;
        }
        for name in EMPTY_DIRS {
            fs::create_dir_all(self.inside(name))?;
        }
        let user = nix::unistd::User::from_name("postgres")?.context("no system user postgres")?;
        let (uid, gid) = (user.uid, user.gid);
        let passwd = format!("root:x:0:0::/root:/bin/sh\npostgres:x:{uid}:{gid}::/tmp:/bin/sh\n");
        fs::write(self.inside("etc/passwd"), passwd)?;
        let group = format!("root:x:0:\npostgres:x:{gid}:\n");
        fs::write(self.inside("etc/group"), group)?;
        fs::write(
            self.inside("etc/nsswitch.conf"),
            "passwd: files\ngroup: files\n",
        )?;
        // The server's time zone, and the encoding of its databases.
        self.copy(Path::new("/usr/share/zoneinfo"))?;
        self.copy(Path::new("/usr/lib/locale/C.utf8"))
    }

    fn postgres(&self, installation: &Installation) -> Result<()> {
        for name in ["postgres", "initdb", "psql", "pgbench"] {
            let tool = installation.tool(name);
            self.program(&tool, &tool)?;
        }
        let config = installation.tool("pg_config");
        for what in ["--pkglibdir", "--sharedir"] {
            let path = shell::capture(Command::new(&config).arg(what))
                .with_context(|| format!("{} {what}", config.display()))?;
            self.copy(Path::new(path.trim()))?;
            for unused in ["bitcode", "llvmjit.so", "llvmjit_types.bc"] {
                let path = self.inside(path.trim()).join(unused);
                let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
            }
        }
        Ok(())
    }

    /// Copies a file or a directory to the place it has on this host.
    fn copy(&self, path: &Path) -> Result<()> {
        let to = self.inside(path);
        let parent = to.parent().context("a path below the root")?;
        fs::create_dir_all(parent)?;
        shell::run_quietly(Command::new("cp").args(["-a", "--"]).arg(path).arg(parent))
    }

    /// Copies a program without its debug information, and the libraries it is linked with.
    fn program(&self, from: &Path, to: impl AsRef<Path>) -> Result<()> {
        let to = self.inside(to);
        fs::create_dir_all(to.parent().context("a path below the root")?)?;
        fs::copy(from, &to).with_context(|| from.display().to_string())?;
        // Only for its size: a file that cannot be stripped is good as well.
        let _ = shell::capture(Command::new("strip").arg("-g").arg(&to));
        let listed = shell::capture(Command::new("ldd").arg(from)).unwrap_or_default();
        for library in libraries(&listed) {
            let to = self.inside(library);
            if !to.exists() {
                fs::create_dir_all(to.parent().context("a path below the root")?)?;
                fs::copy(library, to)?;
            }
        }
        Ok(())
    }

    fn pack(&self, archive: &Path) -> Result<()> {
        let pack = "find . | cpio --quiet --create --format=newc > \"$0\"";
        shell::run_quietly(
            Command::new("sh")
                .args(["-c", pack])
                .arg(archive)
                .current_dir(&self.root),
        )
    }
}

/// The paths in ldd's output.
fn libraries(text: &str) -> BTreeSet<&str> {
    text.split_whitespace()
        .filter(|word| word.starts_with('/'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_ldd() {
        let text = "\tlinux-vdso.so.1 (0x0)\n\tlibc.so.6 => /lib/libc.so.6 (0x1)\n\t/lib64/ld.so.2 (0x2)\n";
        let found: Vec<&str> = libraries(text).into_iter().collect();
        assert_eq!(found, ["/lib/libc.so.6", "/lib64/ld.so.2"]);
    }
}
