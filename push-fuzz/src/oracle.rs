//! The WebSocket codec as tungstenite sees it.
//!
//! Both are asked what a stream says; they agree on every event and on the close code of what ends
//! it. The differences that are meant:
//!
//! 1. *UTF-8.* tungstenite looks at the text of each fragment as it comes, we at the whole message
//!    when it is complete. So it may refuse (1007) a message earlier; we then may hear control
//!    frames that stand between the fragments, or find another fault first.
//! 2. *Sizes.* tungstenite measures control frames and single frames by the limit as well and looks
//!    at the size before it looks at other faults of the same head; we measure messages only, and
//!    tell 1009 when everything else about the head is right.
//! 3. *Unfinished streams.* A fault in the first two bytes of a head is told by us when these two
//!    are there, by tungstenite when the whole head is.
//! 4. *Control frames.* We refuse one that tells its length in a longer form (RFC 6455 section 5.2
//!    wants the shortest, section 5.5 knows 125 bytes at most); tungstenite takes it, if the length
//!    told is within 125.
//! 5. *Close code 1014* is taken by us, as IANA's registry has it since 2016, and refused by
//!    tungstenite.

use std::io::{self, Cursor, Read, Write};

use push_protocol::frame::{Event, Opcode, ProtocolError};
use tungstenite::error::ProtocolError as Theirs;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

/// What tungstenite puts in place of the reason when it does not like a close frame's code.
const REFUSED: &str = "Protocol violation";

/// Reads from memory, writes to nowhere.
#[derive(Debug)]
pub struct Pipe(pub Cursor<Vec<u8>>);

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a server made with tungstenite hears in a client's stream, and the close code of the fault
/// that ends it, if one does.
pub fn heard_by_tungstenite(stream: &[u8], max_payload: usize) -> (Vec<Event>, Option<u16>) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(max_payload))
        .max_frame_size(Some(max_payload));
    let pipe = Pipe(Cursor::new(stream.to_vec()));
    let mut socket = WebSocket::from_raw_socket(pipe, Role::Server, Some(config));
    let mut events = Vec::new();
    loop {
        let event = match socket.read() {
            Ok(Message::Text(text)) => {
                Event::Message { opcode: Opcode::Text, data: text.as_bytes().to_vec() }
            }
            Ok(Message::Binary(data)) => {
                Event::Message { opcode: Opcode::Binary, data: data.to_vec() }
            }
            Ok(Message::Ping(payload)) => Event::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Event::Pong(payload.to_vec()),
            Ok(Message::Close(frame)) => {
                let code = frame.as_ref().map(|frame| u16::from(frame.code));
                // Its way to say that the code was one that must not be sent.
                if frame.as_ref().is_some_and(|f| code == Some(1002) && f.reason == REFUSED) {
                    return (events, Some(1002));
                }
                let reason = frame.map(|frame| frame.reason.as_bytes().to_vec());
                events.push(Event::Close { code, reason: reason.unwrap_or_default() });
                return (events, None);
            }
            Ok(Message::Frame(_)) => unreachable!("only given out when writing"),
            Err(Error::Capacity(_)) => return (events, Some(1009)),
            Err(Error::Utf8(_)) => return (events, Some(1007)),
            Err(Error::Protocol(Theirs::ResetWithoutClosingHandshake)) => return (events, None),
            Err(Error::Protocol(_)) => return (events, Some(1002)),
            Err(error) => panic!("tungstenite: {error}"),
        };
        events.push(event);
    }
}

/// Panics unless tungstenite hears the same in a client's stream, but for the differences that are
/// meant (see the module).
pub fn compare(stream: &[u8], max_payload: usize, ours: &[Event], error: Option<ProtocolError>) {
    let (theirs, their_code) = heard_by_tungstenite(stream, max_payload);
    let our_code = error.map(ProtocolError::close_code);
    if ours == theirs && our_code == their_code {
        return;
    }
    let shorter = ours.len().min(theirs.len());
    assert_eq!(ours[..shorter], theirs[..shorter]);
    let is_meant = match (error, their_code) {
        // Differences 1 and 2: it gave up before us.
        (_, Some(1007 | 1009)) if ours.len() >= theirs.len() => true,
        // Difference 4: it went on where we gave up.
        (Some(ProtocolError::BadControl), _) => theirs.len() >= ours.len(),
        // Difference 3: it waits for the rest of the head.
        (Some(_), None) => theirs == ours,
        // Difference 5.
        (None, Some(1002)) => {
            matches!(ours.last(), Some(Event::Close { code: Some(1014), .. }))
                && ours.len() == theirs.len() + 1
        }
        _ => false,
    };
    assert!(is_meant, "ours: {ours:?}, {error:?}; tungstenite's: {theirs:?}, {their_code:?}");
}
