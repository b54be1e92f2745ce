//! What this machine is: memory, cores, and the segment size that follows from them.

use manyhands_proto::Po2;

/// Memory of this machine in bytes, as the kernel says.
pub fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    u64::from(info.mem_unit).saturating_mul(info.totalram)
}

/// Memory that could be had now without swapping, in bytes, within the control group's limit; none where the kernel does not say.
pub fn free_bytes() -> Option<u64> {
    let bytes = kernel_memory().into_iter().find(|(name, _)| name == "MemAvailable")?.1;
    Some(bytes.min(memory_limit_bytes().unwrap_or(u64::MAX)))
}

/// `/proc/meminfo`, in bytes.
pub fn kernel_memory() -> Vec<(String, u64)> {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let kilobytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some((name.to_owned(), kilobytes.saturating_mul(1_024)))
    };
    text.lines().filter_map(line).collect()
}

/// The memory limit of the control group that a container lives in, in bytes; none if there is no limit.
pub fn memory_limit_bytes() -> Option<u64> {
    std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?.trim().parse().ok()
}

/// Logical cores.
pub fn cores() -> u16 {
    std::thread::available_parallelism().map_or(1, |cores| u16::try_from(cores.get()).unwrap_or(u16::MAX))
}

/// Memory that one of `slots` may use unless the owner says otherwise: together half of the machine, so that the storage service or
/// desktop it was bought for stays quick (the paper lets a node of 8 GB use 4 GB).
pub fn memory_per_slot_bytes(slots: u8) -> u64 {
    memory_bytes() / 2 / u64::from(slots.max(1))
}

/// Memory that is left to others unless the owner says otherwise: a sixteenth of the machine, which is what its kernel keeps files in.
pub fn keep_free_bytes() -> u64 {
    memory_bytes() / 16
}

/// The largest segment to offer: what fits into a slot's memory, or what the owner allows if that is less.
pub fn po2_max(memory_bytes: u64, allowed: Option<Po2>) -> Option<Po2> {
    let fits = Po2::largest_for(memory_bytes)?;
    Some(allowed.map_or(fits, |allowed| allowed.min(fits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory_and_cores() {
        assert!(memory_bytes() > 100 << 20);
        assert!(cores() >= 1);
        assert!(free_bytes().is_some_and(|bytes| bytes > 0 && bytes < memory_bytes()));
        assert!(memory_per_slot_bytes(2) <= memory_bytes() / 4);
    }

    #[test]
    fn the_owner_can_only_lower_the_size() {
        let po2 = |n| Po2::try_from(n).unwrap();
        assert_eq!(po2_max(1 << 30, Some(po2(14))), Some(po2(14)));
        assert_eq!(po2_max(1 << 30, Some(po2(24))), Some(po2(16)));
        assert_eq!(po2_max(1 << 20, None), None);
    }
}
