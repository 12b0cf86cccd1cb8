//! The catalogue of all texts of a report, in each language.

mod claims;
mod labels;
mod numbers;
mod prose;

use std::str::FromStr;

pub(crate) use self::numbers::number;
pub use self::{claims::ClaimWords, labels::Label, numbers::Unit, prose::Prose};

/// A language of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    En,
    /// Indonesian.
    Id,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::En, Self::Id];

    /// Returns its code of ISO 639-1.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Id => "id",
        }
    }
}

impl FromStr for Language {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|language| language.code() == text).ok_or("write en or id")
    }
}

/// Defines an enum of texts in each language: one that is missing does not compile.
macro_rules! catalogue {
    ($(#[$doc:meta])* $type:ident { $($key:ident { $en:expr, $id:expr $(,)? })* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the words are the documentation")]
        pub enum $type { $($key,)* }

        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$key,)*];

            /// Returns the text, with `{0}`, `{1}` and so on where figures belong.
            #[must_use]
            pub const fn words(self, language: $crate::words::Language) -> &'static str {
                match language {
                    $crate::words::Language::En => match self { $(Self::$key => $en,)* },
                    $crate::words::Language::Id => match self { $(Self::$key => $id,)* },
                }
            }
        }
    };
}
use catalogue;

/// Replaces `{0}`, `{1}` and so on in a text.
#[must_use]
pub fn fill(text: &str, figures: &[String]) -> String {
    let numbered = figures.iter().enumerate();
    numbered.fold(text.to_owned(), |text, (number, figure)| text.replace(&format!("{{{number}}}"), figure))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::claims::ClaimId;

    fn holes(text: &str) -> BTreeSet<String> {
        let parts = text.split('{').skip(1);
        parts.filter_map(|part| part.split_once('}').map(|(hole, _)| hole.to_owned())).collect()
    }

    fn both(what: &str, en: &str, id: &str) {
        assert!(!en.trim().is_empty() && !id.trim().is_empty(), "{what} is missing in a language");
        assert_eq!(holes(en), holes(id), "{what} has other figures in the other language");
    }

    #[test]
    fn nothing_is_missing_in_a_language() {
        for label in Label::ALL {
            both(&format!("{label:?}"), label.words(Language::En), label.words(Language::Id));
        }
        for prose in Prose::ALL {
            let (en, id) = (prose.words(Language::En), prose.words(Language::Id));
            both(&format!("{prose:?}"), en, id);
            assert_ne!(en, id, "{prose:?} is not translated");
        }
        for claim in ClaimId::ALL {
            let (en, id) = (claim.words(Language::En), claim.words(Language::Id));
            both(&format!("{claim:?}"), en.expected, id.expected);
            both(&format!("{claim:?}"), en.measured, id.measured);
            assert!(en.expected != id.expected && en.measured != id.measured, "{claim:?} is not translated");
        }
    }

    #[test]
    fn figures_fill_their_places() {
        let figures: Vec<String> = (0..12).map(|n| format!("<{n}>")).collect();
        assert_eq!(fill("{0} of {1}, {11}, {0}", &figures), "<0> of <1>, <11>, <0>");
    }
}
