//! Where the kernel keeps what no stable interface tells, from its own description of its types (BTF, Linux 5.4 with
//! CONFIG_DEBUG_INFO_BTF).

use std::fs;

use btf_rs::{Btf, Type};
use dbgov_common::TaskLayout;

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// How deep a member may stand in structures and unions without a name: compilers allow any depth, the kernel uses two.
const ANONYMOUS_DEPTH_MAX: u32 = 8;

/// Offsets in `struct sk_buff`, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SkbLayout {
    pub head: u32,
    pub end: u32,
}

/// What the programs can know of this kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Layouts {
    /// None also where `skb_shared_info` is another than the programs know (before Linux 5.12).
    pub skb: Option<SkbLayout>,
    pub task: Option<TaskLayout>,
}

/// Whether the kernel describes its types, and programs may read its memory: not under lockdown(7), confidentiality.
pub fn kernel_memory_is_known() -> bool {
    let lockdown = fs::read_to_string(LOCKDOWN).unwrap_or_default();
    !lockdown.contains("[confidentiality]") && fs::exists(VMLINUX).unwrap_or(false)
}

pub(super) fn layouts() -> Layouts {
    if !kernel_memory_is_known() {
        return Layouts::default();
    }
    let Some(btf) = fs::read(VMLINUX)
        .ok()
        .and_then(|bytes| Btf::from_bytes(&bytes).ok())
    else {
        return Layouts::default();
    };
    Layouts {
        skb: skb(&btf),
        task: task(&btf),
    }
}

fn skb(btf: &Btf) -> Option<SkbLayout> {
    // The programs read the first byte of it.
    if offset(btf, "skb_shared_info", "flags") != Some(0) {
        return None;
    }
    Some(SkbLayout {
        head: offset(btf, "sk_buff", "head")?,
        end: offset(btf, "sk_buff", "end")?,
    })
}

fn task(btf: &Btf) -> Option<TaskLayout> {
    let task = |member| offset(btf, "task_struct", member);
    let mm = |member| offset(btf, "mm_struct", member);
    let dentry = |member| offset(btf, "dentry", member);
    let mount = |member| offset(btf, "mount", member);
    let f_path = offset(btf, "file", "f_path")?;
    Some(TaskLayout {
        group_leader: task("group_leader")?,
        real_parent: task("real_parent")?,
        tgid: task("tgid")?,
        comm: task("comm")?,
        start_boottime: task("start_boottime")?,
        loginuid: task("loginuid").unwrap_or(0),
        mm: task("mm")?,
        exe_file: mm("exe_file")?,
        arg_start: mm("arg_start")?,
        arg_end: mm("arg_end")?,
        file_mnt: f_path + offset(btf, "path", "mnt")?,
        file_dentry: f_path + offset(btf, "path", "dentry")?,
        d_parent: dentry("d_parent")?,
        d_name: dentry("d_name")? + offset(btf, "qstr", "name")?,
        d_hash_pprev: dentry("d_hash")? + offset(btf, "hlist_bl_node", "pprev")?,
        mnt_root: offset(btf, "vfsmount", "mnt_root")?,
        mount_mnt: mount("mnt")?,
        mnt_parent: mount("mnt_parent")?,
        mnt_mountpoint: mount("mnt_mountpoint")?,
    })
}

/// Of a member, also one of a structure or union without a name inside, bytes.
fn offset(btf: &Btf, structure: &str, member: &str) -> Option<u32> {
    let types = btf.resolve_types_by_name(structure).ok()?;
    let bits = types
        .iter()
        .find_map(|found| within(btf, found, member, ANONYMOUS_DEPTH_MAX))?;
    // No member the programs read is a bit field.
    (bits % 8 == 0).then_some(bits / 8)
}

/// Offset of a member, bits.
fn within(btf: &Btf, found: &Type, member: &str, depth: u32) -> Option<u32> {
    let (Type::Struct(structure) | Type::Union(structure)) = found else {
        return None;
    };
    structure.members.iter().find_map(|candidate| {
        let name = btf.resolve_name(candidate).unwrap_or_default();
        let inside = match name.as_str() {
            name if name == member => 0,
            "" if depth > 0 => {
                let inner = btf.resolve_chained_type(candidate).ok()?;
                within(btf, &inner, member, depth - 1)?
            }
            _ => return None,
        };
        candidate.bit_offset().checked_add(inside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_this_kernel() {
        if !kernel_memory_is_known() {
            return;
        }
        let layouts = layouts();
        // A pointer, and 4 bytes before it: `end` and `head` stand side by side since there are offsets (Linux 2.6.22).
        let skb = layouts.skb.unwrap();
        assert_eq!(skb.head % 8, 0);
        assert_eq!(skb.end % 4, 0);
        assert!((4..=8).contains(&(skb.head - skb.end)), "{skb:?}");

        let task = layouts.task.unwrap();
        let pointers = [
            task.group_leader,
            task.real_parent,
            task.mm,
            task.exe_file,
            task.arg_start,
            task.arg_end,
            task.file_mnt,
            task.file_dentry,
            task.d_parent,
            task.d_name,
            task.d_hash_pprev,
            task.mnt_root,
            task.mount_mnt,
            task.mnt_parent,
            task.mnt_mountpoint,
        ];
        assert!(pointers.iter().all(|offset| offset % 8 == 0), "{task:?}");
        // Side by side since Linux 2.6 (include/linux/path.h, mm_types.h).
        assert_eq!(task.file_dentry, task.file_mnt + 8);
        assert_eq!(task.arg_end, task.arg_start + 8);
        assert!(task.start_boottime > 0 && task.tgid > 0 && task.comm > 0);
    }

    #[test]
    fn members_are_found_where_they_stand() {
        if !kernel_memory_is_known() {
            return;
        }
        let btf = Btf::from_bytes(&fs::read(VMLINUX).unwrap()).unwrap();
        // mm_struct is a structure without a name and a bitmap since Linux 4.19.
        assert!(offset(&btf, "mm_struct", "mmap_base").is_some());
        // The first two members of a struct in a union in a union (include/linux/skbuff.h).
        assert_eq!(offset(&btf, "sk_buff", "next"), Some(0));
        assert_eq!(offset(&btf, "sk_buff", "prev"), Some(8));
        assert_eq!(offset(&btf, "sk_buff", "no such member"), None);
        assert_eq!(offset(&btf, "no such structure", "next"), None);
        // An integer, not a structure.
        assert_eq!(offset(&btf, "int", "next"), None);
    }
}
