//! Storage for sessions: stable indexes, ids that are never used twice, growth without copying.

/// Slots per page. A page is allocated when the pages before it are full, so growth is linear and
/// nothing that exists moves.
const PAGE: usize = 256;

/// Names a value: generation in the upper, index in the lower half. Never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Id(pub u64);

impl Id {
    /// The slot.
    pub const fn index(self) -> u32 {
        self.0 as u32
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    /// The next free slot when this one is.
    next_free: u32,
    value: Option<T>,
}

/// Values under [`Id`]s.
#[derive(Debug)]
pub struct Slab<T> {
    pages: Vec<Box<[Slot<T>]>>,
    free: u32,
    len: usize,
}

/// No slot.
pub const NIL: u32 = u32::MAX;

impl<T> Slab<T> {
    /// An empty one.
    pub const fn new() -> Self {
        Self { pages: Vec::new(), free: NIL, len: 0 }
    }

    /// How many values there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Stores a value.
    pub fn insert(&mut self, value: T) -> Id {
        if self.free == NIL {
            self.grow();
        }
        let index = self.free;
        let slot = self.slot_mut(index);
        slot.generation = slot.generation.wrapping_add(1).max(1);
        slot.value = Some(value);
        let id = Id(u64::from(slot.generation) << 32 | u64::from(index));
        self.free = slot.next_free;
        self.len += 1;
        id
    }

    /// Takes a value out.
    pub fn remove(&mut self, index: u32) -> Option<T> {
        let free = self.free;
        let slot = self.slot_mut(index);
        let value = slot.value.take()?;
        slot.next_free = free;
        self.free = index;
        self.len -= 1;
        Some(value)
    }

    /// All values.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten().filter_map(|slot| slot.value.as_ref())
    }

    /// The index behind an id that still names a value.
    pub fn find(&self, id: Id) -> Option<u32> {
        let index = id.index();
        let slot = self.pages.get(index as usize / PAGE)?.get(index as usize % PAGE)?;
        (slot.value.is_some() && u64::from(slot.generation) == id.0 >> 32).then_some(index)
    }

    /// The id of the value at an index.
    pub fn id(&self, index: u32) -> Id {
        let slot = &self.pages[index as usize / PAGE][index as usize % PAGE];
        Id(u64::from(slot.generation) << 32 | u64::from(index))
    }

    /// The value at an index.
    pub fn get(&self, index: u32) -> Option<&T> {
        self.pages.get(index as usize / PAGE)?[index as usize % PAGE].value.as_ref()
    }

    /// The value at an index.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.pages.get_mut(index as usize / PAGE)?[index as usize % PAGE].value.as_mut()
    }

    /// The ids of all values.
    pub fn ids(&self) -> Vec<Id> {
        let total = (self.pages.len() * PAGE) as u32;
        (0..total).filter(|&i| self.get(i).is_some()).map(|i| self.id(i)).collect()
    }

    fn grow(&mut self) {
        let start = (self.pages.len() * PAGE) as u32;
        let page = (0..PAGE as u32)
            .map(|i| {
                let next_free = if i + 1 == PAGE as u32 { NIL } else { start + i + 1 };
                Slot { generation: 0, next_free, value: None }
            })
            .collect();
        self.pages.push(page);
        self.free = start;
    }

    fn slot_mut(&mut self, index: u32) -> &mut Slot<T> {
        &mut self.pages[index as usize / PAGE][index as usize % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_used_again_has_a_new_id() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        assert_ne!(first.0, 0);
        assert_eq!(slab.remove(first.index()), Some('a'));
        let second = slab.insert('b');
        assert_eq!(first.index(), second.index());
        assert_eq!(slab.find(first), None);
        assert_eq!(slab.find(second), Some(second.index()));
        assert_eq!(slab.id(second.index()), second);
    }

    #[test]
    fn grows_by_pages_and_fills_gaps() {
        let mut slab = Slab::new();
        let ids: Vec<_> = (0..1000).map(|n| slab.insert(n)).collect();
        assert_eq!(slab.len(), 1000);
        for id in ids.iter().step_by(2) {
            slab.remove(id.index());
        }
        assert_eq!(slab.ids().len(), 500);
        for n in 0..500 {
            assert!(slab.insert(n).index() < 1024);
        }
        assert_eq!(slab.pages.len(), 4);
    }
}
