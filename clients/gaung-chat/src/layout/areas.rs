//! The areas of the screen, for each size of the terminal.

use ratatui::layout::Rect;

/// Narrowest screen, in columns, that shows the members.
const WITH_MEMBERS: u16 = 72;
/// Narrowest screen, in columns, that shows the groups.
const WITH_GROUPS: u16 = 48;
/// Narrowest screen, in columns, on which both are wide.
const WIDE: u16 = 110;

/// Where each part of the screen is; no two overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScreenAreas {
    /// One row with the group's name and state.
    pub(crate) title: Rect,
    /// The list of open groups.
    pub(crate) groups: Option<Rect>,
    /// The conversation.
    pub(crate) talk: Rect,
    /// The list of members.
    pub(crate) members: Option<Rect>,
    /// One row with the status message, or with how to get help.
    pub(crate) status: Rect,
    /// The line that is typed.
    pub(crate) input: Rect,
}

impl ScreenAreas {
    /// Divides a screen of so many columns and rows; the input gets `input_rows` if there are enough.
    pub(crate) fn of((columns, rows): (u16, u16), input_rows: u16) -> Self {
        let input_rows = input_rows.clamp(1, Self::input_limit(rows)).min(rows);
        let input = Rect::new(0, rows - input_rows, columns, input_rows);
        let status = Rect::new(0, input.y.saturating_sub(1), columns, u16::from(input.y > 0));
        let title = Rect::new(0, 0, columns, u16::from(status.y > 0));
        let (y, height) = (title.height, status.y.saturating_sub(title.height));
        let side = if columns >= WIDE { 24 } else { 16 };
        let groups = (columns >= WITH_GROUPS).then(|| Rect::new(0, y, side, height));
        let members = (columns >= WITH_MEMBERS).then(|| Rect::new(columns - side, y, side, height));
        // One column on each side is the line that separates the areas.
        let left = groups.map_or(0, |groups| groups.width + 1);
        let right = members.map_or(columns, |members| members.x.saturating_sub(1));
        let talk = Rect::new(left, y, right.saturating_sub(left), height);
        Self { title, groups, talk, members, status, input }
    }

    /// The most rows that the input may take of a screen with so many.
    pub(crate) fn input_limit(rows: u16) -> u16 {
        (rows / 3).clamp(1, 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_every_size_there_is_an_input_and_nothing_overlaps() {
        for columns in 1..200 {
            for rows in 1..60 {
                for input_rows in [1, 3, 40] {
                    let areas = ScreenAreas::of((columns, rows), input_rows);
                    let screen = Rect::new(0, 0, columns, rows);
                    let parts = [Some(areas.title), areas.groups, Some(areas.talk), areas.members];
                    let parts: Vec<_> =
                        parts.into_iter().chain([Some(areas.status), Some(areas.input)]).flatten().collect();
                    for (i, part) in parts.iter().enumerate() {
                        assert!(part.is_empty() || screen.union(*part) == screen, "{columns}×{rows}: {areas:?}");
                        assert!(parts[i + 1..].iter().all(|other| !part.intersects(*other)), "{areas:?}");
                    }
                    assert!(areas.input.height > 0);
                }
            }
        }
    }
}
