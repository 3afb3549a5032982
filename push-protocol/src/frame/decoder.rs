//! From a client's bytes to [`Event`]s.

use super::{Event, MAX_CONTROL, Opcode, ProtocolError};

#[cfg(test)]
mod tests;

/// The most bytes a head has: two, eight of length, four of mask.
const MAX_HEAD: usize = 14;

/// Decodes what one client sends. Idle it holds nothing but itself; what has come in part is boxed
/// until the rest of it is there, and never more than was received.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
    /// Nothing more is looked at: the peer closed, failed, or the caller had enough.
    ended: bool,
}

/// A frame or a message of which more is to come.
#[derive(Debug, Default)]
struct Partial {
    /// The beginning of a frame whose head is not complete.
    head: [u8; MAX_HEAD],
    head_len: usize,
    /// The frame whose payload comes in.
    frame: Option<Head>,
    /// Bytes of its payload that came.
    received: usize,
    /// The payload of a control frame.
    control: Vec<u8>,
    /// The message of the fragments up to now.
    message: Option<(Opcode, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    fin: bool,
    opcode: Opcode,
    mask: [u8; 4],
    len: usize,
}

impl Decoder {
    /// One at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Feeds bytes as they come and calls `on` for every complete event. A message may have
    /// `max_payload` bytes, over all its fragments. When `on` returns false, behind a
    /// [`Event::Close`] and behind an error the stream is over: what else comes is dropped.
    pub fn feed(
        &mut self,
        mut input: &[u8],
        max_payload: usize,
        on: &mut dyn FnMut(Event) -> bool,
    ) -> Result<(), ProtocolError> {
        while let Some(event) = self.next_event(&mut input, max_payload)? {
            if !on(event) {
                self.end();
            }
        }
        Ok(())
    }

    /// [`Decoder::feed`] for who wants to stop anywhere and go on later: takes input up to the end of
    /// the next event. `None`: all of the input is taken, and more has to come.
    pub fn next_event(
        &mut self,
        input: &mut &[u8],
        max_payload: usize,
    ) -> Result<Option<Event>, ProtocolError> {
        if self.ended {
            *input = &[];
        }
        while !input.is_empty() {
            let complete = self.frame(input, max_payload);
            let event = complete.and_then(|complete| {
                complete.map(|(opcode, payload)| finish(opcode, payload)).transpose()
            });
            match event {
                Ok(None) => {}
                Ok(Some(event)) => {
                    if matches!(event, Event::Close { .. }) {
                        self.end();
                    }
                    return Ok(Some(event));
                }
                Err(error) => {
                    self.end();
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// Bytes of memory that what has come in part takes.
    pub fn buffered(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            let message = partial.message.as_ref().map_or(0, |(_, data)| data.capacity());
            size_of::<Partial>() + partial.control.capacity() + message
        })
    }

    fn end(&mut self) {
        *self = Self { partial: None, ended: true };
    }

    /// Takes input up to the end of a frame; answers what is complete then, if anything is.
    fn frame(
        &mut self,
        input: &mut &[u8],
        max_payload: usize,
    ) -> Result<Option<(Opcode, Vec<u8>)>, ProtocolError> {
        if let Some(partial) = &mut self.partial {
            let complete = partial.advance(input, max_payload)?;
            if partial.is_empty() {
                self.partial = None;
            }
            return Ok(complete);
        }
        let complete = whole_frame(input, max_payload)?;
        if complete.is_none() {
            self.partial = Some(Box::default());
        }
        Ok(complete)
    }
}

/// The way nearly all frames go: a whole message in one frame that lies in the input as a whole.
fn whole_frame(
    input: &mut &[u8],
    max_payload: usize,
) -> Result<Option<(Opcode, Vec<u8>)>, ProtocolError> {
    let Some((head, used)) = Head::parse(input)? else {
        return Ok(None);
    };
    head.admit(None, max_payload)?;
    let Some((payload, rest)) = input[used..].split_at_checked(head.len) else {
        return Ok(None);
    };
    if !head.fin {
        return Ok(None);
    }
    let mut data = Vec::with_capacity(head.len);
    unmask(&mut data, payload, head.mask, 0);
    *input = rest;
    Ok(Some((head.opcode, data)))
}

impl Partial {
    /// Takes input up to the end of the frame, or all of it. What is complete then is returned.
    fn advance(
        &mut self,
        input: &mut &[u8],
        max_payload: usize,
    ) -> Result<Option<(Opcode, Vec<u8>)>, ProtocolError> {
        let frame = match self.frame {
            Some(frame) => frame,
            None => match self.read_head(input, max_payload)? {
                Some(frame) => frame,
                None => return Ok(None),
            },
        };
        let take = input.len().min(frame.len - self.received);
        let (payload, rest) = input.split_at(take);
        *input = rest;
        let target = match &mut self.message {
            _ if frame.opcode.is_control() => &mut self.control,
            Some((_, data)) => data,
            None => &mut self.message.insert((frame.opcode, Vec::new())).1,
        };
        unmask(target, payload, frame.mask, self.received);
        self.received += take;
        if self.received < frame.len {
            self.frame = Some(frame);
            return Ok(None);
        }
        (self.frame, self.received) = (None, 0);
        if frame.opcode.is_control() {
            return Ok(Some((frame.opcode, std::mem::take(&mut self.control))));
        }
        Ok(if frame.fin { self.message.take() } else { None })
    }

    fn read_head(
        &mut self,
        input: &mut &[u8],
        max_payload: usize,
    ) -> Result<Option<Head>, ProtocolError> {
        let before = self.head_len;
        let take = input.len().min(MAX_HEAD - before);
        self.head[before..before + take].copy_from_slice(&input[..take]);
        let Some((head, used)) = Head::parse(&self.head[..before + take])? else {
            self.head_len = before + take;
            *input = &input[take..];
            return Ok(None);
        };
        head.admit(self.message.as_ref().map(|(_, data)| data.len()), max_payload)?;
        self.head_len = 0;
        *input = &input[used - before..];
        Ok(Some(head))
    }

    fn is_empty(&self) -> bool {
        self.head_len == 0 && self.frame.is_none() && self.message.is_none()
    }
}

impl Head {
    /// Reads a head and says how many bytes it has; `None`: it is not complete.
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let &[first, second, ref rest @ ..] = bytes else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let opcode = Opcode::from_bits(first & 15).ok_or(ProtocolError::ReservedOpcode)?;
        if second & 0x80 == 0 {
            return Err(ProtocolError::Unmasked);
        }
        let (fin, short) = (first & 0x80 != 0, usize::from(second & 0x7f));
        if opcode.is_control() && (!fin || short > MAX_CONTROL) {
            return Err(ProtocolError::BadControl);
        }
        let (len, rest) = match short {
            126 => match rest.split_first_chunk() {
                Some((len, rest)) => (u64::from(u16::from_be_bytes(*len)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((len, rest)) => (u64::from_be_bytes(*len), rest),
                None => return Ok(None),
            },
            short => (short as u64, rest),
        };
        let Some((&mask, rest)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        let len = usize::try_from(len).map_err(|_| ProtocolError::TooBig)?;
        Ok(Some((Self { fin, opcode, mask, len }, bytes.len() - rest.len())))
    }

    /// Whether the frame may come now: `fragments` is the size of the message that is under way.
    fn admit(&self, fragments: Option<usize>, max_payload: usize) -> Result<(), ProtocolError> {
        if self.opcode.is_control() {
            return Ok(());
        }
        if fragments.is_some() != (self.opcode == Opcode::Continuation) {
            return Err(ProtocolError::BadFragment);
        }
        // Before a byte of it has come: an announced size costs nothing.
        if self.len > max_payload.saturating_sub(fragments.unwrap_or(0)) {
            return Err(ProtocolError::TooBig);
        }
        Ok(())
    }
}

/// Appends `masked`, unmasked; `offset` bytes of the payload stood in front of it.
fn unmask(out: &mut Vec<u8>, masked: &[u8], mut mask: [u8; 4], offset: usize) {
    let start = out.len();
    out.extend_from_slice(masked);
    mask.rotate_left(offset % 4);
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = out[start..].as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

fn finish(opcode: Opcode, payload: Vec<u8>) -> Result<Event, ProtocolError> {
    Ok(match opcode {
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        Opcode::Close => return close_event(&payload),
        Opcode::Text if !is_utf8(&payload) => return Err(ProtocolError::InvalidUtf8),
        _ => Event::Message { opcode, data: payload },
    })
}

fn close_event(payload: &[u8]) -> Result<Event, ProtocolError> {
    let (code, reason) = match payload {
        [] => (None, payload),
        [_] => return Err(ProtocolError::BadClose),
        [high, low, reason @ ..] => (Some(u16::from_be_bytes([*high, *low])), reason),
    };
    // RFC 6455 section 7.4 and the IANA registry: these and no others may be sent.
    if !matches!(code, None | Some(1000..=1003 | 1007..=1014 | 3000..=4999)) {
        return Err(ProtocolError::BadClose);
    }
    if !is_utf8(reason) {
        return Err(ProtocolError::InvalidUtf8);
    }
    Ok(Event::Close { code, reason: reason.to_vec() })
}

fn is_utf8(bytes: &[u8]) -> bool {
    simdutf8::basic::from_utf8(bytes).is_ok()
}
