//! What is measured: two ends with something between them, each in processes of its own.

use std::any::Any;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use heteronym_net::clock::Now;
use procfs::net::TcpState;

use crate::Failure;
use crate::cost::sockets;
use crate::ground::Ground;

/// How long a subject may take to start.
pub const START: Duration = Duration::from_secs(60);
/// Between two looks whether something is there.
const PAUSE: Duration = Duration::from_millis(5);

/// Something that carries stanzas from one side to the other.
pub trait Subject {
    /// What it is called on the command line, in tables and in JSON.
    fn name(&self) -> &'static str;

    /// Starts both ends, until they can be attached to.
    ///
    /// # Errors
    /// If something is not installed, or does not start: with what it said.
    fn start(&self, ground: &Ground) -> Result<Running, Failure>;

    /// Its limits that the measurement needs raised: key and value.
    fn raised(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// A subject that runs; it ends when this is dropped.
pub struct Running {
    /// The processes whose cost counts.
    pub processes: Vec<u32>,
    /// Where to attach, by side.
    pub sides: [Vec<Attachment>; 2],
    /// Where the hosts listen for one another.
    pub ports: Vec<u16>,
    _guard: Box<dyn Any>,
}

/// One link of a side's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// Bytes go in and out as they are, for all domains of the side.
    Bare {
        /// Where to connect.
        address: SocketAddr,
    },
    /// A component (XEP-0114).
    Component {
        /// Where to connect.
        address: SocketAddr,
        /// What it serves; the first is in the header.
        domains: Vec<String>,
        /// The shared secret.
        secret: String,
    },
}

impl Running {
    /// A running subject; dropping `guard` ends everything that it started.
    #[must_use]
    pub fn new(processes: Vec<u32>, sides: [Vec<Attachment>; 2], ports: Vec<u16>, guard: Box<dyn Any>) -> Self {
        Self { processes, sides, ports, _guard: guard }
    }
}

/// Child processes that end with this.
#[derive(Default)]
pub struct Children(Vec<Child>);

impl Children {
    /// Starts one more, without input and output: its process id.
    ///
    /// # Errors
    /// What the system says, with the name of the program.
    pub fn start(&mut self, command: &mut Command) -> Result<u32, Failure> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        let program = command.get_program().to_owned();
        let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        let id = child.id();
        self.0.push(child);
        Ok(id)
    }

    /// Whether all are still there.
    ///
    /// # Errors
    /// If one has ended: how.
    pub fn check(&mut self) -> Result<(), Failure> {
        for child in &mut self.0 {
            if let Some(status) = child.try_wait()? {
                return Err(format!("process {} ended while it should start: {status}", child.id()).into());
            }
        }
        Ok(())
    }

    /// Waits until somebody listens on each of the ports.
    ///
    /// # Errors
    /// If one of the children ends before, or it takes longer than [`START`].
    pub fn wait_until_listening(&mut self, ports: &[u16]) -> Result<(), Failure> {
        let end = Now::read().instant + START;
        loop {
            if all_listening(ports)? {
                return Ok(());
            }
            self.check()?;
            if Now::read().instant > end {
                return Err(format!("nobody listens on all of {ports:?} after {} s", START.as_secs()).into());
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// As the operating system sees it: nobody is dialled for it.
fn all_listening(ports: &[u16]) -> Result<bool, Failure> {
    let open: Vec<u16> = sockets(TcpState::Listen)?.map(|entry| entry.local_address.port()).collect();
    Ok(ports.iter().all(|port| open.contains(port)))
}

/// This very program, in another part.
///
/// # Errors
/// If the system does not say where it is.
pub fn this_program(part: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(part);
    Ok(command)
}

/// Connects as soon as somebody listens there.
///
/// # Errors
/// The last refusal, if nobody does within the time for starting.
pub fn connect_when_up(address: SocketAddr) -> io::Result<TcpStream> {
    let end = Now::read().instant + START;
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return Ok(stream),
            Err(error) if Now::read().instant > end => return Err(error),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
