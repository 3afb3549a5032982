//! The link: what is said when it comes up, what is heard, what happens when it breaks.

use std::fmt;

use bytes::Bytes;
use push_link::{FLAG_LATE, LinkError, ToSidecar, ToWorker, Versions};
use push_protocol::{ChannelKey, Mid};

use super::Engine;
use super::closing::last_message_id;
use super::complaints::Complaint;
use crate::link::{Due, LinkState};
use crate::response::LastMessageId;
use crate::{Host, Level, Response};

/// Channels in one `Subscribe` when all are subscribed again.
const SUBSCRIBE_AT_ONCE: usize = 4096;

impl Engine {
    /// The link is connected.
    pub fn link_up<H: Host>(&mut self, host: &mut H) {
        self.link.up(host.now());
        let resume = self.link.resumes;
        self.link.send(&ToSidecar::Hello {
            versions: self.link.offer,
            instance: self.instance,
            pid: self.pid,
            resume,
            software: self.software.clone(),
        });
        let keys: Vec<ChannelKey> = self.hub.keys().collect();
        for channels in keys.chunks(SUBSCRIBE_AT_ONCE) {
            let seq = self.next_req();
            self.link.subscribe(seq, channels.to_vec());
        }
        self.tell_all_connections();
        if resume {
            self.link.send(&ToSidecar::Resume { after: self.link.position });
        }
        let mut recoveries: Vec<_> = self.recoveries.iter().map(|(&req, &id)| (req, id)).collect();
        recoveries.sort_unstable_by_key(|(req, _)| *req);
        for (req, id) in recoveries {
            let session = self.sessions.find(id).and_then(|index| self.sessions.get_mut(index));
            let Some(session) = session else { continue };
            let Some(recovery) = &mut session.recovery else {
                continue;
            };
            // The answer starts anew; what came of the broken one comes again.
            recovery.items.clear();
            recovery.weight.set(0);
            let after = recovery.after;
            let channels = session.receivers(&self.hub);
            self.link.send(&ToSidecar::Recover { req, after, channels });
        }
        for frame in self.publishing.frames() {
            self.link.send_encoded(frame);
        }
        host.wake_link();
    }

    /// The link could not be connected, or broke.
    pub fn link_down<H: Host>(&mut self, host: &mut H) {
        if matches!(self.link.state, LinkState::Down { .. }) {
            return;
        }
        self.link.down(host.now());
        self.counters.link_failures += 1;
        self.observed.link_broke();
        self.publishing.link_broke();
        self.open_all(host);
        self.drop_questions(host);
        let mut polls: Vec<_> = self.newest.drain().collect();
        polls.sort_unstable_by_key(|(req, _)| *req);
        for (_, id) in polls {
            if let Some(index) = self.sessions.find(id)
                && let Some(session) = self.sessions.get(index)
            {
                let last = last_message_id(session.last);
                self.answer(host, index, Response::nothing_new(last));
            }
        }
    }

    /// Bytes came in on the link.
    pub fn link_received<H: Host>(&mut self, host: &mut H, bytes: &[u8]) {
        self.link.heard(host.now());
        self.link.splitter.extend(bytes);
        while self.link.is_up() {
            let frame = match self.link.splitter.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(error) => return self.distrust(host, &error),
            };
            if let Err(error) = self.frame(host, frame) {
                return self.distrust(host, &error);
            }
            self.relieve(host);
        }
    }

    fn distrust<H: Host>(&mut self, host: &mut H, error: &LinkError) {
        self.complain(
            host,
            Complaint::Nonsense,
            Level::Error,
            format_args!(
                "the push sidecar sent what can't be understood ({error}), reconnecting; install \
                 module and push-sidecar of one release, and restart both"
            ),
        );
        self.give_up_link(host);
    }

    fn give_up_link<H: Host>(&mut self, host: &mut H) {
        host.close_link();
        self.link_down(host);
    }

    fn frame<H: Host>(&mut self, host: &mut H, frame: Bytes) -> Result<(), LinkError> {
        match ToWorker::decode(frame)? {
            ToWorker::Deliver { id, flags, receivers, outgoing } => {
                self.deliver(host, id, flags & FLAG_LATE != 0, &receivers, outgoing);
            }
            ToWorker::PublishAck { seq, status, detail } => {
                self.publish_ack(host, seq, status, &detail);
            }
            ToWorker::RecoverItem { req, id, outgoing } => self.recover_item(req, id, outgoing),
            ToWorker::RecoverEnd { req, ok, as_of } => self.recover_end(host, req, ok, as_of),
            ToWorker::Position { seq, position } => {
                self.link.subscribed();
                self.subscribed(host, seq, position);
                if !self.link.catching_up {
                    self.link.reached(position);
                }
            }
            ToWorker::Resumed { position } => {
                self.link.catching_up = false;
                self.link.reached(position);
            }
            ToWorker::StatsAnswer { req, ok, online } => {
                if ok {
                    self.stats_answer(host, req, &online);
                } else {
                    self.give_up(host, req);
                }
            }
            ToWorker::NewestAnswer { req, id } => self.newest_answer(host, req, id),
            ToWorker::Welcome { version, software, .. } if !Versions::OURS.contains(version) => {
                let reason = format_args!("push-sidecar {software} speaks link version {version}");
                self.refused(host, &reason);
            }
            ToWorker::Welcome { version, position, software } => {
                if !self.link.resumes {
                    self.link.reached(position);
                } else if position < self.link.position {
                    self.start_over(host, position);
                }
                if self.link.failures() > 0 {
                    host.log(
                        Level::Notice,
                        format_args!(
                            "the push sidecar is back (push-sidecar {software}, link {version})"
                        ),
                    );
                }
                self.link.welcomed(version);
            }
            ToWorker::Refused { reason, versions } => {
                let common = versions.and_then(|versions| versions.common(Versions::OURS));
                match common.filter(|&common| common != self.link.offer) {
                    Some(common) => {
                        host.log(
                            Level::Notice,
                            format_args!("going on with the push sidecar in link version {common}"),
                        );
                        self.link.offer = common;
                        self.give_up_link(host);
                    }
                    None => self.refused(host, &format_args!("{reason}")),
                }
            }
            ToWorker::Oldest { req, channel } => self.oldest(host, req, &channel),
            ToWorker::Evict { channel } => self.evict(host, &channel),
            ToWorker::ReportWanted { req } => self.report(host, req),
            ToWorker::TraceWanted { req, channels } => self.trace(host, req, &channels),
            ToWorker::ServerStatsAnswer { req, json } => {
                self.server_stats_answer(host, req, &json);
            }
            ToWorker::MetricsWanted { req, slow } => {
                self.tell_metrics(req, slow);
                host.wake_link();
            }
            ToWorker::Observation { req, text } => self.observation(host, req, text),
            ToWorker::Published { id, at } => self.observed.published(id, at),
            // The answer to somebody else's question.
            ToWorker::Pong | ToWorker::ControlAnswer { .. } => {}
        }
        Ok(())
    }

    /// Module and sidecar are of releases that do not go together.
    fn refused<H: Host>(&mut self, host: &mut H, reason: &fmt::Arguments<'_>) {
        host.log(
            Level::Error,
            format_args!(
                "the push sidecar and this worker do not understand each other: {reason}; \
                 {} speaks link version {}. Install both of one release and restart both (a reload \
                 of nginx keeps the old module); trying again within a minute",
                self.software,
                Versions::OURS
            ),
        );
        self.give_up_link(host);
        self.link.refuse(host.now());
    }

    /// The sidecar has come back with another store, whose ids are lower than those we have seen.
    /// What is newer there must not be taken for old.
    fn start_over<H: Host>(&mut self, host: &mut H, position: Mid) {
        host.log(
            Level::Warn,
            format_args!(
                "the push store's message ids went back; has it been replaced? Clients may miss \
                 what it held (push-sidecar check tells of its persistence)"
            ),
        );
        self.link.position = position;
        for id in self.sessions.ids() {
            if let Some(session) = self.sessions.get_mut(id.index()) {
                session.last = session.last.min(position);
            }
        }
    }

    fn newest_answer<H: Host>(&mut self, host: &mut H, req: u32, id: Option<Mid>) {
        let Some(poll) = self.newest.remove(&req) else {
            return;
        };
        if let Some(index) = self.sessions.find(poll) {
            let last = id.map_or(LastMessageId::Empty, LastMessageId::Is);
            self.answer(host, index, Response::nothing_new(last));
        }
    }

    /// What is to be sent on the link.
    pub fn link_output(&self) -> &[u8] {
        self.link.output()
    }

    /// The first `len` bytes of [`Engine::link_output`] were sent.
    pub fn link_sent(&mut self, len: usize) {
        self.link.sent(len);
    }

    pub(super) fn tick_link<H: Host>(&mut self, host: &mut H) {
        match self.link.due(host.now()) {
            Due::Nothing => {}
            Due::Connect => host.connect_link(),
            Due::Ping => {
                self.link.send(&ToSidecar::Ping);
                host.wake_link();
            }
            Due::GiveUp => {
                host.log(
                    Level::Error,
                    format_args!(
                        "the push sidecar has been silent for 15 s, reconnecting; push-sidecar \
                         health tells what holds it up"
                    ),
                );
                self.give_up_link(host);
            }
        }
    }
}
