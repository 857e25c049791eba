//! Certificates that would cost more to look at than a stranger may ask for. Keys that are too long are in
//! `net/src/trust/tests.rs`: nobody makes one of 16,384 bits in a test.

use std::sync::Arc;

use heteronym::demo::authority::{KeyKind, KeyMaterial, Request};
use heteronym_net::certificate::{CERTIFICATE_BYTES, Facts};
use heteronym_net::keys::{DomainKey, KeyError};
use heteronym_net::trust::CHAIN;
use heteronym_proto::control::About;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::support::activation::question;
use crate::support::domain::Domain;
use crate::support::host::Host;
use crate::support::metrics::metric;
use crate::support::name;
use crate::support::stage::{PEER, Stage, World};

const FAILED: &str = "heteronym_incoming_connections_total{listener=\"federation\",result=\"failed\"}";
const MALFORMED: &str = "heteronym_activations_total{result=\"malformed\",role=\"responder\"}";

/// As many names as make the certificate longer than 16 KiB.
fn many_names(first: &str) -> Request {
    let more = (0..900).map(|n| format!("a-name-that-takes-a-lot-of-room-{n}.lit"));
    Request::new(std::iter::once(first.to_owned()).chain(more), KeyKind::P256)
}

/// A key that is shown with a chain that nobody would load from a file.
struct Shown {
    key: Arc<dyn DomainKey>,
    chain: Vec<Vec<u8>>,
}

impl DomainKey for Shown {
    fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    fn facts(&self) -> &Facts {
        self.key.facts()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.key.sign(message)
    }

    fn decrypt_oaep(&self, ciphertext: &[u8], label: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.key.decrypt_oaep(ciphertext, label)
    }
}

/// A good certificate for `called`, and the same with more: chains of 7 and 90 certificates, and a leaf of more
/// than 16 KiB.
struct Bombs {
    good: Arc<dyn DomainKey>,
    chains: [Vec<Vec<u8>>; 3],
}

impl Bombs {
    fn new(world: &World, called: &str) -> Self {
        let key = KeyMaterial::generate(KeyKind::P256).unwrap();
        let issue = |request: &Request| world.authority.issue_with(request, &key).unwrap();
        let good = issue(&Request::new([called], KeyKind::P256)).key().unwrap();
        let leaf = CertificateDer::from_pem_slice(issue(&many_names(called)).chain_pem.as_bytes()).unwrap().to_vec();
        assert!(leaf.len() > CERTIFICATE_BYTES);
        let chains = [longer(good.chain(), CHAIN + 1), longer(good.chain(), 90), vec![leaf, good.chain()[1].clone()]];
        Self { good, chains }
    }

    /// The longest chain that is good.
    fn longest(&self) -> Vec<Vec<u8>> {
        longer(self.good.chain(), CHAIN)
    }
}

/// So many certificates, the intermediate again and again.
fn longer(chain: &[Vec<u8>], length: usize) -> Vec<Vec<u8>> {
    let mut chain = chain.to_vec();
    chain.resize(length, chain[1].clone());
    chain
}

fn host(bombs: &Bombs, chain: Vec<Vec<u8>>) -> impl Future<Output = Host> {
    Host::with_key(PEER, Arc::new(Shown { key: Arc::clone(&bombs.good), chain }))
}

#[tokio::test]
async fn a_host_with_a_certificate_bomb_is_not_let_in() {
    let mut stage = Stage::new().await;
    let bombs = Bombs::new(&stage.world, PEER);
    for bomb in bombs.chains.clone() {
        host(&bombs, bomb).await.expect_not_let_in(&stage.world.router).await;
        stage.talk().await;
    }
    assert_eq!(metric(&stage.world.router, FAILED), 3.0);
    host(&bombs, bombs.longest()).await.dial(&stage.world.router).await;
    stage.link.answer_ping().await;
    stage.end().await;
}

#[tokio::test]
async fn a_domain_with_a_certificate_bomb_is_refused() {
    let mut stage = Stage::new().await;
    let bombs = Bombs::new(&stage.world, "pessoa.lit");
    let domain = |chain| {
        let key = Arc::new(Shown { key: Arc::clone(&bombs.good), chain });
        Domain::with_key(name("pessoa.lit"), stage.world.host.name.clone(), key)
    };
    let domains = bombs.chains.clone().map(domain);
    let longest = domain(bombs.longest());
    for domain in &domains {
        stage.link.control(&question("bomb", domain, "saramago.lit")).await;
        stage.link.expect_refused(&About::Id("bomb".to_owned()), "bad-request", "malformed").await;
    }
    assert_eq!(metric(&stage.world.router, MALFORMED), 3.0);
    stage.link.activate(&longest, "saramago.lit").await;
    stage.end().await;
}
