//! Programs that do nothing, so that the bench can tell the cost of ours from the cost of running any.

use aya_ebpf::{macros::cgroup_skb, programs::SkBuffContext};

#[cgroup_skb(ingress)]
pub fn dbgov_empty_in(_ctx: SkBuffContext) -> i32 {
    1
}

#[cgroup_skb(egress)]
pub fn dbgov_empty_out(_ctx: SkBuffContext) -> i32 {
    1
}
