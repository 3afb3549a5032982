//! The whole schema (push.proto) as structs. The server's hot paths read and write without them;
//! they are for tests, tools and whatever is not hot. Note that they leave out defaults that the
//! reference writes.
use prost::{Enumeration, Message, Oneof};

/// Where a published message came from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Enumeration)]
#[repr(i32)]
pub enum SenderType {
    /// Never produced for a published message.
    Unknown = 0,
    /// A client: a WebSocket frame or a POST to rest.
    Client = 1,
    /// The site's backend.
    Backend = 2,
}

/// The origin of a message; what a publisher puts here is discarded.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Sender {
    /// The kind of origin.
    #[prost(enumeration = "SenderType", tag = "1")]
    pub r#type: i32,
    /// A client's public id.
    #[prost(bytes = "vec", tag = "2")]
    pub id: Vec<u8>,
}

/// One addressee of a message.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Receiver {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// The kind of id.
    #[prost(bool, tag = "2")]
    pub is_private: bool,
    /// The raw signature of a public id.
    #[prost(bytes = "vec", tag = "3")]
    pub signature: Vec<u8>,
}

/// A channel whose statistics are asked for.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ChannelId {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// The kind of id.
    #[prost(bool, tag = "2")]
    pub is_private: bool,
    /// The raw signature of a public id.
    #[prost(bytes = "vec", tag = "3")]
    pub signature: Vec<u8>,
}

/// Every binary request; only the first of `requests` counts.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct RequestBatch {
    /// The requests.
    #[prost(message, repeated, tag = "1")]
    pub requests: Vec<Request>,
}

/// A request.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Request {
    /// What it asks for.
    #[prost(oneof = "request::Command", tags = "1, 2, 3, 4")]
    pub command: Option<request::Command>,
}

/// The members of [`Request`]'s oneof.
pub mod request {
    /// What a request asks for.
    #[derive(Clone, PartialEq, Eq, Hash, super::Oneof)]
    pub enum Command {
        /// Publish.
        #[prost(message, tag = "1")]
        IncomingMessages(super::IncomingMessagesRequest),
        /// Which channels are online?
        #[prost(message, tag = "2")]
        ChannelStats(super::ChannelStatsRequest),
        /// Statistics of the servers.
        #[prost(message, tag = "3")]
        ServerStats(super::ServerStatsRequest),
        /// Not served.
        #[prost(message, tag = "4")]
        Registration(super::RegisterRequest),
    }
}

/// Messages to publish.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct IncomingMessagesRequest {
    /// In order.
    #[prost(message, repeated, tag = "1")]
    pub messages: Vec<IncomingMessage>,
}

/// A message to publish.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct IncomingMessage {
    /// Whom it is for.
    #[prost(message, repeated, tag = "1")]
    pub receivers: Vec<Receiver>,
    /// Ignored.
    #[prost(message, optional, tag = "2")]
    pub sender: Option<Sender>,
    /// By convention one JSON value.
    #[prost(string, tag = "3")]
    pub body: String,
    /// Seconds to keep; 0: live delivery only.
    #[prost(uint32, tag = "4")]
    pub expiry: u32,
    /// The label of the daily counters.
    #[prost(string, tag = "5")]
    pub r#type: String,
}

/// Asks which channels are online.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ChannelStatsRequest {
    /// The channels.
    #[prost(message, repeated, tag = "1")]
    pub channels: Vec<ChannelId>,
}

/// Asks for the statistics of the servers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct ServerStatsRequest {}

/// Of the multi-tenant mode; not served.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct RegisterRequest {
    /// How the tenant proves itself.
    #[prost(string, tag = "1")]
    pub verification_query: String,
    /// Its host.
    #[prost(string, tag = "2")]
    pub host: String,
}

/// Every binary answer and WebSocket frame.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ResponseBatch {
    /// The responses.
    #[prost(message, repeated, tag = "1")]
    pub responses: Vec<Response>,
}

/// A response.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Response {
    /// What it holds.
    #[prost(oneof = "response::Command", tags = "1, 2, 3, 4")]
    pub command: Option<response::Command>,
}

/// The members of [`Response`]'s oneof.
pub mod response {
    /// What a response holds.
    #[derive(Clone, PartialEq, Eq, Hash, super::Oneof)]
    pub enum Command {
        /// Messages.
        #[prost(message, tag = "1")]
        OutgoingMessages(super::OutgoingMessagesResponse),
        /// Which channels are online.
        #[prost(message, tag = "2")]
        ChannelStats(super::ChannelStatsResponse),
        /// Statistics of the servers.
        #[prost(message, tag = "3")]
        ServerStats(super::JsonResponse),
        /// Of the multi-tenant mode.
        #[prost(string, tag = "4")]
        Json(String),
    }
}

/// Messages for a subscriber: one live, or several replayed.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct OutgoingMessagesResponse {
    /// In order.
    #[prost(message, repeated, tag = "1")]
    pub messages: Vec<OutgoingMessage>,
}

/// A message as it is stored, announced and delivered.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct OutgoingMessage {
    /// The message id, 13 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// By convention one JSON value.
    #[prost(string, tag = "2")]
    pub body: String,
    /// Seconds it is kept.
    #[prost(uint32, tag = "3")]
    pub expiry: u32,
    /// Unix seconds.
    #[prost(fixed32, tag = "4")]
    pub created: u32,
    /// The origin.
    #[prost(message, optional, tag = "5")]
    pub sender: Option<Sender>,
}

/// Which channels are online.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ChannelStatsResponse {
    /// In the order asked.
    #[prost(message, repeated, tag = "1")]
    pub channels: Vec<ChannelStats>,
}

/// Whether a channel is online.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ChannelStats {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// The kind of id.
    #[prost(bool, tag = "2")]
    pub is_private: bool,
    /// Whether it has a subscriber.
    #[prost(bool, tag = "3")]
    pub is_online: bool,
}

/// A JSON text.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct JsonResponse {
    /// The text.
    #[prost(string, tag = "1")]
    pub json: String,
}

/// Every announcement.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct NotificationBatch {
    /// The notifications.
    #[prost(message, repeated, tag = "1")]
    pub notifications: Vec<Notification>,
}

/// A notification.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Notification {
    /// What it holds.
    #[prost(oneof = "notification::Command", tags = "1, 2")]
    pub command: Option<notification::Command>,
}

/// The members of [`Notification`]'s oneof.
pub mod notification {
    /// What a notification holds.
    #[derive(Clone, PartialEq, Eq, Hash, super::Oneof)]
    pub enum Command {
        /// Published messages.
        #[prost(message, tag = "1")]
        IpcMessages(super::IpcMessages),
        /// Of the multi-tenant mode.
        #[prost(message, tag = "2")]
        IpcLicenses(super::IpcLicenses),
    }
}

/// Published messages.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct IpcMessages {
    /// The messages.
    #[prost(message, repeated, tag = "1")]
    pub messages: Vec<IpcMessage>,
}

/// A published message.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct IpcMessage {
    /// Whom it is for.
    #[prost(message, repeated, tag = "1")]
    pub receivers: Vec<Receiver>,
    /// Never filled.
    #[prost(bytes = "vec", tag = "2")]
    pub outgoing_message_id: Vec<u8>,
    /// The message.
    #[prost(message, optional, tag = "3")]
    pub outgoing_message: Option<OutgoingMessage>,
}

/// Of the multi-tenant mode.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct IpcLicenses {
    /// The licences.
    #[prost(message, repeated, tag = "1")]
    pub licenses: Vec<IpcLicense>,
}

/// Of the multi-tenant mode.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct IpcLicense {
    /// The licence.
    #[prost(message, optional, tag = "1")]
    pub license: Option<License>,
    /// `register` or `unregister`.
    #[prost(string, tag = "2")]
    pub action: String,
}

/// A tenant of the multi-tenant mode.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct License {
    /// Its number.
    #[prost(uint32, tag = "1")]
    pub id: u32,
    /// Its name in requests.
    #[prost(string, tag = "2")]
    pub client_id: String,
    /// Its key.
    #[prost(string, tag = "3")]
    pub security_key: String,
    /// Its signature algorithm.
    #[prost(string, tag = "4")]
    pub security_algo: String,
    /// Unix seconds.
    #[prost(fixed32, tag = "5")]
    pub date_to: u32,
    /// Its site.
    #[prost(string, tag = "6")]
    pub site_url: String,
    /// How it proves itself.
    #[prost(string, tag = "7")]
    pub verification_query: String,
    /// Unix seconds.
    #[prost(fixed32, tag = "8")]
    pub last_check: u32,
    /// Its host.
    #[prost(string, tag = "9")]
    pub host: String,
}
