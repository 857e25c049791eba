//! What the demonstration says when something does not work.

use super::*;

/// Runs it up to the activations, `pessoa.lit` having no record.
fn activate_without_pessoa() -> Result<Vec<Duration>, DemoError> {
    actix_rt::System::new().block_on(async {
        let (cast, show) = (Rc::new(Cast::new(2)), Show::new(true));
        let folder = tempfile::tempdir().unwrap();
        let names = NameServer::start(Zone::new()).unwrap();
        let hosts = prepare(&cast, folder.path(), &names, &show)?;
        names.remove("pessoa.lit");
        let components = [hosts[0].attach(&cast).await?, hosts[1].attach(&cast).await?];
        let mut traffic = Traffic::new(Rc::clone(&cast), components, 1);
        activate(&mut traffic, &hosts, &cast, &show).await
    })
}

#[test]
fn pairs_that_do_not_become_active_are_named_with_the_reason() {
    let Err(DemoError::Inactive { missing, total, list }) = activate_without_pessoa() else { panic!("active") };
    assert_eq!((missing, total), (2, 4));
    let list = list.to_string();
    assert!(list.contains("saramago.lit → pessoa.lit (") && list.contains("remote-server-not-found: "), "{list}");
}

#[test]
fn a_lost_stanza_is_an_error_that_names_its_pair() {
    let cast = Cast::new(1);
    let mut ledger = Ledger::new(&cast, 2);
    let pair = cast.pairs().next().unwrap();
    for side in Side::BOTH {
        ledger.delivered(&cast, pair.from(side), 1);
    }
    let said = judge(&ledger, &cast).unwrap_err().to_string();
    let expected = "2 of 4 stanzas were lost: 1 from saramago.lit to pessoa.lit; 1 from pessoa.lit to saramago.lit";
    assert_eq!(said, expected);
    for side in Side::BOTH {
        ledger.delivered(&cast, pair.from(side), 0);
    }
    assert!(matches!(judge(&ledger, &cast), Err(DemoError::Disturbed { duplicated: 0, disordered: 2 })));
}

#[test]
fn a_long_list_is_cut() {
    let list = List::new(vec!["one".into(), "two".into()], 7);
    assert_eq!(list.to_string(), "one; two; and 5 more");
}
