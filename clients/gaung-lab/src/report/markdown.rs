//! Renders a report as Markdown, with its figures as files beside it.

use std::fmt::Write as _;

use super::document::{Block, Document, Table};

/// Renders the text.
pub(super) fn render(document: &Document) -> String {
    let mut out = format!("# {}\n", document.title);
    for block in &document.blocks {
        out.push('\n');
        // Writing to a string cannot fail.
        let _ = match block {
            Block::Heading(text) => writeln!(out, "## {text}"),
            Block::Subheading(text) => writeln!(out, "### {text}"),
            Block::Text(text) => writeln!(out, "{text}"),
            Block::List(items) => items.iter().try_for_each(|item| writeln!(out, "- {item}")),
            Block::Commands(text) => writeln!(out, "```sh\n{}\n```", text.trim_end()),
            Block::Table(table) => write!(out, "{}", render_table(table)),
            Block::Figure(figure) => writeln!(out, "![{0}](figures/{1}.svg)\n\n*{0}*", figure.caption, figure.name),
            Block::Claim { worth, sentence, .. } => writeln!(out, "- **{worth}.** {sentence}"),
        };
    }
    out
}

fn render_table(table: &Table) -> String {
    let row = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = (0..table.head.len()).map(|column| if column >= table.numbers_from { "---:" } else { "---" });
    let rule = format!("| {} |\n", rule.collect::<Vec<_>>().join(" | "));
    let rows: String = table.rows.iter().map(|cells| row(cells)).collect();
    let caption = match table.caption.as_str() {
        "" => String::new(),
        caption => format!("*{caption}*\n\n"),
    };
    caption + &row(&table.head) + &rule + &rows
}
