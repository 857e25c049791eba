//! A file that outlives a restart: read once, and replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Debug)]
pub struct StateFile {
    file: PathBuf,
    folder: PathBuf,
}

impl StateFile {
    /// The file `name` in `folder`, which is made where it does not exist; and what stands in it: nothing,
    /// where there was none. Whether it can be written is found out as well.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(folder: &Path, name: &str) -> io::Result<(Self, String)> {
        fs::create_dir_all(folder)?;
        let state = Self { file: folder.join(name), folder: folder.to_owned() };
        let text = match fs::read_to_string(&state.file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        state.replace(&text)?;
        Ok((state, text))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Replaces what stands in it: after a crash it has the old text or the new one.
    ///
    /// # Errors
    /// What the system says; the old text stays then.
    pub fn replace(&self, text: &str) -> io::Result<()> {
        let new = self.file.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.file)?;
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let within = folder.path().join("not/there/yet");
        let (state, text) = StateFile::open(&within, "pins").unwrap();
        assert_eq!((text.as_str(), state.path()), ("", within.join("pins").as_path()));
        state.replace("one\n").unwrap();
        state.replace("two\n").unwrap();
        assert_eq!(StateFile::open(&within, "pins").unwrap().1, "two\n");
        assert_eq!(fs::read_dir(&within).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_place_that_cannot_be_used_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(StateFile::open(&folder.path().join("file"), "pins").is_err());
        fs::create_dir(folder.path().join("pins")).unwrap();
        assert!(StateFile::open(folder.path(), "pins").is_err());
        fs::write(folder.path().join("latin-1"), b"\xe9").unwrap();
        assert!(StateFile::open(folder.path(), "latin-1").is_err());
    }
}
