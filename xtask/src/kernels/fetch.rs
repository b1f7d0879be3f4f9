//! Kernel packages, through apt with lists and sources of its own: nothing of the host's configuration changes, and
//! what is fetched is signed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::{Distribution, Release, dir};
use crate::shell;

/// Debian does not package Ubuntu's keys. A package of a released version is never replaced; its hash says that it is
/// the one with Ubuntu's key F6ECB3762474EDA9D21B7022871920D1991BC93C.
const UBUNTU_KEYRING: &str =
    "http://archive.ubuntu.com/ubuntu/pool/main/u/ubuntu-keyring/ubuntu-keyring_2021.03.26_all.deb";
const UBUNTU_KEYRING_SHA256: &str =
    "0d0e7ed6b112f5d03eabf3c7eb01ebdacf9c57714b279e90495cfc58c8c4520f";
const DEBIAN_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An unpacked kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) image: PathBuf,
    pub(super) modules: PathBuf,
}

/// The kernel of an earlier run, or the newest of its distribution.
pub(super) fn kernel(release: &Release, refresh: bool) -> Result<Kernel> {
    let dir = release.dir();
    let root = dir.join("root");
    if refresh && root.exists() {
        fs::remove_dir_all(&root)?;
    }
    if !root.exists() {
        let fresh = dir.join("root.new");
        let _ = fs::remove_dir_all(&fresh);
        fs::create_dir_all(&fresh)?;
        Apt::set_up(release)?.unpack_kernel(release, &fresh)?;
        // By a rename: a run that was interrupted leaves nothing that looks whole.
        fs::rename(&fresh, &root)?;
    }
    let modules = ["lib/modules", "usr/lib/modules"].map(|path| root.join(path));
    Ok(Kernel {
        image: only_entry(&root.join("boot"), "vmlinuz-")?,
        modules: modules
            .into_iter()
            .find(|path| path.exists())
            .context("the kernel's package has no modules")?,
    })
}

fn only_entry(dir: &Path, prefix: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            return Ok(entry.path());
        }
    }
    bail!("{} has no {prefix}*", dir.display())
}

/// apt with a directory of its own.
struct Apt {
    dir: PathBuf,
}

impl Apt {
    fn set_up(release: &Release) -> Result<Self> {
        let dir = release.dir().join("apt");
        for part in [
            "state/lists/partial",
            "cache/archives/partial",
            "etc/apt.conf.d",
            "packages",
        ] {
            fs::create_dir_all(dir.join(part))?;
        }
        fs::write(dir.join("status"), "")?;
        fs::write(dir.join("etc/kernel.sources"), sources(release)?)?;
        let path = dir.display();
        let config = format!(
            "Dir::State \"{path}/state\";\nDir::State::status \"{path}/status\";\nDir::Cache \"{path}/cache\";\n\
             Dir::Etc \"{path}/etc\";\nDir::Etc::SourceList \"{path}/etc/kernel.sources\";\n\
             Dir::Etc::SourceParts \"/dev/null\";\nAPT::Architecture \"amd64\";\nAPT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\n"
        );
        fs::write(dir.join("apt.conf"), config)?;
        shell::say(format_args!(
            "Linux {}: fetching the kernel of {:?} {} (50 MB at most) into {}",
            release.version,
            release.distribution,
            release.suite,
            release.dir().display()
        ));
        let apt = Apt { dir };
        shell::run(apt.command("apt-get").args(["update", "--quiet=2"]))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("APT_CONFIG", self.dir.join("apt.conf"))
            .current_dir(self.dir.join("packages"));
        command
    }

    /// The meta package names the newest image; Ubuntu has the modules in a package of their own.
    fn unpack_kernel(&self, release: &Release, to: &Path) -> Result<()> {
        let meta = match release.distribution {
            Distribution::Debian => "linux-image-cloud-amd64",
            Distribution::Ubuntu => "linux-image-virtual",
        };
        let image = self
            .dependency(meta, "linux-image-")
            .with_context(|| format!("{meta} names no kernel"))?;
        let modules = self.dependency(&image, "linux-modules-");
        for package in std::iter::once(&image).chain(&modules) {
            shell::run(
                self.command("apt-get")
                    .args(["download", "--quiet=2", package]),
            )?;
            let file = only_entry(&self.dir.join("packages"), &format!("{package}_"))?;
            shell::run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(to))?;
            fs::remove_file(file)?;
        }
        Ok(())
    }

    /// The package `package` depends on whose name is `prefix` and a version.
    fn dependency(&self, package: &str, prefix: &str) -> Option<String> {
        let text =
            shell::capture(
                self.command("apt-cache")
                    .args(["depends", "--important", package]),
            )?;
        versioned_dependency(&text, prefix)
    }
}

fn versioned_dependency(text: &str, prefix: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let name = line.split_once("Depends: ")?.1.trim();
        let version = name.strip_prefix(prefix)?;
        version
            .starts_with(|c: char| c.is_ascii_digit())
            .then(|| name.to_string())
    })
}

fn sources(release: &Release) -> Result<String> {
    let suite = release.suite;
    let source = |uri: &str, suites: &str, keys: &Path| {
        format!(
            "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: {}\n\n",
            keys.display()
        )
    };
    Ok(match release.distribution {
        Distribution::Debian => {
            let keys = Path::new(DEBIAN_KEYS);
            let security = format!("{suite}-security");
            source("http://deb.debian.org/debian", suite, keys)
                + &source("http://deb.debian.org/debian-security", &security, keys)
        }
        Distribution::Ubuntu => {
            let suites = format!("{suite} {suite}-updates");
            source(
                "http://archive.ubuntu.com/ubuntu",
                &suites,
                &ubuntu_keyring()?,
            )
        }
    })
}

fn ubuntu_keyring() -> Result<PathBuf> {
    let root = dir().join("keyring");
    let keys = root.join("usr/share/keyrings/ubuntu-archive-keyring.gpg");
    if keys.exists() {
        return Ok(keys);
    }
    fs::create_dir_all(&root)?;
    let file = root.join("keyring.deb");
    shell::say("fetching Ubuntu's keys, which its packages are checked with");
    shell::run(
        Command::new("curl")
            .args(["--fail", "--silent", "--show-error", "--max-time", "60"])
            .arg("--output")
            .arg(&file)
            .arg(UBUNTU_KEYRING),
    )?;
    let sum = shell::capture(Command::new("sha256sum").arg(&file)).unwrap_or_default();
    ensure!(
        sum.starts_with(UBUNTU_KEYRING_SHA256),
        "{UBUNTU_KEYRING} is not what it was: {sum}"
    );
    shell::run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&root))?;
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versioned_package_is_found_among_the_dependencies() {
        let text = "linux-image-virtual\n  Depends: linux-image-5.15.0-204-generic\n  Depends: linux-base\n";
        let found = versioned_dependency(text, "linux-image-");
        assert_eq!(found.as_deref(), Some("linux-image-5.15.0-204-generic"));
        assert_eq!(versioned_dependency(text, "linux-modules-"), None);
    }
}
