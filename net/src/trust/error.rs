//! Why a chain is not good for a name, and why there are no roots.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::certificate::{CertificateError, date};

/// Why there are no roots. The operator's to put right.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The system has none.
    #[error("the system has no trusted root certificates: install ca-certificates or set tls.roots")]
    NoneInSystem,
    /// A file cannot be read.
    #[error("cannot read {}: {error}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file holds no certificate.
    #[error("{}: no certificate in PEM in it", .0.display())]
    NoneInFile(PathBuf),
    /// A file holds something that is no root certificate.
    #[error("{}: holds a certificate that cannot be read", .0.display())]
    Unusable(PathBuf),
}

/// Why a chain is not good for a name: the fault of whoever showed it, except where our roots are
/// not theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untrusted {
    /// No certificate was shown.
    Missing,
    /// More certificates than are looked at.
    TooLong(usize),
    /// A certificate of more bytes than are looked at.
    TooLarge(usize),
    /// The leaf cannot be used, whoever signed it.
    Leaf(CertificateError),
    /// The leaf or one of its issuers is over.
    Expired {
        /// Seconds since 1970.
        not_after: u64,
    },
    /// The leaf or one of its issuers is yet to come. A clock may be wrong, theirs or ours.
    NotYetValid {
        /// Seconds since 1970.
        not_before: u64,
    },
    /// Valid, but for somebody else.
    WrongName {
        /// The name to be proved.
        wanted: String,
        /// The names it proves.
        has: Vec<String>,
    },
    /// It has the name only as id-on-xmppAddr or SRVName, and leads to one of the system's roots.
    XmppNameOfPublicRoot,
    /// It has the name only as id-on-xmppAddr or SRVName, and its authority may not sign every name.
    XmppNameUnderConstraints,
    /// keyUsage is there, without digitalSignature.
    KeyUsage,
    /// An extended key usage is there, without serverAuth.
    Purpose,
    /// The chain leads to no root of ours.
    UnknownIssuer {
        /// Who signed the last certificate shown; fit for a log.
        issuer: String,
        /// The leaf came without intermediates.
        alone: bool,
    },
    /// The leaf vouches for itself, and is no root of ours.
    SelfSigned,
    /// The leaf may sign other certificates: it is an authority's, not a server's.
    Authority,
    /// A signature in the chain is wrong. As a rule two authorities have one name: a private root
    /// was made anew, and one side still has the old one.
    Signature,
    /// Another fault in the chain, in webpki's word for it.
    Chain(String),
}

impl Untrusted {
    pub(super) fn chain(error: &webpki::Error) -> Self {
        match error {
            webpki::Error::CertExpired { not_after, .. } => Self::Expired { not_after: not_after.as_secs() },
            webpki::Error::CertNotValidYet { not_before, .. } => Self::NotYetValid { not_before: not_before.as_secs() },
            webpki::Error::RequiredEkuNotFoundContext(_) => Self::Purpose,
            webpki::Error::CaUsedAsEndEntity => Self::Authority,
            webpki::Error::InvalidSignatureForPublicKey => Self::Signature,
            // webpki's enum is open; the rest is rare, and its names are words.
            other => Self::Chain(format!("{other:?}")),
        }
    }
}

impl From<CertificateError> for Untrusted {
    fn from(error: CertificateError) -> Self {
        Self::Leaf(error)
    }
}

impl std::error::Error for Untrusted {}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no certificate was shown"),
            Self::TooLong(count) => write!(f, "a chain of {count} certificates: at most 6 are looked at"),
            Self::TooLarge(size) => write!(f, "a certificate of {size} bytes: at most 16 KiB are looked at"),
            Self::Leaf(error) => write!(f, "{error}"),
            Self::Expired { not_after } => write!(f, "certificate expired at {}", date(*not_after)),
            Self::NotYetValid { not_before } => {
                write!(f, "certificate not valid before {}: is a clock wrong?", date(*not_before))
            }
            Self::WrongName { wanted, has } => wrong_name(f, wanted, has),
            Self::XmppNameOfPublicRoot => f.write_str(
                "certificate has the name as id-on-xmppAddr or SRVName only, which is believed of no public authority: \
                 a dNSName is needed, or the authority's root in tls.extra_roots",
            ),
            Self::XmppNameUnderConstraints => f.write_str(
                "certificate has the name as id-on-xmppAddr or SRVName only, and its authority has name constraints: \
                 a dNSName is needed",
            ),
            Self::KeyUsage => f.write_str("certificate may not sign: keyUsage without digitalSignature"),
            Self::Purpose => f.write_str("certificate is not for servers: extended key usage without serverAuth"),
            Self::UnknownIssuer { issuer, alone } => {
                write!(f, "signed by {issuer}, which leads to no trusted root")?;
                if *alone { f.write_str("; the intermediate certificate is missing (fullchain.pem)") } else { Ok(()) }
            }
            Self::SelfSigned => f.write_str(
                "certificate is signed by itself: one of an authority is needed, or it has to stand in tls.extra_roots here",
            ),
            Self::Authority => f.write_str("certificate is an authority's (CA:TRUE): a server's is needed"),
            Self::Signature => f.write_str(
                "a signature in the chain is wrong: changed, or made by another authority of the same name as ours",
            ),
            Self::Chain(what) => write!(f, "certificate chain not valid: {what}"),
        }
    }
}

/// A certificate can have a hundred names: eight will do in a log line.
fn wrong_name(f: &mut fmt::Formatter<'_>, wanted: &str, has: &[String]) -> fmt::Result {
    const SHOWN: usize = 8;
    if has.is_empty() {
        return write!(f, "certificate has no DNS name; {wanted} is needed");
    }
    let (shown, more) = has.split_at(has.len().min(SHOWN));
    write!(f, "certificate is for {}", shown.join(", "))?;
    if !more.is_empty() {
        write!(f, " and {} more", more.len())?;
    }
    write!(f, "; not for {wanted}")
}
