//! Where the kernel keeps what no stable interface tells, from its own description of its types (BTF, Linux 5.4 with
//! CONFIG_DEBUG_INFO_BTF).

use std::fs;

use btf_rs::{Btf, Type};

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Offsets in `struct sk_buff`, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SkbLayout {
    pub head: u32,
    pub end: u32,
}

/// None where the kernel does not tell, where `skb_shared_info` is another than the programs know (before Linux 5.12),
/// and where programs may not read kernel memory (lockdown(7), confidentiality).
pub(super) fn skb() -> Option<SkbLayout> {
    let lockdown = fs::read_to_string(LOCKDOWN).unwrap_or_default();
    if lockdown.contains("[confidentiality]") {
        return None;
    }
    let btf = Btf::from_bytes(&fs::read(VMLINUX).ok()?).ok()?;
    // The programs read the first byte of it.
    if offset(&btf, "skb_shared_info", "flags") != Some(0) {
        return None;
    }
    Some(SkbLayout {
        head: offset(&btf, "sk_buff", "head")?,
        end: offset(&btf, "sk_buff", "end")?,
    })
}

/// Of a direct member, bytes.
fn offset(btf: &Btf, structure: &str, member: &str) -> Option<u32> {
    let types = btf.resolve_types_by_name(structure).ok()?;
    let structure = types.into_iter().find_map(|found| match found {
        Type::Struct(structure) => Some(structure),
        _ => None,
    })?;
    let mut members = structure.members.iter();
    let member = members.find(|found| btf.resolve_name(*found).is_ok_and(|name| name == member))?;
    Some(member.bit_offset() / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_this_kernel() {
        if !fs::exists(VMLINUX).unwrap() {
            return;
        }
        let layout = skb().unwrap();
        // A pointer, and 4 bytes before it: `end` and `head` stand side by side since there are offsets (Linux 2.6.22).
        assert_eq!(layout.head % 8, 0);
        assert_eq!(layout.end % 4, 0);
        assert!((4..=8).contains(&(layout.head - layout.end)), "{layout:?}");
    }
}
