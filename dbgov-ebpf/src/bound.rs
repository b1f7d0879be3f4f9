//! Bounds the verifier can see.

/// `value & MASK`, in a form the compiler cannot leave out. The callers have made sure that the mask changes nothing;
/// the compiler knows that and would drop a plain `&`, the verifier does not know it and needs to read it.
#[inline(always)]
pub fn masked<const MASK: i32>(value: u32) -> u32 {
    let mut bounded = u64::from(value);
    // SAFETY: an and of a register with a constant.
    unsafe { core::arch::asm!("{0} &= {1}", inout(reg) bounded, const MASK) };
    bounded as u32
}

/// `value` as a length between 1 and `N`, a power of two.
#[inline(always)]
pub fn length<const N: usize>(value: u32) -> u32 {
    let mut bounded = u64::from(value.wrapping_sub(1));
    // SAFETY: arithmetic on a register.
    unsafe { core::arch::asm!("{0} &= {1}", "{0} += 1", inout(reg) bounded, const N as i32 - 1) };
    bounded as u32
}
