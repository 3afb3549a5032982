//! The engine: everything a worker knows and does.
//!
//! * [`subscribe`]: sessions come and say something. * [`closing`]: they are written to, and go.
//! * [`deliver`]: messages reach them. * [`crowd`]: the oldest of too many has to go.
//! * [`publish`]: messages and questions leave. * [`sidecar`]: the link. * [`time`]: what is due.
//! * [`intake`]: what clients say. * [`relief`]: who costs too much. * [`leaving`]: the worker goes.
//! * [`tracing`]: what an operator wants to see. * [`complaints`]: what is logged now and then.
//! * [`observe`]: what is counted.

mod closing;
mod complaints;
mod counters;
mod crowd;
mod deliver;
mod intake;
mod leaving;
mod observe;
mod publish;
mod relief;
mod sidecar;
mod subscribe;
mod time;
mod tracing;

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use push_protocol::Mid;
use push_protocol::channels::ChannelList;

use crate::hub::Hub;
use crate::link::Link;
use crate::publishing::{Publishing, Question};
use crate::schedule::Schedule;
use crate::session::Session;
use crate::slab::{Id, Slab};
use crate::tally::Tally;
use crate::{Format, Host, Settings, SettingsId};
pub use counters::{Counters, Queues};
pub use intake::Intake;
pub use observe::View;

use deliver::Fanout;
use leaving::Leaving;
use observe::Observed;

/// Names a session. Never used twice in the life of a worker, never 0; fits a pointer, so that a
/// host can keep it in a connection's data field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SessionId(pub u64);

/// A subscriber that passed the checks.
#[derive(Debug)]
pub struct Subscriber {
    /// Its channels.
    pub channels: ChannelList,
    /// Where it left off, if it says so.
    pub mid: Option<Mid>,
    /// How it wants messages.
    pub format: Format,
    /// Its location.
    pub settings: SettingsId,
}

/// A location's settings and its lists in the schedule.
#[derive(Debug)]
struct Location {
    settings: Settings,
    pings: u16,
    polls: u16,
}

/// A worker's state. One per worker process; every method returns soon.
#[derive(Debug)]
pub struct Engine {
    instance: u64,
    pid: u32,
    software: String,
    locations: Vec<Location>,
    sessions: Slab<Session>,
    hub: Hub,
    schedule: Schedule,
    /// The list of sessions that are closing.
    closing: u16,
    fanouts: VecDeque<Fanout>,
    /// Sessions that said more than was listened to in their turn.
    backlog: VecDeque<Id>,
    /// How much may still be listened to in this turn, and when it began.
    turn: usize,
    turn_at: u64,
    /// What waits, and how much may.
    tally: Tally,
    max_total: usize,
    /// When it was last told that too much waited.
    relief_told: Option<u64>,
    link: Link,
    publishing: Publishing,
    /// Sessions whose handshake waits for their channels to be subscribed, by `Subscribe`.
    openings: HashMap<u32, Id, RandomState>,
    /// Sessions whose history was asked for, by request.
    recoveries: HashMap<u32, Id, RandomState>,
    /// Polls at their end that asked for the newest id, by request.
    newest: HashMap<u32, Id, RandomState>,
    questions: HashMap<u32, Question, RandomState>,
    last_req: u32,
    last_opened: u64,
    /// Set when the worker leaves.
    leaving: Option<Leaving>,
    counters: Counters,
    /// Set while somebody looks.
    tracing: Option<tracing::Tracing>,
    /// When each kind of log line was written.
    told: [complaints::Told; 4],
    observed: Observed,
}

/// How long a closed WebSocket's peer may take to answer, milliseconds.
const CLOSING: u64 = 5_000;

impl Engine {
    /// `instance`: random, one per worker process; `pid` and `software` are told to the sidecar.
    pub fn new(instance: u64, pid: u32, software: &str) -> Self {
        let mut schedule = Schedule::default();
        let closing = schedule.list(CLOSING);
        Self {
            instance,
            pid,
            software: software.to_owned(),
            locations: Vec::new(),
            sessions: Slab::new(),
            hub: Hub::default(),
            schedule,
            closing,
            fanouts: VecDeque::new(),
            backlog: VecDeque::new(),
            turn: 0,
            turn_at: u64::MAX,
            tally: Tally::default(),
            max_total: relief::MAX_TOTAL,
            relief_told: None,
            link: Link::new(instance),
            publishing: Publishing::default(),
            openings: HashMap::default(),
            recoveries: HashMap::default(),
            newest: HashMap::default(),
            questions: HashMap::default(),
            last_req: 0,
            last_opened: 0,
            leaving: None,
            counters: Counters::default(),
            tracing: None,
            told: Default::default(),
            observed: Observed::default(),
        }
    }

    /// Registers a location's settings (once per location with a role, at worker start).
    pub fn add_settings(&mut self, settings: Settings) -> SettingsId {
        let pings = self.schedule.list(settings.ping_interval);
        let polls = self.schedule.list(settings.poll_timeout);
        self.locations.push(Location { settings, pings, polls });
        SettingsId((self.locations.len() - 1) as u16)
    }

    /// The settings registered as `id`.
    pub fn settings(&self, id: SettingsId) -> &Settings {
        &self.locations[usize::from(id.0)].settings
    }

    /// Starts: asks the host to open the link.
    pub fn start<H: Host>(&mut self, host: &mut H) {
        self.tick_link(host);
    }

    /// What has been done, and what there is.
    pub fn counters(&self) -> Counters {
        Counters { channels: self.hub.len(), waiting: self.tally.bytes(), ..self.counters }
    }

    /// Whether a sidecar has told this worker where the order stands, on this link or an earlier
    /// one: from then on it is sent everything, later if not at once.
    pub fn is_in_order(&self) -> bool {
        self.link.resumes
    }

    /// What waits, and how much of it. A pass over all sessions.
    pub fn queues(&self) -> Queues {
        Queues {
            largest_session: self.sessions.iter().map(Session::waiting).max().unwrap_or(0),
            fanouts: self.fanouts.len(),
            publishes: self.publishing.bytes(),
            link: self.link.output().len(),
        }
    }

    /// Sessions that are open now, those that are being closed included, and publishes that wait.
    /// A worker that leaves is done when there are none.
    pub fn busy(&self) -> usize {
        self.sessions.len() + usize::from(!self.publishing.is_empty())
    }

    fn next_req(&mut self) -> u32 {
        self.last_req = self.last_req.wrapping_add(1);
        self.last_req
    }
}
