//! The actor table of ARCHITECTURE.md beside what the files of `actors/` say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::read_to_string;

use syn::visit::{Visit, visit_item_impl};
use syn::{GenericArgument, ItemImpl, PathArguments, Type};

use super::source::{Source, folder, root};

/// An actor, as table or file has it.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) messages: BTreeSet<String>,
}

pub(crate) struct ActorTable {
    pub(crate) rows: BTreeMap<String, Actor>,
}

impl ActorTable {
    pub(crate) fn read() -> Self {
        let text = read_to_string(root().join("ARCHITECTURE.md")).unwrap();
        let rows = text.lines().skip_while(|line| !line.starts_with("| actor |")).skip(2);
        let rows = rows.take_while(|line| line.starts_with('|')).map(row).map(|actor| (actor.name.clone(), actor));
        Self { rows: rows.collect() }
    }
}

/// `| Router (`router.rs`) | parent | children | life | `Unrouted`, `LinkReady` |`
fn row(line: &str) -> Actor {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let (name, file) = cells[0].split_once(" (`").unwrap();
    let messages = cells[4].split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Actor { name: name.to_owned(), file: file.trim_end_matches("`)").to_owned(), messages }
}

/// The actor of a file `actors/<noun>.rs`; `None` for the list of them and for an actor's rooms.
pub(crate) fn actor_of(source: &Source) -> Option<Actor> {
    let file = source.path.strip_prefix("actors/").filter(|file| !file.contains('/'))?;
    let mut found = Found::default();
    found.visit_file(&source.parsed());
    let name = found.actor.take()?;
    for room in folder("actors") {
        if room.path.starts_with(&format!("actors/{}/", source.stem())) {
            found.visit_file(&room.parsed());
        }
    }
    let messages = found.handled.into_iter().filter(|(of, _)| *of == name).map(|(_, message)| message).collect();
    Some(Actor { name, file: file.to_owned(), messages })
}

/// `impl Actor for X` and `impl Handler<M> for X`.
#[derive(Default)]
struct Found {
    actor: Option<String>,
    handled: Vec<(String, String)>,
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if let Some((_, path, _)) = &item.trait_ {
            let last = path.segments.last().unwrap();
            match (last.ident.to_string().as_str(), &last.arguments) {
                ("Actor", _) => self.actor = Some(name_of(&item.self_ty)),
                ("Handler", PathArguments::AngleBracketed(of)) => {
                    if let Some(GenericArgument::Type(message)) = of.args.first() {
                        self.handled.push((name_of(&item.self_ty), name_of(message)));
                    }
                }
                _ => (),
            }
        }
        visit_item_impl(self, item);
    }
}

fn name_of(of: &Type) -> String {
    match of {
        Type::Path(path) => path.path.segments.last().unwrap().ident.to_string(),
        _ => panic!("an actor or message that is no path"),
    }
}
