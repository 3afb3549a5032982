//! The messages of push.proto that a client or a backend sees. Written here once more on purpose:
//! a mistake in the server's own would not show against itself.

/// Who sent a message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Sender {
    /// 0 unknown, 1 client, 2 backend.
    #[prost(int32, tag = "1")]
    pub r#type: i32,
    /// The sending client's public id.
    #[prost(bytes = "vec", tag = "2")]
    pub id: Vec<u8>,
}

/// Whom a message is for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Receiver {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// Which kind of id it is.
    #[prost(bool, tag = "2")]
    pub is_private: bool,
    /// Raw signature.
    #[prost(bytes = "vec", tag = "3")]
    pub signature: Vec<u8>,
}

/// A message to be published.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IncomingMessage {
    /// Whom it is for.
    #[prost(message, repeated, tag = "1")]
    pub receivers: Vec<Receiver>,
    /// The text.
    #[prost(string, tag = "3")]
    pub body: String,
    /// Seconds to keep it.
    #[prost(uint32, tag = "4")]
    pub expiry: u32,
}

/// Messages to be published.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IncomingMessagesRequest {
    /// In this order.
    #[prost(message, repeated, tag = "1")]
    pub messages: Vec<IncomingMessage>,
}

/// Channels that are asked after.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChannelStatsRequest {
    /// In this order.
    #[prost(message, repeated, tag = "1")]
    pub channels: Vec<Receiver>,
}

/// One request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// Which.
    #[prost(oneof = "Command", tags = "1, 2")]
    pub command: Option<Command>,
}

/// What is asked.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Command {
    /// Publish.
    #[prost(message, tag = "1")]
    IncomingMessages(IncomingMessagesRequest),
    /// Who is online.
    #[prost(message, tag = "2")]
    ChannelStats(ChannelStatsRequest),
}

/// What a backend posts.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RequestBatch {
    /// Only the first counts.
    #[prost(message, repeated, tag = "1")]
    pub requests: Vec<Request>,
}

impl RequestBatch {
    /// A batch that publishes `messages`.
    pub fn publish(messages: Vec<IncomingMessage>) -> Self {
        let command = Command::IncomingMessages(IncomingMessagesRequest { messages });
        Self { requests: vec![Request { command: Some(command) }] }
    }
}

/// A delivered message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OutgoingMessage {
    /// The message id, 13 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// The text.
    #[prost(string, tag = "2")]
    pub body: String,
    /// Seconds it is kept.
    #[prost(uint32, tag = "3")]
    pub expiry: u32,
    /// Unix seconds.
    #[prost(fixed32, tag = "4")]
    pub created: u32,
    /// Who sent it.
    #[prost(message, optional, tag = "5")]
    pub sender: Option<Sender>,
}

/// Delivered messages.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OutgoingMessagesResponse {
    /// In this order.
    #[prost(message, repeated, tag = "1")]
    pub messages: Vec<OutgoingMessage>,
}

/// Whether a channel is online.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChannelStats {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// Which kind of id it is.
    #[prost(bool, tag = "2")]
    pub is_private: bool,
    /// Whether somebody listens.
    #[prost(bool, tag = "3")]
    pub is_online: bool,
}

/// Who is online.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChannelStatsResponse {
    /// One for each channel asked.
    #[prost(message, repeated, tag = "1")]
    pub channels: Vec<ChannelStats>,
}

/// One response.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    /// Messages.
    #[prost(message, optional, tag = "1")]
    pub outgoing_messages: Option<OutgoingMessagesResponse>,
    /// Statistics.
    #[prost(message, optional, tag = "2")]
    pub channel_stats: Option<ChannelStatsResponse>,
}

/// What a client receives.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResponseBatch {
    /// In this order.
    #[prost(message, repeated, tag = "1")]
    pub responses: Vec<Response>,
}
