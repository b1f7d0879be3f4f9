//! What the kernel programs read of a process in connect(2), and where the kernel keeps it.

/// Bytes of the path of a program that cross, file name first; deeper paths lose their beginning. Most are below 100.
/// A power of two, for the verifier's sake.
pub const EXE_BYTES: usize = 512;

/// Bytes the kernel gives a file name at the most, its zero byte included (NAME_MAX in linux/limits.h).
pub const FILE_NAME_BYTES: usize = 256;

/// Directories and mounts a path is followed through: as many names of two letters as [`EXE_BYTES`] hold would be more,
/// but each step is one the verifier goes through.
pub const EXE_STEPS_MAX: u32 = 64;

/// Bytes of a command line that cross. A power of two, for the verifier's sake.
pub const COMMAND_BYTES: usize = 1024;

/// Processes named above one.
pub const PARENTS_MAX: usize = 8;

/// [`TaskFacts`]: the path was read.
pub const TASK_EXE: u32 = 1;
/// Its beginning is missing.
pub const TASK_EXE_CUT: u32 = 2;
/// The file is no more in its directory.
pub const TASK_EXE_DELETED: u32 = 4;
/// The command line was read.
pub const TASK_COMMAND: u32 = 8;
/// It goes on.
pub const TASK_COMMAND_CUT: u32 = 16;

/// Offsets in the kernel's structures, bytes. All zero where they are not known.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskLayout {
    // struct task_struct
    pub group_leader: u32,
    pub real_parent: u32,
    pub tgid: u32,
    pub comm: u32,
    pub start_boottime: u32,
    /// 0 where the kernel has no auditing.
    pub loginuid: u32,
    pub mm: u32,
    // struct mm_struct
    pub exe_file: u32,
    pub arg_start: u32,
    pub arg_end: u32,
    // struct file
    pub file_mnt: u32,
    pub file_dentry: u32,
    // struct dentry
    pub d_parent: u32,
    /// The pointer to the characters.
    pub d_name: u32,
    /// 0 behind it where the dentry is in no directory.
    pub d_hash_pprev: u32,
    // struct vfsmount
    pub mnt_root: u32,
    // struct mount
    pub mount_mnt: u32,
    pub mnt_parent: u32,
    pub mnt_mountpoint: u32,
}

impl TaskLayout {
    pub const UNKNOWN: TaskLayout = TaskLayout {
        group_leader: 0,
        real_parent: 0,
        tgid: 0,
        comm: 0,
        start_boottime: 0,
        loginuid: 0,
        mm: 0,
        exe_file: 0,
        arg_start: 0,
        arg_end: 0,
        file_mnt: 0,
        file_dentry: 0,
        d_parent: 0,
        d_name: 0,
        d_hash_pprev: 0,
        mnt_root: 0,
        mount_mnt: 0,
        mnt_parent: 0,
        mnt_mountpoint: 0,
    };
}

/// A process above another.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Parent {
    /// As in [`TaskFacts`].
    pub started_boot_ns: u64,
    /// In the initial pid namespace.
    pub pid: u32,
    pub pad: u32,
    pub comm: [u8; 16],
}

/// A process as it is in connect(2). What no length or flag covers is whatever the ring held before.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TaskFacts {
    /// When its first thread started, on the boot clock. 0: nothing was read.
    pub started_boot_ns: u64,
    /// u32::MAX: no log-in.
    pub login_uid: u32,
    /// TASK_*.
    pub flags: u32,
    /// In use of `exe`, `command` and `parents`.
    pub exe_bytes: u32,
    pub command_bytes: u32,
    pub parents_len: u32,
    pub pad: u32,
    /// The nearest first.
    pub parents: [Parent; PARENTS_MAX],
    /// File name, directory, its directory and so on, each with a zero byte. The last may begin in the last byte of
    /// [`EXE_BYTES`].
    pub exe: [u8; EXE_BYTES + FILE_NAME_BYTES],
    pub command: [u8; COMMAND_BYTES],
}

const _: () = {
    assert!(size_of::<TaskLayout>() == 19 * 4);
    assert!(size_of::<Parent>() == 32);
    assert!(size_of::<TaskFacts>() == 32 + 8 * 32 + 768 + 1024);
};

#[cfg(feature = "user")]
mod pod {
    // SAFETY: `repr(C)`, integers only, no padding (size asserted above), any bit pattern is valid.
    unsafe impl aya::Pod for super::TaskLayout {}
}
