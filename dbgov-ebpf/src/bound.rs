//! Bounds the verifier can see.

/// `value & MASK`, in a form the compiler cannot leave out. The callers have made sure that the mask changes nothing;
/// the compiler knows that and would drop a plain `&`, the verifier does not know it and needs to read it.
#[inline(always)]
pub fn masked<const MASK: i32>(value: u32) -> u32 {
    masked_wide::<MASK>(value.into()) as u32
}

/// As [`masked`], for a whole register: no instructions that cut it to 32 bits.
#[inline(always)]
pub fn masked_wide<const MASK: i32>(value: u64) -> u64 {
    let mut bounded = value;
    // SAFETY: an and of a register with a constant.
    unsafe { core::arch::asm!("{0} &= {1}", inout(reg) bounded, const MASK) };
    bounded
}

/// `value` as a length between 1 and `N`, a power of two.
#[inline(always)]
pub fn length<const N: usize>(value: u32) -> u32 {
    let mut bounded = u64::from(value.wrapping_sub(1));
    // SAFETY: arithmetic on a register.
    unsafe { core::arch::asm!("{0} &= {1}", "{0} += 1", inout(reg) bounded, const N as i32 - 1) };
    bounded as u32
}

/// `value`, of which the verifier then knows nothing: ways that differ only in what it knew of a value become one to it.
/// `unknown` is any number it knows nothing of, such as a time.
#[inline(always)]
pub fn forgotten(value: u32, unknown: u64) -> u32 {
    let mut forgotten = u64::from(value);
    // SAFETY: arithmetic on a register.
    unsafe {
        core::arch::asm!("{0} ^= {1}", "{0} ^= {1}", inout(reg) forgotten, in(reg) unknown);
    }
    forgotten as u32
}
