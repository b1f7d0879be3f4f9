//! Packets whose payload somebody else can still write to. sendfile(2) and splice(2) put pages of files and pipes into the
//! packet, not copies; over the loopback and veth the server reads from the same pages, maybe seconds later. What was
//! looked at here may then not be what it reads. (Plain sends are copied, and MSG_ZEROCOPY is before it comes here:
//! `skb_orphan_frags_rx` in net/core/dev.c. So is what a network card delivers.)

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_probe_read_kernel};
use dbgov_common::FLAG_SHARED;

use crate::maps::skb_layout;

/// `SKBFL_SHARED_FRAG` of `skb_shared_info.flags` (include/linux/skbuff.h; Linux 5.12).
const SHARED_FRAG: u8 = 1 << 1;

/// [`FLAG_SHARED`], or 0; also where the kernel does not say how its packets are laid out.
#[inline(always)]
pub fn shared(skb: *mut __sk_buff) -> u8 {
    let Some((head_at, end_at)) = skb_layout() else {
        return 0;
    };
    // The context is the kernel's own sk_buff; `end` is an offset from `head`, and skb_shared_info begins there.
    let skb = skb.cast::<u8>().cast_const();
    // SAFETY: reads that fail where the address is none.
    let flags = unsafe {
        let head = bpf_probe_read_kernel(skb.add(head_at as usize).cast::<u64>());
        let end = bpf_probe_read_kernel(skb.add(end_at as usize).cast::<u32>());
        match (head, end) {
            (Ok(head), Ok(end)) => {
                bpf_probe_read_kernel(head.wrapping_add(end.into()) as *const u8).unwrap_or(0)
            }
            _ => 0,
        }
    };
    (flags & SHARED_FRAG) * (FLAG_SHARED / SHARED_FRAG)
}
