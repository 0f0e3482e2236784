//! Makes the kubelet's requests readable for an HTTP/2 server in Rust.
//!
//! The kubelet dials a registration socket by its bare path, and gRPC for Go then sends that path, percent-encoded, as the
//! `:authority` of each request (`%2Fvar%2Flib%2F...`; all versions up to 1.37 do). The `http` crate holds a `%` in a host name for
//! malformed, so that h2 resets the stream before any of our code sees it. Here the bytes pass through on their way to
//! the server, and the value of `:authority` is replaced. Nothing else is changed, and nothing is decoded: a header block
//! (RFC 7541) is cut into its representations by their lengths alone. The replacement is never longer than what it
//! replaces, so that no entry of the server's table of headers is evicted before the client evicts it.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use tokio::net::UnixStream;
use tracing::debug;

const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;
/// What a client may send unless it is told otherwise, and the server does not.
const MAX_FRAME: usize = 1 << 14;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// The index of `:authority` in the table of HPACK that both sides know.
const AUTHORITY: usize = 1;
const REPLACEMENT: &[u8] = b"localhost";

/// The connection as the server shall see it.
pub(super) fn replaced(kubelet: UnixStream) -> io::Result<UnixStream> {
    let (relay, server) = UnixStream::pair()?;
    tokio::spawn(async move {
        let (from_kubelet, mut to_kubelet) = kubelet.into_split();
        let (mut from_server, to_server) = relay.into_split();
        let ended = tokio::select! {
            ended = requests(from_kubelet, to_server) => ended,
            ended = copy(&mut from_server, &mut to_kubelet) => ended.map(|_| ()),
        };
        debug!(?ended, "connection of the kubelet ended");
    });
    Ok(server)
}

/// Passes frames on until the client ends the connection.
async fn requests(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut preface = [0; PREFACE];
    from.read_exact(&mut preface).await?;
    to.write_all(&preface).await?;
    loop {
        let mut frame = read_frame(&mut from).await?;
        if frame.kind == HEADERS {
            frame = whole_headers(frame, &mut from).await?;
        }
        to.write_all(&frame.bytes()?).await?;
    }
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: [u8; 4],
    payload: Vec<u8>,
}

impl Frame {
    fn bytes(&self) -> io::Result<Vec<u8>> {
        let length = u32::try_from(self.payload.len()).map_err(io::Error::other)?;
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream);
        bytes.extend(&self.payload);
        Ok(bytes)
    }
}

async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut header = [0; FRAME_HEADER];
    from.read_exact(&mut header).await?;
    let [high, middle, low, kind, flags, stream @ ..] = header;
    let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    if length > MAX_FRAME {
        return Err(malformed("a frame is too long"));
    }
    let mut payload = vec![0; length];
    from.read_exact(&mut payload).await?;
    Ok(Frame {
        kind,
        flags,
        stream,
        payload,
    })
}

/// The headers in one frame, without padding and priority, and with another `:authority`.
async fn whole_headers(mut frame: Frame, from: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut block = unpadded(&frame)?.to_vec();
    while frame.flags & END_HEADERS == 0 {
        let next = read_frame(from).await?;
        if next.kind != CONTINUATION || block.len() + next.payload.len() > MAX_FRAME {
            return Err(malformed("headers are too long, or not continued"));
        }
        block.extend(&next.payload);
        frame.flags |= next.flags & END_HEADERS;
    }
    frame.flags &= !(PADDED | PRIORITY);
    frame.payload = rewritten(&block).ok_or_else(|| malformed("headers are malformed"))?;
    Ok(frame)
}

fn unpadded(frame: &Frame) -> io::Result<&[u8]> {
    let short = || malformed("headers are too short");
    let mut payload = frame.payload.as_slice();
    if frame.flags & PADDED != 0 {
        let (padding, rest) = payload.split_first().ok_or_else(short)?;
        let length = rest.len().checked_sub(usize::from(*padding));
        payload = &rest[..length.ok_or_else(short)?];
    }
    if frame.flags & PRIORITY != 0 {
        payload = payload.get(5..).ok_or_else(short)?;
    }
    Ok(payload)
}

/// The header block with another `:authority`; `None` when it is malformed.
fn rewritten(block: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(block.len());
    let mut rest = block;
    while let Some(first) = rest.first() {
        // RFC 7541, section 6: what a representation is, and how many bits its number has.
        let (bits, literal) = match first {
            0x80.. => (7, false),
            0x40..=0x7f => (6, true),
            0x20..=0x3f => (5, false),
            0x00..=0x1f => (4, true),
        };
        let (index, mut end) = integer(rest, bits)?;
        if !literal {
            out.extend(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        if index == 0 {
            end += string(&rest[end..])?;
        }
        let value = string(&rest[end..])?;
        out.extend(&rest[..end]);
        if index == AUTHORITY {
            let shorter = &REPLACEMENT[..REPLACEMENT.len().min(value - 1)];
            out.push(u8::try_from(shorter.len()).ok()?);
            out.extend(shorter);
        } else {
            out.extend(&rest[end..end + value]);
        }
        rest = &rest[end + value..];
    }
    Some(out)
}

/// A number with a prefix of `bits`, and how many bytes it takes (section 5.1).
fn integer(bytes: &[u8], bits: u32) -> Option<(usize, usize)> {
    let mask = (1_usize << bits) - 1;
    let mut value = usize::from(*bytes.first()?) & mask;
    if value < mask {
        return Some((value, 1));
    }
    for (index, byte) in bytes.iter().enumerate().skip(1).take(4) {
        value += usize::from(byte & 0x7f) << (7 * (index - 1));
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// How many bytes a string takes with its length; it is all there (section 5.2).
fn string(bytes: &[u8]) -> Option<usize> {
    let (length, start) = integer(bytes, 7)?;
    let end = start.checked_add(length)?;
    (end <= bytes.len()).then_some(end)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn literal(first: u8, value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first, u8::try_from(value.len()).unwrap()];
        bytes.extend(value);
        bytes
    }

    #[test]
    fn only_the_value_of_the_authority_changes() {
        let method = vec![0x83];
        let path = literal(0x44, b"/pluginregistration.Registration/GetInfo");
        let named = [vec![0x40], literal(2, b"te")[1..].to_vec(), vec![1, b'x']].concat();
        let authority = literal(0x41, b"%2Fvar%2Flib%2Fkubelet%2Fx.sock");
        let before = [&method, &path, &authority, &named].map(Vec::as_slice);
        let replaced = literal(0x41, b"localhost");
        let after = [&method, &path, &replaced, &named].map(Vec::as_slice);
        assert_eq!(rewritten(&before.concat()), Some(after.concat()));
    }

    #[test]
    fn a_known_entry_of_the_table_is_passed_on() {
        let block = [0x83, 0xbe, 0x3f, 0xe1, 0x1f];
        assert_eq!(rewritten(&block), Some(block.to_vec()));
    }

    #[test]
    fn the_replacement_is_never_longer() {
        assert_eq!(rewritten(&literal(0x41, b"%2")), Some(literal(0x41, b"lo")));
        assert_eq!(rewritten(&literal(0x01, b"")), Some(literal(0x01, b"")));
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        assert_eq!(rewritten(&[0x41, 9, b'x']), None);
        assert_eq!(rewritten(&[0x41]), None);
        assert_eq!(rewritten(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_grow(block in proptest::collection::vec(any::<u8>(), 0..256)) {
            if let Some(after) = rewritten(&block) {
                prop_assert!(after.len() <= block.len());
            }
        }
    }
}
