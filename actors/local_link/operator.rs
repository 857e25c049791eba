//! What an operator asks of a local server's actor.

use std::sync::Arc;

use actix::{Context, Handler, Message};
use heteronym_proto::status::{QueuePlace, QueueStatus};

use super::{LocalLink, core};
use crate::{Attach, Config};

/// Another configuration counts from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reconfigure {
    /// The one before.
    pub before: Arc<Config>,
    /// The one that counts.
    pub config: Arc<Config>,
}

impl Handler<Reconfigure> for LocalLink {
    type Result = ();

    fn handle(&mut self, Reconfigure { before, config }: Reconfigure, ctx: &mut Self::Context) {
        self.core = core(&config, self.entry);
        self.servers.reconfigure();
        if let Some(link) = &mut self.link {
            link.framer.set_max_bytes(link.protocol.frame_bytes(&config.limits));
        }
        let (Some(old), Some(new)) = (before.locals.get(self.entry), config.locals.get(self.entry)) else { return };
        if old.attach.differs(&new.attach) {
            self.attach_anew(&new.attach, ctx);
        }
    }
}

impl LocalLink {
    /// The link there is leads elsewhere from now on.
    fn attach_anew(&mut self, attach: &Attach, ctx: &mut Context<Self>) {
        self.last_error = None;
        // It dials again once what there is has ended, where it is to.
        self.end_streams();
        self.end_link(None, ctx);
        match attach {
            Attach::DialComponent { .. } | Attach::S2s(_) | Attach::Jabberd2 { .. } => self.dial(ctx),
            Attach::Component { .. } | Attach::Gone => (),
        }
    }
}

/// What waits for this server.
#[derive(Message)]
#[rtype(result = "Option<QueueStatus>")]
pub struct GetQueue;

impl Handler<GetQueue> for LocalLink {
    type Result = Option<QueueStatus>;

    fn handle(&mut self, GetQueue: GetQueue, _: &mut Self::Context) -> Self::Result {
        let of_link = self.link.as_ref().map(|link| link.out.borrow());
        let (queue, bytes, why) = match &of_link {
            Some(out) => (&out.waiting, out.bytes, "the server does not read"),
            None => (&self.waiting, self.waiting_bytes, "the server is not attached"),
        };
        let since = queue.front()?.since;
        Some(QueueStatus {
            place: QueuePlace::Local,
            name: Some(self.name()),
            pair: None,
            count: queue.iter().map(|waiting| waiting.stanzas.len()).sum(),
            bytes,
            oldest: crate::now().instant.saturating_duration_since(since),
            why: why.to_owned(),
        })
    }
}
