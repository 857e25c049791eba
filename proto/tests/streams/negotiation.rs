//! Both roles of the negotiation against each other, and each against a peer that misbehaves.

use heteronym_proto::limits::UNAUTHENTICATED_BYTES;
use heteronym_proto::negotiation::{Negotiation, NegotiationError};
use heteronym_proto::stream_error::Condition;

use crate::end::{AUTH, End, FEATURES, PEER, SUCCESS, US, header, talk};
use crate::name;

#[test]
fn both_roles_establish_a_stream() {
    let (mut dialling, mut receiving) = (End::dialling(), End::receiving());
    talk(&mut dialling, &mut receiving);
    assert_eq!(dialling.established, Some((name(PEER), None)));
    assert_eq!(receiving.established, Some((name(US), None)));
    assert_eq!(receiving.judged, [name(US)], "for the name that the header claimed");
    assert_eq!(dialling.judged, [], "its chain was judged when TLS was there");
}

#[test]
fn starttls_leads_to_the_same_stream() {
    let mut plain = End::receiving_plain();
    plain.hear(header(US, PEER));
    let offered = plain.says();
    assert!(offered.contains("<starttls") && offered.contains("<required/>") && !offered.contains("EXTERNAL"));
    plain.hear("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    assert!(plain.says().contains("<proceed"));
    assert!(plain.starts_tls && plain.established.is_none());
    let (mut dialling, mut receiving) = (End::dialling(), End::receiving());
    talk(&mut dialling, &mut receiving);
    assert!(dialling.established.is_some() && receiving.established.is_some());
}

#[test]
fn without_tls_nothing_but_starttls_leads_on() {
    for element in [AUTH, "<message from='a.lit' to='b.lit'/>", "<db:result from='a.lit' to='b.lit'>x</db:result>"] {
        let mut plain = End::receiving_plain();
        plain.hear(header(US, PEER).replace("xmlns=", "xmlns:db='jabber:server:dialback' xmlns="));
        plain.says();
        if element.starts_with("<db:") {
            plain.hear("<verify xmlns='jabber:server:dialback'/>");
        } else {
            plain.hear(element);
        }
        assert_eq!(plain.told(), Some(Condition::NotAuthorized), "{element}");
        assert!(!plain.starts_tls && plain.established.is_none());
    }
}

#[test]
fn the_language_of_the_header_is_told() {
    let mut end = End::receiving_authenticated();
    end.hear(header(US, PEER));
    assert_eq!(end.established, Some((name(US), Some("pt".to_owned()))));
    let mut end = End::dialling();
    for text in [&header(PEER, US), FEATURES, SUCCESS, &header(PEER, US)] {
        end.hear(text);
    }
    end.hear("<stream:features><federation xmlns='urn:xmpp:federation:0'/></stream:features>");
    assert_eq!(end.established, Some((name(PEER), Some("pt".to_owned()))));
}

#[test]
fn a_header_to_another_name_is_refused() {
    for to in ["saramago.lit", "192.0.2.1", ""] {
        for mut end in [End::receiving(), End::receiving_plain()] {
            end.hear(header(US, to));
            assert_eq!(end.closed, Some("host-unknown"), "{to}");
            let said = end.says();
            assert!(said.starts_with("<?xml") || said.starts_with("<stream:stream"), "a header, then the error");
            assert!(said.ends_with("</stream:stream>"));
        }
    }
    let mut end = End::receiving();
    end.hear(header(US, "XMPP.other.ISP."));
    assert!(end.closed.is_none(), "the twin: a spelling of our name");
}

#[test]
fn a_header_from_nobody_or_from_ourselves_is_refused() {
    let nobody = header(US, PEER).replace(&format!("from='{US}'"), "");
    for text in [nobody, header(PEER, PEER), header("192.0.2.1", PEER)] {
        let mut end = End::receiving();
        end.hear(&text);
        assert_eq!(end.closed, Some("improper-addressing"), "{text}");
    }
}

#[test]
fn a_header_of_another_namespace_or_version_is_refused() {
    for (from, to, condition) in [
        ("jabber:server", "jabber:client", "invalid-namespace"),
        (" version='1.0'", "", "unsupported-version"),
        (" version='1.0'", " version='0.9'", "unsupported-version"),
    ] {
        let mut end = End::receiving();
        end.hear(header(US, PEER).replace(from, to));
        assert_eq!(end.closed, Some(condition));
    }
}

#[test]
fn a_header_that_is_none_is_refused() {
    let mut end = End::receiving();
    end.hear("<stream:stream xmlns='jabber:server' xmlns:stream='urn:x' version='1.0'>");
    assert_eq!(end.closed, Some("invalid-namespace"));
    assert!(end.established.is_none());
}

#[test]
fn another_mechanism_is_refused() {
    for mechanism in ["PLAIN", "external", ""] {
        let mut end = End::receiving();
        end.hear(header(US, PEER));
        end.says();
        end.hear(AUTH.replace("EXTERNAL", mechanism));
        assert_eq!(end.closed, Some("invalid-mechanism"));
        assert!(end.says().contains("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><invalid-mechanism/>"));
        assert_eq!(end.judged, []);
    }
}

#[test]
fn an_authzid_must_be_the_name_in_the_header() {
    // base64 of xmpp.my.isp, XMPP.MY.ISP, saramago.lit, and no base64.
    for (authzid, good) in
        [("eG1wcC5teS5pc3A=", true), ("WE1QUC5NWS5JU1A=", true), ("", true), ("c2FyYW1hZ28ubGl0", false), ("!", false)]
    {
        let mut end = End::receiving();
        end.hear(header(US, PEER));
        end.says();
        end.hear(AUTH.replace(">=<", &format!(">{authzid}<")));
        let said = end.says();
        assert_eq!(said.contains("<success"), good, "{authzid}");
        assert_eq!(end.closed, (!good).then_some("invalid-authzid"));
    }
}

#[test]
fn a_chain_that_does_not_prove_the_name_is_refused() {
    let (mut dialling, mut receiving) = (End::dialling(), End::receiving());
    receiving.verdict = Err("issued for somebody else".to_owned());
    talk(&mut dialling, &mut receiving);
    assert!(matches!(&receiving.error, Some(NegotiationError::Untrusted { name, .. }) if name.as_str() == US));
    assert!(matches!(&dialling.error, Some(NegotiationError::Refused(why)) if why == "not-authorized"));
    assert!(dialling.established.is_none() && receiving.established.is_none());
}

#[test]
fn a_verdict_that_nobody_asked_for_changes_nothing() {
    let state = Negotiation::accept_secured(name(PEER), "id".to_owned());
    let (state, outputs) = state.judged(Ok(())).expect("nothing happened");
    assert!(matches!(state, Negotiation::Listening(_)) && outputs.is_empty());
}

#[test]
fn the_name_cannot_change_with_the_restart() {
    let mut end = End::receiving_authenticated();
    end.hear(header("xmpp.third.isp", PEER));
    assert_eq!(end.closed, Some("invalid-from"));
    assert!(end.established.is_none());
}

#[test]
fn every_stream_has_an_id_of_its_own() {
    let mut end = End::receiving();
    end.hear(header(US, PEER));
    let first = end.says();
    end.hear(AUTH);
    end.hear(header(US, PEER));
    let second = end.says();
    assert!(first.contains(" id='id1'") && !second.contains(" id='id1'") && second.contains(" id='"));
}

#[test]
fn elements_before_authentication_end_the_stream() {
    for text in [
        "<message from='a.lit' to='b.lit'/>",
        "<chosen xmlns='urn:xmpp:federation:0'/>",
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        "<auth mechanism='EXTERNAL'>=</auth>",
    ] {
        let mut end = End::receiving();
        end.hear(header(US, PEER));
        end.says();
        end.hear(text);
        assert_eq!(end.told(), Some(Condition::NotAuthorized), "{text}");
        assert!(end.says().ends_with("</stream:error></stream:stream>"));
    }
}

#[test]
fn what_is_too_large_before_authentication_ends_the_stream() {
    let mut end = End::receiving();
    end.hear(header(US, PEER));
    end.hear(AUTH.replace(">=<", &format!(">{}<", "A".repeat(UNAUTHENTICATED_BYTES))));
    assert_eq!(end.told(), Some(Condition::PolicyViolation));
}

#[test]
fn a_server_of_another_name_is_not_ours_to_talk_to() {
    let mut end = End::dialling();
    end.hear(header("xmpp.third.isp", US));
    assert_eq!(end.told(), Some(Condition::InvalidFrom));
    let mut end = End::dialling();
    end.hear(header(PEER, US).replace("jabber:server", "jabber:client"));
    assert_eq!(end.told(), Some(Condition::InvalidNamespace));
}

#[test]
fn features_out_of_order_are_refused() {
    let federation = "<stream:features><federation xmlns='urn:xmpp:federation:0'/></stream:features>";
    let mut end = End::dialling();
    end.hear(header(PEER, US));
    end.hear(federation);
    assert_eq!(end.told(), Some(Condition::UnsupportedFeature), "federation before authentication");
    assert!(end.established.is_none());
    let mut end = End::dialling();
    for text in [&header(PEER, US), FEATURES, SUCCESS, &header(PEER, US)] {
        end.hear(text);
    }
    end.hear(FEATURES);
    assert_eq!(end.told(), Some(Condition::UnsupportedFeature), "authentication behind authentication");
    let mut end = End::dialling();
    end.hear(header(PEER, US));
    end.hear(SUCCESS);
    assert_eq!(end.told(), Some(Condition::NotAuthorized), "success before it was asked for");
}

#[test]
fn a_server_without_external_is_refused() {
    for mechanisms in ["PLAIN", "EXTERNAL-PLUS", ""] {
        let mut end = End::dialling();
        end.hear(header(PEER, US));
        end.says();
        end.hear(FEATURES.replace("EXTERNAL", mechanisms));
        assert_eq!(end.told(), Some(Condition::UnsupportedFeature));
        assert!(!end.says().contains("<auth"), "nothing is asked for");
    }
}

#[test]
fn a_failure_says_why() {
    let mut end = End::dialling();
    end.hear(header(PEER, US));
    end.hear(FEATURES);
    end.hear("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/><text>who?</text></failure>");
    assert!(matches!(&end.error, Some(NegotiationError::Refused(why)) if why == "not-authorized who?"));
}

#[test]
fn a_stream_error_in_the_middle_is_told() {
    let error = "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    let steps = [header(PEER, US), FEATURES.to_owned(), SUCCESS.to_owned(), header(PEER, US)];
    for count in [1, 2, 4] {
        let mut end = End::dialling();
        steps[..count].iter().for_each(|text| end.hear(text));
        end.hear(error);
        assert!(
            matches!(&end.error, Some(NegotiationError::PeerError(error)) if error.condition == Condition::HostUnknown)
        );
    }
}

#[test]
fn the_end_of_the_stream_in_the_middle_is_told() {
    let mut end = End::dialling();
    end.hear(header(PEER, US));
    end.hear("</stream:stream>");
    assert!(matches!(end.error, Some(NegotiationError::Closed)));
    let mut end = End::receiving();
    end.hear(header(US, PEER));
    end.hear("</stream:stream>");
    assert!(matches!(end.error, Some(NegotiationError::Closed)));
}

#[test]
fn malformed_elements_are_refused_in_every_state() {
    let mut end = End::receiving();
    end.hear(header(US, PEER));
    end.hear("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>&x;</auth>");
    assert_eq!(end.told(), Some(Condition::RestrictedXml));
    let mut end = End::dialling();
    end.hear(header(PEER, US));
    end.hear("<stream:features><x:y/></stream:features>");
    assert_eq!(end.told(), Some(Condition::BadNamespacePrefix));
}
