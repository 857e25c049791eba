//! Finds out whether a domain is who it says: by its certificate (XEP-0344), by asking its server about
//! the key (XEP-0220 §2.2), or by a secret that a server of ours shares with us.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use bytes::BytesMut;
use heteronym_net::wire::{Reader, Writer};
use heteronym_proto::checker::Scope;
use heteronym_proto::classic::opening::Wish;
use heteronym_proto::classic::stream::{Action, Peer, ServerStream, Setting};
use heteronym_proto::dialback::{Ends, Outcome};
use heteronym_proto::framer::Framer;
use heteronym_proto::limits::DIALBACK_WAIT;
use heteronym_proto::name::Name;
use heteronym_proto::stanza_error::Condition;
use heteronym_proto::way::Admission;
use tracing::info;

use super::ClassicStream;
use super::connecting::{Connected, NoStream};
use super::dialling::{dial_server, open_at, wish_of_own};
use super::parent::Parent;
use crate::crypto::Asker;
use crate::{Loopback, Shared};

impl ClassicStream {
    pub(super) fn check(&mut self, ends: Ends, key: String, ctx: &mut Context<Self>) {
        let Some(address) = self.address else { return };
        let (shared, id) = (self.shared.clone(), self.stream_id.clone());
        let shown = Shown { from: address.ip(), chain: self.chain.clone() };
        // A stream that we dialled was named by the other side: by what an old key of anybody is good for.
        let id_is_ours = self.dialled.is_none();
        let entry = match &self.parent {
            Some(Parent::Local(entry, _)) => Some(*entry),
            Some(Parent::Router(_)) | None => None,
        };
        let checked = async move {
            let loopback = entry.and_then(|entry| shared.config().locals.get(entry)?.attach.loopback().cloned());
            let outcome = match (entry, loopback) {
                (None, _) => check_remote(&shared, &shown, &ends, id_is_ours.then_some((id, key))).await,
                (Some(_), Some(loopback)) => check_own(&shared, &loopback, &ends, id, key).await,
                (Some(_), None) => Outcome::Error(Condition::NotAllowed),
            };
            (ends, outcome)
        };
        ctx.spawn(checked.into_actor(self).map(|(ends, outcome), this, ctx| {
            this.with_core(ctx, |stream, actions| stream.checked(ends, outcome, actions));
            this.take_frames(ctx);
        }));
    }
}

/// What the other side has shown, and from where.
struct Shown {
    from: IpAddr,
    chain: Vec<Vec<u8>>,
}

async fn check_remote(shared: &Shared, shown: &Shown, ends: &Ends, id_and_key: Option<(String, String)>) -> Outcome {
    let admission = shared.circumstances(&ends.from).admission();
    if matches!(admission, Admission::Never(_)) {
        return Outcome::Error(Condition::PolicyViolation);
    }
    match (judge(shared, shown.from, &shown.chain, &ends.from).await, admission, id_and_key) {
        (Ok(()), ..) => Outcome::Valid,
        (Err(_), Admission::Anyhow, Some((id, key))) => answered(ends, ask_remote(shared, ends, id, key)).await,
        (Err(why), Admission::ByCertificate | Admission::Never(_), _) | (Err(why), Admission::Anyhow, None) => {
            info!(domain = %ends.from, why, "the domain may not come by dialback: it is pinned, or the stream is ours");
            Outcome::Error(Condition::PolicyViolation)
        }
    }
}

async fn check_own(shared: &Shared, loopback: &Loopback, ends: &Ends, id: String, key: String) -> Outcome {
    match &loopback.secret {
        Some(secret) if secret.verify(ends, &id, &key) => Outcome::Valid,
        Some(_) => {
            info!(domain = %ends.from, "a key of our own server is not made with its dialback_secret");
            Outcome::Invalid
        }
        None => answered(ends, ask_own(shared, loopback.address, ends, id, key)).await,
    }
}

/// Whether the chain that somebody at this address shows proves `name`.
pub(super) async fn judge(shared: &Shared, from: IpAddr, chain: &[Vec<u8>], name: &Name) -> Result<(), String> {
    if chain.is_empty() {
        return Err("it shows no certificate".to_owned());
    }
    shared.crypto.judge_chain(Asker::of(from), chain.to_vec(), name.clone()).await.map(drop)
}

/// Why there is no answer: for the other side (XEP-0220 §2.4), and for people.
type NoAnswer = (Condition, String);

fn unanswered(why: impl Into<String>) -> NoAnswer {
    (Condition::RemoteServerTimeout, why.into())
}

/// The authoritative server's answer, or that there is none.
async fn answered(ends: &Ends, asked: impl Future<Output = Result<Outcome, NoAnswer>>) -> Outcome {
    let asked = tokio::time::timeout(DIALBACK_WAIT, asked).await;
    match asked.unwrap_or_else(|_| Err(unanswered("no answer in time"))) {
        Ok(outcome) => outcome,
        Err((condition, why)) => {
            info!(domain = %ends.from, why, "a dialback key could not be verified");
            Outcome::Error(condition)
        }
    }
}

/// Dials the server of `ends.from`, and asks whether `key` is its own, for the stream `id`.
async fn ask_remote(shared: &Shared, ends: &Ends, id: String, key: String) -> Result<Outcome, NoAnswer> {
    // A bound of its own: it is strangers who make us dial, and what our users need is left alone.
    let _check = shared.checks.try_acquire().map_err(|_| unanswered("too many keys are being verified at once"))?;
    let (from, to) = (ends.to.clone(), ends.from.clone());
    let wish = Wish { from, to, tls_required: true, external: false, dialback: true, bidi: false };
    let connected = dial_server(shared, &wish, None).await.map_err(|failed| match failed {
        NoStream::Failed(condition, why) => (condition, why),
        NoStream::Refused(why) => unanswered(why),
        NoStream::Shared(_) => unanswered("its stream is another's"),
    })?;
    let Connected { reader, writer, framer, scope, .. } = connected;
    ask(shared, (reader, writer, framer), scope, ends, (id, key)).await.map_err(unanswered)
}

/// Asks a server of ours.
async fn ask_own(
    shared: &Shared,
    address: SocketAddr,
    ends: &Ends,
    id: String,
    key: String,
) -> Result<Outcome, NoAnswer> {
    let wish = wish_of_own(ends.to.clone(), ends.from.clone());
    let (talk, opened) = open_at(shared, address, &wish).await.map_err(unanswered)?;
    let (reader, writer) = talk.halves.ok_or_else(|| unanswered("the connection is gone"))?;
    ask(shared, (reader, writer, talk.framer), opened.scope, ends, (id, key)).await.map_err(unanswered)
}

async fn ask(
    shared: &Shared,
    (mut reader, mut writer, mut framer): (Reader, Writer, Framer),
    scope: Scope,
    ends: &Ends,
    (id, key): (String, String),
) -> Result<Outcome, String> {
    let (mut stream, mut actions) = (asking(shared, scope), Vec::new());
    stream.verify(ends, id.clone(), key, &mut actions);
    loop {
        let answer = actions.drain(..).find_map(|action| outcome(action, ends, &id));
        if answer.is_some() {
            stream.end(&mut actions);
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
        | Action::Route(_)
        | Action::Answer(_)
        | Action::Check(..)
        | Action::Up(_)
        | Action::Down(..)
        | Action::Bounce(..)
        | Action::Reroute(..)
        | Action::Refused(_)
        | Action::End => None,
    }
}
