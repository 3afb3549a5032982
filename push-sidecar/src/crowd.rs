//! Too many connections of one private channel on this host: the oldest has to go (PROTOCOL.md,
//! section 9.4). Pure: what is to be said to links is answered.

use std::collections::BTreeMap;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use push_link::ToWorker;
use push_protocol::ChannelKey;

use crate::router::LinkId;

/// A frame for a link.
pub type Order = (LinkId, ToWorker);

/// Numbers of connections, and questions under way.
#[derive(Debug, Default)]
pub struct Crowds {
    /// Only channels of which some link has more than one connection.
    counts: HashMap<ChannelKey, Vec<(LinkId, u32)>, RandomState>,
    questions: BTreeMap<u32, Question>,
    last_req: u32,
}

#[derive(Debug)]
struct Question {
    channel: ChannelKey,
    waiting: Vec<LinkId>,
    oldest: Option<(u64, LinkId)>,
}

impl Crowds {
    /// A link says how many connections a channel has there; `links` are all that have the channel.
    /// With a limit, a connection has just come: if that is one too many, the oldest is looked for.
    pub fn report(
        &mut self,
        link: LinkId,
        channel: ChannelKey,
        count: u32,
        limit: u32,
        links: &[LinkId],
    ) -> Vec<Order> {
        self.set(link, channel, count);
        let total: u32 = links.iter().map(|&link| self.count(link, &channel)).sum();
        if limit == 0 || total <= limit {
            return Vec::new();
        }
        if let [only] = links {
            return vec![(*only, ToWorker::Evict { channel })];
        }
        self.last_req = self.last_req.wrapping_add(1);
        let req = self.last_req;
        let question = Question { channel, waiting: links.to_vec(), oldest: None };
        self.questions.insert(req, question);
        links.iter().map(|&link| (link, ToWorker::Oldest { req, channel })).collect()
    }

    /// A link says when its oldest connection was opened (`u64::MAX`: it has none any more).
    pub fn answer(&mut self, link: LinkId, req: u32, opened: u64) -> Option<Order> {
        let question = self.questions.get_mut(&req)?;
        if opened != u64::MAX {
            let this = (opened, link);
            question.oldest = Some(question.oldest.map_or(this, |oldest| oldest.min(this)));
        }
        self.heard(link, req)
    }

    /// A link has no connection of the channel any more.
    pub fn unsubscribe(&mut self, link: LinkId, channel: &ChannelKey) {
        self.set(link, *channel, 0);
    }

    /// The link is gone: its connections are counted no more, its answers not waited for.
    pub fn remove_link(&mut self, link: LinkId) -> Vec<Order> {
        self.counts.retain(|_, counts| {
            counts.retain(|(other, _)| *other != link);
            !counts.is_empty()
        });
        let asked = self.questions.iter().filter(|(_, question)| question.waiting.contains(&link));
        let asked: Vec<u32> = asked.map(|(&req, _)| req).collect();
        asked.into_iter().filter_map(|req| self.heard(link, req)).collect()
    }

    fn heard(&mut self, link: LinkId, req: u32) -> Option<Order> {
        let question = self.questions.get_mut(&req)?;
        question.waiting.retain(|other| *other != link);
        if !question.waiting.is_empty() {
            return None;
        }
        let question = self.questions.remove(&req)?;
        let (_, link) = question.oldest?;
        Some((link, ToWorker::Evict { channel: question.channel }))
    }

    fn count(&self, link: LinkId, channel: &ChannelKey) -> u32 {
        let counts = self.counts.get(channel);
        let found = counts.and_then(|counts| counts.iter().find(|(other, _)| *other == link));
        found.map_or(1, |(_, count)| *count)
    }

    fn set(&mut self, link: LinkId, channel: ChannelKey, count: u32) {
        if count > 1 {
            let counts = self.counts.entry(channel).or_default();
            match counts.iter_mut().find(|(other, _)| *other == link) {
                Some((_, known)) => *known = count,
                None => counts.push((link, count)),
            }
        } else if let Some(counts) = self.counts.get_mut(&channel) {
            counts.retain(|(other, _)| *other != link);
            if counts.is_empty() {
                self.counts.remove(&channel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: ChannelKey = ChannelKey::private([1; 16]);

    fn evict() -> ToWorker {
        ToWorker::Evict { channel: CHANNEL }
    }

    #[test]
    fn one_worker_evicts_at_once() {
        let mut crowds = Crowds::default();
        assert_eq!(crowds.report(1, CHANNEL, 3, 3, &[1]), []);
        assert_eq!(crowds.report(1, CHANNEL, 4, 3, &[1]), [(1, evict())]);
        // The eviction itself, and a connection that triggers nothing.
        assert_eq!(crowds.report(1, CHANNEL, 3, 0, &[1]), []);
        assert_eq!(crowds.report(1, CHANNEL, 4, 0, &[1]), []);
        assert_eq!(crowds.report(1, CHANNEL, 5, 3, &[1]), [(1, evict())]);
    }

    #[test]
    fn the_worker_with_the_oldest_evicts() {
        let mut crowds = Crowds::default();
        crowds.report(1, CHANNEL, 2, 3, &[1]);
        // The third and the fourth worker have one each, and never said so.
        let asked = crowds.report(2, CHANNEL, 1, 3, &[1, 2, 3]);
        let req = 1;
        let question = ToWorker::Oldest { req, channel: CHANNEL };
        assert_eq!(asked, [(1, question.clone()), (2, question.clone()), (3, question)]);
        assert_eq!(crowds.answer(2, req, 50), None);
        assert_eq!(crowds.answer(3, req, 20), None);
        assert_eq!(crowds.answer(1, req, 30), Some((3, evict())));
        assert_eq!(crowds.answer(1, req, 10), None);
    }

    #[test]
    fn a_worker_that_goes_is_not_waited_for() {
        let mut crowds = Crowds::default();
        crowds.report(1, CHANNEL, 3, 3, &[1]);
        crowds.report(2, CHANNEL, 1, 3, &[1, 2]);
        assert_eq!(crowds.answer(2, 1, 50), None);
        assert_eq!(crowds.remove_link(1), [(2, evict())]);
        assert!(crowds.questions.is_empty() && crowds.counts.is_empty());
        assert_eq!(crowds.report(2, CHANNEL, 3, 3, &[2]), []);
        crowds.unsubscribe(2, &CHANNEL);
        assert!(crowds.counts.is_empty());
    }

    #[test]
    fn nobody_is_evicted_when_all_have_gone() {
        let mut crowds = Crowds::default();
        crowds.report(1, CHANNEL, 3, 3, &[1]);
        crowds.report(2, CHANNEL, 1, 3, &[1, 2]);
        assert_eq!(crowds.answer(1, 1, u64::MAX), None);
        assert_eq!(crowds.answer(2, 1, u64::MAX), None);
        assert!(crowds.questions.is_empty());
    }
}
