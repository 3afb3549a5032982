//! A host with its subscribers and its publisher, and one kind of fault after the other.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use push_tests::redis::Persistence;
use push_tests::websocket::Mode;
use push_tests::{Channel, Host, Nginx, Setup, Store};

use crate::checks::{self, Footprint};
use crate::fault::Fault;
use crate::fleet::{Fleet, Order, Shared};
use crate::ledger::Promise;
use crate::options::Options;
use crate::population::Population;
use crate::publishers::{Publishing, Traffic};
use crate::random::Random;
use crate::report::Outcome;

/// nginx's workers.
const WORKERS: u32 = 2;
/// How long everything may take to come right when the faults are over.
const RECOVERY: Duration = Duration::from_secs(30);

/// See the module.
pub struct Rig {
    host: Host,
    fleet: Fleet,
    shared: Arc<Shared>,
    publishing: Arc<Publishing>,
    random: Random,
    rate: u64,
    before: Option<Footprint>,
}

/// Lets this process and those it starts have as many files open as is allowed.
pub fn raise_file_limit() -> io::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// A host for all this.
pub fn host(persistence: Persistence) -> io::Result<Host> {
    let mut setup = Setup::new(Nginx::Installed, Store::Redis).workers(WORKERS);
    setup.persistence = persistence;
    setup.conf.connections = 16_000;
    setup.conf.listen = " backlog=4096".into();
    setup.conf.sub = "access_log access.log;".into();
    setup.start()
}

/// The id of a message that everybody may begin after.
pub async fn first_mid(host: &Host) -> io::Result<String> {
    let channel = Channel::new();
    let mut socket = host.subscribe(&channel, Mode::Text).await?;
    host.publish(&channel, "first").await?;
    socket.body().await;
    socket.mid.ok_or_else(|| io::Error::other("a message without a mid"))
}

/// Publishes until it is taken; false if that takes too long. Nobody hears of it.
async fn recovered(host: &Host) -> bool {
    let (channel, end) = (Channel::new(), Instant::now() + RECOVERY);
    while Instant::now() < end {
        let answer = host.post(&[&channel.private], "0", 0).await;
        if answer.is_ok_and(|answer| answer.status == 200) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

impl Rig {
    /// Starts all of it, and tries it without faults.
    pub async fn start(persistence: Persistence, options: &Options) -> io::Result<Self> {
        let host = tokio::task::block_in_place(|| host(persistence))?;
        let mut random = Random(options.seed);
        let population = Arc::new(Population::new(&host.key, options.subscribers as usize));
        let shared = Shared::new(population.len());
        let mid = first_mid(&host).await?;
        let fleet = Fleet::launch(&population, &host.public(), &shared, &mid, &mut random);
        let publishing = Publishing::new(host.internal(), &population, &shared);
        let rate = options.rate;
        let mut rig = Self { host, fleet, shared, publishing, random, rate, before: None };
        if !rig.fleet.complete(RECOVERY).await {
            return Err(io::Error::other(rig.incomplete()));
        }
        // What is allocated once and for all is no leak.
        let traffic = rig.traffic();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let outcome = rig.settle(traffic, Promise::All).await;
        if let Some(wrong) = outcome.wrong.first() {
            return Err(io::Error::other(format!("without any fault: {wrong}")));
        }
        rig.before = Some(Footprint::of(&mut rig.host, &rig.shared));
        Ok(rig)
    }

    fn traffic(&mut self) -> Traffic {
        Traffic::start(&self.publishing, self.rate, Random(self.random.any()))
    }

    fn incomplete(&self) -> String {
        let open = self.shared.websockets.load(Ordering::Relaxed);
        format!("{open} of {} WebSockets are open", self.fleet.websockets())
    }

    /// Injects a fault so often, under traffic, and tells what came of it.
    pub async fn trial(&mut self, fault: Fault, count: u32) -> io::Result<Outcome> {
        let traffic = self.traffic();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut stuck = false;
        for nth in 0..count {
            fault.inject(&mut self.host, &mut self.random, nth).await?;
            // One in three strikes while the last one may not be over.
            stuck |= nth % 3 != 2 && !recovered(&self.host).await;
            tokio::time::sleep(Duration::from_millis(50 + self.random.below(400))).await;
        }
        stuck |= !recovered(&self.host).await;
        let mut outcome = self.settle(traffic, fault.promise()).await;
        if stuck {
            outcome.wrong.push(format!("publishing did not recover within {RECOVERY:?}"));
        }
        let unanswered = outcome.figures.unanswered;
        // nginx closes a kept-alive connection although a request may be on its way on it: what every
        // HTTP client knows, and seldom.
        let excused = if fault == Fault::Reload { 2 * u64::from(count) } else { 0 };
        if unanswered > excused && fault != Fault::KillWorker {
            outcome.wrong.push(format!("{unanswered} messages whose publish was not answered"));
        }
        if !fault.ends_connections() {
            outcome.dropped = std::mem::take(&mut outcome.sent_away);
            if outcome.dropped + outcome.turned_away > 0 {
                let (dropped, away) = (outcome.dropped, outcome.turned_away);
                let reasons =
                    self.shared.reasons.lock().expect("nobody panicked with it").join("; ");
                outcome.wrong.push(format!("{dropped} dropped, {away} turned away: {reasons}"));
            }
        }
        if let Some(before) = &self.before {
            let workers = WORKERS as usize;
            let wrong = checks::all(&mut self.host, &self.shared, workers, before).await;
            outcome.wrong.extend(wrong);
        }
        outcome.footprint = Some(Footprint::of(&mut self.host, &self.shared));
        outcome.faults.insert(fault, count);
        Ok(outcome)
    }

    /// Ends the traffic, waits until all has arrived, and adds up.
    async fn settle(&mut self, traffic: Traffic, promise: Promise) -> Outcome {
        let mut outcome = Outcome::default();
        traffic.end().await;
        self.publishing.hang_up();
        if !self.fleet.complete(RECOVERY).await {
            outcome.wrong.push(self.incomplete());
        }
        let end = Instant::now() + RECOVERY;
        while !self.shared.ledger().settled(promise) && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // What should not come is given a moment to come all the same.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (figures, examples) = self.shared.ledger().close(promise);
        outcome.figures = figures;
        outcome.wrong.extend(examples);
        let stuck = self.publishing.stuck.swap(0, Ordering::Relaxed);
        if stuck > 0 {
            let odd =
                std::mem::take(&mut *self.publishing.odd.lock().expect("nobody panicked with it"));
            outcome.wrong.push(format!("{stuck} publishes badly answered: {}", odd.join("; ")));
        }
        outcome.sent_away = self.shared.dropped.swap(0, Ordering::Relaxed);
        outcome.turned_away = self.shared.turned_away.swap(0, Ordering::Relaxed);
        outcome
    }

    /// Ends the clients, and says what of them the servers still believe to be there.
    pub async fn end(mut self) -> Vec<String> {
        self.fleet.order(Order::Leave);
        let wrong = match &self.before {
            Some(before) => {
                checks::all(&mut self.host, &self.shared, WORKERS as usize, before).await
            }
            None => Vec::new(),
        };
        self.fleet.end().await;
        // It looks through nginx's log, and takes its time.
        tokio::task::block_in_place(|| drop(self.host));
        wrong
    }
}
