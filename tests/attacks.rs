//! Attacks on the activation (protocol §5) with real keys, certificates and DNS; `proto/tests/link/attacks`
//! has those that need none. Whatever an enemy tries, the bystanders of the stage go on talking.

mod kem_keys;

use std::sync::Arc;

use heteronym::demo::authority::{KeyKind, KeyUsage, Request};
use heteronym_proto::activation::{Run, Setting, initiator, responder};
use heteronym_proto::control::{About, Activate, Control, Request as Asked, Response, UndeliveredReason};
use heteronym_proto::crypto::{ActivationKey, CryptoOp};
use heteronym_proto::identity::PeerIdentity;
use heteronym_proto::transcript::Exporter;

use crate::support::activation::new_aid;
use crate::support::domain::{Domain, shown, verifies};
use crate::support::host::{FEDERATION, Host};
use crate::support::link::Link;
use crate::support::name;
use crate::support::stage::{PEER, Set, Stage, World};

const JOSE: &str = "jose@saramago.lit/x";
const ANA: &str = "ana@pessoa.lit";
/// The enemy: a host with a good certificate, whose name lets the router choose the link.
const THIRD: &str = "xmpp.third.isp";
/// Certificates of every suite; the first is encrypted to with OAEP, the others to a KEM key.
const SUITES: [Suite; 5] = [
    OAEP,
    (KeyKind::Rsa2048, KeyUsage::Signature),
    HPKE,
    (KeyKind::P384, KeyUsage::Signature),
    (KeyKind::Ed25519, KeyUsage::Signature),
];
type Suite = (KeyKind, KeyUsage);
const OAEP: Suite = (KeyKind::Rsa2048, KeyUsage::Absent);
const HPKE: Suite = (KeyKind::P256, KeyUsage::Signature);

fn leaf(domain: &str, (key, key_usage): Suite) -> Request {
    Request { key_usage, ..Request::new([domain], key) }
}

/// The third host with its own domain third.lit, and a link to the router on which that is active.
async fn third_host(stage: &Stage) -> (Host, Link) {
    let World { authority, names, router, .. } = &stage.world;
    let host = Host::new(THIRD, &authority.issue(&Request::new([THIRD], KeyKind::P256)).unwrap()).await;
    names.set_srv("third.lit", vec![(0, 0, host.port(), THIRD.into())]);
    let mut link = host.dial(router).await;
    link.settle().await;
    link.activate(&domain_of(stage, &host, "third.lit", HPKE), "saramago.lit").await;
    (host, link)
}

/// A domain that `host` has a good certificate for, with a key that nobody shares.
fn domain_of(stage: &Stage, host: &Host, domain: &str, suite: Suite) -> Domain {
    let issued = stage.world.authority.issue(&leaf(domain, suite)).unwrap();
    Domain::new(name(domain), host.name.clone(), &issued)
}

/// A request of `own` in which `change` may change what is asked of its keys.
fn request(link: &Link, own: &Domain, theirs: &PeerIdentity, change: impl Fn(&mut CryptoOp)) -> Asked {
    let run = Run::initiated(&link.setting, new_aid(), Arc::new(own.own.clone()), Arc::new(theirs.clone()));
    let (sealing, mut op) = initiator::Sealing::begin(run, ActivationKey::new([1; 32]));
    change(&mut op);
    let (signing, mut op) = sealing.sealed(own.seal(op));
    change(&mut op);
    signing.signed(own.sign(op)).1
}

/// A response of `own` in which `change` may change what is asked of its keys. `k_i` is what it decrypted.
fn response(
    link: &Link,
    own: &Domain,
    theirs: &PeerIdentity,
    request: Asked,
    k_i: impl FnOnce(CryptoOp) -> ActivationKey,
    change: impl Fn(&mut CryptoOp),
) -> Response {
    let run = Run::requested(&link.setting, &request, Arc::new(own.own.clone()), Arc::new(theirs.clone())).unwrap();
    let (checking, op) = responder::Checking::begin(run, request);
    let (opening, op) = checking.checked(verifies(op)).unwrap().delegated();
    let (sealing, mut op) = opening.opened(Some(k_i(op)), ActivationKey::new([2; 32])).unwrap();
    change(&mut op);
    let (signing, mut op) = sealing.sealed(own.seal(op));
    change(&mut op);
    signing.signed(own.sign(op)).0
}

fn as_it_is(_: &mut CryptoOp) {}

fn with_another_label(op: &mut CryptoOp) {
    if let CryptoOp::Seal { label, .. } = op {
        label[0] ^= 1;
    }
}

fn over_another_message(op: &mut CryptoOp) {
    if let CryptoOp::Sign { message, .. } = op {
        *message.last_mut().unwrap() ^= 1;
    }
}

/// Sends a request that is no proof, and expects that it is refused.
async fn proves_nothing(stage: &mut Stage, asked: Asked) {
    let about = About::Aid(asked.aid);
    stage.link.control(&Control::Request(asked)).await;
    stage.link.expect_refused(&about, "not-authorized", "bad-proof").await;
}

/// Domains of the router with each kind of key that is encrypted to in its own way.
async fn stage_with(suite: Suite) -> Stage {
    let keys = leaf("x", suite);
    Stage::on(World::with(Set { keys, ..Set::default() }).await).await
}

/// Signature and encryption of every suite cover what they have to.
#[tokio::test]
async fn a_request_signed_or_sealed_over_anything_else_is_a_bad_proof() {
    for ours in [OAEP, HPKE] {
        let mut stage = stage_with(ours).await;
        for suite in SUITES {
            let pessoa = stage.world.domain_with("pessoa.lit", &leaf("pessoa.lit", suite));
            let theirs = stage.link.meet(&pessoa, "saramago.lit").await;
            for change in [with_another_label, over_another_message] {
                let asked = request(&stage.link, &pessoa, &theirs, change);
                proves_nothing(&mut stage, asked).await;
            }
            stage.link.activate(&pessoa, "saramago.lit").await;
        }
        stage.end().await;
    }
}

#[tokio::test]
async fn a_response_signed_or_sealed_over_anything_else_is_a_bad_proof() {
    for ours in [OAEP, HPKE] {
        for (change, good) in
            [(with_another_label as fn(&mut _), false), (over_another_message, false), (as_it_is, true)]
        {
            let mut stage = stage_with(ours).await;
            stage.local.tell(JOSE, ANA, "out").await;
            let theirs = stage.link.show(&stage.pessoa).await;
            let asked = stage.link.hear_request().await;
            let about = About::Aid(asked.aid);
            let answer = response(&stage.link, &stage.pessoa, &theirs, asked, |op| stage.pessoa.open(op), change);
            stage.link.control(&Control::Response(answer)).await;
            if good {
                let activate = stage.link.hear_control().await;
                assert!(matches!(activate, Control::Activate(_)), "the twin: {activate:?}");
                continue;
            }
            stage.link.expect_refused(&about, "not-authorized", "bad-proof").await;
            stage.local.expect_error("out", "not-authorized").await;
            stage.end().await;
        }
    }
}

/// Everything that pessoa.lit shows is public. Whoever shows it has to sign with pessoa.lit's key.
#[tokio::test]
async fn a_host_without_the_key_cannot_ask_in_the_name_of_a_domain() {
    let mut stage = Stage::new().await;
    for suite in SUITES {
        let pessoa = stage.world.domain_with("pessoa.lit", &leaf("pessoa.lit", suite));
        let mut thief = domain_of(&stage, &stage.world.host, "reis.lit", suite);
        thief.own = pessoa.own.clone();
        let theirs = stage.link.meet(&thief, "saramago.lit").await;
        let asked = request(&stage.link, &thief, &theirs, as_it_is);
        proves_nothing(&mut stage, asked).await;
        stage.link.activate(&pessoa, "saramago.lit").await;
    }
    stage.end().await;
}

#[tokio::test]
async fn a_host_without_the_key_cannot_answer_in_the_name_of_a_domain() {
    for suite in SUITES {
        let mut stage = Stage::new().await;
        let pessoa = stage.world.domain_with("pessoa.lit", &leaf("pessoa.lit", suite));
        let mut thief = domain_of(&stage, &stage.world.host, "reis.lit", suite);
        thief.own = pessoa.own.clone();
        stage.local.tell(JOSE, ANA, "out").await;
        let theirs = stage.link.show(&thief).await;
        let asked = stage.link.hear_request().await;
        let about = About::Aid(asked.aid);
        let guess = |_| ActivationKey::new([0; 32]);
        let answer = response(&stage.link, &thief, &theirs, asked, guess, as_it_is);
        stage.link.control(&Control::Response(answer)).await;
        stage.link.expect_refused(&about, "not-authorized", "bad-proof").await;
        stage.local.expect_error("out", "not-authorized").await;
        stage.end().await;
    }
}

/// Who can sign, because the domain's key was lent to it, and cannot decrypt: conf_R needs K_I.
#[tokio::test]
async fn a_responder_that_cannot_decrypt_is_not_activated() {
    let mut stage = Stage::new().await;
    stage.local.tell(JOSE, ANA, "out").await;
    let theirs = stage.link.show(&stage.pessoa).await;
    let asked = stage.link.hear_request().await;
    let about = About::Aid(asked.aid);
    let guess = |_| ActivationKey::new([0; 32]);
    let answer = response(&stage.link, &stage.pessoa, &theirs, asked, guess, as_it_is);
    stage.link.control(&Control::Response(answer)).await;
    stage.link.expect_refused(&about, "not-authorized", "bad-proof").await;
    stage.local.expect_error("out", "not-authorized").await;
    stage.end().await;
}

/// The literal version's end: pessoa.lit asks a domain of the third host's in good faith, and the third
/// host encrypts the signed key to saramago.lit. The records name it as well, so that nothing but the
/// signature stands in its way.
#[tokio::test]
async fn a_signed_key_encrypted_anew_by_a_third_host_is_a_bad_proof() {
    let mut stage = Stage::new().await;
    let (host, mut link) = third_host(&stage).await;
    let both = vec![(0, 0, stage.world.host.port(), PEER.into()), (0, 0, host.port(), THIRD.into())];
    stage.world.names.set_srv("pessoa.lit", both);
    // An RSA certificate, as the proposal has it: nothing that pessoa.lit shows names a host.
    let pessoa = stage.world.domain_with("pessoa.lit", &leaf("pessoa.lit", OAEP));
    let third = domain_of(&stage, &host, "third.lit", HPKE);
    let (heard, key) = asked_in_good_faith(&pessoa, &third);
    let theirs = link.meet(&pessoa, "saramago.lit").await;
    let run = Run::initiated(&link.setting, heard.aid, Arc::new(pessoa.own.clone()), Arc::new(theirs));
    let (sealing, op) = initiator::Sealing::begin(run, key);
    let asked = sealing.sealed(third.seal(op)).0.signed(heard.signature).1;
    let about = About::Aid(asked.aid);
    link.control(&Control::Request(asked)).await;
    link.expect_refused(&about, "not-authorized", "bad-proof").await;
    // Nor does it help to skip the proof.
    let (initiator, responder) = (name("pessoa.lit"), name("saramago.lit"));
    link.control(&Control::Activate(Activate { aid: heard.aid, initiator, responder, confirm: vec![0; 32] })).await;
    link.expect_refused(&about, "bad-request", "malformed").await;
    let n = link.tell(ANA, JOSE, "forged").await;
    link.expect_undelivered(n, UndeliveredReason::PairNotActive).await;
    link.tell("x@third.lit", JOSE, "own").await;
    stage.local.expect("own").await;
    stage.end().await;
}

/// pessoa.lit, on its own host, asks for third.lit: the request, and the key that third.lit decrypts.
fn asked_in_good_faith(pessoa: &Domain, third: &Domain) -> (Asked, ActivationKey) {
    let setting = Setting { our_host: name(PEER), peer_host: name(THIRD), exporter: Exporter::new(&[8; 64]) };
    let theirs = shown(&third.own.identity, &name(THIRD));
    let run = Run::initiated(&setting, new_aid(), Arc::new(pessoa.own.clone()), Arc::new(theirs));
    let (sealing, op) = initiator::Sealing::begin(run, ActivationKey::new([1; 32]));
    let CryptoOp::Seal { label, .. } = &op else { panic!("{op:?}") };
    let label = *label;
    let ciphertext = pessoa.seal(op);
    let (signing, op) = sealing.sealed(ciphertext.clone());
    let request = signing.signed(pessoa.sign(op)).1;
    let op = CryptoOp::Open { domain: name("third.lit"), kem: third.own.kem, label, ciphertext };
    (request, third.open(op))
}

/// A certificate for the domain's web site is not enough: its records name its host.
#[tokio::test]
async fn a_web_certificate_does_not_take_a_domain_from_its_host() {
    let mut stage = Stage::new().await;
    let (host, mut link) = third_host(&stage).await;
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    let web = domain_of(&stage, &host, "pessoa.lit", HPKE);
    let theirs = link.meet(&web, "saramago.lit").await;
    let asking = link.asking(&web, &theirs);
    link.control(&Control::Request(asking.request.clone())).await;
    link.expect_refused(&asking.about(), "forbidden", "not-delegated").await;
    let n = link.tell(ANA, JOSE, "forged").await;
    link.expect_undelivered(n, UndeliveredReason::PairNotActive).await;
    stage.link.tell(ANA, JOSE, "in").await;
    stage.local.expect("in").await;
    stage.local.tell(JOSE, ANA, "out").await;
    stage.link.expect("out").await;
    stage.end().await;
}

/// The whole of what was said on one link, said again on the next: to the byte, by the same host.
#[tokio::test]
async fn a_run_replayed_on_the_next_link_is_a_bad_proof() {
    let mut stage = Stage::new().await;
    let theirs = stage.link.meet(&stage.pessoa, "saramago.lit").await;
    let asking = stage.link.asking(&stage.pessoa, &theirs);
    let (asked, about) = (asking.request.clone(), asking.about());
    stage.link.control(&Control::Request(asked.clone())).await;
    let answer = stage.link.hear_response(asked.aid).await;
    let activate = asking.conclude(&stage.pessoa, answer);
    stage.link.control(&Control::Activate(activate.clone())).await;
    stage.link.expect_active(asked.aid).await;
    stage.link.wire.send("</stream:stream>").await;
    stage.link.wire.expect_end().await;
    let mut link = stage.world.host.dial(&stage.world.router).await;
    link.settle().await;
    link.meet(&stage.pessoa, "saramago.lit").await;
    link.control(&Control::Request(asked)).await;
    link.expect_refused(&about, "not-authorized", "bad-proof").await;
    link.control(&Control::Activate(activate)).await;
    link.expect_refused(&about, "bad-request", "malformed").await;
    link.activate(&stage.world.domain("campos.lit"), "blimunda.lit").await;
    stage.link = link;
    stage.end().await;
}

/// Without, with an empty, with another run's and with the router's own confirmation.
#[tokio::test]
async fn an_activate_without_its_own_confirmation_proves_nothing() {
    let mut stage = Stage::new().await;
    let theirs = stage.link.meet(&stage.pessoa, "saramago.lit").await;
    let campos = stage.world.domain("campos.lit");
    let chat = stage.link.meet(&campos, "chat.saramago.lit").await;
    let other = stage.link.asking(&campos, &chat);
    stage.link.control(&Control::Request(other.request.clone())).await;
    let answer = stage.link.hear_response(other.request.aid).await;
    let other = other.conclude(&campos, answer);
    let confirms: [fn(&Response, &Activate) -> Vec<u8>; 3] =
        [|_, _| vec![0; 32], |answer, _| answer.confirm.clone(), |_, other| other.confirm.clone()];
    for confirm in confirms {
        let asking = stage.link.asking(&stage.pessoa, &theirs);
        stage.link.control(&Control::Request(asking.request.clone())).await;
        let (about, answer) = (asking.about(), stage.link.hear_response(asking.request.aid).await);
        let confirm = confirm(&answer, &other);
        let activate = Activate { confirm, ..asking.conclude(&stage.pessoa, answer) };
        stage.link.control(&Control::Activate(activate)).await;
        stage.link.expect_refused(&about, "not-authorized", "bad-proof").await;
    }
    let asking = stage.link.asking(&stage.pessoa, &theirs);
    stage.link.control(&Control::Request(asking.request.clone())).await;
    stage.link.hear_response(asking.request.aid).await;
    let bare = String::from_utf8(Control::Activate(other.clone()).to_bytes().to_vec()).unwrap();
    let bare = format!("{}/>", bare.split_once("><").unwrap().0);
    assert!(bare.contains(FEDERATION) && bare.contains("campos.lit"));
    stage.link.wire.send(bare).await;
    let about = About::Aid(other.aid);
    stage.link.expect_refused(&about, "bad-request", "malformed").await;
    stage.link.control(&Control::Activate(other.clone())).await;
    stage.link.expect_active(other.aid).await;
    stage.end().await;
}
