//! The errors clients and backends see (PROTOCOL.md, section 4).

/// An error with its code and exact text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("{}: {}", self.code(), self.text())]
pub enum ApiError {
    /// sub: no valid channel.
    WrongChannelId,
    /// sub with mid: the store could not be read.
    NoLastMessages,
    /// A client's request on a connection without public id.
    PublicChannelRequired,
    /// Not a `RequestBatch`, or nothing in it.
    WrongRequestData,
    /// A client's request with a command it may not use.
    CommandNotAllowed,
    /// A trusted request with a command that has no handler.
    WrongCommand,
    /// More messages than `bx_push_max_messages_per_request`.
    TooManyMessages,
    /// A message without receivers, statistics of no channel.
    NoChannels,
    /// More channels than `bx_push_max_channels_per_request`.
    TooManyChannels,
    /// Trusted: an id that is not 16 bytes.
    InvalidChannelId,
    /// Client: a private channel.
    PrivateNotAllowed,
    /// Client: a signature that is missing or wrong.
    InvalidSignature,
    /// Evicted: too many connections of one channel.
    TooManyConnections,
}

impl ApiError {
    /// The code: what stands in front of the text, and the WebSocket close code.
    pub const fn code(self) -> u16 {
        match self {
            Self::WrongChannelId => 4010,
            Self::NoLastMessages => 4011,
            Self::PublicChannelRequired => 4012,
            Self::WrongRequestData => 4013,
            Self::CommandNotAllowed => 4014,
            Self::WrongCommand => 4015,
            Self::TooManyMessages => 4016,
            Self::NoChannels => 4017,
            Self::TooManyChannels => 4018,
            Self::InvalidChannelId => 4019,
            Self::PrivateNotAllowed => 4020,
            Self::InvalidSignature => 4021,
            Self::TooManyConnections => 4029,
        }
    }

    /// The text without the code.
    pub const fn text(self) -> &'static str {
        match self {
            Self::WrongChannelId => "Wrong Channel Id.",
            Self::NoLastMessages => "Couldn't get last messages.",
            Self::PublicChannelRequired => "Public Channel Id is Required.",
            Self::WrongRequestData => "Wrong Request Data.",
            Self::CommandNotAllowed => "Request command is not allowed.",
            Self::WrongCommand => "Wrong Request Command.",
            Self::TooManyMessages => "Request exceeded the maximum number of messages.",
            Self::NoChannels => "No channels found.",
            Self::TooManyChannels => "Request exceeded the maximum number of channels.",
            Self::InvalidChannelId => "Request has an invalid channel id.",
            Self::PrivateNotAllowed => "Private channel is not allowed.",
            Self::InvalidSignature => "Channel has an invalid signature.",
            Self::TooManyConnections => "Too many connections",
        }
    }

    /// The HTTP status it is answered with.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::TooManyConnections => 429,
            _ => 400,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_shown_as_it_goes_over_the_wire() {
        assert_eq!(ApiError::WrongChannelId.to_string(), "4010: Wrong Channel Id.");
        assert_eq!(ApiError::NoLastMessages.to_string(), "4011: Couldn't get last messages.");
        assert_eq!(ApiError::TooManyConnections.to_string(), "4029: Too many connections");
        assert_eq!(ApiError::TooManyConnections.http_status(), 429);
        assert_eq!(ApiError::InvalidSignature.http_status(), 400);
    }
}
