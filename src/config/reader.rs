//! Takes keys out of TOML tables one by one, and remembers everything that was wrong.
//!
//! Deserialising with serde would end at the first error; an operator wants all of them.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::error::{ConfigError, Problem};
use super::nearest::nearest;
use super::secret::Secret;
use super::value::{self, Read, Refusal, show, string, text, wrong_type};

/// What was found while reading, and where the file lies.
pub(super) struct Report {
    folder: PathBuf,
    errors: RefCell<Vec<ConfigError>>,
    unknown: RefCell<Vec<Unknown>>,
    known: RefCell<BTreeSet<String>>,
}

/// A key that no reader asked for.
struct Unknown {
    section: String,
    /// The section without the names and numbers of its entries.
    pattern: String,
    key: String,
    value: Value,
}

/// One table on its way through the readers: what they leave in it is unknown.
pub(super) struct Section<'r> {
    report: &'r Report,
    table: Table,
    at: String,
    pattern: String,
}

impl Report {
    /// An empty report; relative paths are relative to `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            errors: RefCell::default(),
            unknown: RefCell::default(),
            known: RefCell::default(),
        }
    }

    /// Reads the whole file with `read`.
    pub(super) fn read<T>(&self, table: Table, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        Section { report: self, table, at: String::new(), pattern: String::new() }.read(read)
    }

    /// Adds what is wrong with `key`.
    pub(super) fn refuse(&self, key: String, value: Option<String>, refusal: Refusal) {
        let Refusal { problem, allowed } = refusal;
        self.errors.borrow_mut().push(ConfigError::Key { key, value, problem, allowed });
    }

    /// Everything that was wrong, unknown keys last: which keys are known is not certain earlier.
    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        let known = self.known.into_inner();
        let mut errors = self.errors.into_inner();
        errors.extend(self.unknown.into_inner().into_iter().map(|unknown| unknown.into_error(&known)));
        errors
    }

    /// Every key that was asked for, as a pattern (`local[].name`).
    #[cfg(test)]
    pub(super) fn known(&self) -> BTreeSet<String> {
        self.known.borrow().clone()
    }
}

impl Unknown {
    fn into_error(self, known: &BTreeSet<String>) -> ConfigError {
        let nearest = nearest(&self.pattern, &self.key, known);
        // A secret under a misspelt key must not end in a log.
        let secret = holds_secret(&self.key) || nearest.as_deref().is_some_and(holds_secret);
        ConfigError::Key {
            key: join(&self.section, &bare(&self.key)),
            value: (!secret).then(|| show(&self.value)),
            problem: Problem::UnknownKey { nearest },
            allowed: "".into(),
        }
    }
}

impl Section<'_> {
    fn read<T>(mut self, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let result = read(&mut self);
        let unknown = self.table.into_iter().map(|(key, value)| Unknown {
            section: self.at.clone(),
            pattern: self.pattern.clone(),
            key,
            value,
        });
        self.report.unknown.borrow_mut().extend(unknown);
        result
    }

    /// The value of `key`, if it is there and `read` accepts it.
    pub(super) fn value<T>(&mut self, key: &'static str, read: impl FnOnce(&Value) -> Read<T>) -> Option<T> {
        let value = self.take(key)?;
        self.accept(self.key(key), &value, read)
    }

    /// Like [`Self::value`] for a key that has to be there; `allowed` says what it takes.
    pub(super) fn needed<T>(
        &mut self,
        key: &'static str,
        allowed: &'static str,
        read: impl FnOnce(&Value) -> Read<T>,
    ) -> Option<T> {
        let Some(value) = self.take(key) else {
            self.refuse(key, None, Refusal { problem: Problem::Missing, allowed: allowed.into() });
            return None;
        };
        self.accept(self.key(key), &value, read)
    }

    /// The items of the list `key` that `read` accepts, if the list is there.
    pub(super) fn list<T>(&mut self, key: &'static str, read: impl Fn(&Value) -> Read<T>) -> Option<Vec<T>> {
        let value = self.take(key)?;
        self.items(key, &value, read)
    }

    /// Like [`Self::list`] for a value that was taken already.
    pub(super) fn items<T>(&self, key: &str, value: &Value, read: impl Fn(&Value) -> Read<T>) -> Option<Vec<T>> {
        let Some(items) = value.as_array() else {
            self.refuse(key, Some(show(value)), wrong_type(value, "a list: [\"…\", \"…\"]"));
            return None;
        };
        let at = |n| format!("{}[{n}]", self.key(key));
        Some(items.iter().enumerate().filter_map(|(n, item)| self.accept(at(n), item, &read)).collect())
    }

    /// The path that `key` holds, relative ones relative to the file; none if it is absent or empty.
    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let folder = self.report.folder.clone();
        self.value(key, |value| {
            let path = string(value, "a path; relative ones are relative to this file")?;
            Ok((!path.is_empty()).then(|| folder.join(path)))
        })?
    }

    /// The text of the file that the path `key` names.
    pub(super) fn file(&mut self, key: &'static str) -> Option<(PathBuf, Option<String>)> {
        let path = self.path(key)?;
        let text = fs::read_to_string(&path).map_err(|error| {
            let allowed = "a file that this user can read".into();
            let refusal = Refusal { problem: Problem::Unreadable(error.to_string()), allowed };
            self.refuse(key, Some(format!("{:?}", path.display().to_string())), refusal);
        });
        Some((path, text.ok()))
    }

    /// The secret in `key` or in the file that `key_file` names, which is never shown.
    pub(super) fn secret(&mut self, key: &'static str, key_file: &'static str, needed: bool) -> Option<Secret> {
        let inline = self.take(key).filter(|value| needed || value.as_str() != Some(""));
        let is_inline = inline.is_some();
        let inline = inline.and_then(|value| match text(&value) {
            Ok(secret) => Some(Secret::new(secret)),
            Err(refusal) => {
                self.refuse(key, None, refusal);
                None
            }
        });
        let Some((_, from_file)) = self.secret_file(key_file) else {
            if needed && !is_inline {
                let allowed = format!("a text, or a path in {key_file}").into();
                self.refuse(key, None, Refusal { problem: Problem::Missing, allowed });
            }
            return inline;
        };
        if is_inline {
            let allowed = "one of the two".into();
            self.refuse(key, None, Refusal { problem: Problem::Exclusive { other: key_file }, allowed });
        }
        inline.or(from_file)
    }

    /// The path that `key` names and the secret in that file, without the line's end.
    pub(super) fn secret_file(&mut self, key: &'static str) -> Option<(PathBuf, Option<Secret>)> {
        let (path, text) = self.file(key)?;
        let secret = text.map(|text| text.trim().to_owned());
        if secret.as_deref() == Some("") {
            let shown = format!("{:?}", path.display().to_string());
            self.refuse(key, Some(shown), value::invalid("is an empty file", "a file with the secret in it"));
        }
        Some((path, secret.filter(|secret| !secret.is_empty()).map(Secret::new)))
    }

    /// The table `key`, an empty one if it is absent.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let table = self.take(key).and_then(|value| self.table(self.key(key), value)).unwrap_or_default();
        let section = Section { report: self.report, table, at: self.key(key), pattern: join(&self.pattern, key) };
        section.read(read)
    }

    /// The table `key`, if it is there.
    pub(super) fn optional<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> Option<T> {
        self.known(key);
        self.table.contains_key(key).then(|| self.section(key, read))
    }

    /// The table `key`, which has to be there; `allowed` says how it looks.
    pub(super) fn needed_section<T>(
        &mut self,
        key: &'static str,
        allowed: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> Option<T>,
    ) -> Option<T> {
        match self.table.get(key) {
            Some(Value::Table(_)) => self.section(key, read),
            // One line for a wrong type, and none for each key that is missing in consequence.
            _ => self.needed(key, allowed, |value| Err(wrong_type(value, allowed))),
        }
    }

    /// Whether `key` is absent or an empty list.
    pub(super) fn lacks(&self, key: &str) -> bool {
        self.table.get(key).is_none_or(|value| value.as_array().is_some_and(Vec::is_empty))
    }

    /// Takes the rest of the keys out unread.
    pub(super) fn ignore_rest(&mut self) {
        self.table.clear();
    }

    /// Every table of the list `[[key]]`, called by its `name` if it has one.
    pub(super) fn sections<T>(&mut self, key: &'static str, mut read: impl FnMut(&mut Section<'_>) -> T) -> Vec<T> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let Value::Array(items) = value else {
            self.refuse(key, Some(show(&value)), wrong_type(&value, format!("tables under [[{key}]]")));
            return Vec::new();
        };
        let pattern = format!("{}[]", join(&self.pattern, key));
        let entries = items.into_iter().enumerate().filter_map(|(n, item)| {
            let called = item.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
            let label = called.map_or_else(|| n.to_string(), |name| format!("{name:?}"));
            let at = format!("{}[{label}]", self.key(key));
            let table = self.table(at.clone(), item)?;
            Some(Section { report: self.report, table, at, pattern: pattern.clone() }.read(&mut read))
        });
        entries.collect()
    }

    /// Every table of `[key."…"]` with its name.
    pub(super) fn named<T>(&mut self, key: &'static str, mut read: impl FnMut(&str, &mut Section<'_>) -> T) -> Vec<T> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let Some(entries) = self.table(self.key(key), value) else { return Vec::new() };
        let pattern = format!("{}[]", join(&self.pattern, key));
        let entries = entries.into_iter().filter_map(|(called, value)| {
            let at = format!("{}.{called:?}", self.key(key));
            let table = self.table(at.clone(), value)?;
            let section = Section { report: self.report, table, at, pattern: pattern.clone() };
            Some(section.read(|section| read(&called, section)))
        });
        entries.collect()
    }

    /// Takes the value of `key` out, which is a known key from now on.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known(key);
        self.table.remove(key)
    }

    /// `key` with the sections before it; the section itself if `key` is empty.
    pub(super) fn key(&self, key: &str) -> String {
        join(&self.at, key)
    }

    /// Where relative paths start.
    pub(super) fn folder(&self) -> &Path {
        &self.report.folder
    }

    /// Adds what is wrong with `key` of this section.
    pub(super) fn refuse(&self, key: &str, value: Option<String>, refusal: Refusal) {
        self.report.refuse(self.key(key), value, refusal);
    }

    fn known(&self, key: &str) {
        self.report.known.borrow_mut().insert(join(&self.pattern, key));
    }

    fn accept<T>(&self, key: String, value: &Value, read: impl FnOnce(&Value) -> Read<T>) -> Option<T> {
        read(value).map_err(|refusal| self.report.refuse(key, Some(show(value)), refusal)).ok()
    }

    fn table(&self, key: String, value: Value) -> Option<Table> {
        match value {
            Value::Table(table) => Some(table),
            other => {
                self.report.refuse(key, Some(show(&other)), wrong_type(&other, "a table"));
                None
            }
        }
    }
}

/// Whether what stands under `key` is likely a secret, and not the path of one.
fn holds_secret(key: &str) -> bool {
    !key.ends_with("_file") && ["secret", "token", "pass"].iter().any(|word| key.contains(word))
}

/// A key as TOML writes it: quoted where it is more than letters, digits, `-` and `_`.
fn bare(key: &str) -> Cow<'_, str> {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !key.is_empty() && key.chars().all(is_bare) { key.into() } else { format!("{key:?}").into() }
}

fn join(section: &str, key: &str) -> String {
    match (section, key) {
        ("", key) => key.to_owned(),
        (section, "") => section.to_owned(),
        (section, key) => format!("{section}.{key}"),
    }
}
