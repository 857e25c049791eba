//! Stream headers.

use bytes::BytesMut;
use heteronym_proto::framer::{Frame, Framer};
use heteronym_proto::header::Header;

/// Reads `data` as a header.
///
/// # Panics
/// If a header cannot be written and read back, or the framer would cut it elsewhere.
pub fn run(data: &[u8]) {
    let Ok(header) = Header::parse(data) else { return };
    assert!(!header.namespace.is_empty());
    let written = header.to_bytes();
    assert_eq!(Header::parse(&written).as_ref(), Ok(&header));
    for bytes in [data, &written] {
        let mut framer = Framer::new(bytes.len());
        framer.push(BytesMut::from(bytes));
        let expected = Frame::Header(bytes.trim_ascii().to_vec().into());
        assert_eq!(framer.next_frame(), Ok(Some(expected)));
        assert_eq!(framer.next_frame(), Ok(None));
    }
}
