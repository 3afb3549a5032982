//! Too many connections of one channel: the oldest of the host has to go (PROTOCOL.md, section
//! 9.4). Only the sidecar sees all workers, so it is told how many there are here, and decides.

use push_link::ToSidecar;
use push_protocol::channels::ChannelList;
use push_protocol::{ApiError, ChannelKey};

use super::Engine;
use crate::session::{Kind, State};
use crate::{Host, Response, Settings, SettingsId};

impl Engine {
    /// A time of opening for a new session, later than all before.
    pub(super) fn opened_now<H: Host>(&mut self, host: &H) -> u64 {
        self.last_opened = (host.unix_ms() * 1000).max(self.last_opened + 1);
        self.last_opened
    }

    /// A subscriber has come: the sidecar hears of the private channels that are limited for it,
    /// and of those that have more than one connection.
    pub(super) fn tell_connections<H: Host>(
        &mut self,
        host: &mut H,
        channels: &ChannelList,
        settings: SettingsId,
    ) {
        if !self.link.is_up() {
            return;
        }
        let max = self.settings(settings).max_connections;
        for channel in channels.channels() {
            let limit = if channel.public.is_some() { max } else { 0 };
            let key = ChannelKey::private(channel.private);
            let count = self.connections(&key);
            if limit > 0 || count > 1 {
                self.link.send(&ToSidecar::Connections { channel: key, count, limit });
                host.wake_link();
            }
        }
    }

    /// A channel has lost a connection, but not its last.
    pub(super) fn tell_fewer<H: Host>(&mut self, host: &mut H, slot: u32) {
        let channel = self.hub.key(slot);
        if channel.is_private() && self.link.is_up() {
            let count = self.hub.subscribers(slot).len() as u32;
            self.link.send(&ToSidecar::Connections { channel, count, limit: 0 });
            host.wake_link();
        }
    }

    /// A new link hears of every private channel with more than one connection.
    pub(super) fn tell_all_connections(&mut self) {
        let many: Vec<(ChannelKey, u32)> = self
            .hub
            .keys()
            .filter(ChannelKey::is_private)
            .map(|key| (key, self.connections(&key)))
            .filter(|(_, count)| *count > 1)
            .collect();
        for (channel, count) in many {
            self.link.send(&ToSidecar::Connections { channel, count, limit: 0 });
        }
    }

    pub(super) fn oldest<H: Host>(&mut self, host: &mut H, req: u32, channel: &ChannelKey) {
        let opened = self.oldest_session(channel).map_or(u64::MAX, |(opened, _)| opened);
        self.link.send(&ToSidecar::OldestAnswer { req, opened });
        host.wake_link();
    }

    pub(super) fn evict<H: Host>(&mut self, host: &mut H, channel: &ChannelKey) {
        let Some((_, index)) = self.oldest_session(channel) else {
            return;
        };
        self.counters.evicted += 1;
        let error = ApiError::TooManyConnections;
        match self.sessions.get(index).map(|session| session.kind) {
            Some(Kind::WebSocket) => self.close_with_error(host, index, error),
            Some(Kind::Poll) => self.answer(host, index, Response::sub_error(error)),
            None => {}
        }
    }

    fn connections(&self, key: &ChannelKey) -> u32 {
        self.hub.find(key).map_or(0, |slot| self.hub.subscribers(slot).len() as u32)
    }

    fn oldest_session(&self, channel: &ChannelKey) -> Option<(u64, u32)> {
        let sessions = self.hub.subscribers(self.hub.find(channel)?).iter();
        let opened = |&index| {
            let session = self.sessions.get(index)?;
            (session.state == State::Open).then_some((session.opened, index))
        };
        sessions.filter_map(opened).min()
    }

    /// What this worker holds, for the statistics of the servers (section 8.3).
    pub(super) fn report<H: Host>(&mut self, host: &mut H, req: u32) {
        let default = Settings::default();
        let settings = self.locations.first().map_or(&default, |location| &location.settings);
        let limits = [
            settings.max_payload as u64,
            u64::from(settings.max_connections),
            settings.limits.max_messages as u64,
            settings.limits.max_channels as u64,
        ];
        let channels = self.hub.keys().filter(ChannelKey::is_private).count() as u32;
        let (websockets, polls) = (self.counters.websockets as u32, self.counters.polls as u32);
        self.link.send(&ToSidecar::Report { req, websockets, polls, channels, limits });
        host.wake_link();
    }
}
