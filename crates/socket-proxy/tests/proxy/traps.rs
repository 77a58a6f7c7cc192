//! What hostile programs try, and what may go wrong at any moment.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::Bench;
use jct_socket_proxy::{Config, Limits, receive, send};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn races_about_addresses_and_descriptors_win_nothing() {
    let got = Bench::new().with("SOCKET_PROXY_PER_SECOND", 100_000).run(
        r#"
stop, got, kinds = [], set(), set()
here, there = ipv4("127.0.0.1", PORT), ipv4("1.1.1.1", PORT)
buffer = ctypes.create_string_buffer(here, 16)
def flip():
    while not stop:
        ctypes.memmove(buffer, there, 16)
        ctypes.memmove(buffer, here, 16)
thread = threading.Thread(target=flip); thread.start()
deadline = time.time() + 20
while len(got) < 2 and time.time() < deadline:
    for _ in range(300):
        sock = socket.socket()
        result = raw(libc.connect, sock.fileno(), buffer, 16)
        got.add(result)
        kinds.add(sock.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) == socket.AF_UNIX)
        if result == 0: kinds.add(echo(sock))
        sock.close()
stop.append(1); thread.join(); stop.clear()
print(sorted(map(str, got)), sorted(map(str, kinds)))
# A descriptor that changes under the call: between one of ours, a Unix socket and none.
own, other = socket.socket(), socket.socket(socket.AF_UNIX)
def change():
    while not stop:
        os.dup2(own.fileno(), 90); os.dup2(other.fileno(), 90)
        try: os.close(90)
        except OSError: pass
thread = threading.Thread(target=change); thread.start()
seen, deadline = set(), time.time() + 20
while not seen >= {"ENETUNREACH", "EINVAL", "EBADF"} and time.time() < deadline:
    seen |= set(raw(libc.connect, 90, ipv4("1.1.1.1", 80), 16) for _ in range(1000))
stop.append(1); thread.join()
print(sorted(seen))
"#,
    );
    assert_eq!(got, "['0', 'ENETUNREACH'] ['True', 'you said hi']\n['EBADF', 'EINVAL', 'ENETUNREACH']");
}

#[test]
fn what_was_given_leads_nowhere_else() {
    let got = Bench::new().run(
        r#"
s = connected()
report("again", lambda: raw_connect(s, ipv4("127.0.0.1", PORT)))
report("elsewhere", lambda: raw_connect(s, ipv4("1.1.1.1", 80)))
report("dissolve", lambda: raw_connect(s, bytes(16)))
report("and elsewhere", lambda: raw_connect(s, ipv4("1.1.1.1", 80)))
report("to a path", lambda: raw_connect(s, struct.pack("=H", socket.AF_UNIX) + b"server\0"))
report("as it was", lambda: echo(s))
fresh = socket.socket()
report("fast open", lambda: fresh.sendto(b"x", 0x20000000, ("1.1.1.1", 80)))
report("sendmsg", lambda: fresh.sendmsg([b"x"], [], 0x20000000, ("1.1.1.1", 80)))
report("accept", lambda: fresh.accept())
report("bind to a path", lambda: raw(libc.bind, fresh.fileno(), struct.pack("=H", socket.AF_UNIX) + b"mine\0", 7))
report("a path", lambda: os.path.exists("mine"))
"#,
    );
    assert_eq!(
        got,
        "again: EISCONN\nelsewhere: EISCONN\ndissolve: EAFNOSUPPORT\nand elsewhere: EISCONN\nto a path: EAFNOSUPPORT\n\
         as it was: you said hi\nfast open: EISCONN\nsendmsg: EISCONN\naccept: EINVAL\nbind to a path: EACCES\na path: False"
    );
}

#[test]
fn nobody_has_a_listener_besides() {
    let got = Bench::new().run(
        r#"
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
code = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000))
program = Program(1, ctypes.cast(code, ctypes.c_void_p))
SECCOMP = {"x86_64": 317, "aarch64": 277}[os.uname().machine]
report("with a listener", lambda: raw(libc.syscall, SECCOMP, 1, 8, ctypes.byref(program)))
report("without", lambda: raw(libc.syscall, SECCOMP, 1, 0, ctypes.byref(program)))
report("TCP", lambda: echo(connected()))
report("UDP", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
report("io_uring", lambda: raw(libc.syscall, 425, 1, ctypes.create_string_buffer(120)))
"#,
    );
    assert_eq!(got, "with a listener: EPERM\nwithout: 0\nTCP: you said hi\nUDP: EPERM\nio_uring: EPERM");
}

#[test]
fn open_sockets_are_limited_and_forgotten_when_closed() {
    let bench = Bench::new().with("SOCKET_PROXY_OPEN", 8).with("SOCKET_PROXY_PER_SECOND", 100_000);
    let got = bench.run(
        r#"
def all_there_are(make):
    kept = []
    try:
        while True: kept.append(make())
    except OSError as error:
        return len(kept), name(error.errno), kept
report("fresh", lambda: all_there_are(socket.socket)[:2])
report("again", lambda: all_there_are(socket.socket)[:2])
report("connected", lambda: all_there_are(connected)[:2])
def eventually():
    for _ in range(1000):
        n = all_there_are(socket.socket)[0]
        if n == 8: return n
        time.sleep(0.01)
    return n
report("when the server has closed them too", eventually)
kept = all_there_are(socket.socket)[2]
pid = os.fork()
if pid == 0: os.execvp("sleep", ["sleep", "0.2"])
for sock in kept: sock.close()
report("closed on exec in the child", eventually)
def many():
    for _ in range(2000): socket.socket().close()
    return "2000"
report("one after the other", many)
"#,
    );
    assert_eq!(
        got,
        "fresh: (8, 'EMFILE')\nagain: (8, 'EMFILE')\nconnected: (8, 'EMFILE')\nwhen the server has closed them too: 8\n\
         closed on exec in the child: 8\none after the other: 2000"
    );
}

#[test]
fn new_sockets_are_limited_by_the_second() {
    let got = Bench::new().with("SOCKET_PROXY_PER_SECOND", 20).run(
        r#"
began, made, refused = time.time(), 0, set()
while time.time() < began + 2:
    try:
        socket.socket().close()
        made += 1
    except OSError as error:
        refused.add(name(error.errno))
print(made in range(50, 62), refused)
"#,
    );
    assert_eq!(got, "True {'ENOBUFS'}");
}

#[test]
fn many_threads_are_answered() {
    let bench = Bench::new().with("SOCKET_PROXY_PER_SECOND", 100_000).with("SOCKET_PROXY_OPEN", 200);
    let got = bench.run(
        r#"
results = []
def work(i):
    for k in range(10):
        sock = connected()
        results.append(echo(sock, f"{i} {k}") == f"you said {i} {k}")
        sock.getpeername()
        sock.close()
threads = [threading.Thread(target=work, args=(i,)) for i in range(40)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(results), all(results))
"#,
    );
    assert_eq!(got, "400 True");
}

#[test]
fn descriptors_that_are_sent_along_are_dropped() {
    let got = Bench::new().run(
        r#"
import array, select
s = connected()
reader, writer = os.pipe()
s.sendmsg([b"hi\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writer]))])
os.close(writer)
report("echo", lambda: s.recv(100))
report("nobody holds it", lambda: select.select([reader], [], [], 10)[0] == [reader] and os.read(reader, 1))
"#,
    );
    assert_eq!(got, "echo: b'you said hi\\n'\nnobody holds it: b''");
}

#[test]
fn where_nobody_takes_connections_they_are_refused() {
    let bench = Bench::new();
    fs::remove_file(bench.path("server")).unwrap();
    // There the connection was taken, and ended at once.
    let got = bench.run(r#"report("end", lambda: connected().recv(1))"#);
    assert_eq!(got, "end: b''");
}

/// A script behind the proxy that is talked with by lines.
struct Talk {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Talk {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn who_is_killed_while_asking_takes_nothing_along() {
    let bench = Bench::new();
    let talk = Talk::start(bench.command(
        r#"
def asking(call):
    pid = os.fork()
    if pid == 0:
        call(); os._exit(0)
    return pid
connect = socket.socket()
print("ready", flush=True)
while not os.path.exists("stopped"): time.sleep(0.01)
pids = [asking(socket.socket) for _ in range(5)] + [asking(lambda: connect.connect(HERE)) for _ in range(5)]
time.sleep(0.5)
report("all alive and waiting", lambda: all(os.waitpid(pid, os.WNOHANG) == (0, 0) for pid in pids))
for pid in pids: os.kill(pid, 9)
report("and dead", lambda: {os.waitpid(pid, 0)[1] for pid in pids})
print("go on", flush=True)
s = socket.socket(); s.connect(HERE)
report("others", lambda: echo(s))
report("what they asked about", lambda: connect.connect(HERE) or echo(connect))
"#,
    ));
    assert_eq!(talk.line(), "ready");
    talk.signal(Signal::STOP);
    fs::write(bench.path("stopped"), "").unwrap();
    assert_eq!(talk.line(), "all alive and waiting: True");
    assert_eq!(talk.line(), "and dead: {9}");
    assert_eq!(talk.line(), "go on");
    talk.signal(Signal::CONT);
    assert_eq!(talk.line(), "others: you said hi");
    assert_eq!(talk.line(), "what they asked about: you said hi");
}

#[test]
fn without_supervisor_nothing_is_there_any_more() {
    let bench = Bench::new();
    let mut talk = Talk::start(bench.command(
        r#"
open_one, fresh = connected(), socket.socket()
print("ready", flush=True)
report("the connection", lambda: open_one.recv(1))
report("a new one", socket.socket)
report("the fresh one", lambda: fresh.connect(HERE))
report("UDP", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
"#,
    ));
    assert_eq!(talk.line(), "ready");
    talk.child.kill().unwrap();
    assert_eq!(talk.line(), "the connection: b''");
    assert_eq!(talk.line(), "a new one: ENOSYS");
    assert_eq!(talk.line(), "the fresh one: ENOSYS");
    assert_eq!(talk.line(), "UDP: EPERM");
}

#[test]
fn a_program_within_another_ones_proxy_is_told() {
    let bench = Bench::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_socket-proxy"));
    let inner = [env!("CARGO_BIN_EXE_socket-proxy"), "1", "nowhere", "true"];
    let output = command.arg("8123").arg(bench.path("server")).args(inner).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("seccomp notification cannot be had"), "{said}");
}

#[test]
fn a_connection_counts_until_who_it_was_passed_to_has_ended_it() {
    let (to, from) = UnixStream::pair().unwrap();
    let config = Config { port: 7000, limits: Limits { open: 1, per_second: 1000 } };
    let accept = move |connection| send(&connection, &to).map_err(|_| connection);
    let (proxy, channel) = jct_socket_proxy::start(config, accept).unwrap();
    // A filter is its thread's alone, so that a thread can stand for the program.
    let asker = std::thread::spawn(move || {
        jct_socket_proxy::hand_over(channel, true).unwrap();
        let connect = || std::net::TcpStream::connect(("127.0.0.1", 7000));
        let mut first = connect().unwrap();
        first.write_all(b"hello").unwrap();
        let second = connect().unwrap_err().raw_os_error();
        drop(first);
        let began = Instant::now();
        while connect().is_err() && began.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(5));
        }
        (second, began.elapsed())
    });
    let mut connection = receive(&from).unwrap().unwrap();
    let mut said = [0; 5];
    connection.stream.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"hello");
    assert_eq!(connection.stream.read(&mut said).unwrap(), 0, "it was closed there");
    std::thread::sleep(Duration::from_millis(100));
    drop(connection);
    let next = receive(&from).unwrap().unwrap();
    let (second, waited) = asker.join().unwrap();
    assert_eq!(second, Some(24), "EMFILE");
    assert!(waited >= Duration::from_millis(90), "{waited:?}");
    drop(next);
    let counts = proxy.counts();
    assert_eq!((counts.sockets, counts.connections), (2, 2));
    assert!(counts.limited > 1);
}
