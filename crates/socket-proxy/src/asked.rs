//! The thread that asks: its descriptors and its memory, by way of /proc.
//!
//! Both may change while they are looked at, and by the process's own doing alone. process_vm_readv is refused under a
//! container runtime's profile, and so is pidfd_getfd; /proc has the same checks as they have.

use std::fs::{File, read_link};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileExt;

/// The longest address of a family that is looked at.
const LONGEST: usize = size_of::<libc::sockaddr_in6>();
const LENGTH_OF_IPV4: usize = size_of::<libc::sockaddr_in>();
/// Without the scope, as the kernel takes it too.
const SHORTEST_OF_IPV6: usize = 24;
/// No address of any family is longer: sockaddr_storage.
const LONGEST_OF_ALL: u64 = 128;

/// The inode of a thread's socket; `None` for what is no socket, or can't be seen.
pub(crate) fn inode(thread: u32, descriptor: i32) -> Option<u64> {
    let link = read_link(format!("/proc/{thread}/fd/{descriptor}")).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Where a call wants to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// There.
    Address(SocketAddr),
    /// An address of INET that could not be read, as where Yama forbids it.
    Unseen,
}

/// The address of a `connect`; `Err` is what the kernel would say of it.
pub(crate) fn target(thread: u32, address: u64, length: u64) -> Result<Target, i32> {
    // A length is an int.
    let length = length & u64::from(u32::MAX);
    if length > LONGEST_OF_ALL {
        return Err(libc::EINVAL);
    }
    let mut buffer = [0; LONGEST];
    let read = buffer.get_mut(..LONGEST.min(length as usize)).unwrap_or_default();
    match memory(thread, false).and_then(|memory| memory.read_exact_at(read, address).map_err(faulty)) {
        Ok(()) => parse(read).map(Target::Address),
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Err(libc::EFAULT),
        Err(_) if read.len() >= LENGTH_OF_IPV4 => Ok(Target::Unseen),
        Err(_) => Err(libc::EINVAL),
    }
}

fn parse(address: &[u8]) -> Result<SocketAddr, i32> {
    let Some(([family_0, family_1, port_0, port_1], rest)) = address.split_first_chunk() else {
        return Err(libc::EINVAL);
    };
    let port = u16::from_be_bytes([*port_0, *port_1]);
    match i32::from(u16::from_ne_bytes([*family_0, *family_1])) {
        libc::AF_INET if address.len() >= LENGTH_OF_IPV4 => {
            let octets: [u8; 4] = rest.first_chunk().copied().ok_or(libc::EINVAL)?;
            Ok((Ipv4Addr::from(octets), port).into())
        }
        libc::AF_INET6 if address.len() >= SHORTEST_OF_IPV6 => {
            let octets: [u8; 16] = rest.get(4..).and_then(<[u8]>::first_chunk).copied().ok_or(libc::EINVAL)?;
            Ok((IpAddr::from(Ipv6Addr::from(octets)).to_canonical(), port).into())
        }
        libc::AF_INET | libc::AF_INET6 => Err(libc::EINVAL),
        _ => Err(libc::EAFNOSUPPORT),
    }
}

/// The bytes that the kernel gives for a name, to a socket of IPv6 or of IPv4.
pub(crate) fn name(address: SocketAddr, is_ipv6: bool) -> Vec<u8> {
    let family = if is_ipv6 { libc::AF_INET6 } else { libc::AF_INET } as u16;
    let mut bytes = family.to_ne_bytes().to_vec();
    bytes.extend(address.port().to_be_bytes());
    match (address.ip(), is_ipv6) {
        (IpAddr::V4(ip), false) => {
            bytes.extend(ip.octets());
            bytes.extend([0; 8]);
        }
        (ip, _) => {
            let ip = match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            bytes.extend([0; 4]);
            bytes.extend(ip.octets());
            bytes.extend([0; 4]);
        }
    }
    bytes
}

/// A thread's memory, open for a name: still the asker's if it still asks after this.
pub(crate) struct NameBuffer {
    memory: File,
    address: u64,
    length_address: u64,
}

impl NameBuffer {
    pub(crate) fn open(thread: u32, address: u64, length_address: u64) -> io::Result<Self> {
        Ok(Self { memory: memory(thread, true)?, address, length_address })
    }

    /// Writes a name as the kernel does: as much of it as there is room for, and how long it is.
    pub(crate) fn write(&self, name: &[u8]) -> Result<(), i32> {
        let mut room = [0; 4];
        self.memory.read_exact_at(&mut room, self.length_address).map_err(|_| libc::EFAULT)?;
        let room = usize::try_from(i32::from_ne_bytes(room)).map_err(|_| libc::EINVAL)?;
        let part = name.get(..room.min(name.len())).unwrap_or_default();
        let length = (name.len() as u32).to_ne_bytes();
        let written = self.memory.write_all_at(part, self.address);
        written.and_then(|()| self.memory.write_all_at(&length, self.length_address)).map_err(|_| libc::EFAULT)
    }
}

fn memory(thread: u32, write: bool) -> io::Result<File> {
    File::options().read(true).write(write).open(format!("/proc/{thread}/mem"))
}

/// Where no memory is, reading gives EIO, or nothing.
fn faulty(_: io::Error) -> io::Error {
    io::Error::from_raw_os_error(libc::EFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_addresses_that_it_writes() {
        for (address, is_ipv6, as_read) in [
            ("127.0.0.1:8080", false, "127.0.0.1:8080"),
            ("127.0.0.1:8080", true, "127.0.0.1:8080"),
            ("[::1]:65535", true, "[::1]:65535"),
            ("0.0.0.0:0", false, "0.0.0.0:0"),
        ] {
            let bytes = name(address.parse().unwrap(), is_ipv6);
            assert_eq!(bytes.len(), if is_ipv6 { 28 } else { 16 });
            assert_eq!(parse(&bytes), Ok(as_read.parse().unwrap()));
        }
    }

    #[test]
    fn says_of_other_addresses_what_the_kernel_says() {
        let ipv4 = name("127.0.0.1:1".parse().unwrap(), false);
        assert_eq!(parse(&ipv4[..15]), Err(libc::EINVAL));
        let ipv6 = name("[::1]:1".parse().unwrap(), true);
        assert_eq!(parse(&ipv6[..23]), Err(libc::EINVAL));
        assert!(parse(&ipv6[..24]).is_ok());
        assert_eq!(parse(&[0; 16]), Err(libc::EAFNOSUPPORT));
        assert_eq!(parse(&[]), Err(libc::EINVAL));
        assert_eq!(target(std::process::id(), 0, 129), Err(libc::EINVAL));
        assert_eq!(target(std::process::id(), 8, 16), Err(libc::EFAULT));
    }
}
