use super::*;

const MAX: usize = 1 << 20;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ ..126 => out.push(0x80 | len as u8),
        len @ ..0x10000 => {
            out.push(0xfe);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0xff);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

fn feed(decoder: &mut Decoder, input: &[u8]) -> Result<Vec<Event>, ProtocolError> {
    let mut events = Vec::new();
    let mut on = |event| {
        events.push(event);
        true
    };
    decoder.feed(input, MAX, &mut on)?;
    Ok(events)
}

fn message(opcode: Opcode, data: &[u8]) -> Event {
    Event::Message { opcode, data: data.to_vec() }
}

#[test]
fn an_idle_decoder_is_small_and_holds_nothing() {
    assert!(size_of::<Decoder>() <= 16);
    let mut decoder = Decoder::new();
    let bytes = [frame(0x01, b"Hel"), frame(0x89, b"?"), frame(0x80, b"lo")].concat();
    let mut events = Vec::new();
    for byte in &bytes {
        events.extend(feed(&mut decoder, &[*byte]).unwrap());
    }
    assert_eq!(events, [Event::Ping(b"?".to_vec()), message(Opcode::Text, b"Hello")]);
    assert!(decoder.partial.is_none());
}

#[test]
fn a_frame_in_one_piece_takes_no_detour() {
    let mut decoder = Decoder::new();
    let bytes = [frame(0x82, b"first"), frame(0x82, b"second")].concat();
    let events = feed(&mut decoder, &bytes).unwrap();
    assert_eq!(events, [message(Opcode::Binary, b"first"), message(Opcode::Binary, b"second")]);
    assert!(decoder.partial.is_none());
}

#[test]
fn an_announced_size_costs_nothing() {
    let mut decoder = Decoder::new();
    let head = &frame(0x82, &vec![0; MAX])[..14];
    assert_eq!(feed(&mut decoder, head), Ok(vec![]));
    assert_eq!(feed(&mut decoder, &[1; 100]), Ok(vec![]));
    let partial = decoder.partial.as_ref().unwrap();
    assert!(partial.message.as_ref().unwrap().1.capacity() < 1000);
}

#[test]
fn the_limit_is_on_the_whole_message() {
    let whole = vec![7; MAX];
    let events = feed(&mut Decoder::new(), &frame(0x82, &whole)).unwrap();
    assert_eq!(events, [message(Opcode::Binary, &whole)]);

    let over = frame(0x82, &vec![7; MAX + 1]);
    assert_eq!(feed(&mut Decoder::new(), &over[..14]), Err(ProtocolError::TooBig));

    let mut decoder = Decoder::new();
    assert_eq!(feed(&mut decoder, &frame(0x02, &whole)), Ok(vec![]));
    assert_eq!(feed(&mut decoder, &frame(0x80, b"")).unwrap().len(), 1);
    assert_eq!(feed(&mut decoder, &frame(0x02, &whole)), Ok(vec![]));
    assert_eq!(feed(&mut decoder, &frame(0x80, b"x")), Err(ProtocolError::TooBig));
}

#[test]
fn control_frames_are_not_measured_by_the_limit() {
    let mut events = Vec::new();
    let mut on = |event| {
        events.push(event);
        true
    };
    Decoder::new().feed(&frame(0x8a, &[1; 125]), 10, &mut on).unwrap();
    assert_eq!(events, [Event::Pong(vec![1; 125])]);
}

#[test]
fn what_is_against_the_rules_ends_it() {
    use ProtocolError as E;
    for (bytes, error) in [
        (vec![0x81, 0x01], E::Unmasked),
        (vec![0x81, 0x00], E::Unmasked),
        (vec![0xc1, 0x80], E::ReservedBits),
        (vec![0xa1, 0x80], E::ReservedBits),
        (vec![0x91, 0x80], E::ReservedBits),
        (vec![0x83, 0x80], E::ReservedOpcode),
        (vec![0x8b, 0x80], E::ReservedOpcode),
        (vec![0x09, 0x80], E::BadControl),
        (vec![0x89, 0xfe], E::BadControl),
        (frame(0x80, b"x"), E::BadFragment),
        ([frame(0x01, b"a"), frame(0x81, b"b")].concat(), E::BadFragment),
        (frame(0x88, &[3]), E::BadClose),
        (frame(0x88, &[3, 0xed]), E::BadClose),
        (frame(0x88, &[0x0b, 0xb7]), E::BadClose),
        (frame(0x88, b"\x03\xe8\xff"), E::InvalidUtf8),
        (frame(0x81, b"\xff"), E::InvalidUtf8),
        ([frame(0x01, b"\xd0"), frame(0x80, b"x")].concat(), E::InvalidUtf8),
        (vec![0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], E::TooBig),
    ] {
        let mut decoder = Decoder::new();
        assert_eq!(feed(&mut decoder, &bytes), Err(error), "{bytes:x?}");
        assert_eq!(feed(&mut decoder, &frame(0x82, b"more")), Ok(vec![]));
        assert!(decoder.partial.is_none());
    }
    assert_eq!(E::BadFragment.close_code(), 1002);
    assert_eq!(E::InvalidUtf8.close_code(), 1007);
    assert_eq!(E::TooBig.close_code(), 1009);
}

#[test]
fn a_character_may_be_cut_by_fragments() {
    let bytes = [frame(0x01, &[0xd0]), frame(0x80, &[0xb6])].concat();
    let events = feed(&mut Decoder::new(), &bytes);
    assert_eq!(events, Ok(vec![message(Opcode::Text, "ж".as_bytes())]));
}

#[test]
fn behind_a_close_nothing_is_heard() {
    let mut decoder = Decoder::new();
    let bytes = [frame(0x88, b"\x0f\xa0bye"), frame(0x82, b"late"), vec![0xff; 9]].concat();
    let close = Event::Close { code: Some(4000), reason: b"bye".to_vec() };
    assert_eq!(feed(&mut decoder, &bytes), Ok(vec![close]));
    assert_eq!(feed(&mut decoder, &frame(0x82, b"later")), Ok(vec![]));
    let close = Event::Close { code: None, reason: vec![] };
    assert_eq!(feed(&mut Decoder::new(), &frame(0x88, b"")), Ok(vec![close]));
}

#[test]
fn the_caller_can_have_enough() {
    let mut decoder = Decoder::new();
    let bytes = frame(0x82, b"x").repeat(3);
    let mut heard = 0;
    let mut on = |_| {
        heard += 1;
        heard < 2
    };
    assert_eq!(decoder.feed(&bytes, MAX, &mut on), Ok(()));
    assert_eq!(decoder.feed(&bytes, MAX, &mut on), Ok(()));
    assert_eq!(heard, 2);
}

#[test]
fn unmasking_goes_on_where_it_stopped() {
    let plain: Vec<u8> = (0..100).collect();
    let bytes = frame(0x82, &plain);
    for cut in 0..bytes.len() {
        let mut decoder = Decoder::new();
        let (front, back) = bytes.split_at(cut);
        assert_eq!(feed(&mut decoder, front), Ok(vec![]));
        assert_eq!(feed(&mut decoder, back), Ok(vec![message(Opcode::Binary, &plain)]));
    }
}

#[test]
fn only_codes_that_may_be_sent_are_taken() {
    let allowed = |code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    for code in 0..=u16::MAX {
        let frame = frame(0x88, &code.to_be_bytes());
        let close = Event::Close { code: Some(code), reason: vec![] };
        let expected = if allowed(code) { Ok(vec![close]) } else { Err(ProtocolError::BadClose) };
        assert_eq!(feed(&mut Decoder::new(), &frame), expected);
    }
    // RFC 6455 section 7.4.1 names these as never sent.
    assert!(![999, 1004, 1005, 1006, 1015, 1016, 2999, 5000].into_iter().any(allowed));
}
