//! Tables of text.

use unicode_width::UnicodeWidthStr as _;

/// Returns the lines of a table with its headings, in columns two spaces apart, without trailing spaces.
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let mut widths = head.map(str::width);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let line = |cells: &[&str]| {
        let padded: Vec<_> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.width())))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let head = std::iter::once(line(&head));
    head.chain(rows.iter().map(|row| line(&row.each_ref().map(String::as_str)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest() {
        let rows = [["a".to_owned(), "1".to_owned()], ["lobby".to_owned(), String::new()]];
        assert_eq!(table(["GROUP", "HEAD"], &rows), ["GROUP  HEAD", "a      1", "lobby"]);
        let wide = [["日本".to_owned(), "1".to_owned()]];
        assert_eq!(table(["G", "HEAD"], &wide), ["G     HEAD", "日本  1"]);
    }
}
