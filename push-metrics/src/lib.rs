//! What a worker counts, how it is added up over workers, and how Prometheus reads it. Pure: no
//! I/O, no clock.
//!
//! * [`Number`]: a series of a worker, with its name and labels. * [`Report`]: all of a worker.
//! * [`Histogram`]: how long something took. * [`Exposition`]: Prometheus' text format.
//! * [`families`]: every metric there is, with its type and meaning.
#![forbid(unsafe_code)]

mod exposition;
pub mod families;
mod histogram;
mod number;
mod report;

pub use exposition::Exposition;
pub use histogram::{BOUNDS, Histogram};
pub use number::{COUNT, Number, SERIES, Series};
pub use report::{HISTOGRAMS, Report, Span};
