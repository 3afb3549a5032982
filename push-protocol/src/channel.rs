//! Channel ids (PROTOCOL.md, section 2).

use std::fmt;

/// A channel id: 16 raw bytes, written as 32 lower-case hex digits.
pub type ChannelId = [u8; 16];

/// Which of the two name spaces a channel id belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum ChannelKind {
    /// A private id: whoever holds it signed may listen.
    Private = 1,
    /// A public id: clients may publish to it; only holders of the signed pair listen.
    Public = 2,
}

/// A channel as the hub, the link and the store know it: an id within its name space.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelKey {
    /// The name space.
    pub kind: ChannelKind,
    /// The id.
    pub id: ChannelId,
}

impl ChannelKey {
    /// The key of a private id.
    pub const fn private(id: ChannelId) -> Self {
        Self { kind: ChannelKind::Private, id }
    }

    /// The key of a public id.
    pub const fn public(id: ChannelId) -> Self {
        Self { kind: ChannelKind::Public, id }
    }

    /// Whether this is a private id.
    pub const fn is_private(&self) -> bool {
        matches!(self.kind, ChannelKind::Private)
    }
}

/// Ids are capabilities, so only their beginning is shown.
impl fmt::Debug for ChannelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_private() { "private" } else { "public" };
        write!(
            f,
            "{kind}:{:02x}{:02x}{:02x}{:02x}…",
            self.id[0], self.id[1], self.id[2], self.id[3]
        )
    }
}
