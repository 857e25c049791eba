//! Which known key an unknown one may stand for.

use std::collections::BTreeSet;

/// How alike two keys have to be (Jaro-Winkler) to be taken for each other.
const ALIKE: f64 = 0.8;

/// The known key nearest to `key` of `section`: of the same section by its own name, of another one with its section.
pub(super) fn nearest(section: &str, key: &str, known: &BTreeSet<String>) -> Option<String> {
    let split =
        |path: &'_ str| path.rsplit_once('.').map_or((String::new(), path.to_owned()), |(s, k)| (s.into(), k.into()));
    let (here, elsewhere): (Vec<_>, Vec<_>) = known.iter().map(|path| split(path)).partition(|(at, _)| at == section);
    let alike = here.into_iter().map(|(_, known)| (strsim::jaro_winkler(key, &known), known));
    let best = alike.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score >= ALIKE).map(|(_, known)| known);
    best.or_else(|| elsewhere.into_iter().find(|(_, known)| known == key).map(|(at, known)| path(&at, &known)))
}

fn path(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> BTreeSet<String> {
        ["host", "host.name", "host.state", "limits", "limits.stanza_wait", "local[].name"].map(String::from).into()
    }

    #[test]
    fn a_misspelt_key_is_found_in_its_section() {
        assert_eq!(nearest("limits", "stanza_wiat", &known()).as_deref(), Some("stanza_wait"));
        assert_eq!(nearest("", "hots", &known()).as_deref(), Some("host"));
        assert_eq!(nearest("local[]", "nmae", &known()).as_deref(), Some("name"));
    }

    #[test]
    fn a_key_of_another_section_is_found_with_it() {
        assert_eq!(nearest("host", "stanza_wait", &known()).as_deref(), Some("limits.stanza_wait"));
    }

    #[test]
    fn a_key_like_no_other_has_none() {
        assert_eq!(nearest("host", "frobnicate", &known()), None);
    }
}
