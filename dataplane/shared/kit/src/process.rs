//! What the operating system knows about this process.

use std::path::Path;
use std::sync::OnceLock;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// Kernel name, release and machine.
pub fn system() -> &'static str {
    static SYSTEM: OnceLock<String> = OnceLock::new();
    SYSTEM.get_or_init(|| match nix::sys::utsname::uname() {
        Ok(name) => format!(
            "{} {} {}",
            name.sysname().to_string_lossy(),
            name.release().to_string_lossy(),
            name.machine().to_string_lossy()
        ),
        Err(_) => std::env::consts::OS.to_owned(),
    })
}

/// Path of the running program.
pub fn executable() -> String {
    std::env::current_exe().map_or_else(|_| String::new(), |path| path.display().to_string())
}

/// Memory of this process in RAM, in bytes; 0 when the system does not say.
pub fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok())
        .unwrap_or(0);
    pages * page_bytes()
}

/// Size and free space, in bytes, of the volume that a folder is on; none when the system does not
/// say.
pub fn volume_bytes(folder: &Path) -> Option<(u64, u64)> {
    let volume = nix::sys::statvfs::statvfs(folder).ok()?;
    let block = volume.fragment_size();
    Some((volume.blocks() * block, volume.blocks_available() * block))
}

/// Memory of the machine in bytes; 0 when the system does not say.
pub fn total_memory_bytes() -> u64 {
    static TOTAL: OnceLock<u64> = OnceLock::new();
    *TOTAL.get_or_init(|| {
        std::fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| text.lines().next()?.split_whitespace().nth(1)?.parse::<u64>().ok())
            .map_or(0, |kib| kib * 1024)
    })
}

/// Processor time spent in user and system mode, in seconds.
pub fn cpu_seconds() -> (f64, f64) {
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    match getrusage(UsageWho::RUSAGE_SELF) {
        Ok(usage) => (seconds(usage.user_time()), seconds(usage.system_time())),
        Err(_) => (0.0, 0.0),
    }
}

fn page_bytes() -> u64 {
    use nix::unistd::{SysconfVar, sysconf};
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, |bytes| bytes as u64)
}

/// Lifts the limit of open files to what `clients` need, as far as the system allows; returns how
/// many clients fit.
pub fn raise_file_limit(clients: usize) -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    /// Files besides clients: journal, listeners, logs.
    const RESERVED: u64 = 64;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return clients };
    let wanted = (clients as u64 + RESERVED).min(hard);
    let granted = if wanted > soft && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() {
        wanted
    } else {
        soft
    };
    clients.min(granted.saturating_sub(RESERVED) as usize)
}
