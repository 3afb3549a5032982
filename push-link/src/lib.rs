//! What travels between an nginx worker and the sidecar.
//!
//! One stream connection per worker. A frame is a little-endian `u32` length of what follows, a
//! kind byte and the kind's fields; numbers are little-endian, ids raw. The order in which the
//! sidecar sends frames *is* the total order: when a frame says that something is complete up to
//! an id, every live message up to that id stands in front of it.
//!
//! * [`ToSidecar`]: what a worker says. * [`ToWorker`]: what the sidecar says.
//! * [`Versions`]: how two sides of different releases get on.
//! * [`Splitter`]: cuts a stream into frames. Pure: no socket here.
#![forbid(unsafe_code)]

mod splitter;
mod to_sidecar;
mod to_worker;
mod trace;
mod version;
mod wire;

pub use splitter::Splitter;
pub use to_sidecar::{PublishItem, Slow, ToSidecar};
pub use to_worker::{PublishStatus, ToWorker, deliver_frame, recover_item_frame};
pub use trace::Traced;
pub use version::{LOWEST, METRICS_SINCE, TRACE_SINCE, VERSION, Versions};
pub use wire::LinkError;

/// The most bytes a frame may have behind its length field. A publish of the largest accepted
/// body fits many times over; what claims more is not our peer.
pub const MAX_FRAME: usize = 64 * 1024 * 1024;

/// [`ToWorker::Deliver`]: the id is lower than one that was already passed on, because a
/// neighbour on the same store announced late. It is delivered whatever has been delivered since.
pub const FLAG_LATE: u8 = 1;
