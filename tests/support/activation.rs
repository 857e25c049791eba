//! Steps 2 to 5 of an activation by hand, in either role: the right way, with every step in reach.

use std::sync::Arc;

use heteronym_net::clock::Now;
use heteronym_net::random;
use heteronym_proto::activation::{Run, initiator, responder};
use heteronym_proto::control::{About, Activate, Aid, Control, IdentityRequest, Request, Response};
use heteronym_proto::crypto::ActivationKey;
use heteronym_proto::identity::PeerIdentity;
use heteronym_proto::refusal::Refusal;
use heteronym_proto::transcript::Confirmation;

use super::domain::{Domain, shown, verifies};
use super::link::Link;
use super::name;

/// A request that can be sent, or changed before that.
pub(crate) struct Asking {
    /// Step 2.
    pub(crate) request: Request,
    requested: initiator::Requested,
}

/// An answer that can be sent, or changed before that.
pub(crate) struct Answering {
    /// Step 3.
    pub(crate) response: Response,
    expected: Confirmation,
}

/// The id of an activation of ours.
pub(crate) fn new_aid() -> Aid {
    random::bytes()
}

fn new_key() -> ActivationKey {
    ActivationKey::new(random::bytes())
}

/// As initiator.
impl Link {
    /// Asks for the pair of `own` and `domain` and gets it, from the identities to `<active/>`.
    pub(crate) async fn activate(&mut self, own: &Domain, domain: &str) -> Aid {
        let theirs = self.meet(own, domain).await;
        let asking = self.asking(own, &theirs);
        self.control(&Control::Request(asking.request.clone())).await;
        let response = self.hear_response(asking.request.aid).await;
        let activate = asking.conclude(own, response);
        let aid = activate.aid;
        self.control(&Control::Activate(activate)).await;
        self.expect_active(aid).await;
        aid
    }

    /// Shows `own`, and asks for the identity of `domain`.
    pub(crate) async fn meet(&mut self, own: &Domain, domain: &str) -> PeerIdentity {
        let id = hex(&random::bytes::<8>());
        self.control(&question(&id, own, domain)).await;
        match self.hear_control().await {
            Control::Identity { id: answered, identity } if answered == id => {
                assert_eq!(identity.domain.as_str(), domain);
                shown(&identity, &self.setting.peer_host)
            }
            other => panic!("expected the identity of {domain}: {other:?}"),
        }
    }

    /// Makes a request for the pair of `own` and `theirs`.
    pub(crate) fn asking(&self, own: &Domain, theirs: &PeerIdentity) -> Asking {
        self.asking_with(own, theirs, |_| ())
    }

    /// The same with a ciphertext that `change` has changed before it was signed.
    pub(crate) fn asking_with(&self, own: &Domain, theirs: &PeerIdentity, change: impl FnOnce(&mut Vec<u8>)) -> Asking {
        let own_identity = Arc::new(own.own.clone());
        let run = Run::initiated(&self.setting, new_aid(), own_identity, Arc::new(theirs.clone()));
        let (sealing, op) = initiator::Sealing::begin(run, new_key());
        let mut ct_i = own.seal(op);
        change(&mut ct_i);
        let (signing, op) = sealing.sealed(ct_i);
        let (requested, request) = signing.signed(own.sign(op));
        Asking { request, requested }
    }

    /// The response to `aid`, which comes next.
    pub(crate) async fn hear_response(&mut self, aid: Aid) -> Response {
        match self.hear_control().await {
            Control::Response(response) if response.aid == aid => response,
            other => panic!("expected a response: {other:?}"),
        }
    }

    /// Expects `<active/>`; its end.
    pub(crate) async fn expect_active(&mut self, aid: Aid) -> u64 {
        match self.hear_control().await {
            Control::Active { aid: active, expires } if active == aid => expires,
            other => panic!("expected <active/>: {other:?}"),
        }
    }
}

/// The question for `domain`'s identity.
pub(crate) fn question(id: &str, own: &Domain, domain: &str) -> Control {
    let identity = own.own.identity.clone();
    Control::IdentityRequest(IdentityRequest { id: id.to_owned(), domain: name(domain), have: None, identity })
}

impl Asking {
    /// What the refusal of it is about.
    pub(crate) fn about(&self) -> About {
        About::Aid(self.request.aid)
    }

    /// Step 4: checks the response, which has to be right; step 5.
    pub(crate) fn conclude(self, own: &Domain, response: Response) -> Activate {
        let (checking, op) = self.requested.responded(response);
        let (opening, op) = checking.checked(verifies(op)).unwrap();
        opening.opened(Some(own.open(op))).unwrap().0
    }
}

/// As responder.
impl Link {
    /// Serves the pair of `own` that the router asks for, from the identities to `<active/>`.
    pub(crate) async fn serve(&mut self, own: &Domain) -> Aid {
        let theirs = self.show(own).await;
        self.serve_request(own, &theirs).await
    }

    /// The same where the identities are known already.
    pub(crate) async fn serve_request(&mut self, own: &Domain, theirs: &PeerIdentity) -> Aid {
        let request = self.hear_request().await;
        self.answer(own, theirs, request).await
    }

    /// Serves a request that was heard already.
    pub(crate) async fn answer(&mut self, own: &Domain, theirs: &PeerIdentity, request: Request) -> Aid {
        let aid = request.aid;
        let answering = self.answering(own, theirs, request);
        self.control(&Control::Response(answering.response.clone())).await;
        self.take_activate(aid, &answering).await;
        aid
    }

    /// Answers the question for `own`'s identity, which comes next; who asked.
    pub(crate) async fn show(&mut self, own: &Domain) -> PeerIdentity {
        let question = self.hear_question().await;
        self.show_to(own, question).await
    }

    /// Answers a question for `own`'s identity that was heard already; who asked.
    pub(crate) async fn show_to(&mut self, own: &Domain, question: IdentityRequest) -> PeerIdentity {
        let IdentityRequest { id, domain, identity, .. } = question;
        assert_eq!(domain, *own.name());
        self.control(&Control::Identity { id, identity: own.own.identity.clone() }).await;
        shown(&identity, &self.setting.peer_host)
    }

    /// The question for an identity, which comes next.
    pub(crate) async fn hear_question(&mut self) -> IdentityRequest {
        match self.hear_control().await {
            Control::IdentityRequest(question) => question,
            other => panic!("expected a question for an identity: {other:?}"),
        }
    }

    /// The request, which comes next.
    pub(crate) async fn hear_request(&mut self) -> Request {
        match self.hear_control().await {
            Control::Request(request) => request,
            other => panic!("expected a request: {other:?}"),
        }
    }

    /// Checks a request, which has to be right, and makes the answer.
    pub(crate) fn answering(&self, own: &Domain, theirs: &PeerIdentity, request: Request) -> Answering {
        let (own_identity, peer) = (Arc::new(own.own.clone()), Arc::new(theirs.clone()));
        let run = Run::requested(&self.setting, &request, own_identity, peer).unwrap();
        let (checking, op) = responder::Checking::begin(run, request);
        let (opening, op) = checking.checked(verifies(op)).unwrap().delegated();
        let (sealing, op) = opening.opened(Some(own.open(op)), new_key()).unwrap();
        let (signing, op) = sealing.sealed(own.seal(op));
        let (response, expected, _) = signing.signed(own.sign(op));
        Answering { response, expected }
    }

    /// Checks `<activate/>`, which comes next, and says `<active/>`.
    pub(crate) async fn take_activate(&mut self, aid: Aid, answering: &Answering) {
        match self.hear_control().await {
            Control::Activate(activate) if activate.aid == aid => {
                assert!(answering.expected.matches(&activate.confirm), "conf_I");
            }
            other => panic!("expected <activate/>: {other:?}"),
        }
        let expires = Now::read().unix + 3600;
        self.control(&Control::Active { aid, expires }).await;
    }

    /// Refuses what the router asked.
    pub(crate) async fn refuse(&mut self, about: About, refusal: Refusal) {
        self.control(&Control::Refused { about, refusal }).await;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
