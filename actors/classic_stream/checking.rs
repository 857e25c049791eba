//! Finds out whether a domain is who it says: by its certificate (XEP-0344), or by asking its server
//! about the key (XEP-0220 §2.2).

use std::sync::Arc;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use bytes::BytesMut;
use heteronym_proto::checker::Scope;
use heteronym_proto::classic::opening::Wish;
use heteronym_proto::classic::stream::{Action, Peer, ServerStream, Setting};
use heteronym_proto::dialback::{Ends, Outcome};
use heteronym_proto::limits::DIALBACK_WAIT;
use heteronym_proto::stanza_error::Condition;
use tracing::info;

use super::ClassicStream;
use super::connecting::{Connected, dial_server, judge};
use crate::Shared;

impl ClassicStream {
    pub(super) fn check(&mut self, ends: Ends, key: String, ctx: &mut Context<Self>) {
        let (shared, chain, id) = (self.shared.clone(), self.chain.clone(), self.stream_id.clone());
        let checked = async move {
            let outcome = match judge(&shared, &chain, &ends.from).await {
                Ok(()) => Outcome::Valid,
                Err(_) => ask_authority(&shared, &ends, id, key).await,
            };
            (ends, outcome)
        };
        ctx.spawn(checked.into_actor(self).map(|(ends, outcome), this, ctx| {
            this.proved |= outcome == Outcome::Valid;
            this.with_core(ctx, |stream, actions| stream.checked(ends, outcome, actions));
        }));
    }
}

/// Dials the server of `ends.from`, and asks whether `key` is its own, for the stream `id`.
async fn ask_authority(shared: &Shared, ends: &Ends, id: String, key: String) -> Outcome {
    let asked = tokio::time::timeout(DIALBACK_WAIT, ask(shared, ends, id, key)).await;
    match asked.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
        Ok(outcome) => outcome,
        Err(why) => {
            info!(domain = %ends.from, why, "a dialback key could not be verified");
            Outcome::Error(Condition::RemoteServerTimeout)
        }
    }
}

async fn ask(shared: &Shared, ends: &Ends, id: String, key: String) -> Result<Outcome, String> {
    let (from, to) = (ends.to.clone(), ends.from.clone());
    let wish = Wish { from, to, tls_required: true, external: false, dialback: true, bidi: false };
    let Connected { mut reader, mut writer, mut framer, scope, .. } =
        dial_server(shared, &wish).await.map_err(|(_, why)| why)?;
    let (mut stream, mut actions) = (asking(shared, scope), Vec::new());
    stream.verify(ends, id.clone(), key, &mut actions);
    loop {
        let answer = actions.drain(..).find_map(|action| outcome(action, ends, &id));
        if answer.is_some() {
            stream.close(None, &mut actions);
        }
        let mut out = BytesMut::new();
        stream.fill(&mut out, usize::MAX >> 1);
        writer.write(&out).await.map_err(|error| error.to_string())?;
        if let Some(answer) = answer {
            return answer;
        }
        match framer.next_frame().map_err(|error| error.stream_error().to_string())? {
            Some(frame) => stream.frame(&frame, &mut actions),
            None => {
                let read = reader.read().await.map_err(|error| error.to_string())?;
                framer.push(read.ok_or("it closed the connection")?);
            }
        }
    }
}

/// A stream on which nothing is done but to ask.
fn asking(shared: &Shared, scope: Scope) -> ServerStream {
    let config = shared.config();
    let setting = Setting {
        peer: Peer::Remote,
        hosted: Arc::clone(&config.hosted),
        secret: shared.dialback.clone(),
        dialback: false,
        limits: config.limits.clone(),
        stream_id: String::new(),
        scope,
        lang: None,
        max_bytes: None,
    };
    ServerStream::new(setting, false)
}

/// What an action says about the question of `ends` and `id`; most say nothing.
fn outcome(action: Action, ends: &Ends, id: &str) -> Option<Result<Outcome, String>> {
    match action {
        Action::Verified(of, stream_id, outcome) => (of == *ends && stream_id == id).then_some(Ok(outcome)),
        Action::Close(error) => {
            Some(Err(error.map_or_else(|| "it closed the stream".to_owned(), |error| error.to_string())))
        }
        Action::Write
        | Action::Deliver(..)
        | Action::Route(..)
        | Action::Answer(_)
        | Action::Check(..)
        | Action::Up(_)
        | Action::Down(..)
        | Action::Bounce(..)
        | Action::Refused(_) => None,
    }
}
