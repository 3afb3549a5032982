//! The subscribers: each a task that keeps its `mid` and comes back with it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use push_tests::message::Message;
use push_tests::net::Endpoint;
use push_tests::wait;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::body;
use crate::ledger::{Ledger, Subscriber};
use crate::population::Population;
use crate::random::Random;
use crate::subscriber::Client;

/// What all subscribers are told to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Be connected; `spread`: come back within so many milliseconds.
    Stay {
        /// Milliseconds over which returns are spread; 0: at once.
        spread: u64,
    },
    /// Be without a connection.
    Leave,
    /// It is over.
    End,
}

/// What subscribers and publishers write down.
#[derive(Debug)]
pub struct Shared {
    ledger: Mutex<Ledger>,
    /// WebSockets that are open.
    pub websockets: AtomicUsize,
    /// Long polls that wait for their answer.
    pub polls: AtomicUsize,
    /// Connections that ended without being told to.
    pub dropped: AtomicU64,
    /// Handshakes and polls that were refused, or could not connect.
    pub turned_away: AtomicU64,
    /// Why connections ended, the first few.
    pub reasons: Mutex<Vec<String>>,
}

impl Shared {
    /// With nothing in it.
    pub fn new(subscribers: usize) -> Arc<Self> {
        Arc::new(Self {
            ledger: Mutex::new(Ledger::new(subscribers)),
            websockets: AtomicUsize::new(0),
            polls: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            reasons: Mutex::default(),
        })
    }

    /// The ledger, for a moment.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nobody panicked with it")
    }

    /// A subscriber read these.
    pub fn received(&self, subscriber: Subscriber, messages: &[Message]) {
        // Read outside the lock.
        let numbers: Vec<_> = messages.iter().map(|message| body::number(&message.body)).collect();
        let mut ledger = self.ledger();
        for (message, number) in messages.iter().zip(numbers) {
            match number {
                Some(number) => ledger.received(subscriber, number, mid(&message.mid)),
                None => ledger.spoiled(subscriber, &message.body),
            }
        }
    }

    /// A connection ended without being told to.
    pub fn dropped(&self, subscriber: Subscriber, why: &str) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        self.note(subscriber, why);
    }

    /// A handshake or a poll was refused.
    pub fn turned_away(&self, subscriber: Subscriber, why: &str) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
        self.note(subscriber, why);
    }

    fn note(&self, subscriber: Subscriber, why: &str) {
        let mut reasons = self.reasons.lock().expect("nobody panicked with it");
        if reasons.len() < 5 {
            reasons.push(format!("{subscriber}: {why}"));
        }
    }
}

/// 26 digits as the 13 bytes that they stand for.
fn mid(digits: &str) -> [u8; 13] {
    let digits: &[u8; 26] = digits.as_bytes().try_into().expect("a mid has 26 digits");
    std::array::from_fn(|at| (digits[2 * at] & 15) << 4 | digits[2 * at + 1] & 15)
}

/// See the module.
pub struct Fleet {
    orders: watch::Sender<Order>,
    tasks: Vec<JoinHandle<()>>,
    websockets: usize,
    shared: Arc<Shared>,
}

impl Fleet {
    /// All of the population, who all have seen `mid` and nothing since.
    pub fn launch(
        population: &Population,
        public: &Endpoint,
        shared: &Arc<Shared>,
        mid: &str,
        random: &mut Random,
    ) -> Self {
        let (orders, heard) = watch::channel(Order::Stay { spread: 1000 });
        let all = 0..population.len() as Subscriber;
        let websockets = all.clone().filter(|number| !population.polls(*number)).count();
        let mut tasks = Vec::with_capacity(population.len());
        for number in all {
            let client = Client {
                number,
                address: public.address,
                target: population.target(number),
                binary: Population::is_binary(number),
                mid: mid.to_owned(),
                orders: heard.clone(),
                shared: Arc::clone(shared),
                random: Random(random.any()),
                polls: population.polls(number),
            };
            tasks.push(tokio::spawn(client.live()));
        }
        Self { orders, tasks, websockets, shared: Arc::clone(shared) }
    }

    /// Tells all of them.
    pub fn order(&self, order: Order) {
        self.orders.send_replace(order);
    }

    /// How many WebSockets there are when all are connected.
    pub fn websockets(&self) -> usize {
        self.websockets
    }

    /// How many poll.
    pub fn polls(&self) -> usize {
        self.tasks.len() - self.websockets
    }

    /// Whether every WebSocket is open. Polls come and go.
    pub fn is_complete(&self) -> bool {
        self.shared.websockets.load(Ordering::Relaxed) == self.websockets
    }

    /// Waits until every WebSocket is open; false if that takes too long.
    pub async fn complete(&self, limit: Duration) -> bool {
        let complete = async {
            while !self.is_complete() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(limit, complete).await.is_ok()
    }

    /// Ends all of them.
    ///
    /// # Panics
    ///
    /// With the panic of any of them: what it read was not what a server may say.
    pub async fn end(self) {
        self.order(Order::End);
        for task in self.tasks {
            wait::soon("a subscriber ends", task).await.expect("a subscriber has panicked");
        }
    }
}
