use proptest::prelude::*;

use super::*;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const PING: u8 = 9;
const PONG: u8 = 10;

const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// A client's frame, written out by the letter of RFC 6455, section 5.2.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | u8::try_from(len).unwrap()),
        len @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// What came out, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Out {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

fn feed(decoder: &mut Decoder, bytes: &[u8], out: &mut Vec<Out>) -> Result<(), DecodeError> {
    decoder.feed(bytes, |incoming| {
        out.push(match incoming {
            Incoming::Text(text) => Out::Text(text.to_string()),
            Incoming::Binary(bytes) => Out::Binary(bytes.to_vec()),
            Incoming::Ping(bytes) => Out::Ping(bytes.to_vec()),
            Incoming::Pong(_) => Out::Pong,
            Incoming::Close(frame) => Out::Close(frame.map(|frame| frame.code.into())),
            Incoming::Frame(frame) => panic!("{frame}"),
        });
    })
}

fn decode(bytes: &[u8], max: usize) -> Result<Vec<Out>, DecodeError> {
    let mut out = Vec::new();
    feed(&mut Decoder::new(max), bytes, &mut out).map(|()| out)
}

/// A message, cut into that many fragments with pings between them.
fn fragmented(message: &Out, pieces: usize) -> (Vec<u8>, Vec<Out>) {
    let (opcode, payload) = match message {
        Out::Text(text) => (TEXT, text.as_bytes()),
        Out::Binary(bytes) => (BINARY, bytes.as_slice()),
        _ => panic!("only data is cut"),
    };
    let size = payload.len().div_ceil(pieces).max(1);
    let chunks: Vec<&[u8]> = match payload.is_empty() {
        true => vec![payload],
        false => payload.chunks(size).collect(),
    };
    let (mut bytes, mut out) = (Vec::new(), Vec::new());
    for (n, chunk) in chunks.iter().enumerate() {
        let fin = if n + 1 == chunks.len() { 0x80 } else { 0 };
        let opcode = if n == 0 { opcode } else { CONTINUATION };
        bytes.extend(frame(fin | opcode, chunk));
        if fin == 0 {
            bytes.extend(frame(0x80 | PING, b"between"));
            out.push(Out::Ping(b"between".to_vec()));
        }
    }
    out.push(message.clone());
    (bytes, out)
}

fn message() -> impl Strategy<Value = Out> {
    prop_oneof![
        "\\PC{0,200}".prop_map(Out::Text),
        proptest::collection::vec(any::<u8>(), 0..70_000).prop_map(Out::Binary),
    ]
}

proptest! {
    /// Whatever is sent arrives, however it is cut into fragments and into reads.
    #[test]
    fn messages_arrive_whole_however_they_are_cut(
        messages in proptest::collection::vec((message(), 1..4usize), 1..5),
        cuts in proptest::collection::vec(1..5000usize, 1..20),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (message, pieces) in &messages {
            let (more, out) = fragmented(message, *pieces);
            bytes.extend(more);
            expected.extend(out);
        }
        let (mut decoder, mut out, mut rest) = (Decoder::new(1 << 20), Vec::new(), &bytes[..]);
        for cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            feed(&mut decoder, now, &mut out).unwrap();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(out, expected);
        prop_assert_eq!(decoder.buffered(), 0, "nothing is held between messages");
    }

    /// No bytes make it panic or hold more than it may.
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut decoder = Decoder::new(100);
        if feed(&mut decoder, &bytes, &mut Vec::new()).is_ok() {
            prop_assert!(decoder.buffered() <= 100 + 14 + READ_BYTES + 100 + 100);
        }
    }
}

#[test]
fn what_breaks_the_rules_is_refused_with_its_close_code() {
    let unmasked = [0x81, 0x01, b'x'].to_vec();
    let mut nested = frame(TEXT, b"a");
    nested.extend(frame(0x80 | TEXT, b"b"));
    let cases: [(&str, Vec<u8>, u16); 14] = [
        ("reserved bit", frame(0xc1, b""), 1002),
        ("reserved opcode", frame(0x83, b""), 1002),
        ("reserved control opcode", frame(0x8b, b""), 1002),
        ("no mask", unmasked, 1002),
        ("fragmented ping", frame(PING, b""), 1002),
        ("ping over 125 bytes", frame(0x80 | PING, &[0; 126]), 1002),
        ("nothing to continue", frame(0x80, b""), 1002),
        ("message inside a message", nested, 1002),
        ("half a close code", frame(0x88, &[3]), 1002),
        ("close code 1005", frame(0x88, &1005u16.to_be_bytes()), 1002),
        ("close code 999", frame(0x88, &999u16.to_be_bytes()), 1002),
        ("close reason not UTF-8", frame(0x88, &[3, 0xe8, 0xff]), 1007),
        ("text not UTF-8", frame(0x81, &[0xff]), 1007),
        ("over the limit", frame(0x82, &[0; 1001]), 1009),
    ];
    for (name, bytes, code) in cases {
        let closed = match decode(&bytes, 1000) {
            Err(error) => Some(error.code()),
            Ok(out) => match out[..] {
                [Out::Close(code)] => code,
                _ => None,
            },
        };
        assert_eq!(closed, Some(code), "{name}");
    }
}

#[test]
fn a_message_over_the_limit_is_refused_by_its_header_alone() {
    let header = [&[0x82, 0x80 | 127][..], &(1u64 << 62).to_be_bytes(), &MASK].concat();
    assert_eq!(decode(&header, 1000), Err(DecodeError::TooLarge));
    let mut fragments = frame(BINARY, &[0; 600]);
    fragments.extend(&frame(0, &[0; 401])[..8]);
    assert_eq!(decode(&fragments, 1000), Err(DecodeError::TooLarge), "all fragments count");
}

#[test]
fn closing_is_read_with_and_without_a_code() {
    assert_eq!(decode(&frame(0x88, b""), 10), Ok(vec![Out::Close(None)]));
    let with_code = frame(0x88, &[&1000u16.to_be_bytes()[..], b"bye"].concat());
    assert_eq!(decode(&with_code, 10), Ok(vec![Out::Close(Some(1000))]));
    assert_eq!(decode(&frame(0x80 | PONG, b"x"), 10), Ok(vec![Out::Pong]));
}
