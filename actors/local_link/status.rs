//! What the status page says of a local server.

use actix::{Handler, Message};
use heteronym_proto::status::{LocalState, LocalStatus};

use super::LocalLink;
use crate::Attach;

/// For the status page.
#[derive(Message)]
#[rtype(result = "Option<LocalStatus>")]
pub struct GetStatus;

impl Handler<GetStatus> for LocalLink {
    type Result = Option<LocalStatus>;

    fn handle(&mut self, GetStatus: GetStatus, _: &mut Self::Context) -> Self::Result {
        let config = self.shared.config();
        let local = config.locals.get(self.entry).filter(|local| !local.is_gone())?;
        let written = self.link.as_ref().map_or(0, |link| link.out.borrow().written);
        let state = match (self.is_up(), &local.attach) {
            (true, _) => LocalState::Up,
            (false, Attach::DialComponent { .. } | Attach::S2s(_) | Attach::Jabberd2 { .. }) => LocalState::Connecting,
            (false, Attach::Component { .. } | Attach::Gone) => LocalState::Down,
        };
        Some(LocalStatus {
            name: local.name.clone(),
            kind: local.attach.kind(),
            state,
            domains: local.domains,
            stanzas_in: self.stanzas_in,
            stanzas_out: self.stanzas_out + written,
            last_error: self.last_error.clone(),
        })
    }
}
