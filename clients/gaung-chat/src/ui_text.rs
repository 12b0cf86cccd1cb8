//! The texts of the screen, in each of its languages, from one catalogue.

mod catalogue;
mod date;
mod lane;

use clap::ValueEnum;

pub(crate) use catalogue::UiText;
pub(crate) use date::{Zone, day_name, same_day};
pub(crate) use lane::lane_name;

/// A language of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Indonesian.
    Id,
}

impl Lang {
    /// Returns the language of the environment (POSIX: `LC_ALL`, then `LC_MESSAGES`, then `LANG`; an empty one does not
    /// count).
    pub(crate) fn of_environment(var: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &&str| var(name).filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(set).unwrap_or_default();
        let language = locale.split(['_', '.', '@', '-']).next().unwrap_or_default();
        // `in` is the code that Indonesian had before 1989.
        if matches!(language, "id" | "in") { Self::Id } else { Self::En }
    }

    /// Returns a text.
    pub(crate) const fn text(self, word: UiText) -> &'static str {
        let (english, indonesian) = word.both();
        match self {
            Self::En => english,
            Self::Id => indonesian,
        }
    }

    /// Returns a text with values in place of its `{names}`.
    pub(crate) fn fill(self, word: UiText, values: &[(&str, &str)]) -> String {
        let mut rest = self.text(word);
        let mut filled = String::with_capacity(rest.len() + 32);
        // In one pass, so that braces within a value stay what they are.
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let Some((name, after)) = after.split_once('}') else { break };
            match values.iter().find(|(known, _)| *known == name) {
                Some((_, value)) => filled.push_str(value),
                None => filled.push_str(name),
            }
            rest = after;
        }
        filled.push_str(rest);
        filled
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn placeholders(text: &str) -> BTreeSet<&str> {
        text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).collect()
    }

    /// Texts that are the same in both languages.
    const ALIKE: [UiText; 7] = [
        UiText::LaneTcp,
        UiText::LaneMulticast,
        UiText::LaneBroadcast,
        UiText::LaneMulticastShort,
        UiText::LaneBroadcastShort,
        UiText::RoleAdmin,
        UiText::RoleModerator,
    ];

    #[test]
    fn no_text_is_missing_in_any_language() {
        for &word in UiText::ALL {
            let (english, indonesian) = word.both();
            for text in [english, indonesian] {
                assert!(!text.trim().is_empty(), "{word:?}");
                assert_eq!(text.matches('{').count(), text.matches('}').count(), "{word:?}");
            }
            assert_eq!(placeholders(english), placeholders(indonesian), "{word:?}");
            assert_eq!(english.lines().count(), indonesian.lines().count(), "{word:?}");
            assert!(ALIKE.contains(&word) || english != indonesian, "{word:?} is not translated");
        }
    }

    #[test]
    fn every_text_of_the_catalogue_is_used() {
        let used = sources().concat();
        for &word in UiText::ALL {
            assert!(used.contains(&format!("UiText::{word:?}")), "{word:?} is used nowhere");
        }
    }

    #[test]
    fn the_screen_shows_no_text_that_is_not_in_the_catalogue() {
        for source in sources() {
            let code = source.split("#[cfg(test)]").next().unwrap_or_default();
            for (number, line) in code.lines().enumerate() {
                let line = line.split("//").next().unwrap_or_default();
                let is_for_developers =
                    [".expect(", "unreachable!", "reason = "].iter().any(|reason| line.contains(reason));
                let texts = line.split('"').skip(1).step_by(2);
                let words = texts.filter(|text| {
                    text.split(' ').filter(|w| w.chars().all(char::is_alphabetic) && w.len() > 1).count() > 2
                });
                let found: Vec<_> = words.collect();
                assert!(
                    is_for_developers || found.is_empty(),
                    "line {}: {found:?} belongs in the catalogue",
                    number + 1
                );
            }
        }
    }

    /// Returns all sources that show texts, without the catalogue.
    fn sources() -> Vec<String> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut folders =
            vec![root.join("view"), root.join("rows"), root.join("update"), root.join("model"), root.join("net")];
        let files = [
            "view.rs",
            "rows.rs",
            "update.rs",
            "model.rs",
            "net.rs",
            "lib.rs",
            "authorship.rs",
            "people.rs",
            "ui_text/date.rs",
            "ui_text/lane.rs",
        ];
        let mut sources: Vec<String> =
            files.iter().map(|file| std::fs::read_to_string(root.join(file)).expect(file)).collect();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
                    sources.push(std::fs::read_to_string(path).unwrap_or_default());
                }
            }
        }
        assert!(sources.len() > 12, "the sources moved");
        sources
    }

    #[test]
    fn the_language_is_that_of_the_environment() {
        let of = |vars: &'static [(&str, &str)]| {
            Lang::of_environment(|name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
        };
        assert_eq!(of(&[("LANG", "id_ID.UTF-8")]), Lang::Id);
        assert_eq!(of(&[("LANG", "id_ID.UTF-8"), ("LC_ALL", "C.UTF-8")]), Lang::En);
        assert_eq!(of(&[("LC_ALL", ""), ("LC_MESSAGES", "id"), ("LANG", "de_DE")]), Lang::Id);
        assert_eq!(of(&[]), Lang::En);
    }

    #[test]
    fn values_are_inserted_in_one_pass() {
        let text = Lang::En.fill(UiText::Heard, &[("heard", "{present}"), ("present", "4")]);
        assert_eq!(text, "heard by {present} of 4");
    }
}
