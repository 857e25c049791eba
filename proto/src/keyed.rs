//! Maps for look-ups that every stanza needs. Strangers choose some of their keys: the hash has a random key.

use ahash::RandomState;

/// As the standard library's.
pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;
