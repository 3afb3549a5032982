//! Free TCP ports of the loopback interface.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the kernel gives outgoing connections their ports, so that a port
/// found free is not taken by a client before the server binds it.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// An address nobody listens on. Another process may be faster: bind, and retry with another.
pub fn free() -> SocketAddr {
    // Tests run in processes of their own: each begins somewhere else.
    static NEXT: LazyLock<AtomicU16> =
        LazyLock::new(|| AtomicU16::new(RandomState::new().build_hasher().finish() as u16));
    for _ in 0..COUNT {
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port on loopback");
}
