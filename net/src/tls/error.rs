//! Why there is no TLS, and whose fault it is.

use std::io;

use rustls::{AlertDescription, Error};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The peer broke off in the middle.
    #[error("the peer closed the connection during the TLS handshake")]
    Closed,
    /// The peer refused us with an alert.
    #[error("the peer refused the TLS handshake: {}", words(*.0))]
    Refused(AlertDescription),
    /// The peer showed no certificate.
    #[error("the peer showed no certificate; hosts need one on both sides")]
    NoCertificate,
    /// The peer speaks other protocols than XMPP between servers.
    #[error("the peer did not offer the application protocol xmpp-server (ALPN)")]
    NoXmpp,
    /// The peer asked for a name that is not ours; it may have an old DNS record.
    #[error("the peer asked for a host name that is not served here (SNI)")]
    UnknownName,
    /// The peer cannot do what we need: as a rule TLS 1.3.
    #[error("the peer cannot do TLS 1.3 as we need it ({0})")]
    Incompatible(String),
    /// The peer does not keep to TLS, or does not speak it at all.
    #[error("the peer broke the rules of TLS ({0})")]
    Misbehaved(String),
    /// The name to dial is no DNS name; ours to fix.
    #[error("{0:?} is not a host name")]
    BadName(String),
    /// TLS could not be set up; ours to fix.
    #[error("TLS cannot be used: {0}")]
    Setup(Error),
    /// The connection failed below TLS.
    #[error("{0}")]
    Io(io::Error),
}

impl TlsError {
    /// Finds rustls's error in what the handshake, or a read or a write after it, returned.
    ///
    /// A peer that does not take our certificate says so only after our handshake is over: the
    /// first read fails, and this has the words for it.
    #[must_use]
    pub fn from_io(error: io::Error) -> Self {
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            return Self::from_tls(tls);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(error),
        }
    }

    fn from_tls(error: &Error) -> Self {
        match error {
            Error::AlertReceived(alert) => Self::Refused(*alert),
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::NoApplicationProtocol => Self::NoXmpp,
            Error::PeerIncompatible(why) => Self::Incompatible(format!("{why:?}")),
            // The one general error of a server's handshake: no certificate for the SNI.
            Error::General(why) if why.contains("no server certificate chain resolved") => Self::UnknownName,
            Error::General(_) => Self::Setup(error.clone()),
            // rustls's enum is open; what is left is about what the peer sent.
            other => Self::Misbehaved(other.to_string()),
        }
    }
}

/// What the common alerts mean between two hosts; the others by their names in RFC 8446.
fn words(alert: AlertDescription) -> String {
    let meaning = match alert {
        AlertDescription::CertificateRequired => "it saw no certificate of ours",
        AlertDescription::AccessDenied | AlertDescription::UnrecognisedName => "it does not serve that host name",
        AlertDescription::NoApplicationProtocol => "it does not speak xmpp-server (ALPN) on this port",
        AlertDescription::ProtocolVersion => "it cannot do TLS 1.3",
        AlertDescription::HandshakeFailure => "it has no algorithms in common with us",
        AlertDescription::UnknownCA | AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "it does not trust our certificate"
        }
        AlertDescription::CertificateExpired => "it takes our certificate for expired",
        _ => "",
    };
    if meaning.is_empty() { format!("{alert:?}") } else { format!("{meaning} ({alert:?})") }
}
