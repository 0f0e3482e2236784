//! What the kernel lets this process do.

/// The bit of `CAP_SYS_ADMIN`: mounts and loop devices.
pub(crate) const SYS_ADMIN: u32 = 21;
/// The bit of `CAP_SYS_RESOURCE`, which the kernel asks for when a mounted ext4 shall grow.
pub(crate) const SYS_RESOURCE: u32 = 24;

/// Whether this process has the capability `bit` now.
pub(crate) fn has(bit: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    set.is_some_and(|set| set & (1 << bit) != 0)
}
