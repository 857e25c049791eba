//! A scripted peer: it says whatever a test wants, and can do every step of an activation by itself.

use std::sync::Arc;

use bytes::BytesMut;
use heteronym_proto::activation::{Run, Setting, initiator, responder};
use heteronym_proto::checker::Scope;
use heteronym_proto::control::{Activate, Aid, Control, IdentityRequest, Request, Response};
use heteronym_proto::crypto::{CryptoOp, CryptoResult};
use heteronym_proto::element::Element;
use heteronym_proto::framer::{Frame, Framer};
use heteronym_proto::identity::{OwnIdentity, PeerIdentity};
use heteronym_proto::now::Now;
use heteronym_proto::transcript::Exporter;
use zeroize::Zeroizing;

use crate::bench::{MINE, OTHER, Setup, Side, name, start, xml};
use crate::vault::{Certificate, Vault};

/// One host stream of ours, and the other host as a script.
pub(crate) struct Scripted {
    pub(crate) side: Side,
    pub(crate) now: Now,
    pub(crate) vault: Vault,
    pub(crate) setting: Setting,
    framer: Framer,
}

impl Scripted {
    /// Our host with the link chosen.
    pub(crate) fn new() -> Self {
        Self::with(Setup::mine())
    }

    pub(crate) fn with(setup: Setup) -> Self {
        Self::of(setup, OTHER, Setup::other().domains)
    }

    /// The same with another peer host, whose name has to be the larger one, and its domains.
    pub(crate) fn of(setup: Setup, host: &str, domains: Vec<Certificate>) -> Self {
        let mut scripted = Self::dialled_by(setup, host, domains);
        let now = scripted.now;
        scripted.side.act(now, |stream, out| stream.choose(now, out));
        assert_eq!(scripted.controls(), [Control::Chosen]);
        scripted
    }

    pub(crate) fn not_chosen(setup: Setup) -> Self {
        Self::dialled_by(setup, OTHER, Setup::other().domains)
    }

    fn dialled_by(setup: Setup, host: &str, domains: Vec<Certificate>) -> Self {
        let (now, exporter) = (start(), Exporter::new(&setup.exporter));
        let mut framer = Framer::new(1 << 20);
        framer.push(BytesMut::from(crate::bench::HEADER));
        assert!(matches!(framer.next_frame(), Ok(Some(Frame::Header(_)))));
        Self {
            side: Side::new(setup, host, now),
            now,
            vault: Vault::new(&name(host), domains),
            setting: Setting { our_host: name(host), peer_host: name(MINE), exporter },
            framer,
        }
    }

    /// Says `control` to our host.
    pub(crate) fn say(&mut self, control: &Control) {
        self.side.hear(self.now, &xml(control));
    }

    /// Says whatever it is.
    pub(crate) fn raw(&mut self, text: &str) {
        self.side.hear(self.now, text);
    }

    /// The elements that our host has written, as text.
    pub(crate) fn heard(&mut self) -> Vec<String> {
        let written = self.side.written();
        self.framer.push(written);
        let mut elements = Vec::new();
        while let Some(frame) = self.framer.next_frame().expect("what we send can be framed") {
            match frame {
                Frame::Element(bytes) => elements.push(String::from_utf8(bytes.to_vec()).expect("UTF-8")),
                Frame::End => elements.push("</stream:stream>".to_owned()),
                Frame::Header(_) | Frame::TooLarge { .. } => panic!("{frame:?}"),
            }
        }
        elements
    }

    /// The control elements that our host has written; it wrote nothing else.
    pub(crate) fn controls(&mut self) -> Vec<Control> {
        self.heard().iter().map(|text| read(text)).collect()
    }

    /// The only control element that our host has written.
    pub(crate) fn control(&mut self) -> Control {
        let controls = self.controls();
        assert_eq!(controls.len(), 1, "{controls:?}");
        controls.into_iter().next().expect("one")
    }

    /// A domain of the peer's.
    pub(crate) fn own(&self, domain: &str) -> Arc<OwnIdentity> {
        Arc::new(self.vault.own(&name(domain), self.now.unix).expect("hosted"))
    }

    /// A domain of ours, as the peer sees it.
    pub(crate) fn ours(&self, domain: &str) -> Arc<PeerIdentity> {
        let identity = self.side.vault.own(&name(domain), self.now.unix).expect("hosted").identity;
        let op = CryptoOp::CheckIdentity { identity, host: name(MINE) };
        match self.vault.perform(op, self.now.unix) {
            CryptoResult::CheckIdentity(Ok(identity)) => identity,
            other => panic!("{other:?}"),
        }
    }

    /// Shows a domain of the peer's, and takes the answer from what our host has written.
    pub(crate) fn show(&mut self, theirs: &str, ours: &str) {
        let identity = self.own(theirs).identity.clone();
        let request = IdentityRequest { id: format!("x-{theirs}"), domain: name(ours), have: None, identity };
        self.say(&Control::IdentityRequest(request));
        assert!(matches!(self.control(), Control::Identity { .. }));
    }

    fn run(&self, theirs: &str, ours: &str, aid: Aid) -> Run {
        Run::initiated(&self.setting, aid, self.own(theirs), self.ours(ours))
    }

    fn perform(&self, op: CryptoOp) -> CryptoResult {
        self.vault.perform(op, self.now.unix)
    }

    fn seal(&self, op: CryptoOp) -> Vec<u8> {
        let CryptoResult::Seal(Some(sealed)) = self.perform(op) else { panic!("no seal") };
        sealed
    }

    pub(crate) fn sign(&self, op: CryptoOp) -> Vec<u8> {
        let CryptoResult::Sign(Some(signature)) = self.perform(op) else { panic!("no signature") };
        signature
    }

    /// Step 2, by the book.
    pub(crate) fn request(&self, theirs: &str, ours: &str, aid: Aid) -> (initiator::Requested, Request) {
        let (sealing, op) = initiator::Sealing::begin(self.run(theirs, ours, aid), Zeroizing::new([1; 32]));
        let (signing, op) = sealing.sealed(self.seal(op));
        signing.signed(self.sign(op))
    }

    /// Steps 4 and 5, by the book.
    pub(crate) fn activate(&self, requested: initiator::Requested, response: Response) -> Activate {
        let (checking, op) = requested.responded(response);
        let CryptoResult::Verify(holds) = self.perform(op) else { panic!("no verdict") };
        let (opening, op) = checking.checked(holds).expect("our signature holds");
        let CryptoResult::Open(k_r) = self.perform(op) else { panic!("no key") };
        opening.opened(k_r).expect("our confirmation is right").0
    }

    /// Has the peer show itself, ask for a pair and hear our response.
    pub(crate) fn until_response(&mut self, theirs: &str, ours: &str, aid: Aid) -> Activate {
        self.show(theirs, ours);
        let (requested, request) = self.request(theirs, ours, aid);
        self.say(&Control::Request(request));
        let Control::Response(response) = self.control() else { panic!("no response") };
        self.activate(requested, response)
    }

    /// Has the peer activate a pair.
    pub(crate) fn until_active(&mut self, theirs: &str, ours: &str, aid: Aid) {
        let activate = self.until_response(theirs, ours, aid);
        self.say(&Control::Activate(activate));
        assert!(matches!(self.control(), Control::Active { .. }));
        assert!(self.side.is_active(ours, theirs));
    }

    /// Has a user of ours write to the peer's domain, and the peer hear our request.
    pub(crate) fn until_requested(&mut self, ours: &str, theirs: &str) -> Request {
        self.side.send(self.now, ours, theirs, "waits");
        self.until_requested_again()
    }

    /// Hears the request of a run that began by itself; the domain's identity is shown again if asked for.
    pub(crate) fn until_requested_again(&mut self) -> Request {
        match self.control() {
            Control::IdentityRequest(IdentityRequest { id, domain, .. }) => {
                let identity = self.own(domain.as_str()).identity.clone();
                self.say(&Control::Identity { id, identity });
            }
            Control::Request(request) => return request,
            other => panic!("{other:?}"),
        }
        let Control::Request(request) = self.control() else { panic!("no request") };
        request
    }

    /// Step 3, by the book; with the confirmation to expect.
    pub(crate) fn response(&self, request: &Request) -> (Response, [u8; 32]) {
        let (own, peer) = (self.own(request.responder.as_str()), self.ours(request.initiator.as_str()));
        let run = Run::requested(&self.setting, request, own, peer).expect("the request names what is current");
        let (checking, op) = responder::Checking::begin(run, request.clone());
        let CryptoResult::Verify(holds) = self.perform(op) else { panic!("no verdict") };
        let (opening, op) = checking.checked(holds).expect("our signature holds").delegated();
        let CryptoResult::Open(k_i) = self.perform(op) else { panic!("no key") };
        let (sealing, op) = opening.opened(k_i, Zeroizing::new([2; 32])).expect("it is for the peer");
        let (signing, op) = sealing.sealed(self.seal(op));
        let (response, expected, _) = signing.signed(self.sign(op));
        (response, *expected.as_bytes())
    }

    /// Lets time pass, with every time-out at its moment.
    pub(crate) fn advance(&mut self, by: std::time::Duration) {
        let end = self.now.instant + by;
        while let Some(next) = self.side.stream.deadline().filter(|next| *next <= end) {
            self.now = crate::bench::later(self.now, next.saturating_duration_since(self.now.instant));
            self.side.timeout(self.now);
        }
        self.now = crate::bench::later(self.now, end.saturating_duration_since(self.now.instant));
    }
}

/// A control element from its text.
pub(crate) fn read(text: &str) -> Control {
    let element = Element::parse(text.as_bytes(), &Scope::SERVER).expect("well-formed");
    Control::read(&element).unwrap_or_else(|_| panic!("{text}"))
}
