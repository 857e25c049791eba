//! Two sides, and the wire between them.

use std::time::{Duration, Instant};

use heteronym_proto::framer::Frame;
use heteronym_proto::host_stream::Role;
use heteronym_proto::now::Now;

use crate::bench::{MINE, OTHER, Setup, Side, element_name, later, start};

/// Two sides, and the wire between them.
pub(crate) struct Link {
    pub(crate) mine: Side,
    pub(crate) other: Side,
    pub(crate) now: Now,
    /// What was carried: by which host, and what.
    pub(crate) wire: Vec<(&'static str, String)>,
    links: u8,
    /// Batches of bytes that were carried, in either direction.
    pub(crate) flights: usize,
    /// What becomes of an element on its way; as it is, where nothing is returned.
    pub(crate) tamper: Option<Tamper>,
}

/// Takes the sending host and an element, and returns what arrives instead.
pub(crate) type Tamper = Box<dyn FnMut(&'static str, &str) -> Option<Vec<String>>>;

impl Link {
    /// Two hosts with two domains each, with the link chosen.
    pub(crate) fn new() -> Self {
        Self::with(Setup::mine(), Setup::other())
    }

    pub(crate) fn with(mine: Setup, other: Setup) -> Self {
        let mut link = Self::not_chosen(mine, other);
        let now = link.now;
        link.mine.act(now, |stream, out| stream.choose(now, out));
        link.run();
        link.wire.clear();
        link.flights = 0;
        link
    }

    /// Two hosts that acknowledge what they send, with saramago.lit and pessoa.lit active.
    pub(crate) fn counted() -> Self {
        let mine = Setup { role: Role::Dialled { counts: true }, ..Setup::mine() };
        let mut link = Self::with(mine, Setup::other());
        link.activate("pessoa.lit", "saramago.lit");
        link.advance(Duration::from_secs(3));
        link.wire.clear();
        link
    }

    /// The link breaks, with everything that is under way; `dialler` dials another, and it is chosen.
    pub(crate) fn cut(&mut self, dialler: &'static str) {
        self.break_off(dialler);
        self.choose();
        self.run();
    }

    /// The link breaks, and there is another that nobody has chosen.
    pub(crate) fn break_off(&mut self, dialler: &'static str) {
        self.links += 1;
        let (dialled, exporter) = (Role::Dialled { counts: true }, [self.links; 64]);
        let role = |host| if host == dialler { dialled } else { Role::Accepted };
        self.mine.reconnect(self.now, role(MINE), exporter);
        self.other.reconnect(self.now, role(OTHER), exporter);
        self.wire.clear();
    }

    pub(crate) fn choose(&mut self) {
        let now = self.now;
        self.mine.act(now, |stream, out| stream.choose(now, out));
    }

    /// Loses what one host has written.
    pub(crate) fn lose(&mut self, from: &'static str) -> String {
        if from == MINE { self.mine.says() } else { self.other.says() }
    }

    /// Before `<chosen/>`.
    pub(crate) fn not_chosen(mine: Setup, other: Setup) -> Self {
        let now = start();
        let (mine, other) = (Side::new(mine, OTHER, now), Side::new(other, MINE, now));
        Self { mine, other, now, wire: Vec::new(), flights: 0, tamper: None, links: 0 }
    }

    /// A link with saramago.lit and pessoa.lit active, asked for by the latter.
    pub(crate) fn active() -> Self {
        let mut link = Self::new();
        link.activate("pessoa.lit", "saramago.lit");
        link
    }

    /// A link where saramago.lit and pessoa.lit know each other from activations with others.
    pub(crate) fn acquainted() -> Self {
        let mut link = Self::new();
        link.activate("pessoa.lit", "camoes.lit");
        link.activate("sophia.lit", "saramago.lit");
        link
    }

    /// Has a domain of the other host's ask for one of ours.
    pub(crate) fn activate(&mut self, theirs: &str, ours: &str) {
        self.other.send(self.now, theirs, ours, "hello");
        self.run();
        assert!(self.mine.is_active(ours, theirs) && self.other.is_active(theirs, ours), "{:#?}", self.wire);
        self.mine.delivered.clear();
        self.mine.delivered_as.clear();
        self.wire.clear();
        self.flights = 0;
    }

    /// Carries bytes until there are no more.
    pub(crate) fn run(&mut self) {
        while self.carry(OTHER) | self.carry(MINE) {}
    }

    /// Carries what one host has written.
    pub(crate) fn carry(&mut self, from: &'static str) -> bool {
        let Self { mine, other, now, wire, tamper, .. } = self;
        let (source, target) = if from == MINE { (mine, other) } else { (other, mine) };
        let bytes = source.written();
        if bytes.is_empty() {
            return false;
        }
        target.feed(*now, &bytes, &mut |frame| tapped(from, frame, wire, tamper.as_mut()));
        self.flights += 1;
        true
    }

    /// Lets time pass, with every time-out at its moment.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now.instant + by;
        loop {
            let deadlines = [self.mine.stream.deadline(), self.other.stream.deadline()];
            let next = deadlines.into_iter().flatten().min().filter(|next| *next <= end);
            self.move_to(next.unwrap_or(end));
            if next.is_none() {
                return;
            }
            self.mine.timeout(self.now);
            self.other.timeout(self.now);
            self.run();
        }
    }

    fn move_to(&mut self, instant: Instant) {
        self.now = later(self.now, instant.saturating_duration_since(self.now.instant));
    }

    /// The names of the elements that `host` has sent.
    pub(crate) fn sent_by(&self, host: &str) -> Vec<&str> {
        self.wire.iter().filter(|(from, _)| *from == host).map(|(_, text)| element_name(text)).collect()
    }

    /// How many elements of that name were carried.
    pub(crate) fn count(&self, element: &str) -> usize {
        self.wire.iter().filter(|(_, text)| element_name(text) == element).count()
    }

    /// Sends a stanza of the pair either way and expects both to arrive.
    pub(crate) fn expect_usable(&mut self, ours: &str, theirs: &str) {
        let (before_mine, before_other) = (self.mine.delivered.len(), self.other.delivered.len());
        self.mine.send(self.now, ours, theirs, "there");
        self.other.send(self.now, theirs, ours, "back");
        self.run();
        assert_eq!(self.mine.delivered.len(), before_mine + 1, "{:#?}", self.wire);
        assert_eq!(self.other.delivered.len(), before_other + 1, "{:#?}", self.wire);
    }
}

fn tapped(
    from: &'static str,
    frame: Frame,
    wire: &mut Vec<(&'static str, String)>,
    tamper: Option<&mut Tamper>,
) -> Vec<Frame> {
    let Frame::Element(bytes) = &frame else { return vec![frame] };
    let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let instead = tamper.and_then(|tamper| tamper(from, &text));
    wire.push((from, text));
    match instead {
        Some(elements) => elements.into_iter().map(|text| Frame::Element(text.into())).collect(),
        None => vec![frame],
    }
}
