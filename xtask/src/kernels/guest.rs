//! One guest: what it runs, and what its words mean.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use dbgov_tests::process;

use super::fetch::Kernel;
use super::{Expected, Release};
use crate::shell;

/// A guest that works takes about one minute on an idle host; without hardware's help it runs ten times slower.
const GUEST_TIMEOUT: Duration = Duration::from_secs(300);
const GUEST_MEMORY_MIB: &str = "2048";
/// More than one, so that the programs run at the same time.
const GUEST_CPUS: &str = "2";
/// How much of a guest's last words a failure shows.
const LAST_LINES: usize = 25;

pub(super) const AGENT: &str = "/dbgov/dbgov";
pub(super) const TEST: &str = "/dbgov/test";

/// What `/init` says before a release or an exit code.
const KERNEL: &str = "dbgov-guest: kernel";
const DOCTOR: &str = "dbgov-guest: doctor";
const RUN: &str = "dbgov-guest: run";
const TESTED: &str = "dbgov-guest: test";

/// The first process: mounts, modules, and then what is to be tried.
pub(super) fn init(modules: &[&str], works: bool) -> String {
    let tried = if works {
        format!("{TEST} --test-threads=1 --nocapture 2>&1\necho {TESTED} $?\n")
    } else {
        format!("{AGENT} run 2>&1\necho {RUN} $?\n")
    };
    let modules = modules.join(" ");
    format!(
        "#!/bin/sh
export PATH=/usr/bin HOME=/root LC_ALL=C.UTF-8
export DBGOV_BIN={AGENT} CARGO_TARGET_DIR=/dbgov/target
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dbgov/target
for dir in /dev/shm /tmp /run; do mount -t tmpfs tmp $dir; done
mount -t cgroup2 none /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
ip link set lo up
for module in {modules}; do
    if [ -e /modules/$module.ko ]; then insmod /modules/$module.ko; fi
done
echo; echo {KERNEL} $(uname -r)
{AGENT} doctor 2>&1
echo {DOCTOR} $?
{tried}# The console is slower than the reset, which ends the emulator.
sleep 1
echo b > /proc/sysrq-trigger
sleep 60
"
    )
}

/// Boots the guest and says in a line what it showed.
pub(super) fn judge(release: &Release, kernel: &Kernel, image: &Path) -> Result<String> {
    let text = boot(release, kernel, image)?;
    let verdict = match release.expected {
        Expected::Works => worked(&text),
        Expected::TooOld => refused(&text),
    };
    verdict.with_context(|| {
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LAST_LINES)..];
        format!("the guest's last words:\n{}\n", tail.join("\n"))
    })
}

/// Runs the guest to its end; returns what it wrote to its console.
fn boot(release: &Release, kernel: &Kernel, image: &Path) -> Result<String> {
    let console = release.dir().join("console.log");
    let output = File::create(&console)?;
    // It dies with us, and cannot reach anything: it has no network and no disk.
    let mut command = process::Place::default().command("qemu-system-x86_64");
    command
        .args(["-accel", "tcg,thread=multi", "-cpu", "max"])
        .args(["-smp", GUEST_CPUS, "-m", GUEST_MEMORY_MIB])
        .args(["-nodefaults", "-nographic", "-no-reboot"])
        .args(["-serial", "stdio", "-kernel"])
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(image)
        .args(["-append", "console=ttyS0 quiet panic=-1 rdinit=/init"])
        .stdin(Stdio::null())
        .stderr(output.try_clone()?)
        .stdout(output);
    shell::say(format_args!("Linux {} boots", release.version));
    let mut child = process::spawn(command).context("cannot start qemu-system-x86_64")?;
    let ended = process::wait_timeout(&mut child, GUEST_TIMEOUT)?;
    if ended.is_none() {
        process::stop(&mut child, &[])?;
    }
    let text = String::from_utf8_lossy(&fs::read(&console)?).replace('\r', "");
    match ended {
        Some(_) => Ok(text),
        None => bail!("the guest hung, and was ended after {GUEST_TIMEOUT:?}:\n{text}"),
    }
}

fn worked(text: &str) -> Result<String> {
    let doctor = code(text, DOCTOR)?;
    ensure!(doctor == 0, "dbgov doctor ended with {doctor}");
    let test = code(text, TESTED)?;
    ensure!(test == 0, "the journal is not what the server's log says");
    let figures = text
        .lines()
        .find_map(|line| Some(&line[..line.find(" compared,")?]));
    let figures = figures.and_then(|line| line.rsplit("... ").next());
    let figures = figures.context("the test compared nothing")?;
    Ok(format!(
        "{}: {figures}, none missing, no loss",
        release(text)
    ))
}

fn refused(text: &str) -> Result<String> {
    let (doctor, run) = (code(text, DOCTOR)?, code(text, RUN)?);
    ensure!(doctor != 0, "dbgov doctor sees nothing wrong");
    ensure!(run != 0, "dbgov run ended well");
    let release = release(text);
    let words = text.lines().find(|line| {
        line.starts_with("dbgov: ") && line.contains(release) && line.contains("too old: boot")
    });
    let words = words.context("dbgov run does not say what kernel it needs")?;
    Ok(format!("{release}: refused: {words}"))
}

/// The exit code said behind `what`.
fn code(text: &str, what: &str) -> Result<i32> {
    let said = text.lines().find_map(|line| line.strip_prefix(what));
    let said = said.with_context(|| format!("the guest did not come to \"{what}\""))?;
    Ok(said.trim().parse()?)
}

/// What `uname -r` said.
fn release(text: &str) -> &str {
    let said = text.lines().find_map(|line| line.strip_prefix(KERNEL));
    said.map_or("unknown release", str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_worked_tells_its_figures() {
        let text = "dbgov-guest: kernel 5.10.0-46\ndbgov-guest: doctor 0\ntest x ... 12 statements in 3 sessions compared, 0 errors\n";
        assert!(worked(text).is_err(), "it did not end");
        let ended = format!("{text}dbgov-guest: test 0\n");
        let told = worked(&ended).unwrap();
        assert!(told.contains("5.10.0-46: 12 statements in 3 sessions, none"));
        assert!(worked(&format!("{text}dbgov-guest: test 101\n")).is_err());
        assert!(worked(&ended.replace("doctor 0", "doctor 1")).is_err());
        assert!(worked("5.10\ndbgov-guest: doctor 0\ndbgov-guest: test 0\n").is_err());
    }

    #[test]
    fn a_refusal_names_both_kernels() {
        let text = "dbgov-guest: kernel 5.4.0\ndbgov-guest: doctor 1\ndbgov: this kernel (5.4.0) is too old: boot Linux 5.10 or newer\ndbgov-guest: run 1\n";
        assert!(refused(text).unwrap().contains("boot Linux 5.10"));
        assert!(refused(&text.replace("run 1", "run 0")).is_err());
        assert!(refused(&text.replace("is too old", "will not")).is_err());
    }
}
