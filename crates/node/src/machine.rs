//! What this machine is: memory, cores, and the segment size that follows from them.

use std::path::Path;

use manyhands_proto::Po2;

/// Memory of this machine in bytes, as the kernel says.
pub fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    u64::from(info.mem_unit).saturating_mul(info.totalram)
}

/// Memory that could be had now without swapping, in bytes, within the control group's limit; none where the kernel does not say.
pub fn free_bytes() -> Option<u64> {
    free_bytes_at(Path::new("/"))
}

/// As [`free_bytes`], of a machine whose files are below `root`.
pub(crate) fn free_bytes_at(root: &Path) -> Option<u64> {
    let available = kilobytes(&read(root, "proc/meminfo"), "MemAvailable")?;
    Some(available.min(confined_bytes(root).unwrap_or(u64::MAX)))
}

/// Swap of this machine, and how much of it is used, in bytes.
pub fn swap_bytes() -> (u64, u64) {
    let info = read(Path::new("/"), "proc/meminfo");
    let of = |name| kilobytes(&info, name).unwrap_or_default();
    (of("SwapTotal"), of("SwapTotal").saturating_sub(of("SwapFree")))
}

/// The memory limit of the control group that a container lives in, in bytes; none if there is no limit.
pub fn memory_limit_bytes() -> Option<u64> {
    read(Path::new("/"), "sys/fs/cgroup/memory.max").trim().parse().ok()
}

/// A file of the kernel's; one that is not there is empty.
pub(crate) fn read(root: &Path, name: &str) -> String {
    std::fs::read_to_string(root.join(name)).unwrap_or_default()
}

/// The value of a line `Name:  7 kB`, in bytes.
pub(crate) fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

/// What is left of the limit of the control group that the process is in (version 2), in bytes; a limit further up binds as well. File pages
/// that nobody uses are given back before anything is killed.
fn confined_bytes(root: &Path) -> Option<u64> {
    let groups = read(root, "proc/self/cgroup");
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let top = root.join("sys/fs/cgroup");
    let group = top.join(own);
    let left = |group: &Path| {
        let limit = read(group, "memory.max").trim().parse::<u64>().ok()?;
        let used = read(group, "memory.current").trim().parse::<u64>().ok()?;
        let stat = read(group, "memory.stat");
        let idle = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse::<u64>().ok());
        Some(limit.saturating_sub(used.saturating_sub(idle.unwrap_or_default())))
    };
    group.ancestors().take_while(|group| group.starts_with(&top)).filter_map(left).min()
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

/// Memory that is left to others unless the owner says otherwise: a sixteenth of the machine, half a gigabyte of
/// the paper's 8.
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
    fn what_is_free_is_what_the_machine_and_the_groups_above_leave() {
        let dir = tempfile::tempdir().unwrap();
        let with = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let free = || free_bytes_at(dir.path());
        assert_eq!(free(), None);
        with("proc/meminfo", "MemTotal:  8000000 kB\nMemAvailableToo: 5 kB\nMemAvailable:    4000000 kB\n");
        assert_eq!(free(), Some(4_096_000_000));
        with("proc/self/cgroup", "5:devices:/x\n0::/a.slice/b\n");
        with("sys/fs/cgroup/a.slice/b/memory.max", "max\n");
        with("sys/fs/cgroup/a.slice/memory.max", "3000000000\n");
        with("sys/fs/cgroup/a.slice/memory.current", "2500000000\n");
        with("sys/fs/cgroup/a.slice/memory.stat", "anon 1\ninactive_file 500000000\nactive_file 7\n");
        assert_eq!(free(), Some(1_000_000_000));
        with("sys/fs/cgroup/a.slice/memory.current", "many");
        assert_eq!(free(), Some(4_096_000_000));
        with("proc/meminfo", "MemAvailable: -4 kB");
        assert_eq!(free(), None);
    }

    #[test]
    fn the_owner_can_only_lower_the_size() {
        let po2 = |n| Po2::try_from(n).unwrap();
        assert_eq!(po2_max(1 << 30, Some(po2(14))), Some(po2(14)));
        assert_eq!(po2_max(1 << 30, Some(po2(24))), Some(po2(16)));
        assert_eq!(po2_max(1 << 20, None), None);
    }
}
