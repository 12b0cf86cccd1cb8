//! The table of foreign text against its vectors, and against what it promises.
#![allow(missing_docs, clippy::unwrap_used)]

use gaung_proto::{
    DisplayName,
    foreign_text::{CharClass, classify, is_all_visible, without_invisible},
};
use serde_json::Value;

#[test]
fn display_names_lose_what_the_vectors_say() {
    let vectors = vectors();
    assert!(vectors.len() > 20);
    for vector in &vectors {
        let (what, text) = (&vector["what"], vector["text"].as_str().unwrap());
        let name = text.parse::<DisplayName>().ok();
        assert_eq!(name.as_ref().map(DisplayName::as_str), vector["name"].as_str(), "{what}");
        assert_eq!(is_all_visible(text), vector["shown"] == vector["text"], "{what}");
    }
}

#[test]
fn what_is_left_has_nothing_invisible() {
    // Each suspect character, and some that others depend on, between and behind letters of two scripts and joiners.
    let suspect = ('\0'..=char::MAX).filter(|c| !is_all_visible(c.encode_utf8(&mut [0; 4])));
    for c in suspect.chain(['a', '©', 'क', '\u{20e3}', '👩', '\u{1f3f4}']) {
        for text in [format!("a{c}b{c}"), format!("क{c}ष{c}"), format!("क\u{200d}{c}\u{200d}ष")] {
            let left = without_invisible(&text);
            assert!(classify(&left).all(|(_, class)| class != CharClass::Invisible), "{text:?} leaves {left:?}");
        }
    }
}

#[test]
fn every_control_and_bidirectional_character_is_known() {
    let alone = |c: char| classify(c.encode_utf8(&mut [0; 4])).next().unwrap().1;
    for c in ('\0'..=char::MAX).filter(|c| c.is_control()) {
        assert!(!matches!(alone(c), CharClass::Visible | CharClass::Invisible), "{c:?}");
    }
    let bidirectional =
        ['\u{61c}', '\u{200e}', '\u{200f}'].into_iter().chain('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{206f}');
    for c in bidirectional.chain(['\u{feff}']).chain('\u{fff9}'..='\u{fffb}') {
        assert_eq!(alone(c), CharClass::Invisible, "{c:?}");
    }
}

fn vectors() -> Vec<Value> {
    serde_json::from_str(include_str!("foreign_text.json")).unwrap()
}
