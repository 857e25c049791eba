//! What became of each stanza, and what must hold of that.

use std::collections::HashMap;

/// Of one stanza.
#[derive(Debug, Default)]
struct Fate {
    /// Whose user sent it, and whose user it is for.
    from: usize,
    to: usize,
    /// The pair of domains.
    pair: (String, String),
    delivered: u32,
    bounced: u32,
    /// It was handed to the router of its receiver, which answers for it.
    arrived: bool,
    /// An error of the other side's came.
    answered: bool,
    /// Whoever had it was killed, or nobody came back for it: it may be lost.
    may_be_lost: bool,
    /// The same: it may be sent again, or be bounced, although it was delivered.
    may_be_doubled: bool,
}

/// See the module. A stanza's number is its `id`.
#[derive(Default)]
pub(crate) struct Ledger {
    fates: Vec<Fate>,
    last: HashMap<(String, String), usize>,
    /// Stanzas that were sent again and may have arrived, as the routers counted them.
    pub(crate) in_doubt: usize,
    doubled: usize,
    /// What was broken, in words.
    pub(crate) broken: Option<String>,
    /// Why a stanza came back, for who looks for a fault.
    pub(crate) told: bool,
}

/// The number of a stanza.
pub(crate) fn number(stanza: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(stanza).ok()?;
    text.split_once(" id='")?.1.split('\'').next()?.parse().ok()
}

fn is_error(stanza: &[u8]) -> bool {
    memchr::memmem::find(stanza, b" type='error'").is_some()
}

impl Ledger {
    /// A user of host `from` gave it a stanza for a user of `to`: its number.
    pub(crate) fn accept(&mut self, from: usize, to: usize, pair: (&str, &str)) -> usize {
        let pair = (pair.0.to_owned(), pair.1.to_owned());
        self.fates.push(Fate { from, to, pair, ..Fate::default() });
        self.fates.len() - 1
    }

    #[cfg(not(feature = "broken"))]
    pub(crate) fn accepted(&self) -> usize {
        self.fates.len()
    }

    /// Something that must not happen has happened; the first is kept.
    pub(crate) fn fault(&mut self, what: impl FnOnce() -> String) {
        if self.broken.is_none() {
            self.broken = Some(what());
        }
    }

    /// The core of the receiving router took it.
    pub(crate) fn arrive(&mut self, stanza: &[u8]) {
        if let Some(fate) = number(stanza).and_then(|number| self.fates.get_mut(number)) {
            fate.arrived = true;
        }
    }

    /// The receiver's server was given it.
    pub(crate) fn deliver(&mut self, stanza: &[u8]) {
        let Some(number) = number(stanza) else { return };
        if is_error(stanza) {
            if let Some(fate) = self.fates.get_mut(number) {
                fate.answered = true;
            }
            return self.bounce_of(number);
        }
        let Some(fate) = self.fates.get_mut(number) else { return };
        fate.delivered += 1;
        let last = self.last.insert(fate.pair.clone(), number);
        let late = last.is_some_and(|last| last > number) && !fate.may_be_doubled;
        self.judge(number);
        if late {
            self.fault(|| format!("order: stanza {number} was delivered behind {last:?}"));
        }
    }

    /// Its sender was told that it did not arrive; an error that is not answered has no sender.
    #[expect(clippy::print_stderr, reason = "somebody reads a story step by step")]
    pub(crate) fn bounce(&mut self, stanza: &[u8], why: &str) {
        let Some(number) = number(stanza) else { return };
        if self.told {
            eprintln!("stanza {number} came back: {why}");
        }
        self.bounce_of(number);
    }

    fn bounce_of(&mut self, number: usize) {
        if let Some(fate) = self.fates.get_mut(number) {
            fate.bounced += 1;
            self.judge(number);
        }
    }

    fn judge(&mut self, number: usize) {
        let Fate { delivered, bounced, may_be_doubled, .. } = self.fates[number];
        if delivered + bounced < 2 {
            return;
        }
        if may_be_doubled {
            self.doubled += 1;
        } else {
            self.fault(|| format!("once: stanza {number} was delivered {delivered} times and bounced {bounced} times"));
        }
    }

    /// The server of a stanza's sender was away when it was to be told: nobody tells it again.
    pub(crate) fn in_vain(&mut self, stanza: &[u8]) {
        if is_error(stanza)
            && let Some(fate) = number(stanza).and_then(|number| self.fates.get_mut(number))
        {
            fate.may_be_lost = true;
        }
    }

    /// Host `host` was killed, with all that it had.
    pub(crate) fn kill(&mut self, host: usize) {
        for fate in &mut self.fates {
            let has = fate.from == host || (fate.to == host && fate.arrived);
            fate.may_be_lost |= has && fate.delivered + fate.bounced == 0;
            fate.may_be_doubled |= (fate.to == host && fate.arrived) || (fate.from == host && fate.answered);
        }
    }

    /// Host `host` gave up its session with `peer`: neither knows what the other has.
    pub(crate) fn give_up(&mut self, host: usize, peer: usize) {
        for fate in &mut self.fates {
            let between = (fate.from, fate.to) == (host, peer) || (fate.from, fate.to) == (peer, host);
            fate.may_be_doubled |= between && (fate.arrived || fate.answered || fate.delivered + fate.bounced == 0);
            fate.may_be_lost |= between && fate.to == host && fate.arrived && fate.delivered + fate.bounced == 0;
        }
    }

    /// Everything has come to an end: each stanza has exactly one outcome, or may have none.
    pub(crate) fn close(&mut self) {
        let lost = |fate: &Fate| fate.delivered + fate.bounced == 0 && !fate.may_be_lost;
        if let Some(number) = self.fates.iter().position(lost) {
            self.fault(|| format!("lost: stanza {number} was neither delivered nor bounced"));
        }
        let (doubled, in_doubt) = (self.doubled, self.in_doubt);
        if doubled > in_doubt {
            self.fault(|| format!("doubt: {doubled} stanzas were doubled, and {in_doubt} were said to be in doubt"));
        }
    }
}
