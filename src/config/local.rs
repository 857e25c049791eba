//! `[[local]]`: our own XMPP servers, gateways and bots.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use heteronym_proto::name::Name;

use super::attach::Attach;
use super::error::Problem;
use super::reader::Section;
use super::value::{Refusal, invalid, name, text};

/// One of our own XMPP servers, gateways or bots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// What the log and the status page call it.
    pub name: String,
    /// The domains it serves, those of `domains_file` included, each once.
    pub domains: Vec<Name>,
    /// The folder with one subfolder per domain: `fullchain.pem`, `privkey.pem`.
    pub certificates: PathBuf,
    /// How it is reached.
    pub attach: Attach,
}

/// Who has a name or a domain already, among all entries.
#[derive(Default)]
struct Taken {
    names: HashMap<String, String>,
    domains: HashMap<Name, String>,
}

impl Local {
    /// Every `[[local]]`.
    pub(super) fn read_all(root: &mut Section<'_>) -> Vec<Self> {
        let mut taken = Taken::default();
        root.sections("local", |section| Self::read(section, &mut taken)).into_iter().flatten().collect()
    }

    fn read(section: &mut Section<'_>, taken: &mut Taken) -> Option<Self> {
        let called = section.needed("name", "a text", |value| text(value).map(str::to_owned));
        if let Some(called) = &called {
            taken.check_name(section, called);
        }
        let domains = read_domains(section, taken);
        let certificates = section.path("certificates").unwrap_or_else(|| section.folder().join("certs"));
        let attach = Attach::read(section);
        Some(Self { name: called?, domains, certificates, attach: attach? })
    }
}

/// `domains` and the lines of `domains_file`, each domain once; one of the two keys has to be there.
fn read_domains(section: &mut Section<'_>, taken: &mut Taken) -> Vec<Name> {
    let none_listed = section.lacks("domains");
    let listed = section.list("domains", name);
    let from_file = section.file("domains_file");
    if from_file.is_none() && none_listed {
        let allowed = "a list of domains, or a path in domains_file".into();
        section.refuse("domains", None, Refusal { problem: Problem::Missing, allowed });
    }
    let lines = from_file.and_then(|(_, text)| text).unwrap_or_default();
    let read = parse_lines(section, &lines);
    let mut own = HashSet::new();
    let domains = listed.unwrap_or_default().into_iter().chain(read).filter(|domain| own.insert(domain.clone()));
    domains.inspect(|domain| taken.check_domain(section, domain)).collect()
}

/// One domain a line; what follows a `#` is a comment.
fn parse_lines(section: &Section<'_>, text: &str) -> Vec<Name> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or("").trim()).enumerate();
    let domains = lines.filter(|(_, line)| !line.is_empty()).filter_map(|(n, line)| {
        let refuse = |error| {
            let at = format!("domains_file line {}", n + 1);
            section.refuse(&at, Some(format!("{line:?}")), invalid(error, "one domain a line, # comments"));
        };
        Name::parse(line).map_err(refuse).ok()
    });
    domains.collect()
}

impl Taken {
    fn check_name(&mut self, section: &Section<'_>, called: &str) {
        if let Some(first) = self.names.insert(called.to_lowercase(), section.key("name")) {
            let refusal =
                Refusal { problem: Problem::Taken { first }, allowed: "a name that no other entry has".into() };
            section.refuse("name", Some(format!("{called:?}")), refusal);
        }
    }

    fn check_domain(&mut self, section: &Section<'_>, domain: &Name) {
        if let Some(first) = self.domains.insert(domain.clone(), section.key("")) {
            let refusal = Refusal { problem: Problem::Taken { first }, allowed: "each domain in one entry".into() };
            section.refuse("domains", Some(format!("\"{domain}\"")), refusal);
        }
    }
}
