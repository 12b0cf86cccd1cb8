//! Comparing the keys of two devices by reading digits to each other.

use gaung_client::comparison_digits;
use gaung_proto::authorship::Authorship;

use crate::{
    model::{context::ChatContext, room::Room, timeline::ItemContent, timeline::Notice},
    ui_text::UiText,
};

/// Shows the digits by which the person and the one with this name compare their keys, or notes that they were the same.
pub(super) fn compare_keys(room: &mut Room, name: &str, is_confirmed: bool, context: &mut ChatContext) {
    let wanted = name.to_lowercase();
    let signed = room.timeline.newest().filter(|entry| entry.name.to_lowercase() == wanted);
    let found = signed.filter(|entry| entry.device != context.me.device).find_map(|entry| match entry.authorship() {
        Authorship::Signed { public_key, .. } => Some((entry.name.clone(), entry.device, public_key)),
        Authorship::Unsigned | Authorship::Broken => None,
    });
    let Some((name, device, public_key)) = found else {
        return context.warn(UiText::NothingSignedBy, &[("name", name)]);
    };
    let text = if is_confirmed {
        let word = if context.people.mark_compared(device) { UiText::Verified } else { UiText::TooManyVerified };
        context.lang.fill(word, &[("name", &name)])
    } else {
        let digits = comparison_digits(&context.me.public_key, &public_key);
        context.lang.fill(UiText::CompareDigits, &[("name", &name), ("digits", &digits)])
    };
    room.timeline.note(ItemContent::Notice(Notice { text, is_error: false }), context.now_us);
    context.touch();
}
