//! Scrolling a list of items, each of which takes some rows.

/// The items of a list from top to bottom, by how many rows each takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ItemRows<F> {
    /// How many items there are.
    pub(crate) count: usize,
    /// Returns the rows of an item by its index; at least one.
    pub(crate) rows: F,
}

/// Which part of a list is seen, by what is at the lower edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LowerEdge {
    /// The end of the list.
    End,
    /// This item, of which so many rows are below the edge.
    Item {
        /// Its index.
        index: usize,
        /// Rows below the edge.
        below: usize,
    },
}

/// Which end of a list is near after a movement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NearEnd {
    /// Few items are left above.
    Top,
    /// Nothing is left below.
    Bottom,
    /// There is room both ways.
    Neither,
}

/// How many items may be left above the lower edge before the page above them is loaded.
pub(crate) const NEAR_TOP: usize = 60;

impl<F: Fn(usize) -> usize> ItemRows<F> {
    /// Moves the lower edge up by so many rows, but not above the first page of `height` rows.
    pub(crate) fn up(&self, from: LowerEdge, mut steps: usize, height: usize) -> (LowerEdge, NearEnd) {
        let Some((mut index, mut below)) = self.lowest(from) else { return (LowerEdge::End, NearEnd::Top) };
        loop {
            let rows = (self.rows)(index);
            if below + steps < rows || index == 0 {
                below = (below + steps).min(rows.saturating_sub(1));
                break;
            }
            steps -= rows - below;
            (index, below) = (index - 1, 0);
        }
        let near = if index < NEAR_TOP { NearEnd::Top } else { NearEnd::Neither };
        let top = self.topmost(height);
        let above_top = match top {
            LowerEdge::End => true,
            LowerEdge::Item { index: top_index, below: top_below } => {
                index < top_index || (index == top_index && below > top_below)
            }
        };
        (if above_top { top } else { LowerEdge::Item { index, below } }, near)
    }

    /// Moves the lower edge down by so many rows.
    pub(crate) fn down(&self, from: LowerEdge, mut steps: usize) -> (LowerEdge, NearEnd) {
        let Some((mut index, mut below)) = self.lowest(from) else { return (LowerEdge::End, NearEnd::Top) };
        while steps > below {
            steps -= below;
            if index + 1 == self.count {
                return (LowerEdge::End, NearEnd::Bottom);
            }
            index += 1;
            below = (self.rows)(index);
        }
        below -= steps;
        if index + 1 == self.count && below == 0 {
            return (LowerEdge::End, NearEnd::Bottom);
        }
        (LowerEdge::Item { index, below }, NearEnd::Neither)
    }

    /// The lower edge with the first item at the upper edge.
    pub(crate) fn topmost(&self, height: usize) -> LowerEdge {
        let mut filled = 0;
        for index in 0..self.count.saturating_sub(1) {
            filled += (self.rows)(index);
            if filled >= height {
                return LowerEdge::Item { index, below: filled - height };
            }
        }
        LowerEdge::End
    }

    /// The lower edge with an item in the middle; `None` if there are no items.
    pub(crate) fn centred(&self, item: usize, height: usize) -> Option<LowerEdge> {
        let mut rows = 0;
        for index in item.min(self.count.saturating_sub(1))..self.count {
            rows += (self.rows)(index);
            if rows >= height / 2 {
                return Some(LowerEdge::Item { index, below: 0 });
            }
        }
        (self.count > 0).then_some(LowerEdge::End)
    }

    /// Whether all rows of an item are seen.
    pub(crate) fn is_visible(&self, item: usize, edge: LowerEdge, height: usize) -> bool {
        let Some((lowest, below)) = self.lowest(edge) else { return false };
        if item > lowest || (item == lowest && below > 0) {
            return false;
        }
        let mut rows = 0;
        (item..=lowest).rev().all(|index| {
            rows += (self.rows)(index);
            rows <= height + below
        })
    }

    /// The lowest item that is seen and its rows below the edge; `None` if there are no items.
    fn lowest(&self, edge: LowerEdge) -> Option<(usize, usize)> {
        let last = self.count.checked_sub(1)?;
        Some(match edge {
            LowerEdge::End => (last, 0),
            LowerEdge::Item { index, below } => (index.min(last), below),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten items of one to three rows: 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, together 19.
    fn ten() -> ItemRows<impl Fn(usize) -> usize> {
        ItemRows { count: 10, rows: |index| index % 3 + 1 }
    }

    fn item(index: usize, below: usize) -> LowerEdge {
        LowerEdge::Item { index, below }
    }

    #[test]
    fn scrolling_up_and_down_again_returns_to_the_end() {
        for rows in 1..12 {
            let (up, _) = ten().up(LowerEdge::End, rows, 5);
            assert_eq!(ten().down(up, rows), (LowerEdge::End, NearEnd::Bottom), "{rows} rows");
        }
        assert_eq!(ten().up(LowerEdge::End, 2, 5).0, item(8, 1));
        assert_eq!(ten().down(item(4, 1), 2), (item(5, 2), NearEnd::Neither));
    }

    #[test]
    fn the_first_item_stays_at_the_upper_edge() {
        assert_eq!(ten().topmost(5), item(2, 1));
        assert_eq!(ten().up(item(5, 0), 100, 5), (item(2, 1), NearEnd::Top));
        assert_eq!(ten().topmost(19), LowerEdge::End, "all items have room");
        let none = ItemRows { count: 0, rows: |_| 1 };
        assert_eq!((none.topmost(5), none.centred(0, 5)), (LowerEdge::End, None));
        assert_eq!(none.up(LowerEdge::End, 1, 5), (LowerEdge::End, NearEnd::Top));
    }

    #[test]
    fn a_centred_item_is_visible() {
        for index in 0..10 {
            let edge = ten().centred(index, 8).expect("there are items");
            assert!(ten().is_visible(index, edge, 8), "{index}: {edge:?}");
        }
        assert!(!ten().is_visible(0, LowerEdge::End, 8), "above the upper edge");
        assert!(!ten().is_visible(8, item(8, 1), 8), "one row is below the lower edge");
    }
}
