//! What a subject costs, from the operating system.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use procfs::net::{TcpNetEntry, TcpState, tcp, tcp6};
use procfs::process::Process;

use crate::Failure;

/// The processes of a subject.
#[derive(Clone, Debug)]
pub struct Meter(Vec<u32>);

/// What they have cost up to a moment.
#[derive(Clone, Debug)]
pub struct Reading(Vec<OfProcess>);

#[derive(Clone, Debug)]
struct OfProcess {
    /// Nanoseconds on a CPU, by thread.
    threads: BTreeMap<u32, u64>,
    /// The whole process, those threads included that have ended, in steps of 10 ms.
    whole: Duration,
    voluntary: u64,
    involuntary: u64,
}

/// What they have cost between two readings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cost {
    /// User and system, by process.
    pub cpu: Vec<Duration>,
    /// Context switches because a thread waited for something.
    pub voluntary: u64,
    /// Context switches because its time was over.
    pub involuntary: u64,
}

/// Memory of all processes in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// The most that each ever had resident.
    pub peak: u64,
}

impl Meter {
    /// Of these processes.
    #[must_use]
    pub fn new(processes: &[u32]) -> Self {
        Self(processes.to_vec())
    }

    /// Of this very process.
    #[must_use]
    pub fn own() -> Self {
        Self(vec![std::process::id()])
    }

    /// Reads what they have cost so far.
    ///
    /// # Errors
    /// If one has ended.
    pub fn read(&self) -> Result<Reading, Failure> {
        let of = |id: &u32| read(*id).map_err(|error| format!("process {id}: {error}").into());
        Ok(Reading(self.0.iter().map(of).collect::<Result<_, Failure>>()?))
    }

    /// CPU-seconds since they were started.
    ///
    /// # Errors
    /// If one has ended.
    pub fn since_start(&self) -> Result<f64, Failure> {
        let of = |of: &OfProcess| of.whole.max(Duration::from_nanos(of.threads.values().sum()));
        Ok(self.read()?.0.iter().map(of).sum::<Duration>().as_secs_f64())
    }

    /// Their memory.
    ///
    /// # Errors
    /// If one has ended.
    pub fn memory(&self) -> Result<Memory, Failure> {
        let mut sum = Memory::default();
        for memory in self.memories()? {
            sum = Memory { resident: sum.resident + memory.resident, peak: sum.peak + memory.peak };
        }
        Ok(sum)
    }

    /// The memory of each.
    ///
    /// # Errors
    /// If one has ended.
    pub fn memories(&self) -> Result<Vec<Memory>, Failure> {
        let of = |id: &u32| {
            let status = Process::new(i32::try_from(*id)?)?.status()?;
            Ok(Memory { resident: status.vmrss.unwrap_or(0), peak: status.vmhwm.unwrap_or(0) })
        };
        self.0.iter().map(of).collect()
    }
}

fn read(id: u32) -> Result<OfProcess, Failure> {
    let process = Process::new(i32::try_from(id)?)?;
    let stat = process.stat()?;
    let ticks = Duration::from_secs(stat.utime + stat.stime) / u32::try_from(procfs::ticks_per_second())?;
    let mut of = OfProcess { threads: BTreeMap::new(), whole: ticks, voluntary: 0, involuntary: 0 };
    for task in fs::read_dir(format!("/proc/{id}/task"))? {
        let task = task?;
        let Ok(thread) = task.file_name().to_string_lossy().parse() else { continue };
        let (Some(on_cpu), Some((voluntary, involuntary))) =
            (ended(on_cpu(&task.path()))?, ended(switches(&task.path()))?)
        else {
            continue;
        };
        of.threads.insert(thread, on_cpu);
        of.voluntary += voluntary;
        of.involuntary += involuntary;
    }
    Ok(of)
}

/// A thread that ends while it is looked at is none.
fn ended<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// No such process.
const ESRCH: i32 = 3;

/// Nanoseconds of a thread: the first number of `schedstat`; where the kernel has none, 0, and ticks are what counts.
pub(crate) fn on_cpu(task: &std::path::Path) -> io::Result<u64> {
    match fs::read_to_string(task.join("schedstat")) {
        Ok(text) => Ok(text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && task.exists() => Ok(0),
        Err(error) => Err(error),
    }
}

fn switches(task: &std::path::Path) -> io::Result<(u64, u64)> {
    let text = fs::read_to_string(task.join("status"))?;
    let of = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    };
    Ok((of("voluntary_ctxt_switches:"), of("nonvoluntary_ctxt_switches:")))
}

impl Reading {
    /// What was spent since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Cost {
        let processes = self.0.iter().zip(&before.0);
        let sum = |reading: &Self, of: fn(&OfProcess) -> u64| reading.0.iter().map(of).sum::<u64>();
        let switches = |of: fn(&OfProcess) -> u64| sum(self, of).saturating_sub(sum(before, of));
        Cost {
            cpu: processes.map(|(after, before)| after.cpu_since(before)).collect(),
            voluntary: switches(|of| of.voluntary),
            involuntary: switches(|of| of.involuntary),
        }
    }
}

impl OfProcess {
    /// To the nanosecond where no thread has ended meanwhile and the kernel counts so, else to the tick.
    fn cpu_since(&self, before: &Self) -> Duration {
        let sum = |of: &Self| of.threads.values().sum::<u64>();
        let kept = before.threads.keys().all(|thread| self.threads.contains_key(thread));
        if kept && sum(self) > 0 {
            Duration::from_nanos(sum(self) - sum(before))
        } else {
            self.whole.saturating_sub(before.whole)
        }
    }
}

impl Cost {
    /// Seconds of all processes.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.cpu.iter().sum::<Duration>().as_secs_f64()
    }
}

/// TCP connections that are established and have an end at one of `ports` of this machine.
///
/// # Errors
/// Where there is no `/proc/net/tcp`.
pub fn connections(ports: &[u16]) -> Result<usize, Failure> {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let ends = sockets(TcpState::Established)?.map(|entry| {
        let (one, two) = (canonical(entry.local_address), canonical(entry.remote_address));
        // Both ends are on this machine, so each connection is there twice.
        if one < two { (one, two) } else { (two, one) }
    });
    let between = ends.filter(|(one, two)| ports.contains(&one.port()) || ports.contains(&two.port()));
    Ok(between.collect::<HashSet<_>>().len())
}

/// The TCP sockets of this machine in one state.
pub(crate) fn sockets(state: TcpState) -> Result<impl Iterator<Item = TcpNetEntry>, Failure> {
    let all = tcp()?.into_iter().chain(tcp6().unwrap_or_default());
    Ok(all.filter(move |entry| entry.state == state))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn work_costs_cpu_time_and_waiting_does_not() {
        let meter = Meter::own();
        let before = meter.read().unwrap();
        let sum = (0..30_000_000u64).fold(0, |sum: u64, n| std::hint::black_box(sum.wrapping_add(n * n)));
        let cost = meter.read().unwrap().since(&before);
        assert!(sum > 0 && cost.seconds() > 0.001, "{cost:?}");
        assert_eq!(before.since(&before).seconds(), 0.0);
    }

    #[test]
    fn memory_is_that_of_the_process() {
        let memory = Meter::own().memory().unwrap();
        assert!(memory.resident > 1000 && memory.peak >= memory.resident, "{memory:?}");
    }

    #[test]
    fn a_process_that_has_ended_costs_an_error() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(Meter::new(&[child.id()]).read().is_err());
    }

    #[test]
    fn every_connection_is_counted_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(connections(&[port]).unwrap(), 0);
        let _streams = [(); 2].map(|()| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        assert_eq!(connections(&[port]).unwrap(), 2);
    }
}
