//! A WebSocket whose every byte is under the test's control, and which reports what arrived as it
//! arrived: frames of pings and pongs, and whether there was a close frame.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

use super::case::{Closed, Opcode};
use crate::http1::{Http1, Request, Response};
use crate::net::{Endpoint, Stream};

/// Of the key that [`crate::websocket::handshake`] sends (RFC 6455, section 1.3).
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const CONTINUATION: u8 = 0;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A message, its fragments joined.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Of the first fragment.
    pub opcode: Opcode,
    /// All of it.
    pub data: Vec<u8>,
}

/// An open WebSocket.
pub struct Socket {
    /// When the handshake was sent.
    pub opened: Instant,
    messages: UnboundedReceiver<Message>,
    pings: UnboundedReceiver<(Vec<u8>, Instant)>,
    pongs: UnboundedReceiver<Vec<u8>>,
    closed: oneshot::Receiver<Closed>,
    pings_seen: usize,
    output: UnboundedSender<Vec<u8>>,
    tasks: [JoinHandle<()>; 2],
}

/// Why something that was waited for did not come.
#[derive(PartialEq, Eq, Debug)]
pub enum Missing {
    /// The time was over.
    Late,
    /// The connection ended before.
    Closed,
}

impl Socket {
    /// Sends a handshake. Returns the answer, and the WebSocket if it is 101.
    pub async fn open(
        endpoint: &Endpoint,
        handshake: &Request,
        auto_pong: bool,
    ) -> io::Result<(Response, Option<Self>)> {
        let mut http = Http1::connect(endpoint).await?;
        let opened = Instant::now();
        http.send(&handshake.to_bytes()).await?;
        let answer = http.response().await?;
        if answer.status != 101 {
            return Ok((answer, None));
        }
        if answer.header("Sec-WebSocket-Accept") != Some(ACCEPT) {
            return Err(io::Error::other(format!("a wrong accept: {answer:?}")));
        }
        let (input, writer) = tokio::io::split(http.into_stream());
        Ok((answer, Some(Self::start(input, writer, opened, auto_pong))))
    }

    fn start(
        input: ReadHalf<BufReader<Stream>>,
        writer: WriteHalf<BufReader<Stream>>,
        opened: Instant,
        auto_pong: bool,
    ) -> Self {
        let (output, queue) = unbounded_channel();
        let (to_messages, messages) = unbounded_channel();
        let (to_pings, pings) = unbounded_channel();
        let (to_pongs, pongs) = unbounded_channel();
        let (to_closed, closed) = oneshot::channel();
        let reader = Reader {
            messages: to_messages,
            pings: to_pings,
            pongs: to_pongs,
            output: output.clone(),
            auto_pong,
        };
        let read = async move {
            let end = reader.run(input).await;
            // Nobody may be interested any more.
            let _ = to_closed.send(end);
        };
        Self {
            opened,
            messages,
            pings,
            pongs,
            closed,
            pings_seen: 0,
            output,
            tasks: [tokio::spawn(read), tokio::spawn(write(writer, queue))],
        }
    }

    /// Writes bytes as they are.
    pub fn send_raw(&self, bytes: Vec<u8>) {
        // After the end of the connection nothing can be sent, which the next step will notice.
        let _ = self.output.send(bytes);
    }

    /// Sends a message cut into `fragments` frames.
    pub fn send(&self, opcode: Opcode, data: &[u8], fragments: usize) {
        let len = data.len().div_ceil(fragments).max(1);
        let mut chunks: Vec<&[u8]> = data.chunks(len).collect();
        // An empty message is one empty frame.
        chunks.resize(fragments, &[]);
        for (at, chunk) in chunks.iter().enumerate() {
            let opcode = if at == 0 { opcode as u8 } else { CONTINUATION };
            let end = if at + 1 == fragments { 0x80 } else { 0 };
            self.send_raw(frame(end | opcode, chunk));
        }
    }

    /// Starts to close, with a code or bare.
    pub fn close(&self, code: Option<u16>, reason: &str) {
        let code = code.map_or_else(Vec::new, |code| code.to_be_bytes().to_vec());
        self.send_raw(frame(0x80 | CLOSE, &[&code, reason.as_bytes()].concat()));
    }

    /// The next message.
    pub async fn message(&mut self, within: Duration) -> Result<Message, Missing> {
        next(&mut self.messages, within).await
    }

    /// Pings, and returns the payload of the next pong.
    pub async fn ping(&mut self, payload: &[u8], within: Duration) -> Result<Vec<u8>, Missing> {
        self.send_raw(frame(0x80 | PING, payload));
        next(&mut self.pongs, within).await
    }

    /// The payload of the server's ping with that number, and how long after the opening it came.
    pub async fn pinged(
        &mut self,
        nth: usize,
        within: Duration,
    ) -> Result<(Vec<u8>, Duration), Missing> {
        let end = Instant::now() + within;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let (payload, at) = next(&mut self.pings, left).await?;
            self.pings_seen += 1;
            if self.pings_seen == nth {
                return Ok((payload, at - self.opened));
            }
        }
    }

    /// How the connection ended.
    pub async fn closed(&mut self, within: Duration) -> Result<Closed, Missing> {
        match tokio::time::timeout(within, &mut self.closed).await {
            Ok(end) => Ok(end.expect("a reader tells how it ended")),
            Err(_) => Err(Missing::Late),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn next<T>(queue: &mut UnboundedReceiver<T>, within: Duration) -> Result<T, Missing> {
    match timeout_at((Instant::now() + within).into(), queue.recv()).await {
        Ok(Some(item)) => Ok(item),
        Ok(None) => Err(Missing::Closed),
        Err(_) => Err(Missing::Late),
    }
}

/// A frame as clients send it: masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            frame.push(0xfe);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0xff);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

async fn write(mut writer: WriteHalf<BufReader<Stream>>, mut queue: UnboundedReceiver<Vec<u8>>) {
    while let Some(bytes) = queue.recv().await {
        if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}

/// Sorts what the server sends.
struct Reader {
    messages: UnboundedSender<Message>,
    pings: UnboundedSender<(Vec<u8>, Instant)>,
    pongs: UnboundedSender<Vec<u8>>,
    output: UnboundedSender<Vec<u8>>,
    auto_pong: bool,
}

impl Reader {
    /// Reads until the connection ends.
    async fn run(self, mut input: impl AsyncRead + Unpin) -> Closed {
        let mut partial: Option<Message> = None;
        // Sending fails when the case is over: nobody listens then.
        while let Ok((first, payload)) = read_frame(&mut input).await {
            let (end, opcode) = (first & 0x80 != 0, first & 0x0f);
            match opcode {
                CLOSE => return self.close(&payload),
                PING => {
                    if self.auto_pong {
                        let _ = self.output.send(frame(0x80 | PONG, &payload));
                    }
                    let _ = self.pings.send((payload, Instant::now()));
                }
                PONG => {
                    let _ = self.pongs.send(payload);
                }
                _ => {
                    let opcode = match opcode {
                        1 => Some(Opcode::Text),
                        2 => Some(Opcode::Binary),
                        _ => None,
                    };
                    let mut message = match (partial.take(), opcode) {
                        (None, Some(opcode)) => Message { opcode, data: Vec::new() },
                        (Some(message), None) => message,
                        _ => break,
                    };
                    message.data.extend(payload);
                    if end {
                        let _ = self.messages.send(message);
                    } else {
                        partial = Some(message);
                    }
                }
            }
        }
        Closed { code: 1006, reason: String::new() }
    }

    fn close(&self, payload: &[u8]) -> Closed {
        let _ = self.output.send(frame(0x80 | CLOSE, payload));
        match payload.split_first_chunk() {
            Some((code, reason)) => Closed {
                code: u16::from_be_bytes(*code),
                reason: String::from_utf8_lossy(reason).into_owned(),
            },
            None => Closed { code: 1005, reason: String::new() },
        }
    }
}

/// The first byte and the payload of a frame as servers send it: not masked, no reserved bits.
async fn read_frame(input: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let (first, second) = (input.read_u8().await?, input.read_u8().await?);
    if first & 0x70 != 0 || second & 0x80 != 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let len = match second {
        126 => input.read_u16().await?.into(),
        127 => input.read_u64().await?,
        len => len.into(),
    };
    let mut payload = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    input.read_exact(&mut payload).await?;
    Ok((first, payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::DuplexStream;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(5);

    fn pair(auto_pong: bool) -> (Socket, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let stream: Stream = Box::new(ours);
        let (input, writer) = tokio::io::split(BufReader::new(stream));
        (Socket::start(input, writer, Instant::now(), auto_pong), theirs)
    }

    async fn sent(theirs: &mut DuplexStream, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        theirs.read_exact(&mut bytes).await.expect("is sent");
        bytes
    }

    #[tokio::test]
    async fn messages_are_joined_and_pings_answered() {
        let (mut socket, mut theirs) = pair(true);
        theirs.write_all(b"\x01\x02ab\x89\x01p\x80\x01c\x82\x00").await.expect("is sent");
        let text = Message { opcode: Opcode::Text, data: b"abc".to_vec() };
        assert_eq!(socket.message(LONG).await, Ok(text));
        let empty = Message { opcode: Opcode::Binary, data: Vec::new() };
        assert_eq!(socket.message(LONG).await, Ok(empty));
        assert_eq!(socket.message(SHORT).await, Err(Missing::Late));
        assert_eq!(sent(&mut theirs, 7).await, frame(0x8a, b"p"));
        assert_eq!(socket.pinged(1, LONG).await.expect("a ping").0, b"p");
    }

    #[tokio::test]
    async fn pings_are_left_alone_on_demand() {
        let (mut socket, mut theirs) = pair(false);
        theirs.write_all(b"\x89\x01a\x89\x01b").await.expect("is sent");
        assert_eq!(socket.pinged(2, LONG).await.expect("a ping").0, b"b");
        socket.send_raw(b"x".to_vec());
        assert_eq!(sent(&mut theirs, 1).await, b"x");
    }

    #[tokio::test]
    async fn ends_are_told_apart() {
        for (bytes, code, reason) in [
            (&b"\x88\x02\x03\xe8"[..], 1000, ""),
            (b"\x88\x05\x0f\xaabye", 4010, "bye"),
            (b"\x88\x00", 1005, ""),
            (b"\x81\x05ab", 1006, ""),
            (b"", 1006, ""),
        ] {
            let (mut socket, mut theirs) = pair(true);
            theirs.write_all(bytes).await.expect("is sent");
            drop(theirs);
            let expected = Closed { code, reason: reason.into() };
            assert_eq!(socket.closed(LONG).await, Ok(expected), "{bytes:?}");
            assert_eq!(socket.message(LONG).await, Err(Missing::Closed));
        }
    }

    #[tokio::test]
    async fn a_message_is_cut_into_masked_frames() {
        let (socket, mut theirs) = pair(true);
        socket.send(Opcode::Binary, b"abcde", 3);
        let expected = [frame(0x02, b"ab"), frame(0x00, b"cd"), frame(0x80, b"e")].concat();
        assert_eq!(sent(&mut theirs, expected.len()).await, expected);
        socket.send(Opcode::Text, b"", 1);
        assert_eq!(sent(&mut theirs, 6).await, frame(0x81, b""));
        assert_eq!(frame(0x81, &[0; 300])[..4], [0x81, 0xfe, 1, 44]);
        assert_eq!(frame(0x81, b"a")[6], b'a' ^ 0x37);
    }

    #[tokio::test]
    async fn masked_frames_of_a_server_end_the_connection() {
        let (mut socket, mut theirs) = pair(true);
        theirs.write_all(b"\x81\x80\0\0\0\0").await.expect("is sent");
        assert_eq!(socket.closed(LONG).await.map(|end| end.code), Ok(1006));
    }
}
