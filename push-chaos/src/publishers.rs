//! The backend: publishes at a steady rate, whatever becomes of what it has published before.
//!
//! Nothing is sent twice: what a portal makes of 503 and 504 is its own business, and each message has
//! one answer. A publish that waits does not hold up the next, so that a server that is stuck meets
//! as many as come.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prost::Message as _;
use push_tests::channel::unhex;
use push_tests::host::text_publication;
use push_tests::http1::{Http1, Request, Response};
use push_tests::net::Endpoint;
use push_tests::proto::{IncomingMessage, Receiver, RequestBatch};
use tokio::task::JoinHandle;

use crate::body;
use crate::fleet::Shared;
use crate::ledger::{Answer, Number};
use crate::population::{Population, To};
use crate::random::Random;

/// How long messages are kept, seconds; longer than any run.
const EXPIRY: u32 = 3_600;
/// Of so many requests one carries messages that are not kept.
const LIVE_ONLY: u64 = 10;
/// An answer is due within 5 seconds; who has none after this is not being served.
const PATIENCE: Duration = Duration::from_secs(12);
/// Connections kept for the next publish.
const KEPT: usize = 32;

/// What publishing is made of.
pub struct Publishing {
    internal: Endpoint,
    population: Arc<Population>,
    shared: Arc<Shared>,
    /// Idle connections.
    idle: Mutex<Vec<Http1>>,
    under_way: AtomicUsize,
    /// Publishes that were not answered in time, or with something that is no answer.
    pub stuck: AtomicU64,
    /// What such an answer was, the first few.
    pub odd: Mutex<Vec<String>>,
}

/// See the module. Publishes until it is stopped.
pub struct Traffic {
    publishing: Arc<Publishing>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Publishing {
    /// To this address.
    pub fn new(
        internal: Endpoint,
        population: &Arc<Population>,
        shared: &Arc<Shared>,
    ) -> Arc<Self> {
        Arc::new(Self {
            internal,
            population: Arc::clone(population),
            shared: Arc::clone(shared),
            idle: Mutex::default(),
            under_way: AtomicUsize::new(0),
            stuck: AtomicU64::new(0),
            odd: Mutex::default(),
        })
    }

    /// Publishes one message to these, kept or not, and writes down what comes of it.
    pub async fn text(&self, to: To, live_only: bool) -> Answer {
        let number = self.number(to, live_only);
        let ids: Vec<_> = self.population.receivers(to).into_iter().map(|(id, _)| id).collect();
        let expiry = if live_only { 0 } else { EXPIRY };
        let request = text_publication(&ids, &body::text(number), expiry);
        self.publish(&[number], &request).await
    }

    async fn batch(&self, to: &[To], live_only: bool) -> Answer {
        let numbers: Vec<_> = to.iter().map(|to| self.number(*to, live_only)).collect();
        let expiry = if live_only { 0 } else { EXPIRY };
        let message = |(to, number): (&To, &Number)| {
            let receivers = self.population.receivers(*to).into_iter();
            let receiver =
                |(id, is_private)| Receiver { id: unhex(id), is_private, signature: Vec::new() };
            let receivers = receivers.map(receiver).collect();
            IncomingMessage { receivers, body: body::text(*number), expiry }
        };
        let batch = RequestBatch::publish(to.iter().zip(&numbers).map(message).collect());
        let request = Request::post("/bitrix/pub/?binaryMode=true", batch.encode_to_vec());
        self.publish(&numbers, &request).await
    }

    fn number(&self, to: To, live_only: bool) -> Number {
        self.shared.ledger().publish(self.population.audience(to), live_only)
    }

    async fn publish(&self, numbers: &[Number], request: &Request) -> Answer {
        let answer = match tokio::time::timeout(PATIENCE, self.request(request)).await {
            Ok(Ok(answer)) => self.read(&answer),
            Ok(Err(_)) => Answer::None,
            Err(_) => self.strange("no answer in time".into()),
        };
        let mut ledger = self.shared.ledger();
        for number in numbers {
            ledger.answered(*number, answer);
        }
        answer
    }

    fn read(&self, answer: &Response) -> Answer {
        match answer.status {
            200 => Answer::Stored,
            503 if answer.header("Retry-After").is_some() => Answer::Refused,
            504 => Answer::Unknown,
            _ => self.strange(format!("{answer:?}")),
        }
    }

    fn strange(&self, what: String) -> Answer {
        self.stuck.fetch_add(1, Ordering::Relaxed);
        let mut odd = self.odd.lock().expect("nobody panicked with it");
        if odd.len() < 5 {
            odd.push(what);
        }
        Answer::None
    }

    /// An idle connection that has not been closed meanwhile.
    fn idle(&self) -> Option<Http1> {
        let mut idle = self.idle.lock().expect("nobody panicked with it");
        loop {
            let mut connection = idle.pop()?;
            if !connection.is_stale() {
                return Some(connection);
            }
        }
    }

    async fn request(&self, request: &Request) -> io::Result<Response> {
        let mut connection = match self.idle() {
            Some(connection) => connection,
            None => Http1::connect(&self.internal).await?,
        };
        connection.send(&request.to_bytes()).await?;
        let answer = connection.response().await?;
        if answer.header("Connection") != Some("close") {
            let mut idle = self.idle.lock().expect("nobody panicked with it");
            if idle.len() < KEPT {
                idle.push(connection);
            }
        }
        Ok(answer)
    }

    /// Closes the idle connections.
    pub fn hang_up(&self) {
        self.idle.lock().expect("nobody panicked with it").clear();
    }
}

impl Traffic {
    /// Publishes about so many messages a second.
    pub fn start(publishing: &Arc<Publishing>, per_second: u64, random: Random) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(run(Arc::clone(publishing), Arc::clone(&stop), per_second, random));
        Self { publishing: Arc::clone(publishing), stop, task }
    }

    /// Publishes nothing more, and waits until everything is answered.
    pub async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("publishing does not panic");
        while self.publishing.under_way.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn run(
    publishing: Arc<Publishing>,
    stop: Arc<AtomicBool>,
    per_second: u64,
    mut random: Random,
) {
    let (started, mut published) = (Instant::now(), 0);
    let mut tick = tokio::time::interval(Duration::from_millis(4));
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let due = started.elapsed().as_millis() as u64 * per_second / 1000;
        while published < due {
            let live_only = random.below(LIVE_ONLY) == 0;
            // Texts are requests of their own, a batch has up to three messages.
            let count = if random.below(3) == 0 { 1 + random.below(3) } else { 1 };
            let to: Vec<_> =
                (0..count).map(|_| publishing.population.somebody(&mut random)).collect();
            let one = Arc::clone(&publishing);
            one.under_way.fetch_add(1, Ordering::Relaxed);
            let binary = to.len() > 1 || matches!(to[0], To::Public(_)) || random.below(4) == 0;
            published += to.len() as u64;
            tokio::spawn(async move {
                if binary {
                    one.batch(&to, live_only).await;
                } else {
                    one.text(to[0], live_only).await;
                }
                one.under_way.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }
}
