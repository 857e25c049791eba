//! Where other parsers differ from ours, and why that is right or at least harmless.
//!
//! Each difference has an example, which is a test: one that does not occur any more has to go.

use heteronym_proto::checker::{Malformed, Scope, check};
use heteronym_proto::limits;

use crate::by_rxml;
use crate::reading::{Reading, ours};

/// One kind of case that is not read alike.
pub(crate) struct Difference {
    /// Whose rule it is, and where it stands.
    pub(crate) why: &'static str,
    /// The shortest case that shows it.
    pub(crate) example: fn() -> String,
    explains: fn(&Outcome<'_>) -> bool,
}

/// What became of one case.
pub(crate) struct Outcome<'a> {
    /// The case.
    pub(crate) case: &'a [u8],
    /// Our reading.
    pub(crate) ours: &'a Reading<Malformed>,
    /// The other parser's.
    pub(crate) theirs: &'a Reading,
}

impl Outcome<'_> {
    /// Whether both refuse the case, or read the same in it.
    pub(crate) fn is_alike(&self) -> bool {
        match (self.ours, self.theirs) {
            (Ok(ours), Ok(theirs)) => ours == theirs,
            (Err(_), Err(_)) => true,
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        }
    }

    /// What in `table` explains that it is not alike.
    pub(crate) fn explained_by(&self, table: &'static [Difference]) -> Option<&'static Difference> {
        table.iter().find(|difference| (difference.explains)(self))
    }

    fn only_we_refuse(&self, faults: &[Malformed]) -> bool {
        self.theirs.is_ok() && self.ours.as_ref().is_err_and(|fault| faults.contains(fault))
    }

    fn only_they_refuse(&self, with: &str) -> bool {
        self.ours.is_ok() && self.theirs.as_ref().is_err_and(|fault| fault.contains(with))
    }

    fn holds(&self, bytes: &[u8]) -> bool {
        self.case.windows(bytes.len()).any(|window| window == bytes)
    }
}

const WHITE_IN_NAMESPACE: Difference = Difference {
    why: "ours: a parser that collapses white space would take two namespaces for one",
    example: || "<a xmlns='u v'/>".to_owned(),
    explains: |outcome| outcome.only_we_refuse(&[Malformed::Declaration]) && declares_white(outcome.case),
};

const LIMITS: Difference = Difference {
    why: "ours: bounds of what is kept while a stanza is checked",
    example: || format!("<{}/>", "a".repeat(limits::NAME_BYTES + 1)),
    explains: |outcome| {
        let bounds = [Malformed::Depth, Malformed::Attributes, Malformed::Namespaces, Malformed::NameLength];
        outcome.only_we_refuse(&bounds)
    },
};

const REFERENCE_AROUND: Difference = Difference {
    why: "RFC 6120 §11.7: white space stands between elements, and a reference to it is none",
    example: || "<a/>&#32;".to_owned(),
    explains: |outcome| outcome.only_we_refuse(&[Malformed::Surroundings]) && outcome.holds(b"&#"),
};

const CDATA_AROUND: Difference = Difference {
    why: "RFC 6120 §11.7: white space stands between elements, and CDATA is none",
    example: || "<![CDATA[ ]]><a/>".to_owned(),
    explains: |outcome| outcome.only_we_refuse(&[Malformed::Surroundings]) && outcome.holds(b"<![CDATA["),
};

/// expat reads documents; what a stream must not have in them is for its users to refuse.
pub(crate) const EXPAT: [Difference; 7] = [
    Difference {
        why: "RFC 6120 §11.1: no comments",
        example: || "<a><!-- --></a>".to_owned(),
        explains: |outcome| outcome.only_we_refuse(&[Malformed::Comment]),
    },
    Difference {
        why: "RFC 6120 §11.1: no processing instructions",
        example: || "<a><?b?></a>".to_owned(),
        explains: |outcome| outcome.only_we_refuse(&[Malformed::ProcessingInstruction]),
    },
    Difference {
        why: "RFC 6120 §11.1: neither of them behind an element",
        example: || "<a/><?b?>".to_owned(),
        explains: |outcome| {
            let is_restricted = outcome.holds(b"<?") || outcome.holds(b"<!--");
            outcome.only_we_refuse(&[Malformed::Surroundings]) && is_restricted
        },
    },
    WHITE_IN_NAMESPACE,
    LIMITS,
    REFERENCE_AROUND,
    CDATA_AROUND,
];

/// rxml 0.14 knows RFC 6120's restrictions.
pub(crate) const RXML: [Difference; 9] = [
    Difference {
        why: "ours: names of XML 1.0 up to its fourth edition, as expat has them (docs/decisions/007)",
        example: || "<\u{10300}/>".to_owned(),
        explains: |outcome| {
            let faults = [Malformed::Name, Malformed::Tag, Malformed::EndTag];
            outcome.only_we_refuse(&faults) && String::from_utf8_lossy(outcome.case).chars().any(is_fifth_only)
        },
    },
    Difference {
        why: "rxml's error: Namespaces §3 forbids to bind anything to the namespace of xmlns",
        example: || "<a xmlns='http://www.w3.org/2000/xmlns/'/>".to_owned(),
        explains: |outcome| outcome.only_we_refuse(&[Malformed::Declaration]) && outcome.holds(b"/2000/xmlns/"),
    },
    Difference {
        why: "rxml's error: XML 1.0 §3.1 forbids an attribute twice, and a declaration of the default namespace is one",
        example: || "<a xmlns='u' xmlns='v'/>".to_owned(),
        explains: |outcome| outcome.only_we_refuse(&[Malformed::DuplicateAttribute]) && outcome.holds(b"xmlns"),
    },
    Difference {
        why: "rxml's error: a carriage return alone ends an attribute's value, or is lost (XML 1.0 §2.11)",
        example: || "<a b='\rc'/>".to_owned(),
        explains: |outcome| outcome.ours.is_ok() && outcome.holds(b"\r") && is_alike_but_for(outcome.case, '\r', ' '),
    },
    Difference {
        why: "rxml's bound: a reference has up to eight characters, zeros included",
        example: || "<a>&#000000065;</a>".to_owned(),
        explains: |outcome| outcome.only_they_refuse("UndeclaredEntity") && outcome.holds(b"&#"),
    },
    WHITE_IN_NAMESPACE,
    LIMITS,
    REFERENCE_AROUND,
    CDATA_AROUND,
];

/// Whether rxml and we agree about the case with one character in place of another.
fn is_alike_but_for(case: &[u8], bad: char, good: char) -> bool {
    let mended = String::from_utf8_lossy(case).replace(bad, &good.to_string()).into_bytes();
    let (ours, theirs) = (&ours(&mended), &by_rxml::read(&mended));
    let outcome = Outcome { case: &mended, ours, theirs };
    outcome.is_alike() || outcome.explained_by(&RXML).is_some()
}

/// Whether some declaration's value has white space, or a reference that may be some.
fn declares_white(case: &[u8]) -> bool {
    let text = String::from_utf8_lossy(case);
    text.match_indices("xmlns").any(|(at, _)| {
        let quote = text[at..].find(['\'', '"']).map_or(text.len(), |quote| at + quote);
        let mut value = text[quote..].chars();
        let quote = value.next();
        let value = value.as_str().split(|c| Some(c) == quote).next().unwrap_or_default();
        value.contains([' ', '\t', '\r', '\n']) || value.contains("&#")
    })
}

/// Whether only the fifth edition lets names begin or go on with `c`, according to the parser that follows it.
fn is_fifth_only(c: char) -> bool {
    let names = [format!("<{c}/>"), format!("<a{c}/>")];
    let is_theirs =
        |name: &String| check(name.as_bytes(), &Scope::SERVER).is_err() && by_rxml::read(name.as_bytes()).is_ok();
    !c.is_ascii() && names.iter().any(is_theirs)
}
