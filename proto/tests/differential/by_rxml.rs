//! What rxml reads.

use rxml::{Event, Options, Parse, Parser, WithOptions, XMLNS_XML};

use crate::reading::{Reading, on_stream, write};

/// rxml bounds names and values by the same number.
const MAX_BYTES: usize = 1 << 20;

/// An element whose end is still to come.
struct Open {
    namespace: String,
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    /// As they are written.
    children: String,
}

#[derive(Default)]
struct Tree {
    open: Vec<Open>,
    /// What stands on the stream.
    elements: Vec<String>,
    has_text: bool,
}

/// What rxml makes of a case.
pub(crate) fn read(case: &[u8]) -> Reading {
    let mut parser = Parser::with_options(Options { max_token_length: MAX_BYTES, ..Options::default() });
    let mut tree = Tree::default();
    parser
        .parse_all(&mut &on_stream(case)[..], true, |event| tree.take(event))
        .map_err(|fault| format!("{fault:?}"))?;
    match tree {
        Tree { has_text: true, .. } => Err("text on the stream".to_owned()),
        Tree { mut elements, .. } if elements.len() == 1 => Ok(elements.remove(0)),
        Tree { elements, .. } => Err(format!("{} elements", elements.len())),
    }
}

impl Tree {
    fn take(&mut self, event: Event) {
        match event {
            Event::XmlDeclaration(..) => {}
            Event::StartElement(_, (namespace, name), attributes) => {
                let attributes = attributes.into_iter().filter_map(kept).collect();
                let (namespace, name) = (namespace.to_string(), name.to_string());
                self.open.push(Open { namespace, name, attributes, text: String::new(), children: String::new() });
            }
            Event::Text(_, text) => match &mut self.open[..] {
                [] | [_] => self.has_text |= !text.trim_ascii().is_empty(),
                [.., innermost] => innermost.text.push_str(&text),
            },
            Event::EndElement(_) => self.end(),
        }
    }

    fn end(&mut self) {
        let Some(ended) = self.open.pop() else { return };
        let mut out = String::new();
        let attributes = ended.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        write(&mut out, &ended.namespace, &ended.name, attributes, &ended.text);
        out = out + &ended.children + ">";
        match &mut self.open[..] {
            [] => {}
            [_] => self.elements.push(out),
            [.., parent] => parent.children.push_str(&out),
        }
    }
}

/// Attributes as [`heteronym_proto::element::Element`] keeps them.
fn kept(((namespace, name), value): ((rxml::Namespace<'static>, rxml::NcName), String)) -> Option<(String, String)> {
    match namespace.as_str() {
        "" => Some((name.to_string(), value)),
        XMLNS_XML if name == "lang" => Some(("xml:lang".to_owned(), value)),
        _ => None,
    }
}
