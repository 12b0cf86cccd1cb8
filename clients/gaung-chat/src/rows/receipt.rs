//! The receipts of own messages.

use gaung_client::Receipt;
use gaung_proto::Seq;
use ratatui::text::Line;

use super::RowFormatter;
use crate::ui_text::{Lang, UiText};

impl RowFormatter<'_> {
    /// Adds `✓✓` to a message that all have acknowledged, and the numbers below the newest one and below those that some have
    /// not.
    pub(super) fn receipt(&self, rows: &mut Vec<Line<'static>>, seq: Seq) {
        let Some(receipt) = self.room.receipts.get(&seq) else { return };
        let newest = self.room.receipts.last_key_value().is_some_and(|(newest, _)| *newest == seq);
        if receipt.heard + receipt.silent >= receipt.present && !newest {
            self.append(rows, "✓✓");
        } else {
            self.under(rows, &format!("✓ {}", receipt_text(self.lang, receipt)), self.theme.dim());
        }
    }
}

/// Returns a text such as `heard by 3 of 4, 1 cannot say`; the last are text sessions, which send no receipts.
pub(crate) fn receipt_text(lang: Lang, receipt: &Receipt) -> String {
    let (heard, present) = (receipt.heard.to_string(), receipt.present.to_string());
    let mut text = lang.fill(UiText::Heard, &[("heard", &heard), ("present", &present)]);
    if receipt.silent > 0 {
        text.push_str(", ");
        text.push_str(&lang.fill(UiText::CannotSay, &[("count", &receipt.silent.to_string())]));
    }
    text
}
