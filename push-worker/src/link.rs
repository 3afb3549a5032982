//! The link to the sidecar, as the worker sees it: its state, what is to be sent, and where in the
//! total order it stands.

use push_link::{Splitter, ToSidecar, Versions};
use push_protocol::{ChannelKey, Mid};

/// First wait before a broken link is tried again, milliseconds; doubled up to `RETRY_MAX`.
const RETRY_MIN: u64 = 50;
/// The longest wait, milliseconds.
const RETRY_MAX: u64 = 2_000;
/// How long a sidecar that has refused this worker is left alone, milliseconds: nothing changes
/// until somebody installs something.
const REFUSED_RETRY: u64 = 30_000;
/// After this long without a word the worker asks, milliseconds.
const PING_AFTER: u64 = 5_000;
/// After this long without a word the link counts as broken, milliseconds.
const SILENT_AFTER: u64 = 15_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// To be connected at this time.
    Down { retry_at: u64 },
    /// The host is connecting.
    Connecting,
    /// Connected.
    Up,
}

#[derive(Debug)]
pub struct Link {
    pub state: LinkState,
    pub splitter: Splitter,
    output: Vec<u8>,
    sent: usize,
    /// Every message up to this id that is for this worker has been received.
    pub position: Mid,
    /// A link has been up before, so the next one resumes.
    pub resumes: bool,
    /// What the broken link missed is still coming: only messages move `position`.
    pub catching_up: bool,
    /// What is spoken on this link; 0: nothing has been agreed on.
    pub version: u16,
    /// The versions that are offered.
    pub offer: Versions,
    /// The last sidecar that was asked has refused this worker.
    refused: bool,
    /// `Subscribe`s without an answer.
    unanswered: usize,
    last_heard: u64,
    pinged: bool,
    failures: u32,
    random: u64,
}

impl Link {
    pub fn new(seed: u64) -> Self {
        Self {
            state: LinkState::Down { retry_at: 0 },
            splitter: Splitter::new(),
            output: Vec::new(),
            sent: 0,
            position: Mid::ZERO,
            resumes: false,
            catching_up: false,
            version: 0,
            offer: Versions::OURS,
            refused: false,
            unanswered: 0,
            last_heard: 0,
            pinged: false,
            failures: 0,
            random: seed | 1,
        }
    }

    pub fn is_up(&self) -> bool {
        self.state == LinkState::Up
    }

    /// Connected: nothing of the link before is valid any more.
    pub fn up(&mut self, now: u64) {
        self.state = LinkState::Up;
        self.catching_up = self.resumes;
        self.version = 0;
        self.unanswered = 0;
        self.splitter = Splitter::new();
        self.output.clear();
        self.sent = 0;
        self.last_heard = now;
        self.pinged = false;
    }

    /// Broken or refused: tried again after a wait that grows with every failure in a row.
    pub fn down(&mut self, now: u64) {
        let wait = (RETRY_MIN << self.failures.min(8)).min(RETRY_MAX);
        self.failures += 1;
        self.state = LinkState::Down { retry_at: now + wait / 2 + self.random() % wait };
        self.splitter = Splitter::new();
        self.output = Vec::new();
        self.sent = 0;
    }

    /// The sidecar and this worker do not understand each other; after [`Self::down`].
    pub fn refuse(&mut self, now: u64) {
        self.refused = true;
        self.offer = Versions::OURS;
        let retry_at = now + REFUSED_RETRY + self.random() % REFUSED_RETRY;
        self.state = LinkState::Down { retry_at };
    }

    /// Whether that is so.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Something came: the peer lives.
    pub fn heard(&mut self, now: u64) {
        self.last_heard = now;
        self.pinged = false;
    }

    /// The peer is what it should be: the next failure is the first again.
    pub fn welcomed(&mut self, version: u16) {
        self.version = version;
        self.failures = 0;
        self.refused = false;
        self.offer = Versions::OURS;
        self.resumes = true;
    }

    /// How many attempts in a row have failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Sends a `Subscribe`, if the link is up. Answers come in the order of the questions.
    pub fn subscribe(&mut self, seq: u32, channels: Vec<ChannelKey>) {
        self.unanswered += 1;
        self.send(&ToSidecar::Subscribe { seq, channels });
    }

    /// A `Subscribe` was answered.
    pub fn subscribed(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
    }

    /// Whether all channels are subscribed by now.
    pub fn is_subscribed(&self) -> bool {
        self.unanswered == 0
    }

    /// Everything up to `id` has been received.
    pub fn reached(&mut self, id: Mid) {
        self.position = self.position.max(id);
    }

    /// Appends a frame, if the link is up.
    pub fn send(&mut self, frame: &ToSidecar) {
        if self.is_up() {
            frame.encode(&mut self.output);
        }
    }

    /// Appends a frame that is encoded already, if the link is up.
    pub fn send_encoded(&mut self, frame: &[u8]) {
        if self.is_up() {
            self.output.extend_from_slice(frame);
        }
    }

    pub fn output(&self) -> &[u8] {
        &self.output[self.sent..]
    }

    pub fn sent(&mut self, len: usize) {
        self.sent += len;
        if self.sent >= self.output.len() {
            self.sent = 0;
            self.output.clear();
            // A burst's buffer is not kept.
            self.output.shrink_to(64 * 1024);
        }
    }

    /// When something has to be done about the link itself.
    pub fn next(&self) -> Option<u64> {
        match self.state {
            LinkState::Down { retry_at } => Some(retry_at),
            LinkState::Connecting => None,
            LinkState::Up if self.pinged => Some(self.last_heard + SILENT_AFTER),
            LinkState::Up => Some(self.last_heard + PING_AFTER),
        }
    }

    /// What has to be done now.
    pub fn due(&mut self, now: u64) -> Due {
        if self.next().is_none_or(|at| at > now) {
            return Due::Nothing;
        }
        match self.state {
            LinkState::Connecting => Due::Nothing,
            LinkState::Down { .. } => {
                self.state = LinkState::Connecting;
                Due::Connect
            }
            LinkState::Up if self.pinged => Due::GiveUp,
            LinkState::Up => {
                self.pinged = true;
                Due::Ping
            }
        }
    }

    fn random(&mut self) -> u64 {
        // Marsaglia's xorshift: spreads the workers of a host, nothing more is asked of it.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

/// What [`Link::due`] asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    Nothing,
    Connect,
    Ping,
    GiveUp,
}
