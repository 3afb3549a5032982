//! Which links have subscribed which channels, compactly.
//!
//! Nearly every channel has one link per worker host at most, so one link is kept in the entry
//! itself, and only channels with several links have a list elsewhere. An entry is 20 bytes: with
//! hashbrown's control byte and a table that has just doubled (7/16 full), 48 bytes a channel.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use push_protocol::{ChannelId, ChannelKey, ChannelKind};

/// A link; numbers are not used again.
pub type LinkId = u32;

/// The high bit tells a place in the lists from a link.
const LIST: u32 = 1 << 31;

struct Slot {
    id: ChannelId,
    /// A link, or [`LIST`] and a place in the lists.
    links: u32,
}

/// See the module.
#[derive(Default)]
pub struct ChannelTable {
    /// Seeded at random: ids come from outside.
    hasher: RandomState,
    private: HashTable<Slot>,
    public: HashTable<Slot>,
    lists: Vec<Vec<LinkId>>,
    free: Vec<u32>,
}

impl ChannelTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a subscription; one that is there already stays.
    pub fn insert(&mut self, key: &ChannelKey, link: LinkId) {
        debug_assert!(link & LIST == 0);
        let (hasher, table) = (&self.hasher, table(&mut self.private, &mut self.public, key.kind));
        let entry = table.entry(
            hasher.hash_one(key.id),
            |slot| slot.id == key.id,
            |slot| hasher.hash_one(slot.id),
        );
        match entry {
            Entry::Vacant(entry) => {
                entry.insert(Slot { id: key.id, links: link });
            }
            Entry::Occupied(mut entry) => {
                let slot = entry.get_mut();
                if slot.links & LIST != 0 {
                    let list = &mut self.lists[(slot.links & !LIST) as usize];
                    if !list.contains(&link) {
                        list.push(link);
                    }
                } else if slot.links != link {
                    let list = vec![slot.links, link];
                    slot.links = LIST | store(&mut self.lists, &mut self.free, list);
                }
            }
        }
    }

    /// Takes a subscription away; one that is not there stays away.
    pub fn remove(&mut self, key: &ChannelKey, link: LinkId) {
        let (hasher, table) = (&self.hasher, table(&mut self.private, &mut self.public, key.kind));
        let Ok(mut entry) = table.find_entry(hasher.hash_one(key.id), |slot| slot.id == key.id)
        else {
            return;
        };
        if !take(entry.get_mut(), link, &mut self.lists, &mut self.free) {
            entry.remove();
            shrink(table, hasher);
        }
    }

    /// Takes all subscriptions of a link away; a pass over the whole table.
    pub fn remove_link(&mut self, link: LinkId) {
        for table in [&mut self.private, &mut self.public] {
            table.retain(|slot| take(slot, link, &mut self.lists, &mut self.free));
            shrink(table, &self.hasher);
        }
    }

    /// The links of a channel, in no order.
    pub fn links(&self, key: &ChannelKey) -> &[LinkId] {
        let table = if key.is_private() { &self.private } else { &self.public };
        match table.find(self.hasher.hash_one(key.id), |slot| slot.id == key.id) {
            Some(slot) => self.links_of(slot),
            None => &[],
        }
    }

    /// How many channels have a link.
    pub fn len(&self) -> usize {
        self.private.len() + self.public.len()
    }

    /// Whether no channel has a link.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All channels with their links, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (ChannelKey, &[LinkId])> {
        let private = self.private.iter().map(|s| (ChannelKey::private(s.id), self.links_of(s)));
        let public = self.public.iter().map(|s| (ChannelKey::public(s.id), self.links_of(s)));
        private.chain(public)
    }

    fn links_of<'a>(&'a self, slot: &'a Slot) -> &'a [LinkId] {
        if slot.links & LIST == 0 {
            std::slice::from_ref(&slot.links)
        } else {
            &self.lists[(slot.links & !LIST) as usize]
        }
    }
}

fn table<'a>(
    private: &'a mut HashTable<Slot>,
    public: &'a mut HashTable<Slot>,
    kind: ChannelKind,
) -> &'a mut HashTable<Slot> {
    match kind {
        ChannelKind::Private => private,
        ChannelKind::Public => public,
    }
}

fn store(lists: &mut Vec<Vec<LinkId>>, free: &mut Vec<u32>, list: Vec<LinkId>) -> u32 {
    if let Some(place) = free.pop() {
        lists[place as usize] = list;
        place
    } else {
        lists.push(list);
        lists.len() as u32 - 1
    }
}

/// Takes a link out of a slot; false when none is left.
fn take(slot: &mut Slot, link: LinkId, lists: &mut [Vec<LinkId>], free: &mut Vec<u32>) -> bool {
    if slot.links & LIST == 0 {
        return slot.links != link;
    }
    let place = slot.links & !LIST;
    let list = &mut lists[place as usize];
    list.retain(|l| *l != link);
    if let [last] = list[..] {
        slot.links = last;
        *list = Vec::new();
        free.push(place);
    }
    true
}

/// Gives memory back after many channels have gone, seldom enough to cost nothing.
fn shrink(table: &mut HashTable<Slot>, hasher: &RandomState) {
    if table.capacity() > 1024 && table.len() < table.capacity() / 8 {
        table.shrink_to(table.len() * 2, |slot| hasher.hash_one(slot.id));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn key(n: u8) -> ChannelKey {
        if n.is_multiple_of(2) {
            ChannelKey::private([n / 2; 16])
        } else {
            ChannelKey::public([n / 2; 16])
        }
    }

    #[test]
    fn a_channel_costs_less_than_64_bytes() {
        assert!((size_of::<Slot>() + 1) * 16 / 7 < 64);
    }

    #[test]
    fn memory_comes_back() {
        let mut table = ChannelTable::new();
        for n in 0..100_000_u32 {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_le_bytes());
            table.insert(&ChannelKey::private(id), 1);
        }
        table.remove_link(1);
        assert!(table.is_empty() && table.private.capacity() < 1024);
    }

    proptest! {
        #[test]
        fn behaves_like_a_map_of_sets(steps in proptest::collection::vec((0_u8..12, 0_u8..20, 0_u32..5), 0..400)) {
            let mut table = ChannelTable::new();
            let mut model: BTreeMap<ChannelKey, BTreeSet<LinkId>> = BTreeMap::new();
            for (kind, n, link) in steps {
                match kind {
                    0..6 => {
                        table.insert(&key(n), link);
                        model.entry(key(n)).or_default().insert(link);
                    }
                    6..11 => {
                        table.remove(&key(n), link);
                        model.entry(key(n)).or_default().remove(&link);
                    }
                    _ => {
                        table.remove_link(link);
                        for links in model.values_mut() { links.remove(&link); }
                    }
                }
                model.retain(|_, links| !links.is_empty());
                let found: BTreeMap<ChannelKey, BTreeSet<LinkId>> =
                    table.iter().map(|(k, l)| (k, l.iter().copied().collect())).collect();
                prop_assert_eq!(&found, &model);
                prop_assert_eq!(table.len(), model.len());
                let listed = table.lists.iter().filter(|l| !l.is_empty()).count();
                prop_assert_eq!(listed + table.free.len(), table.lists.len());
            }
        }
    }
}
