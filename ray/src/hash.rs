//! One hash for whatever has to come out the same in every build of every version.

/// FNV-1a. Its low bits hardly differ between texts that end alike: who needs them mixes once more.
pub fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
