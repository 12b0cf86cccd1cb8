//! Draws the network as SVG.

use std::fmt::Write as _;

use crate::words::{Label, Language};

const WIDTH: u32 = 760;
const HEIGHT: u32 = 330;
const BOX: (u32, u32) = (150, 62);
const SWITCH_Y: u32 = 150;

/// Draws the server, the first two and the last member, and the witness on one switch.
pub(super) fn draw(members: usize, language: Language) -> String {
    let words = |label: Label| label.words(language);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"14\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
    );
    let middle = WIDTH / 2;
    let below = SWITCH_Y + 100;
    let hosts = [
        (95, "m1".to_owned(), "10.77.0.11".to_owned(), "#dbeafe"),
        (275, "m2".to_owned(), "10.77.0.12".to_owned(), "#dbeafe"),
        (485, format!("m{members}"), format!("10.77.0.{}", 10 + members), "#dbeafe"),
        (665, words(Label::Witness).to_owned(), "10.77.0.250".to_owned(), "#fde8d7"),
    ];
    cable(&mut svg, (middle, 72), (middle, SWITCH_Y));
    for (x, ..) in &hosts {
        cable(&mut svg, (*x, SWITCH_Y + 40), (*x, below));
    }
    let _ = writeln!(
        svg,
        "<rect x=\"20\" y=\"{SWITCH_Y}\" width=\"{}\" height=\"40\" rx=\"6\" fill=\"#e5e7eb\" stroke=\"#374151\"/>\n\
         <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{} (br0, 10.77.0.0/24, IGMP snooping)</text>",
        WIDTH - 40,
        SWITCH_Y + 25,
        words(Label::Switch)
    );
    host(&mut svg, (middle, 10), words(Label::Server), "10.77.0.1 · registry, relay, hub", "#dcfce7", 270);
    for (x, name, address, colour) in hosts {
        host(&mut svg, (x, below), &name, &address, colour, BOX.0);
    }
    let _ = writeln!(svg, "<text x=\"380\" y=\"{}\" text-anchor=\"middle\" font-size=\"22\">…</text>", below + 36);
    svg.push_str("</svg>");
    svg
}

fn cable(svg: &mut String, from: (u32, u32), to: (u32, u32)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ =
        writeln!(svg, "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"#374151\" stroke-width=\"2\"/>");
}

fn host(svg: &mut String, (x, y): (u32, u32), name: &str, below: &str, colour: &str, width: u32) {
    let (left, height) = (x - width / 2, BOX.1);
    let _ = writeln!(
        svg,
        "<rect x=\"{left}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"{colour}\" stroke=\"#374151\"/>\n\
         <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" font-weight=\"bold\">{name}</text>\n\
         <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" font-size=\"12\">{below}</text>",
        y + 26,
        y + 46
    );
}
