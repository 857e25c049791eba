//! What a rule looks for in parsed Rust; each finding says file and line.

use std::collections::BTreeSet;

use proc_macro2::{Span, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Attribute, ExprMatch, ExprMethodCall, ImplItemFn, ItemEnum, ItemFn, ItemMod, ItemUse, LitStr, Pat, Path, UseTree,
};

use super::source::Source;

/// Collects findings of one file; tests inside it are left out.
struct Finder<'a, F> {
    source: &'a Source,
    found: Vec<String>,
    look: F,
}

/// What a finder may meet.
enum Met<'a> {
    Path(String),
    Literal(String),
    Call(String),
    Match(&'a ExprMatch),
}

fn find<F: FnMut(&Met<'_>) -> Option<String>>(sources: &[Source], mut look: F) -> Vec<String> {
    let mut all = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let mut finder = Finder { source, found: Vec::new(), look: &mut look };
        finder.visit_file(&source.parsed());
        all.extend(finder.found);
    }
    all
}

impl<F: FnMut(&Met<'_>) -> Option<String>> Finder<'_, F> {
    fn meet(&mut self, met: &Met<'_>, at: Span) {
        if let Some(what) = (self.look)(met) {
            self.found.push(format!("{}:{}: {what}", self.source.path, at.start().line));
        }
    }
}

impl<'ast, F: FnMut(&Met<'_>) -> Option<String>> Visit<'ast> for Finder<'_, F> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        for path in used(&item.tree) {
            self.meet(&Met::Path(path), item.span());
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        self.meet(&Met::Path(spelled(path)), path.span());
        visit::visit_path(self, path);
    }

    fn visit_lit_str(&mut self, literal: &'ast LitStr) {
        self.meet(&Met::Literal(literal.value()), literal.span());
    }

    fn visit_lit_byte_str(&mut self, literal: &'ast syn::LitByteStr) {
        let text = String::from_utf8_lossy(&literal.value()).into_owned();
        self.meet(&Met::Literal(text), literal.span());
    }

    /// Documentation is no literal.
    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        self.meet(&Met::Call(call.method.to_string()), call.span());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_match(&mut self, expr: &'ast ExprMatch) {
        self.meet(&Met::Match(expr), expr.span());
        visit::visit_expr_match(self, expr);
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|of| of == "test")
    })
}

fn spelled(path: &Path) -> String {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>().join("::")
}

/// `a::{b, c::d}` → `a::b`, `a::c::d`.
fn used(tree: &UseTree) -> Vec<String> {
    match tree {
        UseTree::Path(path) => used(&path.tree).iter().map(|rest| format!("{}::{rest}", path.ident)).collect(),
        UseTree::Name(name) => vec![name.ident.to_string()],
        UseTree::Rename(rename) => vec![rename.ident.to_string()],
        UseTree::Glob(_) => vec!["*".to_owned()],
        UseTree::Group(group) => group.items.iter().flat_map(used).collect(),
    }
}

/// Paths in use and in code for which `refused` holds.
pub(crate) fn paths(sources: &[Source], refused: impl Fn(&str) -> bool) -> Vec<String> {
    find(sources, |met| match met {
        Met::Path(path) if refused(path) => Some(path.clone()),
        Met::Path(_) | Met::Literal(_) | Met::Call(_) | Met::Match(_) => None,
    })
}

/// Paths whose last name is one of `names`.
pub(crate) fn foreign_types(sources: &[Source], names: &[&str]) -> Vec<String> {
    paths(sources, |path| path.rsplit("::").next().is_some_and(|last| names.contains(&last)))
}

/// String literals for which `refused` holds.
pub(crate) fn literals(sources: &[Source], refused: impl Fn(&str) -> bool) -> Vec<String> {
    find(sources, |met| match met {
        Met::Literal(text) if refused(text) => Some(format!("{text:?}")),
        Met::Path(_) | Met::Literal(_) | Met::Call(_) | Met::Match(_) => None,
    })
}

/// Calls of methods with these names.
pub(crate) fn calls(sources: &[Source], names: &[&str]) -> Vec<String> {
    find(sources, |met| match met {
        Met::Call(name) if names.contains(&name.as_str()) => Some(name.clone()),
        Met::Path(_) | Met::Literal(_) | Met::Call(_) | Met::Match(_) => None,
    })
}

/// `_ =>` in a match that names a variant of one of `own`.
pub(crate) fn wildcards(sources: &[Source], own: &BTreeSet<String>) -> Vec<String> {
    find(sources, |met| match met {
        Met::Match(expr) => {
            let wild = expr.arms.iter().any(|arm| matches!(arm.pat, Pat::Wild(_)) && arm.guard.is_none());
            let named = expr.arms.iter().find_map(|arm| enum_of(&arm.pat).filter(|name| own.contains(name)));
            named.filter(|_| wild)
        }
        Met::Path(_) | Met::Literal(_) | Met::Call(_) => None,
    })
}

/// The enum of a pattern `Enum::Variant…`.
fn enum_of(pattern: &Pat) -> Option<String> {
    let path = match pattern {
        Pat::Path(path) => &path.path,
        Pat::TupleStruct(variant) => &variant.path,
        Pat::Struct(variant) => &variant.path,
        Pat::Or(or) => return or.cases.iter().find_map(enum_of),
        _ => return None,
    };
    let mut names = path.segments.iter().rev().skip(1);
    names.next().map(|segment| segment.ident.to_string())
}

/// The names of all enums.
pub(crate) fn own_enums(sources: &[Source]) -> BTreeSet<String> {
    struct Names(BTreeSet<String>);
    impl<'ast> Visit<'ast> for Names {
        fn visit_item_enum(&mut self, item: &'ast ItemEnum) {
            self.0.insert(item.ident.to_string());
        }

        /// Enums whose variants have a word each are written by a macro: `Name { … }`.
        fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
            let tokens: Vec<TokenTree> = item.mac.tokens.clone().into_iter().collect();
            for pair in tokens.windows(2) {
                if let [TokenTree::Ident(name), TokenTree::Group(_)] = pair {
                    self.0.insert(name.to_string());
                }
            }
        }
    }
    let mut names = Names(BTreeSet::from(["Self".to_owned()]));
    sources.iter().for_each(|source| names.visit_file(&source.parsed()));
    names.0
}

/// The lengths of functions.
pub(crate) struct Sizes<'a> {
    source: &'a Source,
    limits: (usize, usize),
    in_test: bool,
    found: Vec<String>,
}

impl<'a> Sizes<'a> {
    /// Functions longer than allowed: `limits` are for the house and for tests.
    pub(crate) fn over(source: &'a Source, limits: (usize, usize)) -> Vec<String> {
        let mut sizes = Self { source, limits, in_test: source.is_test(), found: Vec::new() };
        sizes.visit_file(&source.parsed());
        sizes.found
    }

    fn measure(&mut self, name: &syn::Ident, body: &syn::Block) {
        let lines = body.span().end().line - name.span().start().line + 1;
        let limit = if self.in_test { self.limits.1 } else { self.limits.0 };
        if lines > limit {
            self.found.push(format!("{}: {name} has {lines} lines, {limit} are allowed", self.source.path));
        }
    }
}

impl<'ast> Visit<'ast> for Sizes<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let outside = self.in_test;
        self.in_test |= is_test(&item.attrs);
        visit::visit_item_mod(self, item);
        self.in_test = outside;
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.measure(&item.sig.ident, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.measure(&item.sig.ident, &item.block);
        visit::visit_impl_item_fn(self, item);
    }
}
