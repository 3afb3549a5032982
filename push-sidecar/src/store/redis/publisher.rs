//! Group commit: publishes that arrive while a script call is under way go out together in the
//! next one. One call at a time keeps acknowledgements in id order and costs an idle server no
//! latency: a publish that finds nothing under way goes out at once. Only where thousands come a
//! second it waits for the next one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::iter;
use std::rc::Rc;
use std::time::Duration;

use push_protocol::Mid;
use push_protocol::notification::announcement_head;
use push_protocol::outgoing::{self, ID_LEN};
use redis::Value;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};

use super::connection::{Commands, LuaScript, ScriptArgs};
use super::layout;
use super::pace::Pace;
use crate::store::{PublishItem, RECOVERY_SECONDS, StoreError, Token};

/// What one call may hold beyond its first publish: it keeps Redis busy for about a millisecond.
const MAX_MESSAGES: usize = 128;
const MAX_BYTES: usize = 1 << 20;

/// How long a publish may wait for another to share its call; tokio's clock makes it a millisecond
/// more at most.
const HOLD: Duration = Duration::from_millis(1);

type Answer = Result<Vec<Mid>, StoreError>;

struct Pending {
    queued: Instant,
    token: Token,
    messages: Vec<PublishItem>,
    answer: oneshot::Sender<Answer>,
}

/// See the module.
pub struct Publisher {
    commands: Rc<Commands>,
    script: LuaScript,
    channel: String,
    patience: Duration,
    queue: RefCell<VecDeque<Pending>>,
    arrived: Notify,
    pace: Pace,
    floor: Rc<Floor>,
}

impl Publisher {
    /// `channel`: where to announce; `list_ttl`: seconds a channel's list lives at least;
    /// `patience`: how long a publish may wait for the calls in front of it.
    pub fn new(
        commands: Rc<Commands>,
        channel: String,
        list_ttl: u64,
        patience: Duration,
        floor: Rc<Floor>,
    ) -> Self {
        Self {
            commands,
            script: script(list_ttl),
            channel,
            patience,
            queue: RefCell::default(),
            arrived: Notify::new(),
            pace: Pace::default(),
            floor,
        }
    }

    /// Queues a publish and waits for what became of it.
    pub async fn publish(&self, token: Token, messages: Vec<PublishItem>) -> Answer {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let (answer, answered) = oneshot::channel();
        let queued = Instant::now();
        self.pace.arrived(queued);
        self.queue.borrow_mut().push_back(Pending { queued, token, messages, answer });
        self.arrived.notify_one();
        answered.await.unwrap_or_else(|_| Err(StoreError::Unknown("shutting down".into())))
    }

    /// Sends what is queued, for ever.
    pub async fn run(&self) {
        loop {
            self.queued(1).await;
            if self.pace.is_close() && timeout(HOLD, self.queued(2)).await.is_err() {
                self.pace.in_vain();
            }
            let batch = self.take_batch();
            if !batch.is_empty() {
                self.send(batch).await;
            }
        }
    }

    /// Waits until so many publishes are queued.
    async fn queued(&self, count: usize) {
        while self.queue.borrow().len() < count {
            self.arrived.notified().await;
        }
    }

    fn take_batch(&self) -> Vec<Pending> {
        let mut queue = self.queue.borrow_mut();
        // While a call hung, whoever waited this long has given up: nothing may appear out of the
        // blue when Redis comes back.
        let stale = queue.iter().take_while(|p| p.queued.elapsed() > self.patience).count();
        let error = StoreError::Unavailable("redis: busy for too long".into());
        fail(queue.drain(..stale), &error);
        let (mut messages, mut bytes) = (0, 0);
        let fits = queue.iter().take_while(|pending| {
            let first = messages == 0;
            messages += pending.messages.len();
            bytes += pending.messages.iter().map(|m| m.rest.len()).sum::<usize>();
            first || messages <= MAX_MESSAGES && bytes <= MAX_BYTES
        });
        let count = fits.count();
        queue.drain(..count).collect()
    }

    async fn send(&self, batch: Vec<Pending>) {
        let args = self.args(&batch);
        let answer = self.commands.script_beside_announcements(&self.script, &args).await;
        let replies = match answer {
            Ok(Value::Array(replies)) if replies.len() == batch.len() => replies,
            Ok(_) => {
                let error = StoreError::Refused("redis: the publish script answered oddly".into());
                return fail(batch, &error);
            }
            Err(error) => return fail(batch, &error),
        };
        for (pending, reply) in batch.into_iter().zip(replies) {
            let answer = read_reply(reply, pending.messages.len());
            if let Ok(ids) = &answer {
                ids.last().iter().for_each(|id| self.floor.saw(**id));
            }
            // The link may be gone; the publish counts all the same.
            let _ = pending.answer.send(answer);
        }
    }

    fn args(&self, batch: &[Pending]) -> ScriptArgs {
        let mut last = self.floor.get();
        let mut args = ScriptArgs::default();
        args.push_shown(last.start());
        args.push_shown(last.counter());
        args.push(&self.channel);
        for pending in batch {
            args.push(pending.token.to_bytes());
            args.push_shown(pending.messages.len());
            for message in &pending.messages {
                last = Mid::new(last.start(), last.counter() + 1);
                push_message(&mut args, message, last);
            }
        }
        args
    }
}

/// `foretold`: its id, if nobody is given one before.
fn push_message(args: &mut ScriptArgs, message: &PublishItem, foretold: Mid) {
    let receivers = message.receivers.iter().map(|(key, signature)| (key, &signature[..]));
    args.push_shown(message.expiry);
    args.push(layout::pack_receivers(receivers.clone().map(|(key, _)| key)));
    args.push(announcement_head(receivers, ID_LEN + message.rest.len()));
    args.push(foretold.as_bytes());
    args.push(layout::log_entry(foretold));
    args.push_joined(&[&outgoing::id_field(foretold), &message.rest]);
}

/// The script behind what never changes in a process: as text it is not read with each call.
fn script(list_ttl: u64) -> LuaScript {
    let nobody = announcement_head(iter::empty(), ID_LEN);
    let nobody = nobody.iter().fold(String::new(), |text, byte| text + &format!("\\{byte:03}"));
    LuaScript::new(&format!(
        "local LIST_TTL, TOKEN_TTL, NOBODY = {list_ttl}, '{RECOVERY_SECONDS}', '{nobody}\\010\\013'\n{}",
        include_str!("publish.lua")
    ))
}

fn fail(batch: impl IntoIterator<Item = Pending>, error: &StoreError) {
    for pending in batch {
        let _ = pending.answer.send(Err(error.clone()));
    }
}

fn read_reply(reply: Value, count: usize) -> Answer {
    let bytes = match reply {
        Value::BulkString(bytes) => bytes,
        other => {
            return Err(StoreError::Refused(format!("redis: unexpected reply {other:?}")));
        }
    };
    if let Some(first) = Mid::from_bytes(&bytes) {
        let id = |n| Mid::new(first.start(), first.counter() + n);
        Ok((0..count as u64).map(id).collect())
    } else {
        let text = String::from_utf8_lossy(bytes.strip_prefix(b"-").unwrap_or(&bytes));
        Err(StoreError::Refused(format!("redis: {text}")))
    }
}

/// The last id this process has seen: ids given out later must lie above it, whatever has become of
/// Redis meanwhile. Also remembers roughly which id was the last at earlier times.
pub struct Floor {
    last: Cell<Mid>,
    history: RefCell<VecDeque<(Instant, Mid)>>,
}

impl Default for Floor {
    fn default() -> Self {
        Self { last: Cell::new(Mid::ZERO), history: RefCell::default() }
    }
}

impl Floor {
    /// An id was seen.
    pub fn saw(&self, id: Mid) {
        if id > self.last.get() {
            self.last.set(id);
        }
    }

    /// The greatest id seen.
    pub fn get(&self) -> Mid {
        self.last.get()
    }

    /// An id that was the last at least `age` ago; [`Mid::ZERO`] if none is known.
    pub fn before(&self, age: Duration) -> Mid {
        const STEP: Duration = Duration::from_secs(1);
        let mut history = self.history.borrow_mut();
        let now = Instant::now();
        if history.back().is_none_or(|(at, _)| now - *at >= STEP) {
            history.push_back((now, self.last.get()));
        }
        while history.get(1).is_some_and(|(at, _)| now - *at >= age) {
            history.pop_front();
        }
        history.front().filter(|(at, _)| now - *at >= age).map_or(Mid::ZERO, |(_, id)| *id)
    }
}
