//! The names in a certificate's subjectAltName, and what they cover.

use x509_parser::asn1_rs::{Any, Class, FromDer as _, Oid, Tag, oid};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::{CertificateError, Facts};

/// id-on-xmppAddr (RFC 6120 §13.7.1.4).
const XMPP_ADDRESS: Oid<'static> = oid!(1.3.6.1.5.5.7.8.5);
/// id-on-dnsSRV, an SRVName (RFC 4985).
const SRV_NAME: Oid<'static> = oid!(1.3.6.1.5.5.7.8.7);
/// The service that an SRVName has to be for; in any case.
const SERVICE: &str = "_xmpp-server.";

/// What a subjectAltName holds for us.
#[derive(Default)]
pub(super) struct Names {
    pub(super) dns: Vec<String>,
    pub(super) xmpp: Vec<String>,
}

impl Names {
    pub(super) fn read(certificate: &X509Certificate<'_>) -> Result<Self, CertificateError> {
        let extension = certificate.subject_alternative_name();
        let extension = extension.map_err(|_| CertificateError::Malformed("subjectAltName"))?;
        let mut names = Self::default();
        for name in extension.map(|extension| &extension.value.general_names).into_iter().flatten() {
            match name {
                GeneralName::DNSName(name) if is_printable(name) => names.dns.push(name.to_ascii_lowercase()),
                GeneralName::OtherName(kind, value) => names.xmpp.extend(xmpp_name(kind, value)),
                _ => (),
            }
        }
        Ok(names)
    }
}

impl Facts {
    /// Whether the certificate is for `name`, a lower-case A-label name, in whichever form: a dNSName
    /// equal to it, a wildcard for exactly its leftmost label (RFC 6125 §6.4) below a name of two labels
    /// or more, or one of XMPP's own.
    ///
    /// Whether it proves that to anybody, [`Roots`](crate::trust::Roots) says.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        let parent = name.split_once('.').map(|(_, parent)| parent).filter(|parent| parent.contains('.'));
        let covered = |dns: &String| dns == name || dns.strip_prefix("*.").is_some_and(|rest| Some(rest) == parent);
        self.names.iter().any(covered) || self.xmpp_names.iter().any(|xmpp| xmpp == name)
    }

    /// All names it is for, for an operator.
    #[must_use]
    pub fn all_names(&self) -> Vec<String> {
        self.names.iter().chain(&self.xmpp_names).cloned().collect()
    }
}

/// The domain that an otherName of XMPP's is for, normalised; nothing of other kinds, for other
/// services and for addresses of users.
fn xmpp_name(kind: &Oid<'_>, value: &[u8]) -> Option<String> {
    let ([], explicit) = Any::from_der(value).ok()? else { return None };
    let ([], text) = Any::from_der(explicit.data).ok()? else { return None };
    if (explicit.class(), explicit.tag()) != (Class::ContextSpecific, Tag(0)) || text.class() != Class::Universal {
        return None;
    }
    let string = std::str::from_utf8(text.data).ok()?;
    let domain = match text.tag() {
        Tag::Utf8String if *kind == XMPP_ADDRESS => string,
        Tag::Ia5String if *kind == SRV_NAME => without_service(string)?,
        _ => return None,
    };
    let ascii = idna::domain_to_ascii_cow(domain.as_bytes(), idna::AsciiDenyList::STD3).ok()?;
    (!ascii.is_empty() && is_printable(&ascii)).then(|| ascii.into_owned())
}

fn without_service(name: &str) -> Option<&str> {
    let (service, domain) = name.split_at_checked(SERVICE.len())?;
    service.eq_ignore_ascii_case(SERVICE).then_some(domain)
}

fn is_printable(name: &str) -> bool {
    name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte))
}

#[cfg(test)]
mod tests {
    use crate::certificate::Facts;
    use crate::testing::{Authority, Leaf, SRV_NAME, XMPP_ADDRESS};

    fn xmpp_names(kind: &[u8], text: &str, tag: u8) -> Vec<String> {
        let leaf = Leaf::new("saramago.lit").with_other_name(kind, tag, text);
        Facts::read(&Authority::new().issue(&leaf).chain[0]).unwrap().xmpp_names
    }

    #[test]
    fn an_xmpp_address_is_a_domain_in_its_normal_spelling() {
        for (text, domain) in [
            ("saramago.lit", "saramago.lit"),
            ("Saramago.LIT", "saramago.lit"),
            ("bücher.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(xmpp_names(XMPP_ADDRESS, text, 0x0c), [domain]);
        }
    }

    #[test]
    fn what_is_no_domain_is_no_xmpp_address() {
        for text in ["", "jose@saramago.lit", "saramago.lit/x", "*.saramago.lit", "sara mago.lit", "a\u{0}b"] {
            assert!(xmpp_names(XMPP_ADDRESS, text, 0x0c).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn an_srv_name_counts_for_servers_only() {
        assert_eq!(xmpp_names(SRV_NAME, "_xmpp-server.saramago.lit", 0x16), ["saramago.lit"]);
        assert_eq!(xmpp_names(SRV_NAME, "_XMPP-Server.Saramago.lit", 0x16), ["saramago.lit"]);
        for text in
            ["_xmpp-client.saramago.lit", "saramago.lit", "_xmpp-server", "_xmpp-server.", "_imaps.saramago.lit"]
        {
            assert!(xmpp_names(SRV_NAME, text, 0x16).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn another_kind_of_name_or_string_is_nothing() {
        let upn = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x14, 0x02, 0x03];
        assert!(xmpp_names(upn, "saramago.lit", 0x0c).is_empty());
        assert!(xmpp_names(XMPP_ADDRESS, "saramago.lit", 0x16).is_empty(), "UTF8String is meant");
        assert!(xmpp_names(SRV_NAME, "_xmpp-server.saramago.lit", 0x0c).is_empty(), "IA5String is meant");
    }

    #[test]
    fn a_certificate_covers_its_names_and_one_label_of_a_wildcard() {
        let leaf = Leaf::new("Pessoa.lit").and_name("*.saramago.lit").and_name("*.lit");
        let leaf = leaf.with_other_name(XMPP_ADDRESS, 0x0c, "camoes.lit");
        let facts = Facts::read(&Authority::new().issue(&leaf).chain[0]).unwrap();
        for name in ["pessoa.lit", "chat.saramago.lit", "camoes.lit"] {
            assert!(facts.covers(name), "{name}");
        }
        for name in ["saramago.lit", "a.chat.saramago.lit", "chat.pessoa.lit", "chat.camoes.lit", "lit", ""] {
            assert!(!facts.covers(name), "{name}");
        }
        assert_eq!(facts.all_names(), ["pessoa.lit", "*.saramago.lit", "*.lit", "camoes.lit"]);
    }
}
