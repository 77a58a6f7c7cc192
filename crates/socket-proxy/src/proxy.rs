//! The thread that answers.

use std::fs::File;
use std::io::{self, PipeReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use jct_seccomp_notify::{Listener, Notification};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::asked::{self, NameBuffer, Target};
use crate::handover::take_over;
use crate::lease::Connection;
use crate::rate::Rate;

/// The lowest priority there is: that of the processes that ask.
const NICENESS: i32 = 19;
/// Where the ports begin that a kernel gives to who connects, and how many there are.
const EPHEMERAL: (u16, u16) = (32_768, 28_232);

/// What the process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sockets at the same time, connected or not.
    pub open: usize,
    /// New sockets in a second.
    pub per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { open: 64, per_second: 200 }
    }
}

/// What is to be proxied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The port of loopback that connections are made to.
    pub port: u16,
    /// How much of it.
    pub limits: Limits,
}

/// What was asked for so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sockets given.
    pub sockets: u64,
    /// Sockets refused, for there were too many.
    pub limited: u64,
    /// Connections made.
    pub connections: u64,
    /// Connections refused: to other ports and addresses.
    pub refused: u64,
}

#[derive(Debug, Default)]
struct Tally {
    sockets: AtomicU64,
    limited: AtomicU64,
    connections: AtomicU64,
    refused: AtomicU64,
}

/// Answers until it is dropped. All that is asked fails from then on (ENOSYS), and sockets that nobody has connected are at
/// their end.
#[derive(Debug)]
pub struct Proxy {
    tally: Arc<Tally>,
    /// The other end ends the thread.
    _alive: UnixStream,
}

impl Proxy {
    /// What was asked for so far.
    pub fn counts(&self) -> Counts {
        let Tally { sockets, limited, connections, refused } = &*self.tally;
        let [sockets, limited, connections, refused] =
            [sockets, limited, connections, refused].map(|count| count.load(Ordering::Relaxed));
        Counts { sockets, limited, connections, refused }
    }
}

/// Starts the thread that answers one process, before that process is there: so that it can be kept from it by its id. What
/// is given back with it is the channel that the process [hands its listener over](crate::hand_over) by; it can be its
/// standard input, and must not stay open here.
///
/// `accept` takes connections, without waiting; one that it gives back is refused.
///
/// # Errors
/// If there are no descriptors or threads left.
pub fn start<A>(config: Config, accept: A) -> io::Result<(Proxy, OwnedFd)>
where
    A: FnMut(Connection) -> Result<(), Connection> + Send + 'static,
{
    let (ours, theirs) = UnixStream::pair()?;
    let (alive, stop) = UnixStream::pair()?;
    let tally = Arc::new(Tally::default());
    let table = Table {
        config,
        accept,
        tally: tally.clone(),
        sockets: Vec::new(),
        rate: Rate::new(config.limits.per_second, Instant::now()),
    };
    thread::Builder::new().name("socket-proxy".into()).spawn(move || {
        // Of this thread alone, as Linux has it.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        let Ok(Some(listener)) = wait_for(&ours, &stop) else { return };
        drop(ours);
        table.serve(&listener, &stop);
    })?;
    Ok((Proxy { tally, _alive: alive }, theirs.into()))
}

/// Waits for the listener; `None` if nobody hands one over.
fn wait_for(channel: &UnixStream, stop: &UnixStream) -> io::Result<Option<Listener>> {
    let mut polled = [PollFd::new(stop, PollFlags::empty()), PollFd::new(channel, PollFlags::IN)];
    poll_all(&mut polled)?;
    let [stopped, _] = &polled;
    if stopped.revents().is_empty() { take_over(channel.as_fd()) } else { Ok(None) }
}

/// What the process may connect, or has.
#[derive(Debug)]
struct Socket {
    /// Of the end that the process has: names it whatever its descriptor's number is. It is used again when the process has
    /// closed the last of these, which our end tells.
    inode: u64,
    is_ipv6: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Our end.
    Fresh(UnixStream),
    /// The connection is somebody else's; this ends with it.
    Connected { over: PipeReader, from: u16, to: SocketAddr },
}

/// The sockets of the process, and all that is needed to answer it.
struct Table<A> {
    config: Config,
    accept: A,
    tally: Arc<Tally>,
    sockets: Vec<Socket>,
    rate: Rate,
}

/// What a call gets.
enum Answer {
    Is(Result<i64, i32>),
    /// Was given already.
    Given,
    /// It is none of ours: the kernel answers.
    Kernel,
}

impl From<i32> for Answer {
    fn from(errno: i32) -> Self {
        Self::Is(Err(errno))
    }
}

impl<A: FnMut(Connection) -> Result<(), Connection>> Table<A> {
    /// Answers until the process or the proxy is gone.
    fn serve(mut self, listener: &Listener, stop: &UnixStream) {
        loop {
            let mut polled = vec![PollFd::new(stop, PollFlags::empty()), PollFd::new(listener, PollFlags::IN)];
            polled.extend(self.sockets.iter().map(|socket| match &socket.state {
                State::Fresh(ours) => PollFd::new(ours, PollFlags::empty()),
                State::Connected { over, .. } => PollFd::new(over, PollFlags::empty()),
            }));
            if poll_all(&mut polled).is_err() {
                return;
            }
            let seen: Vec<PollFlags> = polled.iter().map(PollFd::revents).collect();
            let [stopped, asked, closed @ ..] = seen.as_slice() else { return };
            if !stopped.is_empty() || asked.intersects(PollFlags::HUP | PollFlags::ERR) {
                return;
            }
            let mut closed = closed.iter().map(|flags| !flags.is_empty());
            self.sockets.retain(|_| !closed.next().unwrap_or(false));
            if asked.contains(PollFlags::IN) {
                match listener.receive() {
                    Ok(notification) => self.answer(listener, &notification),
                    // Who asked was killed.
                    Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => {}
                    Err(_) => return,
                }
            }
        }
    }

    fn answer(&mut self, listener: &Listener, asked: &Notification) {
        let answer = match asked.call {
            libc::SYS_socket => self.socket(listener, asked),
            _ => self.about_a_socket(listener, asked),
        };
        // That nobody waits any more is nothing to us.
        let _ = match answer {
            Answer::Is(result) => listener.answer(asked.id, result),
            Answer::Kernel => listener.let_continue(asked.id),
            Answer::Given => Ok(()),
        };
    }

    /// Never the kernel's to answer.
    fn socket(&mut self, listener: &Listener, asked: &Notification) -> Answer {
        let [family, kind, ..] = asked.arguments.map(|argument| argument as i32);
        let (close_on_exec, non_blocking) = (kind & libc::SOCK_CLOEXEC != 0, kind & libc::SOCK_NONBLOCK != 0);
        if kind & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) != libc::SOCK_STREAM {
            return libc::EINVAL.into();
        }
        let full = self.sockets.len() >= self.config.limits.open;
        if full || !self.rate.take(Instant::now()) {
            self.tally.limited.fetch_add(1, Ordering::Relaxed);
            return if full { libc::EMFILE } else { libc::ENOBUFS }.into();
        }
        let made = UnixStream::pair().and_then(|(ours, theirs)| {
            theirs.set_nonblocking(non_blocking)?;
            let theirs = File::from(OwnedFd::from(theirs));
            let inode = theirs.metadata()?.ino();
            listener.answer_with_descriptor(asked.id, theirs.as_fd(), close_on_exec)?;
            Ok(Socket { inode, is_ipv6: family == libc::AF_INET6, state: State::Fresh(ours) })
        });
        match made {
            Ok(socket) => {
                self.sockets.push(socket);
                self.tally.sockets.fetch_add(1, Ordering::Relaxed);
                Answer::Given
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Answer::Given,
            Err(error) => error.raw_os_error().unwrap_or(libc::ENOBUFS).into(),
        }
    }

    fn about_a_socket(&mut self, listener: &Listener, asked: &Notification) -> Answer {
        let [descriptor, address, length, ..] = asked.arguments;
        let inode = asked::inode(asked.thread, descriptor as i32);
        let Some(index) = self.sockets.iter().position(|socket| Some(socket.inode) == inode) else {
            return Answer::Kernel;
        };
        match asked.call {
            libc::SYS_connect => match asked::target(asked.thread, address, length) {
                _ if !listener.is_valid(asked.id) => Answer::Given,
                Ok(target) => self.connect(index, target),
                Err(errno) => errno.into(),
            },
            libc::SYS_getsockname | libc::SYS_getpeername => {
                let Some(socket) = self.sockets.get(index) else { return Answer::Kernel };
                let Some(name) = socket.name(asked.call == libc::SYS_getpeername) else { return libc::ENOTCONN.into() };
                // What can't be written to, the kernel can: the name of a Unix socket then, which is better than none.
                let Ok(buffer) = NameBuffer::open(asked.thread, address, length) else { return Answer::Kernel };
                if !listener.is_valid(asked.id) {
                    return Answer::Given;
                }
                Answer::Is(buffer.write(&name).map(|()| 0))
            }
            _ => libc::EACCES.into(),
        }
    }

    fn connect(&mut self, index: usize, target: Target) -> Answer {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, self.config.port));
        let target = match target {
            Target::Address(address) => address,
            Target::Unseen => here,
        };
        let is_loopback = target.ip().is_loopback();
        let is_here = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].contains(&target.ip());
        let Some(socket) = self.sockets.get_mut(index) else { return libc::EBADF.into() };
        if matches!(socket.state, State::Connected { .. }) {
            return libc::EISCONN.into();
        }
        if target.is_ipv6() && !socket.is_ipv6 {
            return libc::EAFNOSUPPORT.into();
        }
        if !is_here || target.port() != self.config.port {
            self.tally.refused.fetch_add(1, Ordering::Relaxed);
            return if is_loopback { libc::ECONNREFUSED } else { libc::ENETUNREACH }.into();
        }
        let made = self.tally.connections.load(Ordering::Relaxed);
        let from = EPHEMERAL.0 + (made % u64::from(EPHEMERAL.1)) as u16;
        let connected = socket.connect(from, target, &mut self.accept);
        if connected.is_ok() {
            self.tally.connections.fetch_add(1, Ordering::Relaxed);
        }
        Answer::Is(connected.map(|()| 0))
    }
}

impl Socket {
    /// Hands our end over to who takes connections.
    fn connect(
        &mut self,
        from: u16,
        to: SocketAddr,
        accept: &mut impl FnMut(Connection) -> Result<(), Connection>,
    ) -> Result<(), i32> {
        let State::Fresh(ours) = &self.state else { return Err(libc::EISCONN) };
        let made = ours.try_clone().and_then(Connection::new);
        let (connection, over) = made.map_err(|error| error.raw_os_error().unwrap_or(libc::ENOBUFS))?;
        accept(connection).map_err(|_| libc::ECONNREFUSED)?;
        // Our end is closed by this, so that the process sees the end when the other one closes it.
        self.state = State::Connected { over, from, to };
        Ok(())
    }

    /// The name of this side or of the other one, if it has one.
    fn name(&self, of_peer: bool) -> Option<Vec<u8>> {
        let any = if self.is_ipv6 { IpAddr::from(Ipv6Addr::UNSPECIFIED) } else { Ipv4Addr::UNSPECIFIED.into() };
        let address = match (&self.state, of_peer) {
            (State::Fresh(_), true) => return None,
            (State::Fresh(_), false) => (any, 0).into(),
            (State::Connected { to, .. }, true) => *to,
            (State::Connected { from, to, .. }, false) => (to.ip(), *from).into(),
        };
        Some(asked::name(address, self.is_ipv6))
    }
}

/// Waits until something is seen of one of them.
fn poll_all(polled: &mut [PollFd<'_>]) -> Result<(), Errno> {
    loop {
        match poll(polled, None) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
