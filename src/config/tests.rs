//! The configuration as its operator meets it: the shipped file, and one line for everything that is wrong.

use std::fs;

use super::reader::Report;
use super::*;

const SHIPPED: &str = include_str!("../../config/heteronym.toml");
const LEAST: &str = "[host]\nname = \"xmpp.my.isp\"\n";

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, Path::new("/etc/heteronym"))
}

fn lines(text: &str) -> Vec<String> {
    parse(text).expect_err("it is wrong").iter().map(ToString::to_string).collect()
}

/// The shipped file with its examples live.
fn shipped_with_examples() -> String {
    let example =
        |line: &'static str| line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| !c.is_whitespace()));
    SHIPPED.lines().map(|line| example(line).unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_shipped_file_shows_the_defaults() {
    let (shipped, least) = (parse(SHIPPED).unwrap(), parse(LEAST).unwrap());
    assert_eq!(format!("{shipped:#?}"), format!("{least:#?}"));
}

#[test]
fn the_shipped_file_shows_every_key() {
    let report = Report::new(Path::new(""));
    report.read(syntax::parse(&shipped_with_examples()).unwrap(), Config::read).0.expect("it is right");
    for known in report.known() {
        let key = known.rsplit('.').next().unwrap();
        let forms = [format!("{key} ="), format!("[{key}]"), format!("[{key}."), format!(".{key}.")];
        assert!(forms.iter().any(|form| SHIPPED.contains(form)), "{known} is not in the shipped file");
    }
}

#[test]
fn the_examples_of_the_shipped_file_are_right() {
    let config = parse(&shipped_with_examples()).unwrap();
    let kinds: Vec<_> = config.locals.iter().map(|local| local.attach.kind()).collect();
    assert_eq!(kinds, [AttachKind::Component, AttachKind::DialComponent, AttachKind::S2s, AttachKind::Jabberd2]);
    assert_eq!(config.locals[0].domains.len(), 4);
    assert_eq!(config.federation.policy_for(&Name::parse("Pessoa.lit").unwrap()), Policy::Require);
    assert_eq!(config.federation.policy_for(&Name::parse("reis.lit").unwrap()), Policy::Prefer);
    assert_eq!(config.peers[&Name::parse("xmpp.other.isp").unwrap()].addresses.len(), 1);
}

#[test]
fn relative_paths_start_at_the_file() {
    let config = parse("host = { name = 'a.lit', state = '/var/lib/x' }\ntls = { extra_roots = ['ca.pem'] }").unwrap();
    assert_eq!(config.host.certificate, Path::new("/etc/heteronym/certs/a.lit"));
    assert_eq!(config.host.state.as_deref(), Some(Path::new("/var/lib/x")));
    assert_eq!(config.tls.extra_roots, [Path::new("/etc/heteronym/ca.pem")]);
}

/// What is wrong after [`LEAST`], and the one line that says so.
const WRONG: &[(&str, &str)] = &[
    (
        "[listen]\nadmin = ['0.0.0.0:9280']",
        "listen.admin = \"0.0.0.0:9280\": is not a loopback address and admin.token_file is not set; allowed: a loopback address such as \"127.0.0.1:9280\", or a token in admin.token_file",
    ),
    (
        "[listen]\nfederation = ['5270']",
        "listen.federation[0] = \"5270\": is no address with a port; allowed: \"address:port\" such as \"127.0.0.1:5270\" or \"[::]:5270\"",
    ),
    (
        "[dns]\nservers = ['127.0.0.1:0']",
        "dns.servers[0] = \"127.0.0.1:0\": has no port to connect to; allowed: a port from 1 to 65535",
    ),
    (
        "[peers.'xmpp.other.isp']\naddresses = ['192.0.2.1:0']",
        "peers.\"xmpp.other.isp\".addresses[0] = \"192.0.2.1:0\": has no port to connect to; allowed: a port from 1 to 65535",
    ),
    (
        "[listen]\nfederation = '[::]:5270'",
        "listen.federation = \"[::]:5270\": is a text; allowed: a list: [\"…\", \"…\"]",
    ),
    (
        "[listen]\nfederation = ['[::]:5269']",
        "listen.s2s = \"[::]:5269\": is already in listen.federation; allowed: an address that no other listener has",
    ),
    (
        "[listen]\nlocal_s2s = []\nsteering_dns = ['127.0.0.1:53']",
        "listen.steering_dns = [\"127.0.0.1:53\"]: leads to listen.local_s2s, which is empty; allowed: [], or an address in listen.local_s2s",
    ),
    (
        "[listen]\nsteering_dns = ['127.0.0.1:53']\n[dns]\nservers = ['9.9.9.9:53', '127.0.0.1:53']",
        "dns.servers = \"127.0.0.1:53\": is already in listen.steering_dns; allowed: name servers that ask others",
    ),
    ("[tls]\nroots = 'none'", "tls.roots = \"none\": is none of the words; allowed: \"system\" or a list of PEM files"),
    (
        "[federation]\npolicy = 'always'",
        "federation.policy = \"always\": is none of the words; allowed: prefer | require | off",
    ),
    (
        "[federation]\ndelegation = true",
        "federation.delegation = true: is true or false; allowed: require | warn | off",
    ),
    (
        "[federation.domains.'a..b']\npolicy = 'off'",
        "federation.domains.\"a..b\": a name has labels of 1 to 63 bytes and at most 253 bytes in all; allowed: a DNS name such as \"saramago.lit\"",
    ),
    (
        "[federation.domains.'a.lit']",
        "federation.domains.\"a.lit\".policy: is missing; allowed: prefer | require | off",
    ),
    (
        "[peers.'A.lit']\n[peers.'a.lit']",
        "peers.\"a.lit\": is already in peers.\"a.lit\"; allowed: one entry for a name",
    ),
    (
        "[limits]\nstanza_wait = '30'",
        "limits.stanza_wait = \"30\": has no unit; allowed: a duration with its unit such as \"500ms\", \"30s\", \"5m\", \"24h\", \"30d\", from 0s to 1day",
    ),
    (
        "[limits]\nstanza_wait = 30",
        "limits.stanza_wait = 30: is a number; allowed: a duration with its unit such as \"500ms\", \"30s\", \"5m\", \"24h\", \"30d\", from 0s to 1day",
    ),
    (
        "[limits]\nidle_timeout = '0s'",
        "limits.idle_timeout = \"0s\": is out of range; allowed: a duration with its unit such as \"500ms\", \"30s\", \"5m\", \"24h\", \"30d\", from 1s to 30days",
    ),
    (
        "[limits]\nstanza_bytes = '1KiB'",
        "limits.stanza_bytes = \"1KiB\": is out of range; allowed: a size such as \"64KiB\" or \"1MiB\", from 9.8 KiB to 64.0 MiB",
    ),
    (
        "[limits]\nactivations_per_second = 0",
        "limits.activations_per_second = 0: is out of range; allowed: a number from 1 to 1000000",
    ),
    ("[limits]\nstanza_wiat = '30s'", "limits.stanza_wiat = \"30s\": there is no such key, did you mean stanza_wait?"),
    ("[limts]\nstanza_wait = '30s'", "limts = {…}: there is no such key, did you mean limits?"),
    ("[log]\ntoken_file = 'token'", "log.token_file = \"token\": there is no such key, did you mean admin.token_file?"),
    ("[log]\njids = 'some'", "log.jids = \"some\": is none of the words; allowed: full | domain | none"),
    ("[classic]\nenabled = 1", "classic.enabled = 1: is a number; allowed: true | false"),
    (
        "[admin]\ntoken_file = 'absent'",
        "admin.token_file = \"/etc/heteronym/absent\": cannot be read: No such file or directory (os error 2); allowed: a file that this user can read",
    ),
    (
        "[[local]]\nname = 'a'\ndomains = ['a.lit']",
        "local[\"a\"].attach: is missing; allowed: { kind = \"component\", secret = \"…\" } or another kind",
    ),
    (
        "[[local]]\nname = 'a'\nattach = { kind = 'component', secret = 'x' }",
        "local[\"a\"].domains: is missing; allowed: a list of domains, or a path in domains_file",
    ),
    (
        "[[local]]\ndomains = ['a.lit']\nattach = { kind = 'component', secret = 'x' }",
        "local[0].name: is missing; allowed: a text",
    ),
    (
        "[[local]]\nname = 'a'\ndomains = ['a.lit']\nattach = { kind = 'xmpp', secret = 'x' }",
        "local[\"a\"].attach.kind = \"xmpp\": is none of the words; allowed: component | dial-component | s2s | jabberd2",
    ),
    (
        "[[local]]\nname = 'a'\ndomains = ['a.lit']\nattach = { kind = 'component' }",
        "local[\"a\"].attach.secret: is missing; allowed: a text, or a path in secret_file",
    ),
    (
        "[[local]]\nname = 'a'\ndomains = ['a.lit']\nattach = { kind = 'component', secret = 7 }",
        "local[\"a\"].attach.secret: is a number; allowed: a text",
    ),
    (
        "[[local]]\nname = 'a'\ndomains = ['127.0.0.1']\nattach = { kind = 's2s', address = '127.0.0.1:1' }",
        "local[\"a\"].domains[0] = \"127.0.0.1\": an IP address is not a domain name; allowed: a DNS name such as \"saramago.lit\"",
    ),
    ("local = 'a'", "local = \"a\": is a text; allowed: tables under [[local]]"),
];

#[test]
fn each_error_is_one_line_with_key_value_and_what_is_allowed() {
    for (wrong, line) in WRONG {
        // Keys outside of sections go first in TOML.
        let text = if wrong.starts_with('[') { format!("{LEAST}{wrong}") } else { format!("{wrong}\n{LEAST}") };
        assert_eq!(lines(&text), [*line], "for {wrong}");
    }
}

#[test]
fn a_key_with_a_line_break_does_not_make_two_lines() {
    let expected = ["host.\"a\\nb\" = 1: there is no such key", "host.\"\" = 2: there is no such key"];
    let mut said = lines(&format!("{LEAST}\"a\\nb\" = 1\n'' = 2"));
    said.sort_by_key(|line| !line.contains("= 1"));
    assert_eq!(said, expected);
}

#[test]
fn every_error_is_told_at_once() {
    let all = lines(
        "[host]\nnaem = 'a'\n[limits]\nstanza_wait = '30'\n[log]\nlevel = 'loud'\n[[local]]\nname = ''\n[nonsense]",
    );
    let keys: Vec<_> = all.iter().map(|line| line.split([' ', ':']).next().unwrap()).collect();
    let expected = [
        "host.name",
        "limits.stanza_wait",
        "log.level",
        "local[0].name",
        "local[0].domains",
        "local[0].attach",
        "host.naem",
        "nonsense",
    ];
    assert_eq!(keys, expected, "{all:#?}");
}

fn local(name: &str, domains: &str) -> String {
    format!("[[local]]\nname = {name:?}\ndomains = {domains}\nattach = {{ kind = \"component\", secret = \"x\" }}\n")
}

#[test]
fn a_name_and_a_domain_belong_to_one_entry_whatever_the_case() {
    let text = format!("{LEAST}{}{}", local("a", "['A.lit', 'a.lit']"), local("A", "['b.lit', 'a.LIT.']"));
    let expected = [
        "local[\"A\"].name = \"A\": is already in local[\"a\"].name; allowed: a name that no other entry has",
        "local[\"A\"].domains = \"a.lit\": is already in local[\"a\"]; allowed: each domain in one entry",
    ];
    assert_eq!(lines(&text), expected);
    let apart = format!("{LEAST}{}{}", local("a", "['A.lit', 'a.lit']"), local("b", "['b.lit']"));
    assert_eq!(parse(&apart).unwrap().locals[0].domains.len(), 1, "a domain twice in one entry is there once");
}

#[test]
fn a_file_of_domains_is_merged_and_its_lines_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{LEAST}{}", local("a", "['a.lit']").replace("attach", "domains_file = 'list'\nattach"));
    fs::write(folder.path().join("list"), "# ours\nB.lit # two\n\na.lit\n").unwrap();
    let config = Config::parse(&text, folder.path()).unwrap();
    assert_eq!(config.locals[0].domains.iter().map(Name::as_str).collect::<Vec<_>>(), ["a.lit", "b.lit"]);

    fs::write(folder.path().join("list"), "b.lit\nc lit\n").unwrap();
    let errors = Config::parse(&text, folder.path()).unwrap_err().to_string();
    assert_eq!(
        errors,
        "local[\"a\"].domains_file line 2 = \"c lit\": the name has characters that IDNA does not allow; \
         allowed: one domain a line, # comments"
    );
}

#[test]
fn a_secret_comes_from_a_file_or_from_the_key_but_not_from_both() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), "s3cret\n").unwrap();
    let text =
        |keys| format!("{LEAST}[[local]]\nname = 'a'\ndomains = ['a.lit']\nattach = {{ kind = 'component', {keys} }}");
    let config = Config::parse(&text("secret_file = 'secret'"), folder.path()).unwrap();
    assert_eq!(config.locals[0].attach, Attach::Component { secret: Secret::new("s3cret") });
    let both = Config::parse(&text("secret = 'other', secret_file = 'secret'"), folder.path()).unwrap_err();
    assert_eq!(
        both.to_string(),
        "local[\"a\"].attach.secret: cannot be set together with secret_file; allowed: one of the two"
    );
    fs::write(folder.path().join("secret"), "\n").unwrap();
    let empty = Config::parse(&text("secret_file = 'secret'"), folder.path()).unwrap_err().to_string();
    assert!(empty.contains("is an empty file"), "{empty}");
}

#[test]
fn no_error_shows_a_secret() {
    let attaches = [
        "{ kind = 'component', secrt = 's3cret' }",
        "{ kind = 'component', secret = ['s3cret'] }",
        "{ kind = 'jabberd2', dialback_secret = 's3cret' }",
        "{ kind = 'nothing', secret = 's3cret' }",
        "[{ kind = 'component', secret = 's3cret' }]",
    ];
    for attach in attaches {
        let text = format!("{LEAST}[[local]]\nname = 'a'\ndomains = ['a.lit']\nattach = {attach}");
        let errors = parse(&text).unwrap_err();
        assert!(!format!("{errors} {errors:?}").contains("s3cret"), "{errors}");
    }
    let expected = ["admin.token: there is no such key, did you mean token_file?"];
    assert_eq!(lines(&format!("{LEAST}[admin]\ntoken = 's3cret'")), expected);
}

#[test]
fn a_token_opens_the_admin_listener_to_the_network() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "t0ken\n").unwrap();
    let text = format!("{LEAST}[listen]\nadmin = ['0.0.0.0:9280']\n[admin]\ntoken_file = 'token'");
    let config = Config::parse(&text, folder.path()).unwrap();
    assert_eq!(config.admin.token, Some(Secret::new("t0ken")));
    assert!(parse(&format!("{LEAST}[listen]\nadmin = ['[::1]:9280', '127.0.0.2:1']")).is_ok());
}

#[test]
fn sizes_and_durations_have_their_units() {
    let limits = "[limits]\nstanza_bytes = '64KiB'\npair_queue_bytes = '1.5MiB'\nhost_queue_bytes = 1000000\n\
                  connect_timeout = '500ms'\nstanza_wait = '5m'\nidle_timeout = '30d'";
    let limits = parse(&format!("{LEAST}{limits}")).unwrap().limits;
    assert_eq!((limits.stanza_bytes, limits.pair_queue_bytes, limits.host_queue_bytes), (65536, 1_572_864, 1_000_000));
    assert_eq!((limits.connect_timeout.as_millis(), limits.stanza_wait.as_secs()), (500, 300));
    assert_eq!(limits.idle_timeout.as_secs(), 30 * 24 * 3600);
}

#[test]
fn a_file_that_is_not_there_is_said_so() {
    let error = Config::load(Path::new("/nowhere/heteronym.toml")).unwrap_err().to_string();
    assert_eq!(error, "/nowhere/heteronym.toml: No such file or directory (os error 2)");
}

#[test]
fn what_will_surprise_is_a_warning() {
    let examples = parse(&shipped_with_examples()).unwrap().warnings();
    assert_eq!(examples, [Warning::NoState]);
    let small = parse(&format!("{LEAST}[limits]\npair_queue_bytes = '1KiB'")).unwrap().warnings();
    assert_eq!(small, [Warning::NoState, Warning::NoLocals, Warning::QueueBelowStanza { queue: "pair_queue_bytes" }]);
}

#[test]
fn a_configuration_with_everything_has_no_warning() {
    let text = format!("host = {{ name = 'a.lit', state = '/var/lib/heteronym' }}\n{}", local("a", "['a.lit']"));
    assert_eq!(parse(&text).unwrap().warnings(), []);
}
