//! What can be wrong with a configuration, as lines for its operator.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

/// Everything that is wrong with a configuration, never empty.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

/// One thing that is wrong; its text is one line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {reason}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// The file is not TOML.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// A key, or what it is set to.
    #[error("{}", KeyLine { key, value: value.as_deref(), problem, allowed })]
    Key {
        /// The key with its sections: `listen.admin[0]`, `local["prosody-1"].attach.kind`.
        key: String,
        /// The value as it stands in the file; none where there is none, or where it is a secret.
        value: Option<String>,
        /// What is wrong with it.
        problem: Problem,
        /// What would be right.
        allowed: Cow<'static, str>,
    },
}

/// Why a value is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The key has to be there.
    #[error("is missing")]
    Missing,
    /// Nobody reads this key.
    #[error("there is no such key{}", Nearest(.nearest))]
    UnknownKey {
        /// The known key it may stand for.
        nearest: Option<String>,
    },
    /// Another kind of TOML value is needed.
    #[error("is {found}")]
    WrongType {
        /// The kind of value that was found, with its article.
        found: &'static str,
    },
    /// The text does not say what it should.
    #[error("{0}")]
    Invalid(String),
    /// Below or above what makes sense.
    #[error("is out of range")]
    OutOfRange,
    /// Something that may be there once is there again.
    #[error("is already in {first}")]
    Taken {
        /// The key that had it first.
        first: String,
    },
    /// Two keys that exclude each other.
    #[error("cannot be set together with {other}")]
    Exclusive {
        /// The other key.
        other: &'static str,
    },
    /// The file that the value names cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The admin interface would be open to the network.
    #[error("is not a loopback address and admin.token_file is not set")]
    Unprotected,
}

impl Problem {
    /// This problem of `key` as the only one.
    pub(crate) fn of(self, key: &str) -> ConfigErrors {
        ConfigError::Key { key: key.to_owned(), value: None, problem: self, allowed: "".into() }.into()
    }
}

impl ConfigErrors {
    /// `errors` as the reason of a failure; none if there are none.
    pub(super) fn from_list(errors: Vec<ConfigError>) -> Option<Self> {
        (!errors.is_empty()).then_some(Self(errors))
    }

    /// The errors in the order of reading.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl From<Vec<ConfigError>> for ConfigErrors {
    fn from(errors: Vec<ConfigError>) -> Self {
        Self(errors)
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            let separator = if n == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// `key = value: problem; allowed: …`
struct KeyLine<'a> {
    key: &'a str,
    value: Option<&'a str>,
    problem: &'a Problem,
    allowed: &'a str,
}

impl fmt::Display for KeyLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key)?;
        if let Some(value) = self.value {
            write!(f, " = {value}")?;
        }
        write!(f, ": {}", self.problem)?;
        if !self.allowed.is_empty() {
            write!(f, "; allowed: {}", self.allowed)?;
        }
        Ok(())
    }
}

struct Nearest<'a>(&'a Option<String>);

impl fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(key) => write!(f, ", did you mean {key}?"),
            None => Ok(()),
        }
    }
}
