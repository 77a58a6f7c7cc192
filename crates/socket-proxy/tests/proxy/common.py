import ctypes, errno, os, socket, struct, sys, threading, time

PORT = int(os.environ["PORT"])
HERE = ("127.0.0.1", PORT)
libc = ctypes.CDLL(None, use_errno=True)


def name(code):
    return errno.errorcode.get(code, str(code))


def report(what, call):
    """One line: what was tried, and what it gave."""
    try:
        got = call()
    except OSError as error:
        got = name(error.errno)
    print(f"{what}: {got}", flush=True)


def raw(call, *arguments):
    return 0 if call(*arguments) >= 0 else name(ctypes.get_errno())


def ipv4(host, port):
    return struct.pack("=HH4s8x", socket.AF_INET, socket.htons(port), socket.inet_aton(host))


def raw_connect(sock, address):
    return raw(libc.connect, sock.fileno(), address, len(address))


def echo(sock, text="hi"):
    sock.sendall(f"{text}\n".encode())
    got = b""
    while not got.endswith(b"\n"):
        more = sock.recv(4096)
        if not more:
            return f"end after {got!r}"
        got += more
    return got.decode().strip()


def connected():
    sock = socket.socket()
    sock.connect(HERE)
    return sock
