//! Programs to hooks. A program takes the place of a former agent's in its pinned link (BPF_LINK_UPDATE, Linux 5.7), so
//! that there is no moment without a gate, and never two.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aya::Ebpf;
use aya::programs::links::{FdLink, LinkError};
use aya::programs::{
    CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSockAddr, ProgramError, SockOps,
};

use super::pin::{self, Pins};
use super::{KernelError, load, program};

/// What keeps a program attached to its hook.
pub(super) enum Link {
    /// Ours from the beginning.
    Own { _link: FdLink },
    /// Was pinned.
    Kept { _link: OwnedFd },
}

/// Attaches every hook: pinned where `pins` are given, else for as long as the links live that are returned.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    cgroup: &File,
    pins: Option<&Pins>,
) -> Result<Vec<Link>, KernelError> {
    let mut links = Vec::new();
    for (hook, name) in load::hooks() {
        match pins {
            None => links.push(own(attach_one(ebpf, cgroup, hook, name)?)),
            Some(pins) if replace(ebpf, pins, hook, name)? => {}
            Some(pins) => pins.pin_link(hook, attach_one(ebpf, cgroup, hook, name)?)?,
        }
    }
    Ok(links)
}

/// The pinned links, so that they live on when their pins go; hooks whose pin is gone already are attached anew.
pub(super) fn keep(ebpf: &mut Ebpf, cgroup: &File, pins: &Pins) -> Result<Vec<Link>, KernelError> {
    let mut links = Vec::new();
    for (hook, name) in load::hooks() {
        match pin::open(&pins.link(hook))? {
            Some(link) => links.push(Link::Kept { _link: link }),
            None => links.push(own(attach_one(ebpf, cgroup, hook, name)?)),
        }
    }
    Ok(links)
}

/// Puts the program into the pinned link of its hook; false where there is none that can take it.
fn replace(
    ebpf: &mut Ebpf,
    pins: &Pins,
    hook: &'static str,
    name: &'static str,
) -> Result<bool, KernelError> {
    let path = pins.link(hook);
    let Some(link) = pin::open(&path)? else {
        return Ok(false);
    };
    match pin::update_link(&link, descriptor(ebpf, name)?) {
        Ok(()) => Ok(true),
        Err(error) => {
            // Its cgroup is gone, or it is something else by that name.
            tracing::warn!(%error, path = %path.display(), "a pinned link cannot be adopted and is replaced");
            pin::unlink(&path)?;
            Ok(false)
        }
    }
}

fn descriptor<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<BorrowedFd<'a>, KernelError> {
    let program = ebpf.program(name).ok_or(KernelError::Missing(name))?;
    let fd = program.fd().map_err(|source| KernelError::Attach {
        program: name,
        source,
    })?;
    Ok(fd.as_fd())
}

fn own(link: FdLink) -> Link {
    Link::Own { _link: link }
}

fn attach_one(
    ebpf: &mut Ebpf,
    cgroup: &File,
    hook: &'static str,
    name: &'static str,
) -> Result<FdLink, KernelError> {
    let link = match hook {
        "connect4" | "connect6" => sock_addr(program(ebpf, name)?, cgroup),
        "sock_ops" => sock_ops(program(ebpf, name)?, cgroup),
        "egress" => packets(program(ebpf, name)?, cgroup, CgroupSkbAttachType::Egress),
        _ => packets(program(ebpf, name)?, cgroup, CgroupSkbAttachType::Ingress),
    };
    link.map_err(|source| KernelError::Attach {
        program: name,
        source,
    })
}

fn sock_addr(program: &mut CgroupSockAddr, cgroup: &File) -> Result<FdLink, ProgramError> {
    let id = program.attach(cgroup, CgroupAttachMode::Single)?;
    program.take_link(id)?.try_into().map_err(no_link)
}

fn sock_ops(program: &mut SockOps, cgroup: &File) -> Result<FdLink, ProgramError> {
    let id = program.attach(cgroup, CgroupAttachMode::Single)?;
    program.take_link(id)?.try_into().map_err(no_link)
}

fn packets(
    program: &mut CgroupSkb,
    cgroup: &File,
    hook: CgroupSkbAttachType,
) -> Result<FdLink, ProgramError> {
    let id = program.attach(cgroup, hook, CgroupAttachMode::Single)?;
    program.take_link(id)?.try_into().map_err(no_link)
}

/// Only before Linux 5.7 is an attached program no link.
fn no_link(error: LinkError) -> ProgramError {
    ProgramError::IOError(std::io::Error::other(error))
}
