//! Free TCP ports of the loopback interface.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::Mutex;

/// Below the range from which the kernel gives outgoing connections their ports, so that a port
/// found free is not taken by a client before the server binds it.
const FIRST: u16 = 12_000;
const BLOCKS: u16 = 312;

/// Ports of a block. Tests run side by side in processes of their own; each has blocks of its own,
/// and holds the first port of a block for as long as it lives to say so.
const BLOCK: u16 = 64;

/// What this process has: the ports not given out yet, and the first ports of its blocks.
static OWN: Mutex<(Range<u16>, Vec<TcpListener>)> = Mutex::new((0..0, Vec::new()));

/// An address nobody listens on, and which no other test is given. A process that is no test may be
/// faster: bind, and retry with another.
pub fn free() -> SocketAddr {
    let mut own = OWN.lock().expect("nobody panicked with it");
    loop {
        for port in own.0.by_ref() {
            if let Some(listener) = bind(port) {
                return listener.local_addr().expect("it is bound");
            }
        }
        let (first, listener) = claim();
        own.0 = first + 1..first + BLOCK;
        own.1.push(listener);
    }
}

/// A block that no other test has.
fn claim() -> (u16, TcpListener) {
    let start = RandomState::new().build_hasher().finish() as u16 % BLOCKS;
    for number in 0..BLOCKS {
        let first = FIRST + (start + number) % BLOCKS * BLOCK;
        if let Some(listener) = bind(first) {
            return (first, listener);
        }
    }
    panic!("no free ports on loopback");
}

fn bind(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_address_is_given_out_twice() {
        let many = 3 * usize::from(BLOCK);
        let addresses: BTreeSet<_> = (0..many).map(|_| free()).collect();
        assert_eq!(addresses.len(), many);
        assert!(addresses.iter().all(|address| TcpListener::bind(address).is_ok()));
    }
}
