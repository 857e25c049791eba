//! From text to TOML, with every syntax error.

use toml::Table;
use toml::de::{DeTable, Error};

use super::error::{ConfigError, ConfigErrors};

/// `text` as a table.
///
/// # Errors
/// Every place where it is not TOML.
pub(super) fn parse(text: &str) -> Result<Table, ConfigErrors> {
    let (_, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(|error| error.span().map_or(0, |span| span.start));
    let errors = errors.iter().map(|error| at(text, error)).collect();
    match ConfigErrors::from_list(errors) {
        Some(errors) => Err(errors),
        None => text.parse().map_err(|error| at(text, &error).into()),
    }
}

fn at(text: &str, error: &Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    ConfigError::Syntax {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message: error.message().replace('\n', ", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_syntax_error_has_its_place() {
        let errors = parse("[host]\nname = \nstate = ''\n[listen\n").unwrap_err();
        let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("line 2, column "), "{lines:?}");
        assert!(lines[1].starts_with("line 4, column "), "{lines:?}");
    }

    #[test]
    fn what_is_toml_is_a_table() {
        assert_eq!(parse("[host]\nname = 'a'").map(|table| table.len()), Ok(1));
    }
}
