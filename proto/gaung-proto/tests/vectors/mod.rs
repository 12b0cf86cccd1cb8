//! Reads the golden vectors: hexadecimal bytes, a comment behind `#`, one named part a line.

use std::{fs, path::Path};

/// One file of `golden/`, its parts in order, each with the comment it began with.
pub(crate) struct Vector {
    file: String,
    parts: Vec<(String, Vec<u8>)>,
}

impl Vector {
    /// `name`: the file's name without `.hex`.
    pub(crate) fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.hex"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (hex, comment) = line.split_once('#').unwrap_or((line, ""));
            if !comment.is_empty() {
                parts.push((comment.trim().to_owned(), Vec::new()));
            }
            parts.last_mut().expect("a vector begins with a commented line").1.extend(bytes(hex.trim()));
        }
        Self { file: name.to_owned(), parts }
    }

    /// All parts, one after another.
    pub(crate) fn whole(&self) -> Vec<u8> {
        self.parts.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    /// All parts in order, each with its comment.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.parts.iter().map(|(comment, bytes)| (comment.as_str(), bytes.as_slice()))
    }

    /// The part whose comment is `name`.
    pub(crate) fn part(&self, name: &str) -> &[u8] {
        let found = self.parts.iter().find(|(comment, _)| comment == name);
        &found.unwrap_or_else(|| panic!("{}.hex has no part {name:?}", self.file)).1
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    assert!(hex.is_ascii() && hex.len().is_multiple_of(2), "{hex:?} is not whole bytes");
    let byte = |i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap_or_else(|error| panic!("{hex:?}: {error}"));
    (0..hex.len()).step_by(2).map(byte).collect()
}
