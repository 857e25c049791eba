//! Two ends of an open classic stream, frame by frame.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use heteronym_proto::checker::Scope;
use heteronym_proto::classic::stream::{Action, Peer, ServerStream, Setting};
use heteronym_proto::dialback::{DialbackSecret, Ends, Outcome};
use heteronym_proto::framer::{Frame, Framer};
use heteronym_proto::hosted::Hosted;
use heteronym_proto::limits::{Limits, PROVED_DOMAINS, SENDING_PAIRS};
use heteronym_proto::pair::Pair;
use heteronym_proto::stanza_error::Condition;
use heteronym_proto::stream_error::Condition as StreamCondition;

use crate::name;

const OURS: [&str; 2] = ["saramago.lit", "chat.saramago.lit"];
const THEIRS: [&str; 2] = ["pessoa.lit", "campos.lit"];

fn pair(local: &str, remote: &str) -> Pair {
    Pair { local: name(local), remote: name(remote) }
}

fn message(from: &str, to: &str, id: &str) -> Bytes {
    format!("<message from='x@{from}' to='y@{to}' id='{id}'/>").into()
}

#[expect(clippy::disallowed_methods, reason = "an instant can only be had from the clock")]
fn now() -> Instant {
    Instant::now()
}

/// One end, with what reads from the other.
struct End {
    stream: ServerStream,
    framer: Framer,
}

impl End {
    fn new(domains: &[&str], both_ways: bool) -> Self {
        Self::with(Setting { ..setting(domains) }, both_ways)
    }

    fn with(setting: Setting, both_ways: bool) -> Self {
        let mut framer = Framer::new(setting.limits.stanza_bytes);
        framer.push(BytesMut::from(
            &b"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>"[..],
        ));
        assert!(matches!(framer.next_frame(), Ok(Some(Frame::Header(_)))));
        Self { stream: ServerStream::new(setting, both_ways), framer }
    }

    fn told(&mut self, text: impl AsRef<[u8]>) -> Vec<Action> {
        let mut actions = Vec::new();
        self.framer.push(BytesMut::from(text.as_ref()));
        while let Some(frame) = self.framer.next_frame().expect("it can be framed") {
            self.stream.frame(&frame, &mut actions);
        }
        actions.retain(|action| *action != Action::Write);
        actions
    }

    fn says(&mut self) -> String {
        let mut out = BytesMut::new();
        self.stream.fill(&mut out, usize::MAX >> 1);
        String::from_utf8(out.to_vec()).expect("UTF-8")
    }

    fn send(&mut self, pair: &Pair, stanza: Bytes) -> Vec<Action> {
        let mut actions = Vec::new();
        self.stream.send(now(), pair, stanza, (), &mut actions);
        actions.retain(|action| *action != Action::Write);
        actions
    }
}

fn setting(domains: &[&str]) -> Setting {
    Setting {
        peer: Peer::Remote,
        hosted: Arc::new(domains.iter().map(|domain| (name(domain), 0)).collect::<Hosted>()),
        secret: DialbackSecret::new(domains[0]),
        dialback: true,
        limits: Limits { stanza_bytes: 10_000, pair_queue_bytes: 1000, ..Limits::default() },
        stream_id: "s1".to_owned(),
        scope: Scope::DIALBACK,
        lang: None,
        max_bytes: None,
    }
}

/// We dialled them; nobody is proved.
fn ends() -> (End, End) {
    (End::new(&OURS, false), End::new(&THEIRS, false))
}

/// Lets the receiving end take what `ours` says, and find the keys right or not.
fn check(ours: &mut End, theirs: &mut End, outcome: Outcome) {
    for action in theirs.told(ours.says()) {
        let Action::Check(ends, key) = action else { panic!("{action:?}") };
        let right = DialbackSecret::new(OURS[0]).verify(&ends, "s1", &key);
        assert!(right, "the key is that of XEP-0185");
        theirs.stream.checked(ends, outcome, &mut Vec::new());
    }
}

#[test]
fn a_stanza_waits_for_dialback() {
    let (mut ours, mut theirs) = ends();
    let pair = pair("saramago.lit", "pessoa.lit");
    assert_eq!(ours.send(&pair, message("saramago.lit", "pessoa.lit", "1")), []);
    assert_eq!(ours.send(&pair, message("saramago.lit", "pessoa.lit", "2")), []);
    check(&mut ours, &mut theirs, Outcome::Valid);
    assert_eq!(ours.told(theirs.says()), [Action::Up(pair)]);
    let arrived = theirs.told(ours.says());
    let expected = ["1", "2"].map(|id| Action::Deliver(0, message("saramago.lit", "pessoa.lit", id)));
    assert_eq!(arrived, expected);
}

#[test]
fn further_pairs_come_by_dialback_on_the_same_stream() {
    let (mut ours, mut theirs) = ends();
    let mut actions = Vec::new();
    ours.stream.grant(pair("saramago.lit", "pessoa.lit"), &mut actions);
    theirs.stream.prove(name("saramago.lit"), name("pessoa.lit"), &mut actions);
    let other = pair("chat.saramago.lit", "campos.lit");
    ours.send(&other, message("chat.saramago.lit", "campos.lit", "1"));
    check(&mut ours, &mut theirs, Outcome::Valid);
    assert_eq!(ours.told(theirs.says()), [Action::Up(other)]);
    assert_eq!(theirs.told(ours.says()).len(), 1);
}

#[test]
fn what_waited_comes_back_where_the_key_is_refused() {
    for (outcome, word) in [(Outcome::Invalid, "invalid"), (Outcome::Error(Condition::ItemNotFound), "item-not-found")]
    {
        let (mut ours, mut theirs) = ends();
        let pair = pair("saramago.lit", "pessoa.lit");
        let stanza = message("saramago.lit", "pessoa.lit", "1");
        ours.send(&pair, stanza.clone());
        check(&mut ours, &mut theirs, outcome);
        let [Action::Down(down, why, back)] = &ours.told(theirs.says())[..] else { panic!("not down") };
        assert_eq!((down, back), (&pair, &vec![(stanza.clone(), ())]));
        assert!(why.contains(word), "{why}");
    }
}

#[test]
fn a_verdict_that_does_not_come_is_not_waited_for() {
    let (mut ours, _) = ends();
    let pair = pair("saramago.lit", "pessoa.lit");
    ours.send(&pair, message("saramago.lit", "pessoa.lit", "1"));
    let at = ours.stream.deadline().unwrap();
    let mut actions = Vec::new();
    ours.stream.handle_timeout(at - Duration::from_millis(1), &mut actions);
    assert_eq!(actions, []);
    ours.stream.handle_timeout(at, &mut actions);
    assert!(matches!(&actions[..], [Action::Down(down, _, back)] if *down == pair && back.len() == 1), "{actions:?}");
    assert_eq!(ours.stream.deadline(), None);
    assert_eq!(ours.told("<db:result from='pessoa.lit' to='saramago.lit' type='valid'/>"), [], "too late");
    let stanza = message("saramago.lit", "pessoa.lit", "2");
    assert_eq!(ours.send(&pair, stanza.clone()), [Action::Reroute(stanza.clone(), ())], "by another way, if any");
    ours.says();
    ours.stream.want(now(), &pair, &mut actions);
    assert!(ours.says().starts_with("<db:result"), "it is asked for again");
    ours.stream.want(now(), &pair, &mut actions);
    assert_eq!(ours.send(&pair, stanza), []);
    assert_eq!(ours.says(), "", "once");
}

#[test]
fn what_waits_for_a_pair_is_bounded() {
    let (mut ours, _) = ends();
    let pair = pair("saramago.lit", "pessoa.lit");
    let large = Bytes::from(format!("<message from='saramago.lit' to='pessoa.lit'>{}</message>", "x".repeat(700)));
    assert_eq!(ours.send(&pair, large.clone()), []);
    assert!(matches!(&ours.send(&pair, large)[..], [Action::Bounce(_, (), Condition::ResourceConstraint, _)]));
}

fn deep(from: &str) -> String {
    let (open, close) = ("<a>".repeat(500), "</a>".repeat(500));
    format!("<message from='{from}' to='pessoa.lit'>{open}{close}</message>")
}

/// Whatever it waits for, a stanza does not wait for ever; nor does one pair for the stanzas of another.
#[test]
fn a_server_that_does_not_read_costs_each_pair_its_own_queue() {
    let (mut ours, _) = ends();
    let (busy, other) = (pair("saramago.lit", "pessoa.lit"), pair("chat.saramago.lit", "pessoa.lit"));
    ours.stream.grant(busy.clone(), &mut Vec::new());
    ours.stream.grant(other.clone(), &mut Vec::new());
    let filler = |n: u32| message("saramago.lit", "pessoa.lit", &n.to_string());
    let bounced = (0..100).filter(|n| !ours.send(&busy, filler(*n)).is_empty()).count();
    assert!(bounced > 90, "{bounced} of 100");
    assert_eq!(ours.send(&other, message("chat.saramago.lit", "pessoa.lit", "1")), []);
    let at = ours.stream.deadline().unwrap();
    let mut actions = Vec::new();
    ours.stream.handle_timeout(at + Duration::from_secs(1), &mut actions);
    let overdue = |action: &Action| matches!(action, Action::Bounce(_, (), Condition::RemoteServerTimeout, _));
    assert!(actions.len() == 100 - bounced + 1 && actions.iter().all(overdue), "{actions:?}");
    assert_eq!((ours.stream.deadline(), ours.stream.queued_bytes()), (None, 0));
}

#[test]
fn what_is_never_acknowledged_is_bounded() {
    let limits = Limits { host_queue_bytes: 500, ..setting(&OURS).limits };
    let mut ours = End::with(Setting { limits, ..setting(&OURS) }, false);
    let pair = pair("saramago.lit", "pessoa.lit");
    ours.stream.grant(pair.clone(), &mut Vec::new());
    ours.stream.count(&mut Vec::new());
    let mut taken = 0;
    while ours.send(&pair, message("saramago.lit", "pessoa.lit", "1")).is_empty() {
        ours.says();
        taken += 1;
    }
    assert!((5..15).contains(&taken), "{taken}");
    assert_eq!(ours.told(format!("<a xmlns='urn:xmpp:sm:3' h='{taken}'/>")), []);
    assert_eq!(ours.send(&pair, message("saramago.lit", "pessoa.lit", "1")), []);
}

#[test]
fn a_server_that_has_proved_nothing_says_little() {
    let large = format!("<message from='x@saramago.lit' to='y@pessoa.lit'>{}</message>", "x".repeat(10_000));
    for text in [large, deep("saramago.lit")] {
        let actions = End::new(&THEIRS, true).told(text);
        let [Action::Close(Some(error))] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!(error.condition, StreamCondition::NotAuthorized, "and nobody is sent an error");
    }
    let mut theirs = End::new(&THEIRS, true);
    let ask = |n| format!("<db:result from='d{n}.example' to='pessoa.lit'>k</db:result>");
    let checks = (0..100).filter(|n| !theirs.told(ask(*n)).is_empty()).count();
    assert_eq!(checks, 64, "each check looks names up and connects");
    assert!(theirs.says().contains("resource-constraint"));
}

#[test]
fn what_goes_beyond_limits_is_answered_and_the_stream_goes_on() {
    let mut theirs = End::new(&THEIRS, true);
    theirs.stream.prove(name("saramago.lit"), name("pessoa.lit"), &mut Vec::new());
    let actions = theirs.told(deep("saramago.lit"));
    assert!(matches!(&actions[..], [Action::Refused("beyond-limits"), Action::Answer(_)]), "{actions:?}");
    assert_eq!(theirs.told(message("saramago.lit", "pessoa.lit", "2")).len(), 1);
    let of_another = format!("<message from='campos.lit' to='pessoa.lit'>{}</message>", "x".repeat(10_000));
    assert!(matches!(&theirs.told(of_another)[..], [Action::Close(Some(_))]));
}

#[test]
fn a_domain_that_was_not_proved_ends_the_stream() {
    for from in ["campos.lit", "saramago.lit", "pessoa.lit.example"] {
        let (_, mut theirs) = ends();
        theirs.stream.prove(name("ricardo.lit"), name("pessoa.lit"), &mut Vec::new());
        let actions = theirs.told(message(from, "pessoa.lit", "1"));
        let [Action::Close(Some(error))] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!(error.condition, StreamCondition::InvalidFrom);
        assert!(theirs.told(message("ricardo.lit", "pessoa.lit", "2")).is_empty(), "nothing is taken afterwards");
        assert!(theirs.says().ends_with("</stream:error></stream:stream>"));
    }
}

#[test]
fn a_proved_domain_may_write_to_all_of_ours_and_to_nobody_else() {
    let (_, mut theirs) = ends();
    theirs.stream.prove(name("saramago.lit"), name("pessoa.lit"), &mut Vec::new());
    let stanza = message("saramago.lit", "campos.lit", "1");
    assert_eq!(theirs.told(stanza.clone()), [Action::Deliver(0, stanza)]);
    let refused = theirs.told(message("saramago.lit", "ricardo.lit", "2"));
    assert!(matches!(&refused[..], [Action::Refused("unknown-domain"), Action::Answer(_)]), "{refused:?}");
}

#[test]
fn dialback_for_domains_that_are_wrong_is_answered_and_the_stream_goes_on() {
    let result = |from: &str, to: &str| format!("<db:result from='{from}' to='{to}'>k</db:result>");
    for (from, to, condition) in
        [("saramago.lit", "ricardo.lit", "item-not-found"), ("campos.lit", "pessoa.lit", "not-allowed")]
    {
        let (_, mut theirs) = ends();
        assert_eq!(theirs.told(result(from, to)), []);
        let said = theirs.says();
        assert!(said.contains("type='error'") && said.contains(condition), "{said}");
        assert_eq!(theirs.told(result("saramago.lit", "pessoa.lit")).len(), 1);
    }
    let mut strict = End::with(Setting { dialback: false, ..setting(&THEIRS) }, false);
    strict.told(result("saramago.lit", "pessoa.lit"));
    assert!(strict.says().contains("not-allowed"));
}

#[test]
fn the_domains_that_one_stream_proves_are_bounded() {
    let (_, mut theirs) = ends();
    for n in 0..PROVED_DOMAINS {
        theirs.stream.prove(name(&format!("d{n}.lit")), name("pessoa.lit"), &mut Vec::new());
    }
    assert_eq!(theirs.told("<db:result from='one.more.lit' to='pessoa.lit'>k</db:result>"), []);
    assert!(theirs.says().contains("resource-constraint"));
}

#[test]
fn our_own_keys_are_verified_for_whoever_asks() {
    let (mut ours, _) = ends();
    let ends = Ends { from: name("saramago.lit"), to: name("pessoa.lit") };
    let key = DialbackSecret::new(OURS[0]).key(&ends, "their-id");
    for (key, type_) in [(key.as_str(), "valid"), ("0123", "invalid")] {
        ours.told(format!("<db:verify from='pessoa.lit' to='saramago.lit' id='their-id'>{key}</db:verify>"));
        let expected = format!("<db:verify from='saramago.lit' to='pessoa.lit' id='their-id' type='{type_}'/>");
        assert_eq!(ours.says(), expected);
    }
}

#[test]
fn an_authoritative_server_is_asked_and_answers() {
    let (mut ours, mut theirs) = ends();
    let ends = Ends { from: name("pessoa.lit"), to: name("saramago.lit") };
    let key = DialbackSecret::new(THEIRS[0]).key(&ends, "id-of-another-stream");
    let mut actions = Vec::new();
    ours.stream.verify(&ends, "id-of-another-stream".to_owned(), key, &mut actions);
    assert_eq!(theirs.told(ours.says()), []);
    let verified = Action::Verified(ends, "id-of-another-stream".to_owned(), Outcome::Valid);
    assert_eq!(ours.told(theirs.says()), [verified]);
}

#[test]
fn both_ways_a_proved_domain_is_written_to_on_its_own_stream() {
    let mut theirs = End::new(&THEIRS, true);
    let mut actions = Vec::new();
    theirs.stream.prove(name("saramago.lit"), name("pessoa.lit"), &mut actions);
    let back = pair("pessoa.lit", "saramago.lit");
    assert_eq!(actions, [Action::Up(back.clone())]);
    theirs.send(&back, message("pessoa.lit", "saramago.lit", "1"));
    assert_eq!(theirs.says(), message("pessoa.lit", "saramago.lit", "1"));
    let (_, mut one_way) = ends();
    actions.clear();
    one_way.stream.prove(name("saramago.lit"), name("pessoa.lit"), &mut actions);
    assert_eq!(actions, []);
}

#[test]
fn what_is_not_acknowledged_is_left_when_the_stream_ends() {
    let (mut ours, mut theirs) = ends();
    let mut actions = Vec::new();
    let pair = pair("saramago.lit", "pessoa.lit");
    ours.stream.grant(pair.clone(), &mut actions);
    ours.stream.count(&mut actions);
    theirs.stream.prove(name("saramago.lit"), name("pessoa.lit"), &mut actions);
    let stanza = |id: u8| message("saramago.lit", "pessoa.lit", &id.to_string());
    ours.send(&pair, stanza(1));
    let said = ours.says();
    assert!(said.starts_with("<enable xmlns='urn:xmpp:sm:3'/>") && said.ends_with("<r xmlns='urn:xmpp:sm:3'/>"));
    theirs.told(said);
    let answer = theirs.says();
    assert!(answer.ends_with("<a xmlns='urn:xmpp:sm:3' h='1'/>"), "{answer}");
    assert_eq!(ours.told(answer), []);
    (2..=3).for_each(|id| drop(ours.send(&pair, stanza(id))));
    ours.says();
    ours.send(&pair, stanza(4));
    let left = (2..=4).map(|id| (stanza(id), ())).collect();
    assert_eq!(ours.stream.take_waiting(), [(pair, left)]);
}

/// RFC 6120 §4.4: what is under way when one side ends arrives.
#[test]
fn who_ends_hears_the_other_out() {
    let mut ours = End::new(&OURS, true);
    let mut actions = Vec::new();
    ours.stream.grant(pair("saramago.lit", "pessoa.lit"), &mut actions);
    ours.stream.prove(name("pessoa.lit"), name("saramago.lit"), &mut actions);
    ours.send(&pair("saramago.lit", "pessoa.lit"), message("saramago.lit", "pessoa.lit", "1"));
    actions.clear();
    ours.stream.end(&mut actions);
    assert_eq!(actions, [Action::Write, Action::End]);
    assert!(ours.says().ends_with("id='1'/></stream:stream>"), "behind what may be sent");
    assert_eq!(ours.told(message("pessoa.lit", "saramago.lit", "2")).len(), 1, "taken still");
    ours.send(&pair("saramago.lit", "pessoa.lit"), message("saramago.lit", "pessoa.lit", "3"));
    assert_eq!(ours.says(), "", "nothing behind the end");
    assert_eq!(ours.told("</stream:stream>"), [Action::Close(None)]);
    assert_eq!(ours.stream.take_waiting().len(), 1, "and what was not sent is left");
}

/// Whoever answers our end with its own has taken what came before, whether it acknowledged that or not.
#[test]
fn what_came_before_an_end_in_order_is_not_left() {
    for in_order in [true, false] {
        let (mut ours, _) = ends();
        let pair = pair("saramago.lit", "pessoa.lit");
        ours.stream.grant(pair.clone(), &mut Vec::new());
        ours.stream.count(&mut Vec::new());
        ours.send(&pair, message("saramago.lit", "pessoa.lit", "1"));
        if in_order {
            ours.stream.end(&mut Vec::new());
            let said = ours.says();
            assert!(said.ends_with("id='1'/><r xmlns='urn:xmpp:sm:3'/></stream:stream>"), "{said}");
        } else {
            ours.says();
        }
        ours.send(&pair, message("saramago.lit", "pessoa.lit", "2"));
        assert_eq!(ours.told("</stream:stream>"), [Action::Close(None)]);
        let left: usize = ours.stream.take_waiting().iter().map(|(_, stanzas)| stanzas.len()).sum();
        assert_eq!(left, if in_order { 1 } else { 2 }, "the second was never sent");
    }
}

#[test]
fn a_count_that_is_too_high_ends_the_stream() {
    let (mut ours, _) = ends();
    ours.stream.count(&mut Vec::new());
    let actions = ours.told("<a xmlns='urn:xmpp:sm:3' h='1'/>");
    assert!(matches!(&actions[..], [Action::Close(Some(_))]), "{actions:?}");
}

#[test]
fn a_stanza_that_the_other_side_does_not_take_is_not_sent() {
    let mut ours = End::with(Setting { max_bytes: Some(100), ..setting(&OURS) }, false);
    let pair = pair("saramago.lit", "pessoa.lit");
    ours.stream.grant(pair.clone(), &mut Vec::new());
    let large = Bytes::from(format!("<message from='saramago.lit' to='pessoa.lit'>{}</message>", "x".repeat(100)));
    assert!(matches!(&ours.send(&pair, large)[..], [Action::Bounce(_, (), Condition::PolicyViolation, _)]));
    assert_eq!(ours.send(&pair, message("saramago.lit", "pessoa.lit", "1")), []);
}

#[test]
fn a_stanza_that_is_too_large_goes_back_and_the_stream_goes_on() {
    let mut theirs = End::new(&THEIRS, true);
    theirs.stream.prove(name("saramago.lit"), name("pessoa.lit"), &mut Vec::new());
    let large = format!("<message from='x@saramago.lit' to='y@pessoa.lit' id='l'>{}</message>", "x".repeat(10_000));
    let [Action::Refused("too-large"), Action::Answer(answer)] = &theirs.told(large)[..] else { panic!("answered") };
    let answer = std::str::from_utf8(answer).unwrap();
    assert!(answer.contains("to='x@saramago.lit' id='l' type='error'") && answer.contains("policy-violation"));
    assert_eq!(theirs.told(message("saramago.lit", "pessoa.lit", "2")).len(), 1);
}

#[test]
fn a_server_of_ours_speaks_for_its_entry_and_to_anybody() {
    let mut inside = End::with(Setting { peer: Peer::Own(0), ..setting(&OURS) }, false);
    let ask = inside.told("<db:result from='chat.saramago.lit' to='unknown.example'>k</db:result>");
    let ends = Ends { from: name("chat.saramago.lit"), to: name("unknown.example") };
    assert_eq!(ask, [Action::Check(ends.clone(), "k".to_owned())]);
    inside.stream.checked(ends, Outcome::Valid, &mut Vec::new());
    for from in ["chat.saramago.lit", "saramago.lit"] {
        let stanza = message(from, "else.where", "1");
        assert_eq!(inside.told(stanza.clone()), [Action::Route(stanza)]);
    }
    inside.says();
    inside.told("<db:result from='pessoa.lit' to='unknown.example'>k</db:result>");
    assert!(inside.says().contains("not-allowed"), "not a domain of its entry");
}

#[test]
fn what_does_not_belong_ends_the_stream() {
    for (text, condition) in [
        ("<stream:features/>", StreamCondition::UnsupportedStanzaType),
        ("<x xmlns='urn:x'/>", StreamCondition::UnsupportedStanzaType),
        ("<db:result from='a.lit'>k</db:result>", StreamCondition::ImproperAddressing),
        ("<message to='y@pessoa.lit'/>", StreamCondition::ImproperAddressing),
        ("<message from='x@saramago.lit' to='y@pessoa.lit'>&nbsp;</message>", StreamCondition::RestrictedXml),
    ] {
        let (_, mut theirs) = ends();
        theirs.stream.prove(name("saramago.lit"), name("pessoa.lit"), &mut Vec::new());
        let actions = theirs.told(text);
        let [Action::Close(Some(error))] = &actions[..] else { panic!("{text}: {actions:?}") };
        assert_eq!(error.condition, condition, "{text}");
    }
}

/// It ends by itself, before it could hear our end: nobody knows what it has taken.
#[test]
fn what_came_before_an_end_that_crosses_ours_is_left() {
    let mut ours = End::with(setting(&OURS), false);
    let pair = pair("saramago.lit", "pessoa.lit");
    ours.stream.grant(pair.clone(), &mut Vec::new());
    ours.stream.count(&mut Vec::new());
    let stanza = message("saramago.lit", "pessoa.lit", "1");
    assert_eq!(ours.send(&pair, stanza.clone()), []);
    ours.says();
    ours.stream.end(&mut Vec::new());
    assert!(matches!(ours.told("</stream:stream>")[..], [Action::Close(None)]));
    assert_eq!(ours.stream.take_waiting(), [(pair, vec![(stanza, ())])]);
}

/// A server of ours gets everything by one stream, which may live for months: whoever wrote to it once is no reason
/// to bounce others.
#[test]
fn pairs_with_nothing_under_way_make_room_for_others_to_a_server_of_ours() {
    let mut inside = End::with(Setting { peer: Peer::Own(0), ..setting(&OURS) }, false);
    let busy = pair("busy.example", OURS[0]);
    assert_eq!(inside.send(&busy, message("busy.example", OURS[0], "waits for its key")), []);
    for n in 1..SENDING_PAIRS {
        inside.stream.grant(pair(&format!("d{n}.example"), OURS[0]), &mut Vec::new());
    }
    inside.says();
    for friend in ["friend.example", "other.example"] {
        assert_eq!(inside.send(&pair(friend, OURS[0]), message(friend, OURS[0], "1")), []);
        let said = inside.says();
        assert!(said.starts_with("<db:result") && said.contains(&format!("'{friend}'")), "{said}");
    }
    assert!(inside.stream.take_waiting().iter().any(|(pair, _)| *pair == busy));
}

#[test]
fn what_is_never_acknowledged_is_given_up_in_time() {
    let mut ours = End::with(setting(&OURS), false);
    let pair = pair("saramago.lit", "pessoa.lit");
    ours.stream.grant(pair.clone(), &mut Vec::new());
    ours.stream.count(&mut Vec::new());
    let stanza = message("saramago.lit", "pessoa.lit", "1");
    assert_eq!(ours.send(&pair, stanza.clone()), []);
    ours.says();
    let mut actions = Vec::new();
    while let (true, Some(at)) = (actions.is_empty(), ours.stream.deadline()) {
        ours.stream.handle_timeout(at, &mut actions);
    }
    let why = StreamCondition::ConnectionTimeout;
    assert!(matches!(&actions[..], [.., Action::Close(Some(error))] if error.condition == why), "{actions:?}");
    assert_eq!(ours.stream.take_waiting(), [(pair, vec![(stanza, ())])]);
}
