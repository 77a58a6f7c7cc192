//! What programs get: each call of the table in the crate's documentation, and clients that know nothing of all this.

use crate::support::Bench;

#[test]
fn connects_to_the_port_of_loopback_alone() {
    let got = Bench::new().run(
        r#"
def to(family, address):
    def call():
        sock = socket.socket(family)
        sock.settimeout(10)
        sock.connect(address)
        return echo(sock)
    return call
for address in [HERE, ("127.0.0.1", PORT + 1), ("127.0.0.2", PORT), ("1.1.1.1", PORT), ("10.96.0.1", 443)]:
    report("%s %d" % (address[0], address[1] - PORT if address[1] != 443 else 443), to(socket.AF_INET, address))
for address in [("::1", PORT), ("::ffff:127.0.0.1", PORT), ("::1", PORT + 1), ("fd00::1", PORT), ("::ffff:1.1.1.1", PORT)]:
    report("%s %d" % (address[0], address[1] - PORT), to(socket.AF_INET6, address))
s = socket.socket()
s.setblocking(False)
report("at once", lambda: s.connect_ex(HERE))
s.setblocking(True)
report("and then", lambda: echo(s))
report("IPv6 by IPv4", lambda: raw_connect(socket.socket(), struct.pack("=HHI16sI", socket.AF_INET6, socket.htons(PORT), 0, bytes(15) + b"\1", 0)))
report("short", lambda: raw_connect(socket.socket(), ipv4("127.0.0.1", PORT)[:8]))
kept = socket.socket()
report("long", lambda: raw(libc.connect, kept.fileno(), bytes(256), 256))
report("nowhere in memory", lambda: raw(libc.connect, kept.fileno(), ctypes.c_void_p(8), 16))
report("no descriptor", lambda: raw(libc.connect, 999, ipv4("127.0.0.1", PORT), 16))
report("no socket", lambda: raw(libc.connect, 1, ipv4("127.0.0.1", PORT), 16))
"#,
    );
    assert_eq!(
        got,
        "127.0.0.1 0: you said hi\n127.0.0.1 1: ECONNREFUSED\n127.0.0.2 0: ECONNREFUSED\n1.1.1.1 0: ENETUNREACH\n\
         10.96.0.1 443: ENETUNREACH\n::1 0: you said hi\n::ffff:127.0.0.1 0: you said hi\n::1 1: ECONNREFUSED\n\
         fd00::1 0: ENETUNREACH\n::ffff:1.1.1.1 0: ENETUNREACH\nat once: 0\nand then: you said hi\n\
         IPv6 by IPv4: EAFNOSUPPORT\nshort: EINVAL\nlong: EINVAL\nnowhere in memory: EFAULT\nno descriptor: EBADF\n\
         no socket: ENOTSOCK"
    );
}

#[test]
fn sockets_have_the_names_that_they_would_have() {
    let got = Bench::new().run(
        r#"
s = socket.socket()
report("fresh", s.getsockname)
report("fresh peer", s.getpeername)
s.connect(HERE)
report("own", lambda: s.getsockname()[0])
report("own port is one", lambda: s.getsockname()[1] >= 32768)
report("peer", lambda: s.getpeername() == HERE)
six = socket.socket(socket.AF_INET6)
report("fresh", six.getsockname)
six.connect(("::1", PORT))
report("peer", lambda: six.getpeername()[0])
buffer, length = ctypes.create_string_buffer(16), ctypes.c_uint(4)
report("little room", lambda: (raw(libc.getpeername, s.fileno(), buffer, ctypes.byref(length)), length.value, buffer.raw[4:]==bytes(12)))
length.value = -1 & 0xffffffff
report("negative", lambda: raw(libc.getpeername, s.fileno(), buffer, ctypes.byref(length)))
report("no memory", lambda: raw(libc.getpeername, s.fileno(), ctypes.c_void_p(8), ctypes.c_void_p(16)))
"#,
    );
    assert_eq!(
        got,
        "fresh: ('0.0.0.0', 0)\nfresh peer: ENOTCONN\nown: 127.0.0.1\nown port is one: True\npeer: True\n\
         fresh: ('::', 0, 0, 0)\npeer: ::1\nlittle room: (0, 16, True)\nnegative: EINVAL\nno memory: EFAULT"
    );
}

/// Sockets of other kinds, and how streams could wait for others.
const OTHER_KINDS: &str = r#"
def kind(*arguments):
    return lambda: socket.socket(*arguments) and "a socket"
report("datagram", kind(socket.AF_INET, socket.SOCK_DGRAM))
report("datagram of IPv6", kind(socket.AF_INET6, socket.SOCK_DGRAM))
report("MPTCP", kind(socket.AF_INET, socket.SOCK_STREAM, 262))
report("SCTP", kind(socket.AF_INET, socket.SOCK_STREAM, 132))
report("raw", kind(socket.AF_INET, socket.SOCK_RAW, 1))
report("netlink", kind(socket.AF_NETLINK, socket.SOCK_RAW))
report("packet", kind(socket.AF_PACKET, socket.SOCK_RAW))
report("bind", lambda: socket.socket().bind(("127.0.0.1", 0)))
report("listen", lambda: socket.socket().listen())
report("a stream's family", lambda: socket.socket().getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) == socket.AF_UNIX)
"#;

#[test]
fn no_other_kind_of_socket_is_there() {
    let bench = Bench::new();
    assert_eq!(
        bench.run(OTHER_KINDS),
        "datagram: EPERM\ndatagram of IPv6: EPERM\nMPTCP: EPERM\nSCTP: EPERM\nraw: EPERM\nnetlink: EPERM\npacket: EPERM\n\
         bind: EACCES\nlisten: EACCES\na stream's family: True"
    );
    // The same without the proxy shows that the tries would show them.
    let free = bench.run_free(OTHER_KINDS);
    assert!(free.contains("datagram: a socket\n") && free.contains("netlink: a socket\n"), "{free}");
    assert!(free.ends_with("bind: None\nlisten: None\na stream's family: False"), "{free}");
}

#[test]
fn unix_sockets_are_as_they_were_or_none() {
    let script = r#"
def served():
    server = socket.socket(socket.AF_UNIX)
    server.bind("there")
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect("there")
    return client.getpeername(), server.getsockname(), client.getsockname()
report("by path", served)
report("nowhere", lambda: socket.socket(socket.AF_UNIX).connect("nowhere"))
a, b = socket.socketpair()
report("a pair", lambda: (a.send(b"x"), b.recv(1)))
report("TCP", lambda: echo(connected()))
"#;
    assert_eq!(
        Bench::new().run(script),
        "by path: ('there', 'there', '')\nnowhere: ENOENT\na pair: (1, b'x')\nTCP: you said hi"
    );
    assert_eq!(
        Bench::new().with("SOCKET_PROXY_NO_UNIX", 1).run(script),
        "by path: EPERM\nnowhere: EPERM\na pair: (1, b'x')\nTCP: you said hi"
    );
}

#[test]
fn flags_and_copies_of_descriptors_are_as_they_should_be() {
    let got = Bench::new().run(
        r#"
import fcntl, subprocess
def flags(kind):
    fd = libc.socket(socket.AF_INET, socket.SOCK_STREAM | kind, 0)
    return bool(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC), bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK), fd
report("plain", lambda: flags(0)[:2])
report("close on exec", lambda: flags(socket.SOCK_CLOEXEC)[:2])
report("non-blocking", lambda: flags(socket.SOCK_NONBLOCK)[:2])
report("both", lambda: flags(socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)[:2])
report("unknown flag", lambda: raw(libc.socket, socket.AF_INET, socket.SOCK_STREAM | 0x40, 0))
def after_exec(kind):
    fd = flags(kind)[2]
    return subprocess.run(["test", "-e", f"/proc/self/fd/{fd}"], close_fds=False).returncode
report("there after exec", lambda: after_exec(0))
report("gone after exec", lambda: after_exec(socket.SOCK_CLOEXEC))
s = socket.socket()
copy = socket.socket(fileno=os.dup(s.fileno()))
copy.connect(HERE)
report("by a copy", lambda: echo(s))
report("again by the first", lambda: raw_connect(s, ipv4("127.0.0.1", PORT)))
os.dup2(copy.fileno(), 100)
s.close(); copy.close()
report("the last copy", lambda: echo(socket.socket(fileno=100)))
s = socket.socket()
pid = os.fork()
if pid == 0:
    s.connect(HERE)
    report("in a child", lambda: echo(s))
    os._exit(0)
os.waitpid(pid, 0)
report("in its parent", lambda: echo(s))
s.shutdown(socket.SHUT_WR)
report("the end", lambda: s.recv(1))
"#,
    );
    assert_eq!(
        got,
        "plain: (False, False)\nclose on exec: (True, False)\nnon-blocking: (False, True)\nboth: (True, True)\n\
         unknown flag: EINVAL\nthere after exec: 0\ngone after exec: 1\nby a copy: you said hi\nagain by the first: EISCONN\n\
         the last copy: you said hi\nin a child: you said hi\nin its parent: you said hi\nthe end: b''"
    );
}

#[test]
fn clients_of_http_work() {
    let got = Bench::new().run(
        r#"
import asyncio, urllib.request
url = f"http://127.0.0.1:{PORT}/"
report("urllib", lambda: urllib.request.urlopen(url, timeout=10).read())
async def by_asyncio():
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    writer.write(b"hi\n")
    return await reader.readline(), writer.get_extra_info("peername") == HERE
report("asyncio", lambda: asyncio.run(by_asyncio()))
s = connected()
report("options", lambda: [s.setsockopt(level, option, 1) for level, option in [(6, 1), (6, 4), (0, 1), (41, 67), (1, 9)]])
report("error", lambda: s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
report("names", lambda: socket.getaddrinfo("example.org", 80))
"#,
    );
    let (http, names) = got.rsplit_once('\n').unwrap();
    assert_eq!(
        http,
        "urllib: b'hello\\n'\nasyncio: (b'you said hi\\n', True)\noptions: [None, None, None, None, None]\nerror: 0"
    );
    assert!(names.starts_with("names: "), "fails at once: {names}");
}
