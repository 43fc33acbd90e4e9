//! What processes use, as Linux counts it.

use std::time::Duration;

use anyhow::{Context, Result};

/// Bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Right now.
    pub resident: u64,
    /// At most, so far.
    pub resident_most: u64,
}

impl Memory {
    /// Of this process.
    pub fn of(pid: i32) -> Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            Ok::<_, anyhow::Error>(kibibytes.with_context(|| format!("process {pid} has no {name}"))? * 1024)
        };
        Ok(Self {
            resident: bytes("VmRSS:")?,
            resident_most: bytes("VmHWM:")?,
        })
    }
}

/// User and system time of all threads.
pub fn cpu_time(pid: i32) -> Result<Duration> {
    /// Linux counts in these towards programs, whatever its own timer does.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the name, in parentheses, and may hold spaces; user and system time are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')').context("a name in parentheses")?;
    let ticks: Vec<u32> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(TICK * ticks.iter().sum::<u32>())
}
