use super::*;
use crate::limits::COPIED_BYTES;

const HEADER: &str = "<?xml version='1.0'?>\n<stream:stream a='>' xmlns='jabber:server'>";

fn framer(max_bytes: usize, text: &str) -> Framer {
    let mut framer = Framer::new(max_bytes);
    framer.push(BytesMut::from(text));
    framer
}

fn frames(framer: &mut Framer) -> Result<Vec<Frame>, FramingError> {
    std::iter::from_fn(|| framer.next_frame().transpose()).collect()
}

/// The frames behind a header, however the text is cut in two and byte by byte; that it never
/// matters is asserted.
fn frames_behind_header(max_bytes: usize, text: &str) -> Result<Vec<Frame>, FramingError> {
    let found = frames(&mut framer(max_bytes, &format!("{HEADER}{text}")));
    let pieces = (0..=text.len()).map(|cut| vec![&text.as_bytes()[..cut], &text.as_bytes()[cut..]]);
    for pieces in pieces.chain([text.as_bytes().chunks(1).collect()]) {
        let mut pieced = framer(max_bytes, HEADER);
        let mut all = frames(&mut pieced);
        for piece in pieces {
            pieced.push(BytesMut::from(piece));
            all = all.and_then(|mut all| {
                all.extend(frames(&mut pieced)?);
                Ok(all)
            });
        }
        assert_eq!(all, found, "{text}");
    }
    found.map(|frames| frames[1..].to_vec())
}

fn element(text: &str) -> Frame {
    Frame::Element(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn a_stream_is_cut_into_its_parts() {
    let text = " <a/>\n\t<b c='>'>x</b><d><![CDATA[</d>]]></d>\r\n</stream:stream >\n";
    let expected = [element("<a/>"), element("<b c='>'>x</b>"), element("<d><![CDATA[</d>]]></d>"), Frame::End];
    assert_eq!(frames_behind_header(1000, text).as_deref(), Ok(&expected[..]));
}

#[test]
fn a_header_may_come_with_or_without_declaration() {
    for header in [HEADER, "<stream:stream>", "<?xml version='1.0'?><stream:stream>"] {
        for cut in 0..=header.len() {
            let mut framer = framer(1000, &header[..cut]);
            let early = frames(&mut framer).unwrap();
            framer.push(BytesMut::from(&header[cut..]));
            let late = frames(&mut framer).unwrap();
            let expected = [Frame::Header(Bytes::from(header.to_owned()))];
            assert_eq!([early, late].concat(), expected, "{header} cut at {cut}");
        }
    }
}

#[test]
fn what_is_no_header_is_refused() {
    let refused = |text| frames(&mut framer(1000, text));
    for text in ["x", "\u{feff}<stream:stream>", "</stream:stream>", "<?xml version='1.0'?>x", "\x16\x03\x01"] {
        assert_eq!(refused(text), Err(FramingError::NotWellFormed), "{text:?}");
    }
    for text in ["<?xml?><a>", "<?xsl x?><a>", "<!DOCTYPE a><a>", "<?xml version='1.0'?><!-- -->", "<?xml a>"] {
        assert_eq!(refused(text), Err(FramingError::Restricted), "{text:?}");
    }
}

#[test]
fn text_between_elements_is_refused() {
    for text in ["x<a/>", "<a/>x", "&#32;", "</a>", "</stream:streams>", "</stream:stream><a/>", "\0"] {
        assert_eq!(frames_behind_header(1000, text), Err(FramingError::NotWellFormed), "{text:?}");
    }
    for text in ["<!-- -->", "<?xml version='1.0'?>", "<![CDATA[ ]]>", "<a><!-- --></a>", "<a><?b?></a>"] {
        assert_eq!(frames_behind_header(1000, text), Err(FramingError::Restricted), "{text:?}");
    }
}

#[test]
fn a_fault_is_not_forgotten() {
    let mut framer = framer(1000, &format!("{HEADER}x<a/>"));
    assert!(matches!(framer.next_frame(), Ok(Some(Frame::Header(_)))));
    for _ in 0..2 {
        assert_eq!(framer.next_frame(), Err(FramingError::NotWellFormed));
        framer.push(BytesMut::from("<b/>"));
    }
}

#[test]
fn a_second_header_is_refused_unless_it_is_due() {
    assert_eq!(frames_behind_header(1000, "<stream:stream a='b'>"), Err(FramingError::NotWellFormed));
    let features = "<stream:features/>";
    assert_eq!(frames_behind_header(1000, features), Ok(vec![element(features)]));
    let mut framer = framer(1000, &format!("{HEADER}<success/>{HEADER}<a/>"));
    assert!(matches!(framer.next_frame(), Ok(Some(Frame::Header(_)))));
    assert_eq!(framer.next_frame(), Ok(Some(element("<success/>"))));
    framer.restart();
    assert!(matches!(framer.next_frame(), Ok(Some(Frame::Header(_)))));
    assert_eq!(framer.next_frame(), Ok(Some(element("<a/>"))));
}

#[test]
fn an_element_of_the_limit_passes_and_one_more_byte_is_too_large() {
    let text = format!("<a b=''>{}</a>", "x".repeat(88));
    assert_eq!(frames_behind_header(text.len(), &text), Ok(vec![element(&text)]));
    let head = Bytes::from_static(b"<a b=''>");
    let expected = vec![Frame::TooLarge { head, bytes: text.len() }, element("<b/>")];
    assert_eq!(frames_behind_header(text.len() - 1, &format!("{text}<b/>")), Ok(expected));
}

#[test]
fn what_is_too_large_is_not_kept() {
    let mut framer = framer(1000, HEADER);
    frames(&mut framer).unwrap();
    framer.push(BytesMut::from("<a>"));
    for _ in 0..1000 / 10 * SKIP_FACTOR - 1 {
        framer.push(BytesMut::from("<b></b>   "));
        assert_eq!(framer.next_frame(), Ok(None));
        assert!(framer.buffered() <= 1010);
    }
    framer.push(BytesMut::from("          "));
    assert_eq!(framer.next_frame(), Err(FramingError::Endless));
}

#[test]
fn an_endless_start_tag_is_refused() {
    let mut framer = framer(1000, HEADER);
    frames(&mut framer).unwrap();
    framer.push(BytesMut::from(format!("<a b='{}", "x".repeat(HEAD_BYTES - 6)).as_str()));
    assert_eq!(framer.next_frame(), Ok(None));
    framer.push(BytesMut::from("x"));
    assert_eq!(framer.next_frame(), Err(FramingError::Endless));
}

#[test]
fn an_endless_header_is_refused() {
    for text in ["<?xml ", "<stream:stream "] {
        let mut framer = framer(100, &format!("{text}{}", " ".repeat(100)));
        assert_eq!(framer.next_frame(), Err(FramingError::Endless));
    }
}

#[test]
fn an_end_with_white_space_in_it_has_a_bound_whatever_pieces_it_comes_in() {
    let end = |white: usize| format!("</stream:stream{}>", "\n".repeat(white));
    let longest = END_BYTES - "</stream:stream>".len();
    assert_eq!(frames_behind_header(100, &end(longest)), Ok(vec![Frame::End]));
    assert_eq!(frames_behind_header(100, &end(longest + 1)), Err(FramingError::NotWellFormed));
}

#[test]
fn keep_alives_do_not_pile_up() {
    let mut framer = framer(1000, HEADER);
    frames(&mut framer).unwrap();
    for _ in 0..3 {
        framer.push(BytesMut::from(" \n"));
        assert_eq!(framer.next_frame(), Ok(None));
        assert_eq!((framer.buffered(), framer.buffer.capacity()), (0, 0));
    }
}

#[test]
fn unread_bytes_can_be_taken_out() {
    let mut framer = framer(1000, &format!("{HEADER}<starttls/><smuggled/>"));
    framer.next_frame().unwrap();
    framer.next_frame().unwrap();
    assert_eq!(framer.take_rest(), "<smuggled/>");
    assert_eq!(framer.buffered(), 0);
}

#[test]
fn a_long_element_is_a_slice_of_what_was_pushed() {
    let mut framer = framer(100_000, HEADER);
    frames(&mut framer).unwrap();
    let chunk = BytesMut::from(format!("<a>{}</a><b/>", "x".repeat(COPIED_BYTES)).as_str());
    let place = chunk.as_ptr();
    framer.push(chunk);
    let Ok(Some(Frame::Element(bytes))) = framer.next_frame() else { panic!("an element") };
    assert_eq!(bytes.as_ptr(), place);
}

/// Of a block that follows, no more is copied than completes what was cut, wherever that was.
#[test]
fn what_is_read_behind_a_cut_element_is_not_copied() {
    let (element, text) = ("<a>0123456789</a>", "<a>0123456789</a>".repeat(1000));
    for cut in 0..=40 {
        let mut framer = framer(1000, HEADER);
        let (mut found, mut not_copied) = (frames(&mut framer).unwrap().len() - 1, 0);
        for piece in [&text[..cut], &text[cut..]] {
            let chunk = BytesMut::from(piece);
            let places = chunk.as_ptr_range();
            framer.push(chunk);
            loop {
                let mut block = framer.take_block();
                let whole = block.len() / element.len();
                not_copied += if places.contains(&block.as_ptr()) { whole } else { 0 };
                block.advance(whole * element.len());
                framer.put_back(block);
                found += whole;
                match framer.next_frame().unwrap() {
                    Some(frame) => assert_eq!(frame, self::element(element)),
                    None => break,
                }
                found += 1;
            }
        }
        assert_eq!((found, framer.buffered()), (1000, 0), "cut at {cut}");
        assert!(not_copied >= 997, "{not_copied} at {cut}");
    }
}

/// An element that comes in many pieces is not copied for each.
#[test]
fn a_long_element_may_come_in_many_pieces() {
    let mut framer = framer(2 << 20, HEADER);
    frames(&mut framer).unwrap();
    let text = format!("<a>{}</a>", "x".repeat(1 << 20));
    let mut places = std::collections::BTreeSet::new();
    for piece in text.as_bytes().chunks(1000) {
        assert!(frames(&mut framer).unwrap().is_empty());
        framer.push(BytesMut::from(piece));
        places.insert(framer.buffer.as_ptr());
        assert!(framer.behind.len() <= 1000, "nor kept twice");
    }
    assert_eq!(frames(&mut framer).unwrap(), [element(&text)]);
    assert!(places.len() < 20, "it moved {} times", places.len());
}

/// Else one that waits would keep 64 KiB of what has gone long since.
#[test]
fn a_short_element_keeps_nothing_of_what_was_pushed_with_it() {
    let mut framer = framer(1000, HEADER);
    frames(&mut framer).unwrap();
    framer.push(BytesMut::from("<a/><b/>"));
    let Ok(Some(Frame::Element(first))) = framer.next_frame() else { panic!("an element") };
    let Ok(Some(Frame::Element(second))) = framer.next_frame() else { panic!("another") };
    assert!(first.is_unique() && second.is_unique());
}
