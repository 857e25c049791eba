//! docs/suites.vectors: whole runs between domains of every suite, whose transcripts and keys the crate
//! computes as another implementation did.

use std::collections::HashMap;

use heteronym_proto::name::Name;
use heteronym_proto::suite::Suite;
use heteronym_proto::transcript::{Context, Exporter, KemKeyStatement};
use sha2::{Digest as _, Sha256};

/// The dates of every KEM key.
const NOT_BEFORE: u64 = 1_795_358_400;
const NOT_AFTER: u64 = 1_795_444_800;

struct Section(HashMap<&'static str, String>);

/// The sections whose title begins with `kind`, in order.
fn sections(kind: &str) -> Vec<Section> {
    let text = include_str!("../../docs/suites.vectors");
    let of_kind = text.split("\n[").map(|section| section.trim_start_matches('[')).filter(|it| it.starts_with(kind));
    of_kind.map(Section::read).collect()
}

impl Section {
    fn read(text: &'static str) -> Self {
        let (mut values, mut current) = (HashMap::<_, String>::new(), "");
        for line in text.lines().skip(1) {
            let value = match line.split_once(" =") {
                Some((name, value)) => {
                    current = name;
                    value
                }
                None => line,
            };
            values.entry(current).or_default().push_str(value.trim());
        }
        Self(values)
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("no {name}")).trim_matches('"')
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        hex::decode(self.text(name)).expect("hexadecimal")
    }

    fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name).try_into().expect("a value of that length")
    }

    fn name(&self, name: &str) -> Name {
        Name::parse(self.text(name)).expect("a name")
    }

    fn suite(&self) -> Suite {
        Suite::parse(self.text("suite")).expect("a suite")
    }

    fn leaf(&self) -> [u8; 32] {
        Sha256::digest(self.bytes("certificate")).into()
    }

    fn kem(&self) -> Option<[u8; 32]> {
        self.suite().uses_kem().then(|| self.array("kem"))
    }
}

#[test]
fn the_kem_keys_of_every_suite_have_the_documented_statements() {
    for identity in sections("identity").iter().filter(|identity| identity.suite().uses_kem()) {
        let (domain, host, leaf) = (identity.name("domain"), identity.name("host"), identity.leaf());
        let key = identity.bytes("kem_key");
        let (not_before, not_after) = (NOT_BEFORE, NOT_AFTER);
        let statement = KemKeyStatement { domain: &domain, host: &host, leaf: &leaf, key: &key, not_before, not_after };
        assert_eq!(statement.to_bytes(), identity.bytes("K"));
        assert_eq!(Some(statement.hash(&identity.bytes("kem_signature"))), identity.kem());
    }
}

#[test]
fn runs_of_every_suite_have_the_documented_transcripts_and_keys() {
    let (identities, runs) = (sections("identity"), sections("run"));
    assert_eq!((identities.len(), runs.len()), (5, 5));
    for (n, run) in runs.iter().enumerate() {
        let (i, r) = (&identities[n], &identities[(n + 1) % identities.len()]);
        let context = Context {
            aid: run.array("aid"),
            exporter: Exporter::new(&run.array("E")),
            host_i: i.name("host"),
            host_r: r.name("host"),
            domain_i: i.name("domain"),
            domain_r: r.name("domain"),
            leaf_i: i.leaf(),
            leaf_r: r.leaf(),
            kem_i: i.kem(),
            kem_r: r.kem(),
            suite_i: i.suite(),
            suite_r: r.suite(),
        };
        assert_eq!(context.request_label(), run.array("request_label"));
        assert_eq!(context.response_label(), run.array("response_label"));
        assert_eq!(context.request(&run.bytes("ct_I")), run.bytes("m1"));
        let m2 = context.response(&run.bytes("ct_I"), &run.bytes("sig_I"), &run.bytes("ct_R"));
        assert_eq!(m2, run.bytes("m2"));
        let schedule = context.schedule(&m2, &run.bytes("sig_R"), &run.array("K_I"), &run.array("K_R"));
        assert_eq!(schedule.confirm_responder.as_bytes(), &run.array("conf_R"));
        assert_eq!(schedule.confirm_initiator.as_bytes(), &run.array("conf_I"));
        assert_eq!(*schedule.resume_secret, run.array("rs"));
        assert_eq!(schedule.resume_id, run.array("rid"));
    }
}
