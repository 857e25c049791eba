//! KEM keys that are not the domain's own, on this host, for this certificate, today.

use heteronym_net::clock::Now;
use heteronym_proto::control::Control;
use heteronym_proto::crypto::CryptoOp;
use heteronym_proto::name::Name;

use super::{ANA, JOSE, THIRD};
use crate::support::domain::Domain;
use crate::support::name;
use crate::support::stage::Stage;

/// What the signature of a KEM key says, and who made it.
type Forge = fn(&Stage, &mut Domain);

fn sign_kem(own: &mut Domain, signer: &Domain, domain: &str, host: &Name, leaf: [u8; 32]) {
    let offer = own.own.identity.kem.as_mut().unwrap();
    let message = offer.statement(&name(domain), host, &leaf).to_bytes();
    offer.signature = signer.sign(CryptoOp::Sign { domain: name(domain), message });
}

const FORGED_KEMS: [(&str, Forge); 7] = [
    ("of another domain", |_, own| {
        let (signer, host, leaf) = (own.twin(), own.host().clone(), own.own.certificate.fingerprint);
        sign_kem(own, &signer, "reis.lit", &host, leaf);
    }),
    ("of another host", |_, own| {
        let (signer, leaf) = (own.twin(), own.own.certificate.fingerprint);
        sign_kem(own, &signer, "pessoa.lit", &name(THIRD), leaf);
    }),
    ("for another certificate", |_, own| {
        let (signer, host) = (own.twin(), own.host().clone());
        sign_kem(own, &signer, "pessoa.lit", &host, [1; 32]);
    }),
    ("signed by another key", |stage, own| {
        let (signer, host, leaf) =
            (stage.world.domain("pessoa.lit"), own.host().clone(), own.own.certificate.fingerprint);
        sign_kem(own, &signer, "pessoa.lit", &host, leaf);
    }),
    ("another key than was signed", |_, own| own.own.identity.kem.as_mut().unwrap().key[0] ^= 1),
    ("other dates than were signed", |_, own| own.own.identity.kem.as_mut().unwrap().not_before -= 1),
    ("none", |_, own| own.own.identity.kem = None),
];

#[tokio::test]
async fn an_initiator_with_a_kem_key_that_is_not_its_own_is_untrusted() {
    let mut stage = Stage::new().await;
    for (what, forge) in FORGED_KEMS {
        let mut forger = stage.world.domain("pessoa.lit");
        forge(&stage, &mut forger);
        let theirs = stage.link.meet(&forger, "saramago.lit").await;
        let asking = stage.link.asking(&forger, &theirs);
        stage.link.control(&Control::Request(asking.request.clone())).await;
        let refused = stage.link.expect_refused(&asking.about(), "not-authorized", "untrusted-certificate").await;
        assert!(refused.text().is_empty(), "{what}");
    }
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    stage.end().await;
}

#[tokio::test]
async fn a_responder_with_a_kem_key_that_is_not_its_own_is_not_asked() {
    for (what, forge) in FORGED_KEMS {
        let mut stage = Stage::new().await;
        let mut forger = stage.world.domain("pessoa.lit");
        forge(&stage, &mut forger);
        stage.local.tell(JOSE, ANA, what).await;
        let question = stage.link.hear_question().await;
        let identity = forger.own.identity.clone();
        stage.link.control(&Control::Identity { id: question.id, identity }).await;
        stage.local.expect_error(what, "not-authorized").await;
        stage.end().await;
    }
}

#[tokio::test]
async fn a_responder_with_a_kem_key_of_other_dates_than_today_is_not_asked() {
    let (hour, day) = (3600, 24 * 3600);
    let now = Now::read().unix;
    for (not_before, not_after) in [(now - day, now - 2 * hour), (now + hour, now + day), (now, now + day + 1)] {
        let mut stage = Stage::new().await;
        stage.pessoa.offer_kem(not_before, not_after);
        stage.local.tell(JOSE, ANA, "out").await;
        let question = stage.link.hear_question().await;
        let identity = stage.pessoa.own.identity.clone();
        stage.link.control(&Control::Identity { id: question.id, identity }).await;
        stage.local.expect_error("out", "not-authorized").await;
        stage.end().await;
    }
}
