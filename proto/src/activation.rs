//! Steps 2 to 5 (protocol §5): one type per state and role, so that no step can be left out.
//!
//! Each state takes the one result that leads on and yields the next state with what is to be done.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::control::{Activate, Request, Response};
use crate::crypto::{ActivationKey, CryptoOp};
use crate::identity::{OwnIdentity, PeerIdentity};
use crate::name::Name;
use crate::refusal::Refusal;
use crate::suite::{Fingerprint, Suite};
use crate::transcript::{Confirmation, Context, Exporter, Schedule};

/// The two domains of a run, as both are known, and what its transcripts are about.
#[derive(Clone, Debug)]
pub struct Run {
    own: Arc<OwnIdentity>,
    peer: Arc<PeerIdentity>,
    /// H(kem) of our key that the peer encrypts to.
    kem: Option<Fingerprint>,
    context: Context,
}

/// What both roles need to begin.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Our host.
    pub our_host: Name,
    /// The peer host.
    pub peer_host: Name,
    /// The TLS channel.
    pub exporter: Exporter,
}

/// What is left of a run that succeeded.
#[derive(Debug)]
pub struct Proven {
    /// What names the activation, and resumes it. It stays where it is until it is overwritten.
    pub resumable: Box<Resumable>,
    /// The earlier end of both certificates, Unix seconds.
    pub certificates_end: u64,
}

/// What an activation that is in force can be resumed with (protocol §6).
#[derive(Debug)]
pub struct Resumable {
    /// rs, with which the pair is resumed on another link.
    pub secret: Zeroizing<[u8; 32]>,
    /// rid, which names it there.
    pub id: [u8; 16],
    /// The id of the run.
    pub aid: [u8; 16],
}

impl Run {
    /// The run that we initiate.
    #[must_use]
    pub fn initiated(setting: &Setting, aid: [u8; 16], own: Arc<OwnIdentity>, peer: Arc<PeerIdentity>) -> Self {
        let context = Context {
            aid,
            exporter: setting.exporter.clone(),
            host_i: setting.our_host.clone(),
            host_r: setting.peer_host.clone(),
            domain_i: own.identity.domain.clone(),
            domain_r: peer.domain.clone(),
            leaf_i: own.certificate.fingerprint,
            leaf_r: peer.certificate.fingerprint,
            kem_i: own.kem_hash(),
            kem_r: peer.kem_hash(),
            suite_i: own.suite,
            suite_r: peer.suite,
        };
        Self { kem: own.kem_hash(), own, peer, context }
    }

    /// The run that `request` asks of us.
    ///
    /// # Errors
    /// [`Refusal::UnsupportedSuite`] and [`Refusal::StaleIdentity`] where the request does not name
    /// the suites, certificates and KEM keys that both domains have now; our KEM key may be one that
    /// was renewed less than its hour ago.
    pub fn requested(
        setting: &Setting,
        request: &Request,
        own: Arc<OwnIdentity>,
        peer: Arc<PeerIdentity>,
    ) -> Result<Self, Refusal> {
        let suites = (Suite::parse(&request.initiator_suite), Suite::parse(&request.responder_suite));
        let (Some(suite_i), Some(suite_r)) = suites else { return Err(Refusal::UnsupportedSuite) };
        let current = request.initiator_cert == peer.certificate.fingerprint
            && request.responder_cert == own.certificate.fingerprint
            && request.initiator_kem == peer.kem_hash()
            && own.accepts_kem(request.responder_kem);
        if !current {
            return Err(Refusal::StaleIdentity);
        }
        if (suite_i, suite_r) != (peer.suite, own.suite) {
            return Err(Refusal::UnsupportedSuite);
        }
        let context = Context {
            aid: request.aid,
            exporter: setting.exporter.clone(),
            host_i: setting.peer_host.clone(),
            host_r: setting.our_host.clone(),
            domain_i: request.initiator.clone(),
            domain_r: request.responder.clone(),
            leaf_i: request.initiator_cert,
            leaf_r: request.responder_cert,
            kem_i: request.initiator_kem,
            kem_r: request.responder_kem,
            suite_i,
            suite_r,
        };
        Ok(Self { kem: request.responder_kem, own, peer, context })
    }

    fn sign(&self, message: Vec<u8>) -> CryptoOp {
        CryptoOp::Sign { domain: self.own.identity.domain.clone(), message }
    }

    fn verify(&self, message: Vec<u8>, signature: Vec<u8>) -> CryptoOp {
        CryptoOp::Verify { signer: Arc::clone(&self.peer), message, signature }
    }

    fn seal(&self, label: [u8; 32], key: &ActivationKey) -> CryptoOp {
        CryptoOp::Seal { to: Arc::clone(&self.peer), label, key: key.clone() }
    }

    fn open(&self, label: [u8; 32], ciphertext: Vec<u8>) -> CryptoOp {
        CryptoOp::Open { domain: self.own.identity.domain.clone(), kem: self.kem, label, ciphertext }
    }

    fn proven(&self, schedule: Schedule) -> Proven {
        let Schedule { resume_secret, resume_id, .. } = schedule;
        let certificates_end = self.own.certificate.not_after.min(self.peer.certificate.not_after);
        let resumable = Box::new(Resumable { secret: resume_secret, id: resume_id, aid: self.context.aid });
        Proven { resumable, certificates_end }
    }
}

/// The initiator's states: `Sealing` → `Signing` → `Requested` → `Checking` → `Opening` → proven.
pub mod initiator {
    use super::{Activate, ActivationKey, CryptoOp, Proven, Refusal, Request, Response, Run, Schedule};

    /// K_I is being encrypted to the responder.
    #[derive(Debug)]
    pub struct Sealing {
        run: Run,
        k_i: ActivationKey,
    }

    impl Sealing {
        /// Begins with `k_i`, 32 random bytes.
        #[must_use]
        pub fn begin(run: Run, k_i: ActivationKey) -> (Self, CryptoOp) {
            let op = run.seal(run.context.request_label(), &k_i);
            (Self { run, k_i }, op)
        }

        /// ct_I is there; sign.
        #[must_use]
        pub fn sealed(self, ct_i: Vec<u8>) -> (Signing, CryptoOp) {
            let Self { run, k_i } = self;
            let op = run.sign(run.context.request(&ct_i));
            (Signing { run, k_i, ct_i }, op)
        }
    }

    /// m1 is being signed.
    #[derive(Debug)]
    pub struct Signing {
        run: Run,
        k_i: ActivationKey,
        ct_i: Vec<u8>,
    }

    impl Signing {
        /// sig_I is there; the request can be sent.
        #[must_use]
        pub fn signed(self, sig_i: Vec<u8>) -> (Requested, Request) {
            let Self { run, k_i, ct_i } = self;
            let context = &run.context;
            let request = Request {
                aid: context.aid,
                initiator: context.domain_i.clone(),
                responder: context.domain_r.clone(),
                initiator_cert: context.leaf_i,
                responder_cert: context.leaf_r,
                initiator_kem: context.kem_i,
                responder_kem: context.kem_r,
                initiator_suite: context.suite_i.as_str().to_owned(),
                responder_suite: context.suite_r.as_str().to_owned(),
                key: ct_i.clone(),
                signature: sig_i.clone(),
            };
            (Requested { run, k_i, ct_i, sig_i }, request)
        }
    }

    /// The request is under way.
    #[derive(Debug)]
    pub struct Requested {
        run: Run,
        k_i: ActivationKey,
        ct_i: Vec<u8>,
        sig_i: Vec<u8>,
    }

    impl Requested {
        /// The response is there; check its signature.
        #[must_use]
        pub fn responded(self, response: Response) -> (Checking, CryptoOp) {
            let Self { run, k_i, ct_i, sig_i } = self;
            let m2 = run.context.response(&ct_i, &sig_i, &response.key);
            let op = run.verify(m2.clone(), response.signature.clone());
            (Checking { run, k_i, m2, response }, op)
        }
    }

    /// sig_R is being checked.
    #[derive(Debug)]
    pub struct Checking {
        run: Run,
        k_i: ActivationKey,
        m2: Vec<u8>,
        response: Response,
    }

    impl Checking {
        /// The check is done; decrypt.
        ///
        /// # Errors
        /// [`Refusal::BadProof`] where the signature did not hold.
        pub fn checked(self, holds: bool) -> Result<(Opening, CryptoOp), Refusal> {
            let Self { run, k_i, m2, response } = self;
            if !holds {
                return Err(Refusal::BadProof);
            }
            let op = run.open(run.context.response_label(), response.key.clone());
            Ok((Opening { run, k_i, m2, response }, op))
        }
    }

    /// ct_R is being decrypted.
    #[derive(Debug)]
    pub struct Opening {
        run: Run,
        k_i: ActivationKey,
        m2: Vec<u8>,
        response: Response,
    }

    impl Opening {
        /// K_R is there: step 4, trusted; `<activate/>` can be sent.
        ///
        /// # Errors
        /// [`Refusal::BadProof`] where nothing was decrypted or conf_R is wrong.
        pub fn opened(self, k_r: Option<ActivationKey>) -> Result<(Activate, Proven), Refusal> {
            let Self { run, k_i, m2, response } = self;
            let k_r = k_r.ok_or(Refusal::BadProof)?;
            let schedule: Schedule = run.context.schedule(&m2, &response.signature, &k_i, &k_r);
            if !schedule.confirm_responder.matches(&response.confirm) {
                return Err(Refusal::BadProof);
            }
            let activate = Activate {
                aid: run.context.aid,
                initiator: run.context.domain_i.clone(),
                responder: run.context.domain_r.clone(),
                confirm: schedule.confirm_initiator.as_bytes().to_vec(),
            };
            let proven = run.proven(schedule);
            Ok((activate, proven))
        }
    }
}

/// The responder's states: `Checking` → (delegation) `Checked` → `Opening` → `Sealing` → `Signing` → answered.
pub mod responder {
    use super::{ActivationKey, Confirmation, CryptoOp, Name, Proven, Refusal, Request, Response, Run};

    /// sig_I is being checked.
    #[derive(Debug)]
    pub struct Checking {
        run: Run,
        request: Request,
    }

    impl Checking {
        /// Begins with a request that names what both domains have now.
        #[must_use]
        pub fn begin(run: Run, request: Request) -> (Self, CryptoOp) {
            let op = run.verify(run.context.request(&request.key), request.signature.clone());
            (Self { run, request }, op)
        }

        /// The check is done.
        ///
        /// # Errors
        /// [`Refusal::BadProof`] where the signature did not hold.
        pub fn checked(self, holds: bool) -> Result<Checked, Refusal> {
            let Self { run, request } = self;
            if holds { Ok(Checked { run, request }) } else { Err(Refusal::BadProof) }
        }
    }

    /// The signature held; the delegation is asked for, and nothing is decrypted before it.
    #[derive(Debug)]
    pub struct Checked {
        run: Run,
        request: Request,
    }

    impl Checked {
        /// Whose delegation is asked for.
        #[must_use]
        pub fn initiator(&self) -> &Name {
            &self.request.initiator
        }

        /// The initiator's domain named the peer host: decrypt.
        #[must_use]
        pub fn delegated(self) -> (Opening, CryptoOp) {
            let Self { run, request } = self;
            let op = run.open(run.context.request_label(), request.key.clone());
            (Opening { run, request }, op)
        }
    }

    /// ct_I is being decrypted.
    #[derive(Debug)]
    pub struct Opening {
        run: Run,
        request: Request,
    }

    impl Opening {
        /// K_I is there; encrypt `k_r`, 32 random bytes, to the initiator.
        ///
        /// # Errors
        /// [`Refusal::BadProof`] where nothing was decrypted.
        pub fn opened(self, k_i: Option<ActivationKey>, k_r: ActivationKey) -> Result<(Sealing, CryptoOp), Refusal> {
            let Self { run, request } = self;
            let k_i = k_i.ok_or(Refusal::BadProof)?;
            let op = run.seal(run.context.response_label(), &k_r);
            Ok((Sealing { run, request, k_i, k_r }, op))
        }
    }

    /// K_R is being encrypted.
    #[derive(Debug)]
    pub struct Sealing {
        run: Run,
        request: Request,
        k_i: ActivationKey,
        k_r: ActivationKey,
    }

    impl Sealing {
        /// ct_R is there; sign.
        #[must_use]
        pub fn sealed(self, ct_r: Vec<u8>) -> (Signing, CryptoOp) {
            let Self { run, request, k_i, k_r } = self;
            let m2 = run.context.response(&request.key, &request.signature, &ct_r);
            let op = run.sign(m2.clone());
            (Signing { run, k_i, k_r, ct_r, m2 }, op)
        }
    }

    /// m2 is being signed.
    #[derive(Debug)]
    pub struct Signing {
        run: Run,
        k_i: ActivationKey,
        k_r: ActivationKey,
        ct_r: Vec<u8>,
        m2: Vec<u8>,
    }

    impl Signing {
        /// sig_R is there: the response, the conf_I to expect with `<activate/>`, and what is kept.
        #[must_use]
        pub fn signed(self, sig_r: Vec<u8>) -> (Response, Confirmation, Proven) {
            let Self { run, k_i, k_r, ct_r, m2 } = self;
            let schedule = run.context.schedule(&m2, &sig_r, &k_i, &k_r);
            let response = Response {
                aid: run.context.aid,
                key: ct_r,
                signature: sig_r,
                confirm: schedule.confirm_responder.as_bytes().to_vec(),
            };
            let expected = schedule.confirm_initiator.clone();
            (response, expected, run.proven(schedule))
        }
    }
}
