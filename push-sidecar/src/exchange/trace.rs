//! Where a message went: the store, the links and the workers are asked. What that takes is bounded,
//! and happens only when an operator asks.

use std::rc::Rc;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use push_link::{TRACE_SINCE, ToWorker, Traced};
use push_protocol::outgoing::{OutgoingView, Sender};
use push_protocol::{ChannelKey, Mid, hex};

use super::Exchange;
use super::roll_call::RollCall;
use crate::router::LinkId;
use crate::store::{Caps, Found, Store, StoreError};
use crate::trace::{Channel, Delivery, Message, Trace, Worker, shown};

/// How long workers, and the store, may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Messages of a channel that are told, the newest.
const MESSAGES: usize = 10;

/// A worker's `Trace`.
#[derive(Clone, Debug)]
pub struct Seen {
    /// WebSockets in text mode, in binary mode, and long polls.
    pub subscribers: [u32; 3],
    /// Bytes that wait for them.
    pub waiting: u64,
    /// What came.
    pub deliveries: Vec<Traced>,
}

/// Questions under way.
#[derive(Default)]
pub(super) struct Traces {
    asked: u32,
    waiting: HashMap<u32, Waiting, RandomState>,
}

#[derive(Default)]
struct Waiting {
    question: Rc<RollCall>,
    seen: Vec<(LinkId, Seen)>,
}

impl<S: Store + 'static> Exchange<S> {
    /// `Trace`.
    pub fn traced(&self, link: LinkId, req: u32, seen: Seen) {
        let mut traces = self.traces.borrow_mut();
        let Some(waiting) = traces.waiting.get_mut(&req) else { return };
        waiting.seen.push((link, seen));
        waiting.question.heard(link);
    }

    /// Nobody waits for what a link that is gone would say.
    pub(super) fn forget_trace(&self, link: LinkId) {
        for waiting in self.traces.borrow().waiting.values() {
            waiting.question.heard(link);
        }
    }

    /// What is known of a message, or else of the newest ones of the channels, and of who has them.
    pub(super) async fn trace(&self, mid: Option<Mid>, mut channels: Vec<ChannelKey>) -> Trace {
        let mut trace = Trace::default();
        let reading = self.read_trace(mid, &mut channels, &mut trace);
        match tokio::time::timeout(2 * PATIENCE, reading).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => trace.store = Some(error.to_string()),
            Err(_) => trace.store = Some("it does not answer".into()),
        }
        if trace.channels.is_empty() {
            // The store tells them with their marks.
            trace.channels = channels.iter().map(|key| self.channel(key, None)).collect();
        }
        let (seen, silent) = self.ask_workers(&channels).await;
        trace.workers = seen;
        trace.silent = silent;
        trace
    }

    async fn read_trace(
        &self,
        mid: Option<Mid>,
        channels: &mut Vec<ChannelKey>,
        trace: &mut Trace,
    ) -> Result<(), StoreError> {
        let ids: Vec<Mid> = if let Some(mid) = mid {
            vec![mid]
        } else {
            let caps = Caps { per_channel: MESSAGES, total: MESSAGES };
            let history = self.store.history(channels, Mid::ZERO, caps).await?;
            history.messages.into_iter().map(|(id, _)| id).collect()
        };
        for id in ids {
            let found = self.store.find(id).await?;
            if let (true, Some(found)) = (channels.is_empty(), &found) {
                channels.clone_from(&found.receivers);
            }
            trace.messages.push(self.message(id, found));
        }
        let online = self.store.online(channels).await?;
        let pairs = channels.iter().zip(online);
        trace.channels = pairs.map(|(key, online)| self.channel(key, Some(online))).collect();
        let ours: Vec<String> = self.pids().into_iter().map(|(_, pid)| format!("-{pid}")).collect();
        let others = self.store.statistics().await?.into_iter().map(|(name, _)| name);
        let host = super::statistics::host_name();
        trace.others = others
            .filter(|name| {
                let own = name.strip_prefix(&host[..]);
                !own.is_some_and(|pid| ours.iter().any(|our| our == pid))
            })
            .collect();
        trace.others.sort();
        Ok(())
    }

    /// The links with the process ids of their workers.
    fn pids(&self) -> Vec<(LinkId, u32)> {
        self.statistics.borrow().pids().collect()
    }

    fn pids_of(&self, links: &[LinkId]) -> Vec<u32> {
        let known = self.pids();
        let pid = |link: &LinkId| known.iter().find(|(id, _)| id == link).map(|(_, pid)| *pid);
        links.iter().filter_map(pid).collect()
    }

    fn channel(&self, key: &ChannelKey, online: Option<bool>) -> Channel {
        let links = self.state.borrow().router.links_of(key).to_vec();
        let local = (!links.is_empty()).then_some(true);
        Channel { channel: shown(key), online: local.or(online), workers: self.pids_of(&links) }
    }

    fn message(&self, id: Mid, found: Option<Found>) -> Message {
        let known = found.is_some();
        let Found { outgoing, receivers, left } = found.unwrap_or_default();
        let view = outgoing.as_deref().and_then(OutgoingView::parse);
        let state = self.state.borrow();
        let pass = state.links.1.find(id);
        let forgotten = state.links.1.since().is_none_or(|since| id < since);
        drop(state);
        Message {
            mid: id.to_string(),
            known,
            created: view.map(|view| view.created),
            expiry: view.map(|view| view.expiry),
            left,
            bytes: view.map(|view| view.body.len()),
            sender: view.and_then(|view| view.sender).map(|sender| match sender {
                Sender::Backend => "backend".into(),
                Sender::Client(id) => format!("client {}", hex::encode(&id)),
            }),
            receivers: receivers.iter().map(shown).collect(),
            passed: pass.map(|pass| pass.at),
            workers: pass.map(|pass| self.pids_of(pass.links())).unwrap_or_default(),
            forgotten: forgotten && pass.is_none(),
        }
    }

    /// What the workers say, and those that say nothing.
    async fn ask_workers(&self, channels: &[ChannelKey]) -> (Vec<Worker>, Vec<u32>) {
        let (req, question) = {
            let mut traces = self.traces.borrow_mut();
            traces.asked = traces.asked.wrapping_add(1);
            let req = traces.asked;
            let state = self.state.borrow();
            let able = || state.links.0.values().filter(|peer| peer.version.get() >= TRACE_SINCE);
            let waiting = Waiting::default();
            waiting.question.ask(able().map(|peer| peer.id));
            for peer in able() {
                let channels = channels.to_vec();
                peer.outbox.send(&ToWorker::TraceWanted { req, channels });
            }
            let question = Rc::clone(&waiting.question);
            traces.waiting.insert(req, waiting);
            (req, question)
        };
        // Who does not answer in time is told.
        question.complete(PATIENCE).await;
        let seen = self.traces.borrow_mut().waiting.remove(&req).map(|waiting| waiting.seen);
        let seen = seen.unwrap_or_default();
        let (mut workers, mut silent) = (Vec::new(), Vec::new());
        for (link, pid) in self.pids() {
            match seen.iter().find(|(id, _)| *id == link) {
                Some((_, seen)) => workers.push(worker(pid, seen)),
                None => silent.push(pid),
            }
        }
        workers.sort_by_key(|worker| worker.pid);
        silent.sort_unstable();
        (workers, silent)
    }
}

fn worker(pid: u32, seen: &Seen) -> Worker {
    let [text, binary, polls] = seen.subscribers;
    let deliveries = seen.deliveries.iter().map(|traced| Delivery {
        mid: traced.id.to_string(),
        at: traced.at,
        took: (traced.written > 0).then(|| traced.written.saturating_sub(traced.at)),
        text: traced.text,
        binary: traced.binary,
        polls: traced.polls,
        held: traced.held,
        had: traced.had,
        cut: traced.cut,
        closing: traced.closing,
    });
    let deliveries = deliveries.collect();
    Worker { pid, text, binary, polls, waiting: seen.waiting, deliveries }
}
