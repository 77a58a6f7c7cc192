//! `socket-proxy PORT UNIX_SOCKET PROGRAM ARGUMENT…`: runs a program without INET sockets whose connections to 127.0.0.1:PORT
//! are made to a Unix socket. For tests and trying out: of what else confines an executor there is nothing here.

use std::io;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use jct_socket_proxy::{Config, Connection, Limits, hand_over, start};

/// The first argument of the process that becomes the program.
const INNER: &str = "--inner";
/// What a sandbox that can't be had exits with.
const UNCONFINED: u8 = 125;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [inner, program, rest @ ..] if inner == INNER => become_program(program, rest),
        [port, socket, command @ ..] if !command.is_empty() => port
            .parse()
            .map_err(|_| format!("{port} is no port"))
            .and_then(|port| run(port, Path::new(socket), command).map_err(|error| error.to_string())),
        _ => Err("usage: socket-proxy PORT UNIX_SOCKET PROGRAM ARGUMENT…".into()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("socket-proxy: {error}");
        ExitCode::from(UNCONFINED)
    })
}

fn run(port: u16, socket: &Path, command: &[String]) -> io::Result<ExitCode> {
    let limit = |name, or| std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(or);
    let Limits { open, per_second } = Limits::default();
    let limits = Limits {
        open: limit("SOCKET_PROXY_OPEN", open as u32) as usize,
        per_second: limit("SOCKET_PROXY_PER_SECOND", per_second),
    };
    let socket = socket.to_owned();
    let accept = move |connection| {
        let socket = socket.clone();
        thread::spawn(move || forward(connection, &socket));
        Ok(())
    };
    let (proxy, channel) = start(Config { port, limits }, accept)?;
    let mut child = Command::new(std::env::current_exe()?);
    child.arg(INNER).args(command).stdin(Stdio::from(channel));
    let mut running = child.spawn()?;
    // Its end of the channel is not to be ours as well.
    drop(child);
    let status = running.wait()?;
    if std::env::var_os("SOCKET_PROXY_COUNTS").is_some() {
        eprintln!("{:?}", proxy.counts());
    }
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

fn become_program(program: &str, arguments: &[String]) -> Result<ExitCode, String> {
    let without_unix_sockets = std::env::var_os("SOCKET_PROXY_NO_UNIX").is_some();
    hand_over(io::stdin(), !without_unix_sockets).map_err(|error| error.to_string())?;
    let nothing = std::fs::File::open("/dev/null").map_err(|error| error.to_string())?;
    rustix::stdio::dup2_stdin(nothing).map_err(|error| error.to_string())?;
    Err(format!("cannot run {program}: {}", Command::new(program).args(arguments).exec()))
}

/// Copies both ways until both ends are reached.
fn forward(connection: Connection, socket: &PathBuf) {
    let copy = || -> io::Result<()> {
        let other = UnixStream::connect(socket)?;
        let (mut from, mut to) = (connection.stream.try_clone()?, other.try_clone()?);
        let back = thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            to.shutdown(std::net::Shutdown::Write)
        });
        io::copy(&mut &other, &mut &connection.stream)?;
        connection.stream.shutdown(std::net::Shutdown::Both)?;
        let _ = back.join();
        Ok(())
    };
    if let Err(error) = copy() {
        eprintln!("socket-proxy: {error}");
    }
}
