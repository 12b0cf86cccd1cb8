//! Renders a self-contained HTML page: no script, font or picture from elsewhere.

use std::fmt::Write as _;

use super::document::{Block, Document, Table};
use crate::claims::Verdict;

const STYLE: &str = include_str!("style.css");

/// Renders the page.
pub(super) fn render(document: &Document) -> String {
    let mut body = String::new();
    for block in &document.blocks {
        render_block(&mut body, block);
    }
    let (code, title) = (document.language.code(), escape(&document.title));
    format!(
        "<!doctype html>\n<html lang=\"{code}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
    )
}

/// Renders one block. Writing to a string cannot fail.
fn render_block(out: &mut String, block: &Block) {
    let _ = match block {
        Block::Heading(text) => writeln!(out, "<h2>{}</h2>", escape(text)),
        Block::Subheading(text) => writeln!(out, "<h3>{}</h3>", escape(text)),
        Block::Text(text) => writeln!(out, "<p>{}</p>", inline(text)),
        Block::List(items) => {
            let items: String = items.iter().map(|item| format!("<li>{}</li>\n", inline(item))).collect();
            writeln!(out, "<ul>\n{items}</ul>")
        }
        Block::Commands(text) => writeln!(out, "<pre><code>{}</code></pre>", escape(text)),
        Block::Table(table) => writeln!(out, "{}", render_table(table)),
        Block::Figure(figure) => {
            let caption = escape(&figure.caption);
            writeln!(
                out,
                "<figure role=\"img\" aria-label=\"{caption}\">\n{}\n<figcaption>{caption}</figcaption>\n</figure>",
                figure.svg
            )
        }
        Block::Claim { verdict, worth, sentence } => {
            let class = match verdict {
                Verdict::Supported => "yes",
                Verdict::NotSupported => "no",
                Verdict::NotMeasured => "unknown",
            };
            writeln!(out, "<p class=\"claim {class}\"><b>{}</b> {}</p>", escape(worth), inline(sentence))
        }
    };
}

fn render_table(table: &Table) -> String {
    let cell = |tag: &str, (column, text): (usize, &String)| {
        let class = if column >= table.numbers_from { " class=\"number\"" } else { "" };
        format!("<{tag}{class}>{}</{tag}>", inline(text))
    };
    let row = |tag: &str, cells: &[String]| {
        let cells: String = cells.iter().enumerate().map(|one| cell(tag, one)).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = table.rows.iter().map(|cells| row("td", cells)).collect();
    let head = row("th", &table.head);
    let caption = match table.caption.as_str() {
        "" => String::new(),
        caption => format!("<caption>{}</caption>\n", escape(caption)),
    };
    format!("<div class=\"wide\"><table>\n{caption}<thead>{head}</thead>\n<tbody>\n{rows}</tbody>\n</table></div>")
}

/// Renders text with `code` between backticks.
fn inline(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts.map(|(at, part)| if at % 2 == 1 { format!("<code>{}</code>", escape(part)) } else { escape(part) }).collect()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_becomes_markup() {
        assert_eq!(inline("a <b> `x < \"y\"` & c"), "a &lt;b&gt; <code>x &lt; &quot;y&quot;</code> &amp; c");
    }
}
