//! A push-server 0.4.0 that shares the Redis, as far as Redis sees of it (PROTOCOL.md, section 13):
//! its commands in their order, and its bytes.
//!
//! That they are the recorded ones is a test of its own, in suite `neighbours`.

use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message as _;

use crate::channel::{Channel, unhex};
use crate::proto::{OutgoingMessage, Receiver, Sender};
use crate::replay::resp::{Connection, Reply};

/// Seconds a channel's list lives (`storage.channelTTL`).
const CHANNEL_TTL: &[u8] = b"86400";

/// Seconds an online mark lives.
const ONLINE_TTL: &[u8] = b"130";

/// A message id.
pub type Mid = [u8; 13];

/// A message that is going to be published.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Whom it is for.
    pub receivers: Vec<Receiver>,
    /// The text.
    pub body: String,
    /// Seconds it is kept; 0: not at all.
    pub expiry: u32,
    /// Unix seconds.
    pub created: u32,
    /// Who sent it.
    pub sender: Sender,
}

impl Draft {
    /// A message of the backend.
    pub fn new(receivers: &[Receiver], body: &str, expiry: u32) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        Self {
            receivers: receivers.to_vec(),
            body: body.into(),
            expiry,
            created: now.as_secs() as u32,
            sender: Sender { r#type: 2, id: Vec::new() },
        }
    }

    /// As it is stored: `OutgoingMessage`.
    pub fn outgoing(&self, mid: &Mid) -> Vec<u8> {
        let mut sender = vec![0x08, self.sender.r#type as u8];
        if !self.sender.id.is_empty() {
            sender.extend(field(2, &self.sender.id));
        }
        let mut out = field(1, mid);
        out.extend(field(2, self.body.as_bytes()));
        out.push(3 << 3);
        varint(&mut out, self.expiry as usize);
        out.push(4 << 3 | 5);
        out.extend(self.created.to_le_bytes());
        out.extend(field(5, &sender));
        out
    }

    /// As it is announced: `NotificationBatch`.
    pub fn announcement(&self, mid: &Mid) -> Vec<u8> {
        field(1, &field(1, &field(1, &self.ipc_message(mid))))
    }

    /// The `IPCMessage` of its announcement.
    pub fn ipc_message(&self, mid: &Mid) -> Vec<u8> {
        let mut message = Vec::new();
        for Receiver { id, is_private, signature } in &self.receivers {
            let mut receiver = field(1, id);
            receiver.extend([2 << 3, u8::from(*is_private)]);
            if !signature.is_empty() {
                receiver.extend(field(3, signature));
            }
            message.extend(field(1, &receiver));
        }
        message.extend(field(3, &self.outgoing(mid)));
        message
    }
}

/// The private id as a receiver.
pub fn private(channel: &Channel) -> Receiver {
    Receiver { id: unhex(&channel.private), is_private: true, signature: Vec::new() }
}

/// The public id as a receiver.
pub fn public(channel: &Channel) -> Receiver {
    Receiver { id: unhex(&channel.public), is_private: false, signature: Vec::new() }
}

/// A length-delimited field of protobuf.
pub fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    varint(&mut out, value.len());
    out.extend(value);
    out
}

fn varint(out: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        out.push(value as u8 & 0x7f | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn key(kind: &str, receiver: &Receiver) -> Vec<u8> {
    let prefix = if receiver.is_private { "channel" } else { "pubchannel" };
    [format!("{prefix}:{kind}:").as_bytes(), &receiver.id].concat()
}

/// The process, as a publisher and as a reader of what is stored.
pub struct Neighbour {
    redis: Connection,
    /// Its name in announcements.
    pub uid: String,
    start_date: Option<String>,
    /// The names of the commands it has sent, but those that were not recorded.
    pub sent: Vec<String>,
}

impl Neighbour {
    /// One with that name on that socket.
    pub async fn start(socket: &Path, uid: &str) -> io::Result<Self> {
        let redis = Connection::open(socket).await?;
        Ok(Self { redis, uid: uid.into(), start_date: None, sent: Vec::new() })
    }

    async fn command(&mut self, words: &[&[u8]]) -> io::Result<Reply> {
        let name = String::from_utf8_lossy(words[0]).to_lowercase();
        if !["ttl", "setnx", "get"].contains(&name.as_str()) {
            self.sent.push(name);
        }
        self.redis.command(words).await
    }

    async fn transaction(&mut self, commands: &[Vec<&[u8]>]) -> io::Result<Vec<Reply>> {
        self.command(&[b"MULTI"]).await?;
        for command in commands {
            assert_eq!(self.command(command).await?, Reply::Status("QUEUED".into()));
        }
        Ok(self.command(&[b"EXEC"]).await?.list())
    }

    /// Takes an id.
    pub async fn allocate(&mut self) -> io::Result<Mid> {
        let counter = self.command(&[b"INCR", b"server:messagecounter"]).await?.number();
        if self.start_date.is_none() {
            let before = self.sent.len();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
            let now = now.to_string();
            let set: Vec<&[u8]> = vec![b"SETNX", b"server:startdate", now.as_bytes()];
            let replies = self.transaction(&[set, vec![b"GET", b"server:startdate"]]).await?;
            let date = replies.into_iter().nth(1).expect("two answers").bytes();
            self.start_date = Some(String::from_utf8_lossy(&date).into_owned());
            // Recorded was a process that knew it.
            self.sent.truncate(before);
        }
        let start = self.start_date.as_deref().expect("just set");
        Ok(unhex(&format!("{start:0>10}{counter:016}")).try_into().expect("26 digits"))
    }

    /// Stores a message under all its receivers.
    pub async fn store(&mut self, mid: &Mid, draft: &Draft) -> io::Result<()> {
        let (name, value) = ([b"message:", &mid[..]].concat(), draft.outgoing(mid));
        let expiry = draft.expiry.to_string();
        let lists: Vec<_> = draft.receivers.iter().map(|to| key("messages", to)).collect();
        let mut commands: Vec<Vec<&[u8]>> = vec![vec![b"SETEX", &name, expiry.as_bytes(), &value]];
        commands.extend(lists.iter().map(|list| vec![&b"ZADD"[..], list, b"0", mid]));
        self.transaction(&commands).await.map(drop)
    }

    /// Announces a message.
    pub async fn announce(&mut self, mid: &Mid, draft: &Draft) -> io::Result<()> {
        self.announce_bytes(&draft.announcement(mid)).await
    }

    /// Announces whatever it is.
    pub async fn announce_bytes(&mut self, payload: &[u8]) -> io::Result<()> {
        let channel = format!("pushserver:{}", self.uid);
        self.command(&[b"PUBLISH", channel.as_bytes(), payload]).await.map(drop)
    }

    /// Publishes a message, with all that belongs to it.
    pub async fn publish(&mut self, draft: &Draft) -> io::Result<Mid> {
        let mid = self.allocate().await?;
        let mut fresh = Vec::new();
        if draft.expiry > 0 {
            self.store(&mid, draft).await?;
            let lists: Vec<_> = draft.receivers.iter().map(|to| key("messages", to)).collect();
            let ask: Vec<Vec<&[u8]>> = lists.iter().map(|list| vec![&b"TTL"[..], list]).collect();
            let lives = self.transaction(&ask).await?;
            let unlimited = |(list, life): (Vec<u8>, Reply)| (life.number() < 0).then_some(list);
            fresh = lists.into_iter().zip(lives).filter_map(unlimited).collect();
        }
        self.announce(&mid, draft).await?;
        for list in fresh {
            self.command(&[b"EXPIRE", &list, CHANNEL_TTL]).await?;
        }
        Ok(mid)
    }

    /// What a connection with these receivers is sent when it comes back with that id.
    pub async fn history(
        &mut self,
        receivers: &[Receiver],
        after: &Mid,
    ) -> io::Result<Vec<OutgoingMessage>> {
        let after = [b"(", &after[..]].concat();
        let lists: Vec<_> = receivers.iter().map(|to| key("messages", to)).collect();
        let read = |list| -> Vec<&[u8]> {
            vec![b"ZREVRANGEBYLEX", list, b"+", &after, b"LIMIT", b"0", b"100"]
        };
        let commands: Vec<_> = lists.iter().map(|list| read(list.as_slice())).collect();
        let members = self.transaction(&commands).await?.into_iter().flat_map(Reply::list);
        let mut mids: Vec<_> = members.map(Reply::bytes).collect();
        mids.sort();
        mids.drain(..mids.len().saturating_sub(200));
        if mids.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<_> = mids.iter().map(|mid| [b"message:", &mid[..]].concat()).collect();
        let words: Vec<&[u8]> =
            [&b"MGET"[..]].into_iter().chain(names.iter().map(|n| &n[..])).collect();
        let stored = self.command(&words).await?.list().into_iter();
        let alive = stored.filter(|value| *value != Reply::Bytes(None)).map(Reply::bytes);
        alive.map(|bytes| OutgoingMessage::decode(&*bytes).map_err(io::Error::other)).collect()
    }

    /// Marks channels online, as for a connection of its own.
    pub async fn mark_online(&mut self, channels: &[Receiver]) -> io::Result<()> {
        let names: Vec<_> = channels.iter().map(|to| key("online", to)).collect();
        let mark = |name| -> Vec<&[u8]> { vec![b"SETEX", name, ONLINE_TTL, b"1"] };
        let commands: Vec<_> = names.iter().map(|name| mark(name.as_slice())).collect();
        self.transaction(&commands).await.map(drop)
    }

    /// Which channels it takes for online.
    pub async fn online(&mut self, channels: &[Receiver]) -> io::Result<Vec<bool>> {
        let names: Vec<_> = channels.iter().map(|to| key("online", to)).collect();
        let words: Vec<&[u8]> =
            [&b"MGET"[..]].into_iter().chain(names.iter().map(|n| &n[..])).collect();
        let marks = self.command(&words).await?.list();
        Ok(marks.into_iter().map(|mark| mark != Reply::Bytes(None)).collect())
    }
}

/// The process, as a subscriber.
pub struct Listener {
    redis: Connection,
    /// Its name: its own announcements are not for it.
    uid: String,
}

/// A message that was announced.
#[derive(Clone, PartialEq, Debug)]
pub struct Announced {
    /// By whom.
    pub uid: String,
    /// Whom it is for.
    pub receivers: Vec<Receiver>,
    /// The message.
    pub message: OutgoingMessage,
}

impl Listener {
    /// Subscribes to what all processes announce.
    pub async fn start(socket: &Path, uid: &str) -> io::Result<Self> {
        let mut redis = Connection::open(socket).await?;
        redis.subscribe("pushserver:*").await?;
        Ok(Self { redis, uid: uid.into() })
    }

    /// The messages of the next announcement that is not its own.
    pub async fn next(&mut self) -> io::Result<Vec<Announced>> {
        loop {
            let (channel, payload) = self.redis.announcement().await?;
            let uid = channel.rsplit(':').next().unwrap_or_default().to_owned();
            if uid == self.uid {
                continue;
            }
            let batch = NotificationBatch::decode(&*payload).map_err(io::Error::other)?;
            let ipc = batch.notifications.into_iter().filter_map(|one| one.ipc_messages);
            let announced = |message: IpcMessage| Announced {
                uid: uid.clone(),
                receivers: message.receivers,
                message: message.outgoing_message.unwrap_or_default(),
            };
            return Ok(ipc.flat_map(|ipc| ipc.messages).map(announced).collect());
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct NotificationBatch {
    #[prost(message, repeated, tag = "1")]
    notifications: Vec<Notification>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Notification {
    #[prost(message, optional, tag = "1")]
    ipc_messages: Option<IpcMessages>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct IpcMessages {
    #[prost(message, repeated, tag = "1")]
    messages: Vec<IpcMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct IpcMessage {
    #[prost(message, repeated, tag = "1")]
    receivers: Vec<Receiver>,
    #[prost(message, optional, tag = "3")]
    outgoing_message: Option<OutgoingMessage>,
}
