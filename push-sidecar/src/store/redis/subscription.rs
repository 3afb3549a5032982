//! Supervises the subscription connection. While announcements are whole it is lent to publishes.
//!
//! The subscription is proved alive end to end: probes are published through the command connection
//! and must come back through the subscription. Each tells the position: everything announced up to
//! it stands before it in the stream. So a last announcement that was lost is missed, too, and ids
//! go on rising in a Redis that was emptied, whoever publishes next.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use push_protocol::Mid;
use push_protocol::notification::parse_notification;
use redis::{Msg, PushInfo, PushKind};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::condition::Watch;
use super::connection::{Commands, LuaScript, ScriptArgs};
use super::dialer::{Dialer, Dialled};
use super::publisher::Floor;
use super::{layout, reading};
use crate::random::{self, Backoff};
use crate::store::{Announced, RECOVERY_SECONDS, StoreError, StoreEvent};

/// Times of the subscription.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Of dialling and subscribing.
    pub dial: Duration,
    /// Between two probes.
    pub probe_every: Duration,
    /// How long a probe may take before the connection counts as dead.
    pub probe_patience: Duration,
}

/// See the module.
pub struct Subscription {
    /// For the connection of its own.
    pub dialer: Dialer,
    /// For the probes; is lent the connection.
    pub commands: Rc<Commands>,
    /// How long a publish may take on it.
    pub command_timeout: Duration,
    /// This process's name.
    pub uid: String,
    /// See [`Timing`].
    pub timing: Timing,
    /// Is told of every id seen.
    pub floor: Rc<Floor>,
    /// Is told how it does.
    pub watch: Rc<Watch>,
    /// Where the stream goes.
    pub events: UnboundedSender<StoreEvent>,
}

type Probe = Pin<Box<dyn Future<Output = Result<(), StoreError>>>>;

impl Subscription {
    /// Keeps the stream going, for ever.
    pub async fn run(self) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let position = LuaScript::new(include_str!("position.lua"));
        let mut silent = false;
        loop {
            let mut whole = false;
            let reason = self.session(&position, &mut whole).await;
            self.commands.take_back();
            self.watch.lost(&reason);
            // No probe tries them meanwhile.
            let (commands, watch) = (Rc::clone(&self.commands), Rc::clone(&self.watch));
            tokio::task::spawn_local(async move {
                let written = reading::write_alive(&commands).await;
                watch.write(written.err().map(|error| error.to_string()));
            });
            if whole {
                backoff.reset();
                silent = false;
                tracing::warn!(%reason, "announcements lost, subscribing again; what was missed is read from Redis afterwards");
                let _ = self.events.send(StoreEvent::Lost);
            } else if !silent {
                // Once is enough until it works again.
                silent = true;
                tracing::warn!(%reason, "cannot subscribe to announcements, trying on; push-sidecar check tells why");
            }
            sleep(backoff.wait()).await;
        }
    }

    /// One connection, from dialling to its end; answers why it ended.
    async fn session(&self, position: &LuaScript, whole: &mut bool) -> String {
        let (connection, mut pushes) = match timeout(self.timing.dial, self.subscribe()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "no answer while subscribing".into(),
        };
        let nonce = random::uid();
        let cleared = layout::cleared_channel(self.dialer.database());
        let mut probe: Option<Probe> = Some(Box::pin(self.ask_position(position, nonce.clone())));
        let mut patience = Instant::now() + self.timing.probe_patience;
        let mut ticks = interval(self.timing.probe_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        // A probe is under way that has not been seen yet.
        let mut unseen = true;
        loop {
            tokio::select! {
                biased;
                push = pushes.recv() => {
                    let Some(push) = push.filter(|push| push.kind != PushKind::Disconnection) else {
                        return "connection closed".into();
                    };
                    let Some(message) = Msg::from_push_info(push) else { continue };
                    if message.get_channel_name() == cleared {
                        let channels = layout::unpack_receivers(message.get_payload_bytes());
                        let _ = self.events.send(StoreEvent::Cleared(channels.collect()));
                        continue;
                    }
                    if !message.from_pattern() {
                        // Probes of an earlier connection prove nothing about this one.
                        if let Some(position) = read_position(&message, &nonce) {
                            unseen = false;
                            self.seen(position, whole);
                            self.commands.lend(&connection);
                        }
                        continue;
                    }
                    self.announce(&message);
                }
                answer = async { probe.as_mut().expect("guarded").as_mut().await }, if probe.is_some() => {
                    probe = None;
                    if let (Err(error), false) = (answer, *whole) {
                        return error.to_string();
                    }
                }
                () = sleep_until(patience), if unseen => return "a probe was not seen in time".into(),
                _ = ticks.tick(), if !unseen && probe.is_none() => {
                    unseen = true;
                    patience = Instant::now() + self.timing.probe_patience;
                    probe = Some(Box::pin(self.ask_position(position, nonce.clone())));
                }
            }
        }
    }

    async fn subscribe(&self) -> redis::RedisResult<(Dialled, UnboundedReceiver<PushInfo>)> {
        let (mut dialled, pushes) =
            self.dialer.subscription(self.timing.dial, self.command_timeout).await?;
        let connection = &mut dialled.connection;
        connection.psubscribe(layout::announcement_pattern(self.dialer.database())).await?;
        connection.subscribe(layout::probe_channel(&self.uid)).await?;
        connection.subscribe(layout::cleared_channel(self.dialer.database())).await?;
        Ok((dialled, pushes))
    }

    fn ask_position(
        &self,
        script: &LuaScript,
        nonce: String,
    ) -> impl Future<Output = Result<(), StoreError>> + 'static {
        let (commands, script) = (Rc::clone(&self.commands), script.clone());
        let floor = self.floor.get();
        let mut args = ScriptArgs::default();
        args.push_shown(floor.start());
        args.push_shown(floor.counter());
        args.push(layout::probe_channel(&self.uid));
        args.push(nonce);
        let keep = Duration::from_secs(RECOVERY_SECONDS);
        args.push(layout::log_entry(self.floor.before(keep)));
        args.push_shown(2 * RECOVERY_SECONDS);
        let watch = Rc::clone(&self.watch);
        async move {
            let answer = commands.script(&script, &args).await.and_then(reading::text);
            let (written, probed) = match answer {
                Ok(refusal) => (refusal, Ok(())),
                Err(error) => (Some(error.to_string()), Err(error)),
            };
            watch.write(written);
            probed
        }
    }

    /// A probe came back.
    fn seen(&self, position: Mid, whole: &mut bool) {
        self.floor.saw(position);
        self.watch.probe();
        let event = if *whole {
            StoreEvent::GivenOut(position)
        } else {
            tracing::info!(%position, "announcements are whole");
            StoreEvent::Restored { position }
        };
        *whole = true;
        let _ = self.events.send(event);
    }

    fn announce(&self, message: &Msg) {
        for announced in parse_notification(message.get_payload_bytes()) {
            self.floor.saw(announced.id);
            let _ = self.events.send(StoreEvent::Announced(Announced {
                id: announced.id,
                receivers: announced.receivers.iter().map(|r| r.key).collect(),
                outgoing: Bytes::from(announced.outgoing),
            }));
        }
    }
}

/// Reads `<nonce>:<start date>-<counter>`.
fn read_position(message: &Msg, nonce: &str) -> Option<Mid> {
    let rest = message.get_payload_bytes().strip_prefix(nonce.as_bytes())?;
    layout::parse_log_entry(rest.strip_prefix(b":")?)
}
