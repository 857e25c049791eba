//! A link with jabberd2's router, which sends us what it does not deliver itself, each stanza in a route.

use std::time::Duration;

use actix::{AsyncContext, Context};
use heteronym_proto::jabberd2::{Arrived, Routes};
use heteronym_proto::limits::Limits;
use heteronym_proto::local_stream::Verdict;
use heteronym_proto::name::Name;
use heteronym_proto::stream_error::StreamError;
use tracing::{info, warn};

use super::LocalLink;
use super::routing::Outgoing;

/// How long its parts may take to say what they serve.
const SETTLE: Duration = Duration::from_secs(5);

/// What is spoken on a link.
pub(super) enum Protocol {
    /// XEP-0114.
    Component,
    /// That of jabberd2's router.
    Jabberd2(Routes),
}

impl Protocol {
    /// The largest frame that is kept, in bytes. Of a route that is dropped nobody can be told: there is some
    /// room in it for a stanza that is too large.
    pub(super) fn frame_bytes(&self, limits: &Limits) -> usize {
        match self {
            Self::Component => limits.stanza_bytes,
            Self::Jabberd2(_) => limits.stanza_bytes.saturating_mul(4),
        }
    }

    /// Under which name routes are written, where they are.
    pub(super) fn name(&self) -> Option<String> {
        match self {
            Self::Component => None,
            Self::Jabberd2(routes) => Some(routes.name().to_owned()),
        }
    }
}

impl LocalLink {
    /// Takes a frame of jabberd2's router; `Some`: the stream is to end.
    pub(super) fn take_route(&mut self, arrived: Arrived, outgoing: &mut Outgoing) -> Option<Option<StreamError>> {
        match arrived {
            Arrived::Stanza(stanza) => match self.core.in_route(&stanza) {
                // The stream is that of all its users, and none of them ends it.
                Verdict::Error(error) => self.drop_route(&error.to_string()),
                Verdict::End(_) | Verdict::Count | Verdict::TellCount => self.drop_route("no stanza"),
                verdict @ (Verdict::Route(..) | Verdict::Answer(..) | Verdict::Alive(_)) => {
                    return self.follow(verdict, outgoing);
                }
            },
            Arrived::Error(error) => {
                if let Some(verdict) = self.core.by_loopback(&error) {
                    return self.follow(verdict, outgoing);
                }
            }
            Arrived::Nothing => (),
            Arrived::Advertised(domain, available) => {
                let ours = self.shared.config().hosted.entry(domain.as_str()) == Some(self.entry);
                if available && !ours {
                    info!(local = self.name(), %domain, "jabberd2 serves a domain that is not in this entry");
                }
                if ours {
                    self.compare_domains();
                }
            }
            Arrived::Closed => return Some(None),
            Arrived::Ended(error) => {
                self.last_error = Some(format!("jabberd2's router ended the stream: {error}"));
                return Some(None);
            }
            Arrived::Malformed(malformed) => self.drop_route(&malformed.to_string()),
            Arrived::TooLarge(bytes) => self.drop_route(&format!("{bytes} bytes are too large")),
        }
        None
    }

    fn drop_route(&self, why: &str) {
        self.shared.metrics.stanza_error("not-forwarded", "route");
        warn!(local = self.name(), why, "what came in a route of jabberd2's was dropped");
    }

    /// Once jabberd2 had time to say what it serves, an entry's domains are looked for among it.
    pub(super) fn compare_domains_later(&self, ctx: &mut Context<Self>) {
        let generation = self.generation;
        ctx.run_later(SETTLE, move |this, _| {
            if this.generation == generation {
                this.compare_domains();
            }
        });
    }

    fn compare_domains(&mut self) {
        let Some(Protocol::Jabberd2(routes)) = self.link.as_ref().map(|link| &link.protocol) else { return };
        let hosted = &self.shared.config().hosted;
        let missing = hosted.of(self.entry).into_iter().filter(|domain| !routes.serves(domain));
        let missing: Vec<&str> = missing.map(Name::as_str).collect();
        let why = (!missing.is_empty()).then(|| format!("jabberd2 does not serve {}", missing.join(", ")));
        if why != self.last_error {
            if let Some(why) = &why {
                warn!(local = self.name(), why, "a domain of this entry is down: is it in sm.xml?");
            }
            self.last_error = why;
        }
    }
}
