//! What the cryptographic operations of an activation cost by themselves, on one thread of this process.
//!
//! A run between two hosts takes each of these once on either side: sign, verify, seal, open (docs/protocol.md).
//! Whoever meets a domain for the first time also checks its chain and the signature of its KEM key, which its
//! own host has made and signed.

use std::path::Path;
use std::slice;
use std::time::Duration;

use heteronym_net::clock::Now;
use heteronym_net::keys::{DomainKey, FileKey, KemKey, seal_kem, seal_oaep, verify};
use heteronym_net::trust::Roots;

use crate::Failure;
use crate::cost;
use crate::ground::Ground;

/// Bytes of a message that is signed: a request with names, fingerprints and ciphertext.
const MESSAGE: usize = 600;
/// How often everything is done, at least.
const TIMES: u32 = 100;
/// And for how long, at least.
const TIME: Duration = Duration::from_millis(400);

/// CPU-seconds.
#[derive(Clone, Copy, Debug)]
pub struct Bare {
    /// Of all operations of one activation, on both hosts.
    pub pair: f64,
    /// Of what two domains cost once, on both hosts: of either, a KEM key and a check of its identity.
    pub identities: f64,
}

/// Measures, with the certificates of the first domains of either side.
///
/// # Errors
/// If an operation fails.
pub fn measure(ground: &Ground) -> Result<Bare, Failure> {
    let key = |side: usize| FileKey::load(&ground.certificate(&ground.domains[side][0]));
    let keys = [key(0)?, key(1)?];
    let roots = Roots::none().with_extra(slice::from_ref(&ground.root()))?;
    let kem = KemKey::generate();
    let pair = repeat(|| keys.iter().try_for_each(|key| operations(key, &kem)))?;
    let judge = |side: usize| identity(&keys[side], &roots, &ground.domains[side][0]);
    let identities = repeat(|| [0, 1].into_iter().try_for_each(judge))?;
    Ok(Bare { pair, identities })
}

/// What is signed and sealed by one side, and verified and opened by the other; both have keys of one kind.
fn operations(key: &FileKey, kem: &KemKey) -> Result<(), Failure> {
    let (message, label, secret) = ([7; MESSAGE], [8; 32], [9; 32]);
    let leaf = &key.chain()[0];
    let opened = if key.facts().may_encipher && is_rsa(key) {
        key.decrypt_oaep(&seal_oaep(leaf, &label, &secret)?, &label)?
    } else {
        kem.open(&label, &seal_kem(kem.public(), &label, &secret)?)?
    };
    let signature = key.sign(&message)?;
    verify(leaf, &message, &signature)?;
    if opened.as_slice() == secret { Ok(()) } else { Err("what was sealed did not open".into()) }
}

fn identity(key: &FileKey, roots: &Roots, domain: &str) -> Result<(), Failure> {
    roots.check(key.chain(), domain, Now::read().unix)?;
    if key.facts().may_encipher && is_rsa(key) {
        return Ok(());
    }
    let kem = KemKey::generate();
    let signature = key.sign(kem.public())?;
    Ok(verify(&key.chain()[0], kem.public(), &signature)?)
}

fn is_rsa(key: &FileKey) -> bool {
    matches!(key.facts().key, heteronym_net::certificate::KeyType::Rsa { .. })
}

/// CPU-seconds of one call.
fn repeat(mut call: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    call()?;
    let (start, before, mut calls) = (Now::read().instant, on_cpu()?, 0);
    while calls < TIMES || Now::read().instant - start < TIME {
        call()?;
        calls += 1;
    }
    // So that the kernel's count is up to date.
    std::thread::yield_now();
    Ok((on_cpu()? - before) / f64::from(calls))
}

/// CPU-seconds of this thread.
fn on_cpu() -> Result<f64, Failure> {
    match cost::on_cpu(Path::new("/proc/thread-self"))? {
        0 => Err("the kernel does not count the time of threads".into()),
        nanoseconds => Ok(nanoseconds as f64 / 1e9),
    }
}
