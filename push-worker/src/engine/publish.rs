//! Messages and questions leave for the sidecar.

use push_link::{METRICS_SINCE, PublishStatus, ToSidecar};
use push_protocol::request::{self, Publication};
use push_protocol::{ChannelKey, frame};

use super::Engine;
use super::complaints::Complaint;
use crate::publishing::{About, Asker, Expired, Finished, Question};
use crate::response::ContentType;
use crate::session::State;
use crate::{Format, Host, Level, Request, Response, View};

/// Marks the name of a question, so that it is not taken for a publish's.
const QUESTION: u64 = 1 << 63;

/// The name of a question.
pub(super) fn name_of(req: u32) -> u64 {
    u64::from(req) | QUESTION
}

impl Engine {
    /// Publishes; `request` is answered 200 once it is stored and announced, 503 if it surely was
    /// not and is not going to be, and 504 if that cannot be told in time. `counted`: it is an `incomingMessages` request for the daily counters (PROTOCOL.md, section 8.3), not a
    /// text. Returns a name for [`Engine::abandon`].
    pub fn publish<H: Host>(
        &mut self,
        host: &mut H,
        request: Request,
        counted: bool,
        messages: Vec<Publication>,
    ) -> u64 {
        self.publish_for(host, Asker::Request(request), counted, messages)
    }

    pub(super) fn publish_for<H: Host>(
        &mut self,
        host: &mut H,
        asker: Asker,
        counted: bool,
        mut messages: Vec<Publication>,
    ) -> u64 {
        messages.retain(|message| !message.receivers.is_empty());
        if messages.is_empty() {
            self.answer_asker(host, asker, Response::new(200));
            return 0;
        }
        if self.link.is_refused() {
            // Waiting would not help.
            self.not_published(host, asker, Response::unavailable());
            return 0;
        }
        let at = host.unix_us();
        let Some(seq) = self.publishing.add(asker, counted, messages, host.now(), at) else {
            self.not_published(host, asker, Response::unavailable());
            return 0;
        };
        if self.link.is_up()
            && let Some(frame) = self.publishing.frame(seq)
        {
            self.link.send_encoded(frame);
            host.wake_link();
        }
        seq
    }

    pub(super) fn publish_ack<H: Host>(
        &mut self,
        host: &mut H,
        seq: u64,
        status: PublishStatus,
        detail: &str,
    ) {
        match status {
            PublishStatus::Stored => {
                if let Some(Finished { asker, at, live }) = self.publishing.finish(seq) {
                    self.counters.published += 1;
                    self.counters.live += u64::from(live);
                    self.observed.answered(at, host.unix_us());
                    self.answer_asker(host, asker, Response::new(200));
                }
            }
            PublishStatus::Unavailable => self.publishing.retry_later(seq, false, host.now()),
            PublishStatus::Unknown => self.publishing.retry_later(seq, true, host.now()),
            PublishStatus::Refused => {
                if let Some(finished) = self.publishing.finish(seq) {
                    self.complain(
                        host,
                        Complaint::Refused,
                        Level::Error,
                        format_args!(
                            "the push store refused a message: {detail}; push-sidecar check tells \
                             what is wrong with it"
                        ),
                    );
                    self.observed.answered(finished.at, host.unix_us());
                    self.counters.unpublished += 1;
                    self.counters.refused_publish(500);
                    self.answer_asker(host, finished.asker, Response::new(500));
                }
            }
        }
    }

    /// Sends publishes again that the store could not take, and gives up those that waited long
    /// enough.
    pub(super) fn tick_publishing<H: Host>(&mut self, host: &mut H) {
        let now = host.now();
        while let Some(Expired { finished, unknown }) = self.publishing.expired(now) {
            self.observed.answered(finished.at, host.unix_us());
            let answer = if unknown { Response::unknown() } else { Response::unavailable() };
            self.not_published(host, finished.asker, answer);
        }
        while let Some(seq) = self.publishing.next_retry(now) {
            // A new link is sent everything anyway.
            if self.link.is_up()
                && let Some(frame) = self.publishing.frame(seq)
            {
                self.link.send_encoded(frame);
                host.wake_link();
            }
        }
        let mut late: Vec<u32> =
            self.questions.iter().filter(|(_, q)| q.deadline <= now).map(|(&req, _)| req).collect();
        late.sort_unstable();
        for req in late {
            self.give_up(host, req);
        }
    }

    fn not_published<H: Host>(&mut self, host: &mut H, asker: Asker, answer: Response) {
        self.counters.unpublished += 1;
        self.counters.refused_publish(answer.status);
        self.complain(
            host,
            Complaint::Unpublished,
            Level::Error,
            format_args!(
                "a message could not be stored in time and its publisher was told {}; push-sidecar \
                 health tells what is wrong with sidecar or store",
                answer.status
            ),
        );
        self.answer_asker(host, asker, answer);
    }

    // Questions ---------------------------------------------------------------------------------

    /// Asks which channels are online; `request` is answered in the form that `format` names.
    pub fn channel_stats<H: Host>(
        &mut self,
        host: &mut H,
        request: Request,
        channels: Vec<ChannelKey>,
        format: Format,
    ) -> u64 {
        self.ask(host, Asker::Request(request), About::Channels(channels, format))
    }

    /// Asks for the statistics of all processes; answered like [`Engine::channel_stats`].
    pub fn server_stats<H: Host>(&mut self, host: &mut H, request: Request, format: Format) -> u64 {
        self.ask(host, Asker::Request(request), About::Servers(format))
    }

    pub(super) fn ask<H: Host>(&mut self, host: &mut H, asker: Asker, about: About) -> u64 {
        let is_understood = match about {
            About::View(_) => self.link.version >= METRICS_SINCE,
            About::Channels(..) | About::Servers(_) => true,
        };
        if !self.link.is_up() || !is_understood {
            self.leave_unanswered(host, asker, &about);
            return 0;
        }
        let req = self.next_req();
        self.link.send(&match &about {
            About::Channels(channels, _) => ToSidecar::Stats { req, channels: channels.clone() },
            About::Servers(_) => ToSidecar::ServerStats { req },
            About::View(view) => ToSidecar::Observe { req, page: *view == View::Status },
        });
        host.wake_link();
        let deadline = host.now() + about.patience();
        self.questions.insert(req, Question { asker, about, deadline });
        name_of(req)
    }

    /// There will be no answer.
    pub(super) fn leave_unanswered<H: Host>(&mut self, host: &mut H, asker: Asker, about: &About) {
        let response = match about {
            About::Channels(..) | About::Servers(_) => Response::unavailable(),
            About::View(view) => self.own_view(*view),
        };
        self.answer_asker(host, asker, response);
    }

    /// The sidecar did not answer, or knows none.
    pub(super) fn give_up<H: Host>(&mut self, host: &mut H, req: u32) {
        if let Some(Question { asker, about, .. }) = self.questions.remove(&req) {
            self.leave_unanswered(host, asker, &about);
        }
    }

    pub(super) fn stats_answer<H: Host>(&mut self, host: &mut H, req: u32, online: &[bool]) {
        let Some(Question { asker, about, .. }) = self.questions.remove(&req) else {
            return;
        };
        let About::Channels(channels, format) = about else {
            return self.leave_unanswered(host, asker, &about);
        };
        let asked: Vec<(ChannelKey, bool)> =
            channels.into_iter().zip(online.iter().copied()).collect();
        match (asker, format) {
            (Asker::Nobody, _) => {}
            (Asker::Request(request), Format::Text) => {
                let body = request::channel_stats_json(&asked);
                host.respond(request, Response::ok(ContentType::Text, body));
            }
            (Asker::Request(request), Format::Binary) => {
                let body = request::channel_stats_batch(&asked);
                host.respond(request, Response::ok(ContentType::Binary, body));
            }
            (Asker::Session(id), _) => {
                // Nothing goes out behind a close frame.
                let is_open = |index: &u32| {
                    self.sessions.get(*index).is_some_and(|session| session.state == State::Open)
                };
                if let Some(index) = self.sessions.find(id).filter(is_open) {
                    let body = request::channel_stats_batch(&asked);
                    self.send(host, index, frame::encode(frame::Opcode::Binary, &body).into());
                }
                self.answered(host, id);
            }
        }
    }

    pub(super) fn server_stats_answer<H: Host>(&mut self, host: &mut H, req: u32, json: &[u8]) {
        let Some(Question { asker, about, .. }) = self.questions.remove(&req) else {
            return;
        };
        let About::Servers(format) = about else {
            return self.leave_unanswered(host, asker, &about);
        };
        let response = match (std::str::from_utf8(json), format) {
            (Err(_), _) => Response::unavailable(),
            (Ok(json), Format::Text) => Response::ok(ContentType::Text, json.to_owned()),
            (Ok(json), Format::Binary) => {
                Response::ok(ContentType::Binary, request::server_stats_batch(json))
            }
        };
        self.answer_asker(host, asker, response);
    }

    /// No question will be answered: the link they were asked on is gone.
    pub(super) fn drop_questions<H: Host>(&mut self, host: &mut H) {
        let mut all: Vec<u32> = self.questions.keys().copied().collect();
        all.sort_unstable();
        for req in all {
            self.give_up(host, req);
        }
    }

    /// The host freed the request behind a publish or a question: what was to be
    /// published is published all the same, nobody is answered.
    pub fn abandon(&mut self, id: u64) {
        if id & QUESTION == 0 {
            self.publishing.abandon(id);
        } else if let Some(question) = self.questions.get_mut(&(id as u32)) {
            question.asker = Asker::Nobody;
        }
    }

    /// Answers whoever waits. A WebSocket client is not told what became of its messages.
    pub(super) fn answer_asker<H: Host>(&mut self, host: &mut H, asker: Asker, response: Response) {
        match asker {
            Asker::Request(request) => host.respond(request, response),
            Asker::Session(id) => self.answered(host, id),
            Asker::Nobody => {}
        }
    }
}
