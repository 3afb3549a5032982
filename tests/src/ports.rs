//! Free TCP ports of the loopback interface.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the kernel gives outgoing connections their ports, so that a port
/// found free is not taken by a client before the server binds it.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// An address nobody listens on. Another process may be faster: bind, and retry with another.
pub fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = (std::process::id() % u32::from(COUNT)) as u16 / 50 * 50;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(7);
        let port = FIRST + (offset.wrapping_mul(37) % COUNT).wrapping_add(step) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port on loopback");
}
