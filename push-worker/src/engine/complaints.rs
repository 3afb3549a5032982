//! Log lines about what anybody may repeat without end: a client, a store that fails. Each is written
//! once in a while, with how many more there were, so that nobody fills a disk with them.

use std::fmt;

use super::Engine;
use crate::{Host, Level};

/// Between two lines of a kind, milliseconds.
const EVERY: u64 = 60_000;

/// What is complained about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Complaint {
    /// A subscriber without a valid list of channels.
    Channels,
    /// The store never takes a message.
    Refused,
    /// A publisher was told that its message is not stored.
    Unpublished,
    /// The sidecar says what is not understood.
    Nonsense,
}

/// One kind of line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// When there was a line.
    at: Option<u64>,
    /// How many there would have been since.
    left_out: u64,
}

impl Engine {
    /// Writes a line, unless there was one of its kind lately.
    pub(super) fn complain<H: Host>(
        &mut self,
        host: &mut H,
        complaint: Complaint,
        level: Level,
        line: fmt::Arguments<'_>,
    ) {
        let now = host.now();
        let told = &mut self.told[complaint as usize];
        if told.at.is_some_and(|at| now < at + EVERY) {
            told.left_out += 1;
            return;
        }
        let left_out = std::mem::take(&mut told.left_out);
        told.at = Some(now);
        if left_out == 0 {
            host.log(level, line);
        } else {
            host.log(level, format_args!("{line} ({left_out} more like this since the last line)"));
        }
    }

    /// A subscriber was refused with 4010: its list of channels is void.
    pub fn refused_channels<H: Host>(&mut self, host: &mut H) {
        self.complain(
            host,
            Complaint::Channels,
            Level::Warn,
            format_args!(
                "a subscriber was refused with 4010: no key of its location has signed its \
                 CHANNEL_ID; if this goes on, make the portal's signature_key equal to the key file \
                 (push-sidecar doctor --settings tells which line)"
            ),
        );
    }
}
