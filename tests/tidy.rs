//! The house rules of ARCHITECTURE.md, kept by machine. A rule that clippy or cargo-deny can keep is
//! theirs (`clippy.toml`, `[workspace.lints]`, `deny.toml`); what is left is here.

mod actor_table;
mod rules;
mod source;

use std::fmt::Display;
use std::fs::read_to_string;

use actor_table::{ActorTable, actor_of};
use rules::{Sizes, foreign_types, literals, own_enums, paths, wildcards};
use source::{Source, documents, folder, root, sources};

/// Lines of a file with its comments and without its tests; those of a test file.
const FILE_LINES: (usize, usize) = (500, 600);
/// Lines of a function from its name to its end, in the house and in tests, where tables are long.
const FUNCTION_LINES: (usize, usize) = (40, 90);

#[track_caller]
fn assert_none<T: Display>(rule: &str, breaches: impl IntoIterator<Item = T>) {
    let breaches: Vec<_> = breaches.into_iter().map(|breach| format!("\n  {breach}")).collect();
    assert!(breaches.is_empty(), "{rule}:{}", breaches.concat());
}

/// What each crate may not depend on, by the rule of its verb.
#[test]
fn crates_keep_their_boundaries() {
    let forbidden = [
        ("proto", &["tokio", "actix", "rustls", "hickory", "socket2", "getrandom", "rand", "heteronym-"][..]),
        ("net", &["actix", "quick-xml", "heteronym-"]),
        ("actors", &["rustls", "hickory", "quick-xml", "aws-lc", "rsa"]),
    ];
    for (name, crates) in forbidden {
        let manifest = read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let used = manifest["dependencies"].as_table().unwrap().keys().cloned();
        let of_house = ["heteronym-proto", "heteronym-net"];
        let used = used.filter(|used| !(name == "actors" && of_house.contains(&used.as_str())));
        let breaches = used.filter(|used| crates.iter().any(|forbidden| used.starts_with(forbidden)));
        assert_none(&format!("{name} may not depend on"), breaches);
    }
}

/// proto decides: time, randomness, sockets, threads and files come in as arguments or not at all.
#[test]
fn the_protocol_touches_nothing() {
    let outside = ["std::net::Tcp", "std::net::Udp", "std::thread", "std::fs", "std::env", "std::process"];
    let clocks = ["Instant::now", "SystemTime::now"];
    let breaches = paths(&folder("proto/src"), |path| {
        outside.iter().any(|outside| path.starts_with(outside)) || clocks.iter().any(|clock| path.ends_with(clock))
    });
    assert_none("proto/src may not use", breaches);
}

/// There is one clock and one source of randomness, both in net.
#[test]
fn clock_and_randomness_have_one_place() {
    let breaches = paths(&folder("actors").into_iter().chain(folder("src")).collect::<Vec<_>>(), |path| {
        path.ends_with("Instant::now") || path.ends_with("SystemTime::now") || path.starts_with("getrandom::fill")
    });
    assert_none("only net::clock and net::random may use", breaches);
}

/// actix appears where actors are, and where they are started.
#[test]
fn net_knows_no_stanza_and_actors_no_markup() {
    assert_none("an XML literal in actors belongs into proto", literals(&folder("actors"), |text| text.contains('<')));
    let words = ["<", "jabber:", "urn:ietf:params:xml"];
    let breaches = literals(&folder("net/src"), |text| words.iter().any(|word| text.contains(word)));
    assert_none("net never looks inside a stanza", breaches);
}

/// Mailboxes are bounded by bytes told before sending; these go past them.
#[test]
fn no_message_goes_past_a_mailbox() {
    let breaches = rules::calls(&folder("actors"), &["do_send", "notify"]);
    assert_none("use try_send with the bytes told to a gauge before", breaches);
    let clippy = read_to_string(root().join("clippy.toml")).unwrap();
    for forbidden in ["actix::Addr::do_send", "actix::Recipient::do_send", "actix::Supervisor", "Instant::now"] {
        assert!(clippy.contains(forbidden), "clippy.toml no longer forbids {forbidden}");
    }
}

#[test]
fn every_actor_has_its_row() {
    let table = ActorTable::read();
    let of_files: Vec<_> = folder("actors").iter().filter_map(actor_of).collect();
    let names = |list: &mut dyn Iterator<Item = String>| list.collect::<std::collections::BTreeSet<_>>();
    let in_files = names(&mut of_files.iter().map(|actor| actor.name.clone()));
    let in_table = names(&mut table.rows.keys().cloned());
    assert_eq!(in_files, in_table, "actors in the folder and in the table of ARCHITECTURE.md");
    for actor in of_files {
        let row = &table.rows[&actor.name];
        assert_eq!(actor.file, row.file, "the file of {}", actor.name);
        assert_eq!(actor.messages, row.messages, "the messages that {} takes", actor.name);
    }
}

#[test]
fn actors_say_where_they_belong() {
    let breaches = folder("actors").into_iter().filter(|source| actor_of(source).is_some()).filter(|source| {
        let head: String = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
        !["Parent", "Child", "End"].iter().all(|word| head.to_lowercase().contains(&word.to_lowercase()))
    });
    assert_none("the first lines name parent, children and end of life", breaches);
}

#[test]
fn files_and_functions_stay_small() {
    let all = sources();
    assert_none("files that are too long", all.iter().filter_map(|source| source.over(FILE_LINES)));
    assert_none("functions that are too long", all.iter().flat_map(|source| Sizes::over(source, FUNCTION_LINES)));
}

/// A new variant must meet a compiler error wherever it matters.
#[test]
fn own_enums_are_matched_exhaustively() {
    let house: Vec<Source> = ["proto/src", "net/src", "actors", "src"].iter().flat_map(|name| folder(name)).collect();
    let own = own_enums(&house);
    assert_none("`_ =>` beside variants of an enum of ours", wildcards(&house, &own));
}

/// A private key has one place.
#[test]
fn private_keys_stay_in_net() {
    let house: Vec<Source> = ["proto/src", "actors"].iter().flat_map(|name| folder(name)).collect();
    assert_none(
        "key types outside net",
        foreign_types(&house, &["RsaKeyPair", "EcdsaKeyPair", "PrivateDecryptingKey"]),
    );
}

#[test]
fn files_have_telling_names() {
    let refused = ["util", "utils", "common", "misc", "helpers", "helper", "types", "manager"];
    let breaches = sources().into_iter().filter(|source| refused.contains(&source.stem()));
    assert_none("names that tell nothing", breaches);
}

#[test]
fn decisions_are_numbered_without_gaps() {
    let mut names: Vec<_> = documents().into_iter().filter(|(path, _)| path.starts_with("docs/decisions/")).collect();
    names.sort();
    for (at, (path, text)) in names.iter().enumerate() {
        let number = format!("docs/decisions/{:03}-", at + 1);
        assert!(path.starts_with(&number), "{path} should be number {}", at + 1);
        for part in ["Context", "Choice", "Cost"] {
            assert!(text.contains(part), "{path} has no {part}");
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut breaches = Vec::new();
    for (path, text) in documents() {
        let folder = root().join(&path).parent().unwrap().to_owned();
        for target in source::links(&text) {
            if !folder.join(&target).exists() {
                breaches.push(format!("{path} → {target}"));
            }
        }
    }
    assert_none("dead links", breaches);
}

/// Decisions are history: what they name may have gone.
#[test]
fn files_named_in_documents_exist() {
    let current = documents().into_iter().filter(|(path, _)| !path.starts_with("docs/decisions/"));
    let breaches = current.flat_map(|(path, text)| {
        let folder = root().join(&path).parent().unwrap().to_owned();
        let gone = move |named: &String| !root().join(named).exists() && !folder.join(named).exists();
        source::named_files(&text).into_iter().filter(gone).map(move |named| format!("{path} → {named}"))
    });
    assert_none("files that are not there", breaches.collect::<Vec<_>>());
}

/// Every bound has its row in docs/bounds.md, and the tests that are named there exist.
#[test]
fn every_bound_is_documented_with_a_test() {
    let page = read_to_string(root().join("docs/bounds.md")).unwrap();
    let limits = read_to_string(root().join("proto/src/limits.rs")).unwrap();
    let constants = limits.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    let fields = limits.lines().filter_map(|line| line.strip_prefix("    pub ")?.split(':').next());
    let named = |name: &&str| page.contains(&format!("`{name}`"));
    assert_none("bounds that docs/bounds.md does not name", constants.chain(fields).filter(|name| !named(name)));
    let (mut file, mut breaches) = (String::new(), Vec::new());
    for word in page.split('`').skip(1).step_by(2) {
        // Facts have longer names than keys and metrics.
        let is_test = word.matches('_').count() >= 3 && !word.ends_with("_total") && word.to_lowercase() == word;
        if word.ends_with(".rs") {
            file = read_to_string(root().join(word)).unwrap_or_default();
        } else if is_test && !file.contains(&format!("fn {word}()")) {
            breaches.push(word);
        }
    }
    assert_none("tests that docs/bounds.md names and that do not exist", breaches);
}
