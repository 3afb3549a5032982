//! The plain numbers of a worker. Their order is the order on the link: new ones come last.

/// One series of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    /// The metric: one of [`crate::families::WORKERS`].
    pub name: &'static str,
    /// Its labels as they stand between the braces.
    pub labels: &'static str,
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $number:ident = $name:literal, $labels:literal;)*) => {
        /// A plain number of a worker.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Number { $($(#[$doc])* $number,)* }

        /// How many there are.
        pub const COUNT: usize = [$($name),*].len();

        impl Number {
            /// All of them, in order.
            pub const ALL: [Self; COUNT] = [$(Self::$number),*];
        }

        /// Name and labels of each [`Number`], by its place.
        pub const SERIES: [Series; COUNT] = [$(Series { name: $name, labels: $labels }),*];
    };
}

numbers! {
    /// WebSockets in binary form.
    WebsocketsProtobuf = "bx_push_connections", r#"transport="websocket",format="protobuf""#;
    /// WebSockets in text form.
    WebsocketsJson = "bx_push_connections", r#"transport="websocket",format="json""#;
    /// Long polls in binary form.
    PollsProtobuf = "bx_push_connections", r#"transport="poll",format="protobuf""#;
    /// Long polls in text form.
    PollsJson = "bx_push_connections", r#"transport="poll",format="json""#;
    /// WebSockets that came.
    WebsocketsOpened = "bx_push_connections_opened_total", r#"transport="websocket""#;
    /// Long polls that came.
    PollsOpened = "bx_push_connections_opened_total", r#"transport="poll""#;
    /// Publishes with a message that is kept.
    Stored = "bx_push_publishes_total", r#"result="stored""#;
    /// Publishes of which nothing is kept.
    Live = "bx_push_publishes_total", r#"result="live""#;
    /// Publishes that were wrong.
    Refused400 = "bx_push_publishes_total", r#"result="400""#;
    /// Publishes that were too large.
    Refused413 = "bx_push_publishes_total", r#"result="413""#;
    /// Publishes that the store will never take.
    Failed500 = "bx_push_publishes_total", r#"result="500""#;
    /// Publishes that were surely not stored.
    Failed503 = "bx_push_publishes_total", r#"result="503""#;
    /// Publishes of which nobody knows.
    Failed504 = "bx_push_publishes_total", r#"result="504""#;
    /// Messages written to, or queued for, a subscriber.
    Delivered = "bx_push_deliveries_total", "";
    /// Bytes that wait for clients, or of what they have sent in part.
    WaitingBytes = "bx_push_queue_bytes", r#"queue="clients""#;
    /// Bytes that the link does not take.
    LinkBytes = "bx_push_queue_bytes", r#"queue="link""#;
    /// Bytes of publishes without an answer.
    PublishBytes = "bx_push_queue_bytes", r#"queue="publishes""#;
    /// Messages that are being handed out.
    Fanouts = "bx_push_fanouts", "";
    /// Did not read.
    Slow = "bx_push_drops_total", r#"reason="slow""#;
    /// Too much waited in the whole worker.
    Crowded = "bx_push_drops_total", r#"reason="crowded""#;
    /// Too many connections of its channel.
    Evicted = "bx_push_drops_total", r#"reason="evicted""#;
    /// Did not answer a ping.
    Silent = "bx_push_drops_total", r#"reason="silent""#;
    /// Did not answer our close.
    Unclosed = "bx_push_drops_total", r#"reason="unclosed""#;
    /// Sent no frames.
    Malformed = "bx_push_drops_total", r#"reason="malformed""#;
    /// Sent a wrong request.
    Wrong = "bx_push_drops_total", r#"reason="wrong""#;
    /// Signatures that are not.
    SignatureFailures = "bx_push_signature_failures_total", "";
    /// Clients that returned with an id.
    RecoveriesAsked = "bx_push_recoveries_asked_total", "";
    /// ... and had missed nothing.
    RecoveredNothing = "bx_push_recoveries_total", r#"result="nothing_new""#;
    /// ... and were sent what they had missed.
    RecoveredHistory = "bx_push_recoveries_total", r#"result="history""#;
    /// ... and were told that the store cannot tell.
    RecoveriesFailed = "bx_push_recoveries_total", r#"result="failed""#;
    /// Messages they were sent.
    RecoveredMessages = "bx_push_recovered_messages_total", "";
    /// Times that a client had to wait with what it said.
    Postponed = "bx_push_postponed_total", "";
    /// Times that the link could not be made, or broke.
    LinkFailures = "bx_push_link_failures_total", "";
    /// Channels with a subscriber in this worker.
    Channels = "bx_push_worker_channels", "";
}

impl Number {
    /// Whether it is how things stand, not what has happened.
    pub fn is_gauge(self) -> bool {
        !SERIES[self as usize].name.ends_with("_total")
    }
}
