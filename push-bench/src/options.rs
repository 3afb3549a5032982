//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::error::{Error, Result};
use crate::stamp::MIN_BODY;
use crate::wire::Wire;

/// Load for push servers on this machine: what they do per second, how late, and at what cost.
#[derive(Parser, Debug)]
#[command(name = "push-bench", version, about)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Many connections that do nothing: memory each
    Idle(Scenario<Idle>),
    /// Open connections: rate, latency, CPU per handshake
    Handshake(Scenario<Handshake>),
    /// Messages to everybody: latency and CPU per delivery
    Fanout(Scenario<Fanout>),
    /// Single messages at a rate: latency and CPU per message
    Unicast(Scenario<Unicast>),
    /// Store as fast as possible with nobody listening: rate and CPU per publish
    Publish(Scenario<Publish>),
    /// Single messages to long polls, each of which asks again
    Longpoll(Scenario<Unicast>),
    /// All clients drop and return with the id of their last message: time until all have all
    Reconnect(Scenario<Reconnect>),
    /// A portal's day: churn, single messages and messages to everybody
    Mixed(Scenario<Mixed>),
    /// The server to compare with: accepts WebSockets and writes to them, nothing else
    Floor(Floor),
    /// Everything in turn, on servers that are set up for it, side by side
    Suite(crate::suite::Options),
    /// Count instructions and allocations of the hot paths by valgrind, and compare with a table
    Instructions(crate::instructions::Options),
    /// A hot path alone, so many times: what is counted
    #[command(hide = true)]
    Path {
        /// Its name.
        name: String,
        /// How often.
        count: u32,
    },
}

/// A scenario's own options beside those of all.
#[derive(Args, Debug)]
pub struct Scenario<T: Args> {
    /// The server.
    #[command(flatten)]
    pub target: TargetOptions,
    /// What all scenarios have.
    #[command(flatten)]
    pub common: Common,
    /// What this one has.
    #[command(flatten)]
    pub own: T,
}

/// Options of every scenario.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Run on a second server as well and show ratios; its options in one word, such as
    /// "--name floor --public URL --internal URL --pids 77"
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    pub vs: Option<String>,
    /// Write the results to this file too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Chooses channels and receivers; by default a new one each time
    #[arg(long)]
    pub seed: Option<u64>,
    /// Give up a scenario after so many seconds
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub time_limit: u64,
    /// Bytes of a published body
    #[arg(long, default_value_t = 300, value_parser = body_size)]
    pub body: usize,
    /// Seconds that messages are kept; 0: not stored
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    pub expiry: u32,
    /// Handshakes under way at a time
    #[arg(long, default_value_t = 100)]
    pub window: usize,
    /// Keep-alive connections that publish
    #[arg(long, default_value_t = 8)]
    pub publishers: usize,
}

fn body_size(text: &str) -> std::result::Result<usize, String> {
    let size = text.parse().map_err(|_| "want a number".to_owned())?;
    if (MIN_BODY..=1_048_576).contains(&size) {
        Ok(size)
    } else {
        Err(format!("want {MIN_BODY} to 1048576"))
    }
}

/// How messages are published.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum PublishFormat {
    /// The body as it is, the channel in the query.
    Text,
    /// A `RequestBatch` of protobuf.
    Binary,
}

/// Where a server is, how it is spoken to, which processes it has.
#[derive(Args, Clone, Debug)]
pub struct TargetOptions {
    /// Its name in tables
    #[arg(long, default_value = "push")]
    pub name: String,
    /// Where clients subscribe (http or https)
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub public: String,
    /// Where the backend publishes
    #[arg(long, default_value = "http://127.0.0.1:8895", value_name = "URL")]
    pub internal: String,
    /// Subscribe over TLS whatever the URL says; certificates are not checked
    #[arg(long)]
    pub tls: bool,
    /// It delivers nothing: clients ask once, by a plain GET, and keep the connection that answered
    #[arg(long)]
    pub hold: bool,
    /// The key that signs channels
    #[arg(long, conflicts_with = "key_file")]
    pub key: Option<String>,
    /// A file with that key
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// How messages come
    #[arg(long, value_enum, default_value_t = Wire::Binary)]
    pub wire: Wire,
    /// How messages are published
    #[arg(long, value_enum, default_value_t = PublishFormat::Text)]
    pub publish: PublishFormat,
    /// Another server's URL for WebSockets, with places {channels} {private} {public} {shared} {mid}
    #[arg(long, value_name = "URL")]
    pub sub_template: Option<String>,
    /// Another server's URL for long polls, with the same places
    #[arg(long, value_name = "URL")]
    pub poll_template: Option<String>,
    /// Another server's URL for publishing, with the place {channel}
    #[arg(long, value_name = "URL")]
    pub pub_template: Option<String>,
    /// Its processes; children are found by themselves
    #[arg(long, value_delimiter = ',', value_name = "PID")]
    pub pids: Vec<u32>,
    /// Files with process ids, likewise
    #[arg(long, value_name = "FILE")]
    pub pid_file: Vec<PathBuf>,
}

impl TargetOptions {
    /// From words as they stand on a command line.
    pub fn from_words(words: &[&str]) -> Result<Self> {
        #[derive(Parser)]
        #[command(no_binary_name = true)]
        struct Alone {
            #[command(flatten)]
            target: TargetOptions,
        }
        let alone =
            Alone::try_parse_from(words).map_err(|error| Error::Usage(error.to_string()))?;
        Ok(alone.target)
    }
}

/// Options of `idle`.
#[derive(Args, Clone, Debug)]
pub struct Idle {
    /// Connections
    #[arg(short = 'n', long, default_value_t = 10_000)]
    pub connections: usize,
    /// Measure after each of so many equal steps
    #[arg(long, default_value_t = 4)]
    pub steps: usize,
    /// Do not open them again when all have left
    #[arg(long)]
    pub once: bool,
    /// Seconds to wait before memory is measured
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    pub settle: f64,
}

/// Options of `handshake`.
#[derive(Args, Clone, Debug)]
pub struct Handshake {
    /// Connections per round
    #[arg(short = 'n', long, default_value_t = 5_000)]
    pub connections: usize,
    /// Rounds; all connections are closed between them
    #[arg(long, default_value_t = 2)]
    pub rounds: usize,
}

/// Options of `fanout`.
#[derive(Args, Clone, Debug)]
pub struct Fanout {
    /// Subscribers
    #[arg(short = 'n', long, default_value_t = 1_000)]
    pub connections: usize,
    /// Messages
    #[arg(short, long, default_value_t = 200)]
    pub messages: u32,
    /// Messages per second; 0: the next one when the last has arrived everywhere
    #[arg(long, default_value_t = 0.0)]
    pub rate: f64,
    /// Subscribers beside them, on other channels
    #[arg(long, default_value_t = 0)]
    pub bystanders: usize,
    /// Single messages per second to these
    #[arg(long, default_value_t = 50.0)]
    pub bystander_rate: f64,
}

/// Options of `unicast` and `longpoll`.
#[derive(Args, Clone, Debug)]
pub struct Unicast {
    /// Subscribers
    #[arg(short = 'n', long, default_value_t = 1_000)]
    pub connections: usize,
    /// Messages per second
    #[arg(long, default_value_t = 200.0)]
    pub rate: f64,
    /// Seconds
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    pub duration: f64,
}

/// Options of `publish`.
#[derive(Args, Clone, Debug)]
pub struct Publish {
    /// Seconds
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    pub duration: f64,
    /// Channels that messages go to in turn
    #[arg(long, default_value_t = 10_000)]
    pub channels: usize,
    /// Channels that are read back afterwards
    #[arg(long, default_value_t = 50)]
    pub sample: usize,
}

/// Options of `reconnect`.
#[derive(Args, Clone, Debug)]
pub struct Reconnect {
    /// Clients
    #[arg(short = 'n', long, default_value_t = 10_000)]
    pub connections: usize,
    /// Messages to everybody while all are away
    #[arg(long, default_value_t = 1)]
    pub shared: u32,
    /// Single messages per client while all are away, on average
    #[arg(long, default_value_t = 0.2)]
    pub own: f64,
}

/// Options of `mixed`.
#[derive(Args, Clone, Debug)]
pub struct Mixed {
    /// Subscribers
    #[arg(short = 'n', long, default_value_t = 20_000)]
    pub connections: usize,
    /// Single messages per second
    #[arg(long, default_value_t = 300.0)]
    pub rate: f64,
    /// Messages to everybody per second
    #[arg(long, default_value_t = 1.0)]
    pub shared_rate: f64,
    /// Share of the connections that leave per minute, to return two seconds later
    #[arg(long, default_value_t = 0.02)]
    pub churn: f64,
    /// Seconds
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    pub duration: f64,
}

/// Options of `floor`.
#[derive(Args, Clone, Debug)]
pub struct Floor {
    /// Where to listen, for subscribers and publishers alike; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:9000")]
    pub listen: std::net::SocketAddr,
    /// Speak TLS, with this certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn a_second_target_is_given_in_one_word() {
        let words = "--name floor --pids 1,2 --wire text --tls".split(' ');
        let options = TargetOptions::from_words(&words.collect::<Vec<_>>()).unwrap();
        assert_eq!(options.pids, [1, 2]);
        assert_eq!((&*options.name, options.wire, options.tls), ("floor", Wire::Text, true));
        TargetOptions::from_words(&["--nonsense"]).unwrap_err();
    }
}
