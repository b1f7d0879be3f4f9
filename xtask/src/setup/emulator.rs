//! What `cargo xtask kernels` boots other kernels with.

use anyhow::Result;

use super::packages::{self, Need};
use crate::shell::find_program;

pub(super) fn provide() -> Result<()> {
    let need =
        |what, program, package| Need::new(what, &[package], find_program(program).is_some());
    packages::provide(&[
        need(
            "qemu, which other kernels run in",
            "qemu-system-x86_64",
            "qemu-system-x86",
        ),
        need("cpio, which packs what they boot into", "cpio", "cpio"),
        need("insmod, which loads their modules", "insmod", "kmod"),
        need("xz, which unpacks their modules", "xz", "xz-utils"),
        need("zstd, which unpacks their modules", "zstd", "zstd"),
        need("strip, which makes programs small", "strip", "binutils"),
        need("curl, which fetches Ubuntu's keys", "curl", "curl"),
    ])
}
