use super::quick::Quick;
use super::*;

/// The fault that is found in `text` on a stream between servers.
fn fault(text: &str) -> Option<Malformed> {
    check(text.as_bytes(), &Scope::SERVER).err()
}

#[test]
fn the_root_is_read() {
    let text = "\n <p:a xmlns:p='urn:p&amp;' xmlns='urn:d' from='x&#46;y' p:to='no' type='t\tt' xml:lang=''>z</p:a > ";
    let root = check(text.as_bytes(), &Scope::SERVER).unwrap();
    assert_eq!((root.namespace.as_ref(), root.name, root.prefixed), ("urn:p&", "a", true));
    assert_eq!((root.from().as_deref(), root.to().as_deref(), root.id().as_deref()), (Some("x.y"), None, None));
    assert_eq!((root.kind().as_deref(), root.lang().as_deref()), (Some("t t"), Some("")));
    assert_eq!(&text[root.span.range()], text.trim());
    assert!(text[..root.name_end].ends_with("<p:a"));
    assert_eq!(root.xmlns().map(|span| &text[span]), Some(" xmlns='urn:d'"));
}

#[test]
fn a_typical_root_is_borrowed() {
    let text = "<iq from='a@b.lit' to='c.lit' id='1' type='get'><q xmlns='urn:q'/></iq>";
    let root = check(text.as_bytes(), &Scope::SERVER).unwrap();
    assert_eq!(root.namespace, "jabber:server");
    let values = [root.from(), root.to(), root.id(), root.kind(), Some(root.namespace)];
    assert!(values.iter().all(|value| matches!(value, Some(Cow::Borrowed(_)))));
}

#[test]
fn only_one_whole_element_passes() {
    for text in ["", " ", "<a", "<a>", "<a><b></b>", "<a b='", "<a><![CDATA[x]>", "<a>&", "<", "<a b"] {
        assert!(matches!(fault(text), Some(Malformed::Incomplete | Malformed::Reference)), "{text}");
    }
    for text in ["x<a/>", "<a/>x", "<a/><b/>", "<a/></a>", "\u{feff}<a/>", "<![CDATA[]]><a/>", "<a/>&#32;"] {
        assert_eq!(fault(text), Some(Malformed::Surroundings), "{text}");
    }
}

#[test]
fn tags_are_well_formed() {
    for text in ["<a/>", "<a />", "<a\n>\t</a\r>", "<a b = \"1'>/\" c='\">'/>", "<é/>"] {
        assert_eq!(fault(text), None, "{text}");
    }
    for text in ["<a b/>", "<a b=c/>", "<a b=='c'/>", "<a b='c'd='e'/>", "<a /b='c'/>", "<a//>", "<a/ >", "<a 'b'/>"] {
        assert!(matches!(fault(text), Some(Malformed::Tag | Malformed::Name)), "{text}");
    }
    for text in [
        "<a></b>",
        "<a></a'>",
        "<a></a\">",
        "<a></a<>",
        "<a></a&>",
        "<a></a b='c'>",
        "<a></ a>",
        "<a></ab>",
        "<ab></a>",
        "<s:a xmlns:s='s'></a>",
    ] {
        assert_eq!(fault(text), Some(Malformed::EndTag), "{text}");
    }
    for text in ["< a/>", "<>", "<1/>", "<-a/>", "<:a/>", "<a:/>", "<a:b:c/>", "<a:1/>", "<a 1='b'/>", "</a>"] {
        assert!(matches!(fault(text), Some(Malformed::Name | Malformed::Tag)), "{text}");
    }
}

#[test]
fn names_of_the_fifth_edition_only_are_refused() {
    assert!(matches!(fault("<\u{10300}/>"), Some(Malformed::Name)));
    assert!(fault("<a\u{feff}/>").is_some());
}

#[test]
fn text_is_legal() {
    assert_eq!(
        fault("<a>]] > ]]&gt; ]>&#93;]><![CDATA[]]>]]><![CDATA[>]]]]><![CDATA[]]></a>"),
        Some(Malformed::CdataEnd)
    );
    assert_eq!(fault("<a>]] > ]]&gt; ]&#93;> &#93;]> <![CDATA[<&]]]]></a>"), None);
    for text in ["<a>]]></a>", "<a>]]]></a>", "<a><b/>]]></a>", "<a>&#32;]]></a>"] {
        assert_eq!(fault(text), Some(Malformed::CdataEnd), "{text}");
    }
    assert_eq!(fault("<a b=']]>'/>"), None);
    assert_eq!(fault("<a b='<'/>"), Some(Malformed::LessThan));
    assert_eq!(fault("<a b='&lt;&#60;'/>"), None);
    assert_eq!(fault("<a b='&'/>"), Some(Malformed::Reference));
    assert_eq!(fault("<a>&b</a>"), Some(Malformed::Reference));
    assert_eq!(fault("<a>&b;</a>"), Some(Malformed::Entity));
    assert_eq!(check(b"<a>\xff</a>", &Scope::SERVER), Err(Malformed::Encoding));
    assert_eq!(fault("<a>\u{0}</a>"), Some(Malformed::Character));
}

#[test]
fn prefixes_are_bound_where_they_are_used() {
    for text in [
        "<stream:a/>",
        "<a xml:b=''/>",
        "<xml:a/>",
        "<p:a p:b='' xmlns:p='urn:p'><p:c/></p:a>",
        "<a xmlns:xml='http://www.w3.org/XML/1998/namespace' xmlns=''/>",
        "<p:a xmlns:p='urn:p'><b xmlns:p='urn:q' p:c=''/><p:d/></p:a>",
    ] {
        assert_eq!(fault(text), None, "{text}");
    }
    for text in ["<p:a/>", "<a p:b=''/>", "<db:a/>", "<a><b xmlns:p='urn:p'/><p:c/></a>", "<xmlns:a/>", "<Xml:a/>"] {
        assert_eq!(fault(text), Some(Malformed::UnboundPrefix), "{text}");
    }
}

#[test]
fn declarations_keep_to_the_reserved_names() {
    for declaration in [
        "xmlns:p=''",
        "xmlns:xmlns='urn:x'",
        "xmlns:xml='urn:x'",
        "xmlns:p='http://www.w3.org/XML/1998/namespace'",
        "xmlns='http://www.w3.org/XML/1998/n&#97;mespace'",
        "xmlns:p='http://www.w3.org/2000/xmlns/'",
        "xmlns='http://www.w3.org/2000/xmlns/'",
        "xmlns='urn:x y'",
        "xmlns:p='&#10;'",
    ] {
        assert_eq!(fault(&format!("<a {declaration}/>")), Some(Malformed::Declaration), "{declaration}");
    }
}

#[test]
fn attributes_are_unique_by_their_expanded_names() {
    let bound = "xmlns:p='urn:x&#38;' xmlns:q='urn:x&amp;'";
    for attributes in ["b='' b=''", "xmlns='a' xmlns='b'", "xmlns:c='a' xmlns:c='b'", "p:b='' q:b=''", "p:b='' p:b=''"]
    {
        let text = format!("<a {bound} {attributes}/>");
        assert_eq!(fault(&text), Some(Malformed::DuplicateAttribute), "{text}");
    }
    for attributes in ["b='' B='' p:b=''", "p:b='' q:c=''", "xmlns='urn:x&#38;' p:b='' b=''", "p='' q='' xml:p=''"] {
        assert_eq!(fault(&format!("<a {bound} {attributes}/>")), None, "{attributes}");
    }
}

#[test]
fn what_a_stream_must_not_carry_is_refused() {
    for (markup, expected) in [
        ("<!-- x -->", Malformed::Comment),
        ("<?x?>", Malformed::ProcessingInstruction),
        ("<?xml version='1.0'?>", Malformed::ProcessingInstruction),
        ("<!DOCTYPE a>", Malformed::Doctype),
        ("<!ENTITY a 'b'>", Malformed::Doctype),
        ("<![cdata[]]>", Malformed::Doctype),
        ("<! [CDATA[x]]>", Malformed::Doctype),
    ] {
        assert_eq!(fault(&format!("<a>{markup}</a>")), Some(expected), "{markup}");
        assert_eq!(fault(&format!("{markup}<a/>")), Some(expected), "{markup}");
        assert_eq!(expected.stream_error().condition.as_str(), "restricted-xml");
    }
}

#[test]
fn limits_hold_to_the_last_one() {
    let nested = |depth: usize| format!("{}<b/>{}", "<a>".repeat(depth - 1), "</a>".repeat(depth - 1));
    assert_eq!(fault(&nested(limits::DEPTH)), None);
    assert_eq!(fault(&nested(limits::DEPTH + 1)), Some(Malformed::Depth));
    let attributes = |count: usize| format!("<a {}/>", (0..count).map(|n| format!("a{n}='' ")).collect::<String>());
    assert_eq!(fault(&attributes(limits::ATTRIBUTES)), None);
    assert_eq!(fault(&attributes(limits::ATTRIBUTES + 1)), Some(Malformed::Attributes));
    let named = |length: usize| format!("<{}/>", "a".repeat(length));
    assert_eq!(fault(&named(limits::NAME_BYTES)), None);
    assert_eq!(fault(&named(limits::NAME_BYTES + 1)), Some(Malformed::NameLength));
    let declared = |depth: usize| {
        let tag: String = (0..limits::NAMESPACES / 4).map(|n| format!(" xmlns:p{n}='u'")).collect();
        format!("{}{}", format!("<a{tag}>").repeat(depth), "</a>".repeat(depth))
    };
    assert_eq!(fault(&declared(3)), None);
    assert_eq!(fault(&declared(5)), Some(Malformed::Namespaces));
}

#[test]
fn a_head_is_a_start_tag_alone() {
    for head in ["<a id='1'>", "<a id='1'/>"] {
        assert_eq!(check_head(head.as_bytes(), &Scope::SERVER).unwrap().id().as_deref(), Some("1"));
    }
    assert_eq!(check_head(b"<a></a>", &Scope::SERVER), Err(Malformed::Surroundings));
    assert_eq!(check_head(b"<p:a>", &Scope::SERVER), Err(Malformed::UnboundPrefix));
    assert_eq!(check_head(b"<a", &Scope::SERVER), Err(Malformed::Incomplete));
}

/// What is read in the short way is what the checker reads.
#[test]
fn what_is_plain_is_read_alike() {
    let head = "<message from='a@a.lit' to=\"b.lit/x\" id='1' type='chat' xml:lang='pt' n='>'>";
    for rest in [
        "</message>",
        "<body>it's \"b\" &amp; c &gt; d</body></message>",
        "<a/><b c='d'/><e><f xmlns='urn:f'></f></e></message>",
        "<a\n/></message>",
        "<p:a xmlns:p='urn:p'/></message>",
        "</message'>",
        "</message\">",
        "</message<>",
        "</messages>",
        "<a></a'></message>",
        "<a'/></message>",
        "<a b='c'd='e'/></message>",
        "<a b='c' b='d'/></message>",
        "<a b='&lt;'/></message>",
        "<a b='<'/></message>",
        "<a xmlns='http://www.w3.org/2000/xmlns/'/></message>",
        "<a xmlns='u v'/></message>",
        "<xml:a xml:b=''/></message>",
        "]]></message>",
        "&nbsp;</message>",
        "<![CDATA[<]]></message>",
        "<!-- --></message>",
        "<?a?></message>",
    ] {
        for (before, after) in ["<", "'", "\"", "&", ">"].map(|mark| (mark, &head[1..])) {
            let text = format!("{before}{after}{rest}");
            let plain = Quick::new(&text).element(&Scope::SERVER);
            assert!(plain.is_none() || before == "<", "{text}");
        }
        let text = format!("{head}{rest}");
        for scope in [&Scope::SERVER, &Scope::COMPONENT] {
            let checked = check(text.as_bytes(), scope);
            let mut shapes = Shapes::default();
            for _ in 0..2 {
                let mut elements = Elements::new(text.as_bytes(), scope, &mut shapes);
                let mut root = elements.root();
                let read = elements.read_next(&mut root).then_some(root);
                assert_eq!(read, checked.clone().ok(), "{text}");
            }
            if let Some(root) = Quick::new(&text).element(scope) {
                assert_eq!(Ok(root), checked, "{text}");
            }
        }
    }
    let plain = format!("{head}<body>it's \"b\" &amp; c &gt; d</body><a/><e><f xmlns='urn:f'></f></e></message>");
    assert!(Quick::new(&plain).element(&Scope::SERVER).is_some());
}
