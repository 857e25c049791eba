//! `attach`: how one of our own servers and the router find each other.

use std::net::SocketAddr;

use heteronym_proto::name::Name;
use serde::{Deserialize, Serialize};

use super::reader::Section;
use super::secret::Secret;
use super::value::{Choice, choice, name, remote_address, text};

/// How one of our own servers is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attach {
    /// It dials our component port (XEP-0114).
    Component {
        /// What it proves to know.
        secret: Secret,
    },
    /// We dial its component port (XEP-0114).
    DialComponent {
        /// The component port.
        address: SocketAddr,
        /// The component's name there.
        name: Name,
        /// What we prove to know.
        secret: Secret,
        /// Where its own outgoing stanzas come to our `local_s2s` listener, how that is checked.
        s2s: Option<LoopbackS2s>,
    },
    /// Loopback S2S both ways.
    S2s(LoopbackS2s),
    /// The default route of jabberd2's router.
    Jabberd2 {
        /// The router's port.
        address: SocketAddr,
        /// Who we are there.
        user: String,
        /// What we prove to know.
        secret: Secret,
    },
}

/// S2S with one of our own servers over the loopback interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopbackS2s {
    /// The server's S2S port.
    pub address: SocketAddr,
    /// What its dialback keys are made from; none: the server is asked back.
    pub dialback_secret: Option<Secret>,
}

/// The word for an attachment, in the file and on the status page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachKind {
    /// It dials our component port.
    Component,
    /// We dial its component port.
    DialComponent,
    /// Loopback S2S both ways.
    S2s,
    /// The default route of jabberd2's router.
    Jabberd2,
}

impl Choice for AttachKind {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("component", Self::Component),
        ("dial-component", Self::DialComponent),
        ("s2s", Self::S2s),
        ("jabberd2", Self::Jabberd2),
    ];
}

impl AttachKind {
    /// The word itself.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::DialComponent => "dial-component",
            Self::S2s => "s2s",
            Self::Jabberd2 => "jabberd2",
        }
    }
}

impl Attach {
    pub(super) fn read(entry: &mut Section<'_>) -> Option<Self> {
        entry.needed_section("attach", "{ kind = \"component\", secret = \"…\" } or another kind", |section| {
            match section.needed("kind", "component | dial-component | s2s | jabberd2", choice) {
                Some(AttachKind::Component) => Self::read_component(section),
                Some(AttachKind::DialComponent) => Self::read_dial_component(section),
                Some(AttachKind::S2s) => LoopbackS2s::read(section).map(Self::S2s),
                Some(AttachKind::Jabberd2) => Self::read_jabberd2(section),
                None => {
                    // Without the kind nobody knows which of the others belong here.
                    section.ignore_rest();
                    None
                }
            }
        })
    }

    fn read_component(section: &mut Section<'_>) -> Option<Self> {
        Some(Self::Component { secret: section.secret("secret", "secret_file", true)? })
    }

    fn read_dial_component(section: &mut Section<'_>) -> Option<Self> {
        let address = read_address(section);
        let name = section.needed("name", "the component's name in that server", name);
        let secret = section.secret("secret", "secret_file", true);
        let s2s = section.optional("s2s", LoopbackS2s::read);
        Some(Self::DialComponent { address: address?, name: name?, secret: secret?, s2s: s2s.flatten() })
    }

    fn read_jabberd2(section: &mut Section<'_>) -> Option<Self> {
        let address = read_address(section);
        let user = section.value("user", |value| text(value).map(str::to_owned));
        let secret = section.secret("secret", "secret_file", true);
        Some(Self::Jabberd2 { address: address?, user: user.unwrap_or_else(|| "jabberd".to_owned()), secret: secret? })
    }

    /// Its word.
    #[must_use]
    pub fn kind(&self) -> AttachKind {
        match self {
            Self::Component { .. } => AttachKind::Component,
            Self::DialComponent { .. } => AttachKind::DialComponent,
            Self::S2s(_) => AttachKind::S2s,
            Self::Jabberd2 { .. } => AttachKind::Jabberd2,
        }
    }

    /// The address we dial, if we are the one who dials.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Component { .. } => None,
            Self::DialComponent { address, .. } | Self::Jabberd2 { address, .. } => Some(*address),
            Self::S2s(s2s) => Some(s2s.address),
        }
    }

    /// How its own outgoing S2S streams are checked, if it sends any to us.
    #[must_use]
    pub fn loopback_s2s(&self) -> Option<&LoopbackS2s> {
        match self {
            Self::S2s(s2s) => Some(s2s),
            Self::DialComponent { s2s, .. } => s2s.as_ref(),
            Self::Component { .. } | Self::Jabberd2 { .. } => None,
        }
    }
}

impl LoopbackS2s {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let address = read_address(section);
        let dialback_secret = section.secret("dialback_secret", "dialback_secret_file", false);
        Some(Self { address: address?, dialback_secret })
    }
}

fn read_address(section: &mut Section<'_>) -> Option<SocketAddr> {
    section.needed("address", "\"address:port\" of the server", remote_address)
}
