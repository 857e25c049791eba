//! What a single TOML value may say, and how it is shown when it says something else.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;
use heteronym_proto::name::Name;
use toml::Value;

use super::error::Problem;

/// Characters of a value that an error line shows.
const SHOWN: usize = 80;

/// A value that is not accepted.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) problem: Problem,
    pub(super) allowed: Cow<'static, str>,
}

/// What reading one value ends with.
pub(super) type Read<T> = Result<T, Refusal>;

/// An enumeration that is written as one word.
pub(super) trait Choice: Copy + 'static {
    /// Every word with its meaning, the default first.
    const WORDS: &'static [(&'static str, Self)];
}

/// `true` or `false`.
pub(super) fn flag(value: &Value) -> Read<bool> {
    value.as_bool().ok_or_else(|| wrong_type(value, "true | false"))
}

/// Any text, and not an empty one.
pub(super) fn text(value: &Value) -> Read<&str> {
    const ALLOWED: &str = "a text";
    match string(value, ALLOWED)? {
        "" => Err(invalid("is empty", ALLOWED)),
        text => Ok(text),
    }
}

/// A DNS name in any spelling.
pub(super) fn name(value: &Value) -> Read<Name> {
    const ALLOWED: &str = "a DNS name such as \"saramago.lit\"";
    Name::parse(string(value, ALLOWED)?).map_err(|error| invalid(error, ALLOWED))
}

/// `address:port`.
pub(super) fn socket_address(value: &Value) -> Read<SocketAddr> {
    const ALLOWED: &str = "\"address:port\" such as \"127.0.0.1:5270\" or \"[::]:5270\"";
    string(value, ALLOWED)?.parse().map_err(|_| invalid("is no address with a port", ALLOWED))
}

/// `address:port` of somebody else's, whose port is known.
pub(super) fn remote_address(value: &Value) -> Read<SocketAddr> {
    match socket_address(value)? {
        address if address.port() == 0 => Err(invalid("has no port to connect to", "a port from 1 to 65535")),
        address => Ok(address),
    }
}

/// An address without a port.
pub(super) fn ip_address(value: &Value) -> Read<IpAddr> {
    const ALLOWED: &str = "an address such as \"192.0.2.1\" or \"2001:db8::1\"";
    string(value, ALLOWED)?.parse().map_err(|_| invalid("is no IP address", ALLOWED))
}

/// A whole number within `range`.
pub(super) fn number(range: RangeInclusive<u32>) -> impl Fn(&Value) -> Read<u32> {
    move |value| {
        let allowed = || format!("a number from {} to {}", range.start(), range.end());
        let number = value.as_integer().ok_or_else(|| wrong_type(value, allowed()))?;
        match u32::try_from(number) {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(Refusal { problem: Problem::OutOfRange, allowed: allowed().into() }),
        }
    }
}

/// A duration with its unit within `range`.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&Value) -> Read<Duration> {
    move |value| {
        let allowed = || {
            let (least, most) = (humantime::format_duration(*range.start()), humantime::format_duration(*range.end()));
            format!(
                "a duration with its unit such as \"500ms\", \"30s\", \"5m\", \"24h\", \"30d\", from {least} to {most}"
            )
        };
        let text = string(value, allowed())?;
        // humantime takes a bare "0", and everything else without a unit is refused here with one reason.
        if !text.ends_with(|last: char| last.is_alphabetic()) {
            return Err(invalid("has no unit", allowed()));
        }
        match humantime::parse_duration(text) {
            Ok(duration) if range.contains(&duration) => Ok(duration),
            Ok(_) => Err(Refusal { problem: Problem::OutOfRange, allowed: allowed().into() }),
            Err(error) => Err(invalid(error, allowed())),
        }
    }
}

/// A number of bytes within `range`, with a unit (`64KiB`) or plain.
pub(super) fn size(range: RangeInclusive<u64>) -> impl Fn(&Value) -> Read<usize> {
    move |value| {
        let allowed = || {
            let (least, most) = (ByteSize(*range.start()), ByteSize(*range.end()));
            format!("a size such as \"64KiB\" or \"1MiB\", from {least} to {most}")
        };
        let bytes = match value {
            Value::Integer(bytes) => u64::try_from(*bytes).ok(),
            _ => string(value, allowed())?.parse().ok().map(|size: ByteSize| size.as_u64()),
        };
        let bytes = bytes.ok_or_else(|| invalid("is no size", allowed()))?;
        match usize::try_from(bytes) {
            Ok(size) if range.contains(&bytes) => Ok(size),
            _ => Err(Refusal { problem: Problem::OutOfRange, allowed: allowed().into() }),
        }
    }
}

/// One of the words of `T`.
pub(super) fn choice<T: Choice>(value: &Value) -> Read<T> {
    let allowed = || T::WORDS.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" | ");
    let text = string(value, allowed())?;
    let found = T::WORDS.iter().find(|(word, _)| *word == text);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| invalid("is none of the words", allowed()))
}

/// `value` as an error line shows it: tables not opened, since they may hold secrets, and long ones cut.
pub(super) fn show(value: &Value) -> String {
    let shown = match value {
        Value::Table(_) => "{…}".to_owned(),
        Value::Array(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::String(text) => format!("{text:?}"),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => value.to_string(),
    };
    match shown.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown,
    }
}

/// A refusal for a value of another TOML type.
pub(super) fn wrong_type(value: &Value, allowed: impl Into<Cow<'static, str>>) -> Refusal {
    let found = match value {
        Value::String(_) => "a text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    };
    Refusal { problem: Problem::WrongType { found }, allowed: allowed.into() }
}

/// The text of `value`, empty or not.
pub(super) fn string(value: &Value, allowed: impl Into<Cow<'static, str>>) -> Read<&str> {
    value.as_str().ok_or_else(|| wrong_type(value, allowed))
}

/// A refusal for a text that does not say what it should.
pub(super) fn invalid(problem: impl ToString, allowed: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal { problem: Problem::Invalid(problem.to_string()), allowed: allowed.into() }
}
