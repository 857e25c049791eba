//! Keys, of which all tests of a process share the large RSA ones: those are slow to make.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use heteronym::demo::authority::{KeyKind, KeyMaterial};

/// Whose key it is: nobody has the other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// The router and its domains.
    Router,
    /// The peer host and its domains.
    Peer,
}

type Made = HashMap<(KeyKind, Side), Arc<OnceLock<KeyMaterial>>>;

static MADE: LazyLock<Mutex<Made>> = LazyLock::new(Mutex::default);

/// A key of this kind: a fresh one where that costs little, else the only one of its side.
pub(crate) fn key(kind: KeyKind, side: Side) -> KeyMaterial {
    let make = || KeyMaterial::generate(kind).unwrap();
    match kind {
        KeyKind::Rsa2048 | KeyKind::P256 | KeyKind::P384 | KeyKind::Ed25519 => make(),
        KeyKind::Rsa3072 | KeyKind::Rsa4096 => {
            // Whoever makes one holds up nobody who wants another.
            let cell = Arc::clone(MADE.lock().unwrap().entry((kind, side)).or_default());
            cell.get_or_init(make).clone()
        }
    }
}
