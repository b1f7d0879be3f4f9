//! The process that is calling connect(2), as only the kernel knows it at this moment: it may be gone before anybody
//! could look into /proc. By offsets that the loader took from the kernel's own description of its types; where it has
//! none, [`TASK`] is zero, and the verifier leaves all of this out.
//!
//! Every read is a copy that fails where the address is none, and then gives zeros. What another thread changes in the
//! meantime (a directory that is renamed) can be read half old, half new.

use aya_ebpf::helpers::generated::{
    bpf_get_current_task, bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_probe_read_user,
};
use dbgov_common::{
    COMMAND_BYTES, EXE_BYTES, EXE_STEPS_MAX, FILE_NAME_BYTES, PARENTS_MAX, TASK_COMMAND,
    TASK_COMMAND_CUT, TASK_EXE, TASK_EXE_CUT, TASK_EXE_DELETED, TaskFacts,
};

use crate::{
    bound::{forgotten, length, masked},
    maps::{TASK, command_lines},
};

/// An offset the loader has put into [`TASK`].
macro_rules! offset {
    ($field:ident) => {
        loaded(&TASK.$field)
    };
}

#[inline(always)]
fn loaded(offset: &'static u32) -> u64 {
    // SAFETY: a static's address is valid. Volatile: the compiler must not fold the value that the loader replaces.
    u64::from(unsafe { core::ptr::read_volatile(offset) })
}

/// Fills in what is known of the current process.
///
/// # Safety
/// `facts` is room for a [`TaskFacts`] in a reserved record.
#[inline(always)]
pub unsafe fn read(facts: *mut TaskFacts) {
    // SAFETY: as the caller vouches; integers are written one by one.
    unsafe {
        (*facts).started_boot_ns = 0;
        (*facts).login_uid = u32::MAX;
        (*facts).flags = 0;
        (*facts).exe_bytes = 0;
        (*facts).command_bytes = 0;
        (*facts).parents_len = 0;
        (*facts).pad = 0;
    }
    if offset!(start_boottime) == 0 {
        return;
    }
    // SAFETY: takes nothing, and is a number here.
    let task = unsafe { bpf_get_current_task() };
    let leader = word(task + offset!(group_leader));
    let mm = word(task + offset!(mm));
    // SAFETY: as above.
    unsafe {
        (*facts).started_boot_ns = word(leader + offset!(start_boottime));
        if offset!(loginuid) != 0 {
            (*facts).login_uid = number(leader + offset!(loginuid));
        }
        parents(facts, leader);
        // A kernel thread has none.
        if mm != 0 {
            (*facts).flags = exe(facts, word(mm + offset!(exe_file))) | command(facts, mm);
        }
    }
}

/// The processes above the one of `task`, the nearest first.
///
/// # Safety
/// As [`read`].
#[inline(always)]
unsafe fn parents(facts: *mut TaskFacts, mut task: u64) {
    for above in 0..PARENTS_MAX {
        // Its parent is the thread that made it.
        task = word(word(task + offset!(real_parent)) + offset!(group_leader));
        let pid = number(task + offset!(tgid));
        if pid == 0 {
            return;
        }
        // SAFETY: `above` is inside the array.
        unsafe {
            let parent = &raw mut (*facts).parents[above];
            (*parent).started_boot_ns = word(task + offset!(start_boottime));
            (*parent).pid = pid;
            (*parent).pad = 0;
            let comm = &raw mut (*parent).comm;
            bpf_probe_read_kernel(comm.cast(), 16, (task + offset!(comm)) as *const _);
            (*facts).parents_len = above as u32 + 1;
        }
    }
}

/// The path of the file a process runs, from its name up to the root of its mount namespace, as d_path in fs/d_path.c
/// goes. Gives TASK_EXE* flags.
///
/// # Safety
/// As [`read`].
#[inline(always)]
unsafe fn exe(facts: *mut TaskFacts, file: u64) -> u32 {
    let mut dentry = word(file + offset!(file_dentry));
    let mut mnt = word(file + offset!(file_mnt));
    if dentry == 0 {
        return 0;
    }
    let flags = match word(dentry + offset!(d_hash_pprev)) {
        0 => TASK_EXE | TASK_EXE_DELETED,
        _ => TASK_EXE,
    };
    // How many steps went up and how many crossed a mount must not matter to the verifier.
    let mut bytes = forgotten(0, file);
    for _ in 0..EXE_STEPS_MAX {
        if dentry == word(mnt + offset!(mnt_root)) {
            let mount = mnt.wrapping_sub(offset!(mount_mnt));
            let above = word(mount + offset!(mnt_parent));
            if above == mount {
                return flags;
            }
            // Goes on where this file system is mounted.
            dentry = word(mount + offset!(mnt_mountpoint));
            mnt = above + offset!(mount_mnt);
            continue;
        }
        if bytes >= EXE_BYTES as u32 {
            break;
        }
        // SAFETY: a name of the kernel's longest, from an offset that is inside EXE_BYTES.
        let copied = unsafe {
            let at = masked::<{ EXE_BYTES as i32 - 1 }>(bytes);
            let room = (&raw mut (*facts).exe).cast::<u8>().add(at as usize);
            let name = word(dentry + offset!(d_name));
            bpf_probe_read_kernel_str(room.cast(), FILE_NAME_BYTES as u32, name as *const _)
        };
        if copied <= 0 {
            return 0;
        }
        bytes = forgotten(bytes.wrapping_add(copied as u32), file);
        // SAFETY: a field of the record.
        unsafe { (*facts).exe_bytes = bytes };
        let parent = word(dentry + offset!(d_parent));
        // In no directory of any mount: a file that has no name but this, such as memfd_create(2) makes.
        if parent == dentry {
            return flags;
        }
        dentry = parent;
    }
    flags | TASK_EXE_CUT
}

/// The beginning of the arguments. Gives TASK_COMMAND* flags.
///
/// # Safety
/// As [`read`].
#[inline(always)]
unsafe fn command(facts: *mut TaskFacts, mm: u64) -> u32 {
    if !command_lines() {
        return 0;
    }
    let start = word(mm + offset!(arg_start));
    let bytes = word(mm + offset!(arg_end)).wrapping_sub(start);
    if bytes == 0 || bytes > i32::MAX as u64 {
        return TASK_COMMAND;
    }
    let (wanted, flags) = match bytes > COMMAND_BYTES as u64 {
        true => (COMMAND_BYTES as u32, TASK_COMMAND | TASK_COMMAND_CUT),
        false => (bytes as u32, TASK_COMMAND),
    };
    let wanted = length::<COMMAND_BYTES>(wanted);
    // SAFETY: `wanted` is at most the size of `command`. Fails where a page is not in memory.
    unsafe {
        let room = (&raw mut (*facts).command).cast();
        if bpf_probe_read_user(room, wanted, start as *const _) != 0 {
            return 0;
        }
        (*facts).command_bytes = wanted;
    }
    flags
}

/// 8 bytes of kernel memory.
#[inline(always)]
fn word(at: u64) -> u64 {
    let mut value = 0_u64;
    // SAFETY: `value` has the size; the read fails where the address is none.
    unsafe { bpf_probe_read_kernel((&raw mut value).cast(), 8, at as *const _) };
    value
}

/// 4 bytes of kernel memory.
#[inline(always)]
fn number(at: u64) -> u32 {
    let mut value = 0_u32;
    // SAFETY: as above.
    unsafe { bpf_probe_read_kernel((&raw mut value).cast(), 4, at as *const _) };
    value
}
