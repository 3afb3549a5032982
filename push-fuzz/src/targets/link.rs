//! Frames between worker and sidecar, both directions.

use bytes::Bytes;
use push_link::{LinkError, MAX_FRAME, Splitter, ToSidecar, ToWorker};

use crate::input::{Input, cut};

/// * However a stream is cut, the same frames come out and the same error ends them.
/// * What a frame says, written anew, is one frame that says the same.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let lengths: [usize; 3] = std::array::from_fn(|_| usize::from(input.byte()));
    let stream = input.rest();

    let whole = split([stream]);
    assert_eq!(split(cut(stream, &lengths)), whole);
    assert_eq!(split(stream.chunks(1)), whole);
    let (frames, _) = whole;
    for frame in frames {
        assert!((1..=MAX_FRAME).contains(&frame.len()));
        if let Ok(said) = ToSidecar::decode(frame.clone()) {
            let mut anew = Vec::new();
            said.encode(&mut anew);
            assert_eq!(ToSidecar::decode(only(&anew)), Ok(said));
        }
        if let Ok(said) = ToWorker::decode(frame) {
            let mut anew = Vec::new();
            said.encode(&mut anew);
            assert_eq!(ToWorker::decode(only(&anew)), Ok(said));
        }
    }
}

fn split<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Bytes>, Option<LinkError>) {
    let mut splitter = Splitter::new();
    let mut frames = Vec::new();
    for piece in pieces {
        splitter.extend(piece);
        loop {
            match splitter.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// The one frame that a stream is.
fn only(stream: &[u8]) -> Bytes {
    let (frames, error) = split([stream]);
    assert_eq!(error, None);
    let [frame] = &frames[..] else { panic!("{} frames", frames.len()) };
    assert_eq!(frame.len() + 4, stream.len());
    frame.clone()
}
